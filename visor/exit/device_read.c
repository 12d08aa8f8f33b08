/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/exit/device_read.h"

#include <vmmu/vmmu.h>

#include "visor/cpu/vcpu.h"
#include "visor/device/platform.h"
#include "visor/emulate/decode.h"
#include "visor/emulate/plain_load.h"
#include "visor/vm/code.h"
#include "visor/vm/cpuid.h"
#include "visor/vm/vm.h"

#define CODE_BYTES 16u /* not fewer than an instruction has */

/*
 * What the long way looks at, and this one need not:
 * - The rights of the code's page and of the operand's: the CPU has found both, or it would
 *   have raised #PF before it came to the second level.
 * - Whether the address is canonical: it is the same CPU's own #GP.
 * - Whether gpa is RAM: the engine has found no slot there.
 * - Whether gpa is the operand's, and not that of a guest table which lies in device memory:
 *   the place in the page is compared, as on the long way. The operand is at a register's
 *   first byte and so lies in one page.
 * - Whether time has come for a device, and what it may raise: platform_mmio_look answers
 *   only while that cannot be.
 * Console and timers of the visor have their turn at each QUICK_EXITS_MAX'th.
 */
uint64_t device_read_quickly(struct vcpu *v, const struct device_read *r)
{
	const struct decoded *d;
	const uint8_t *code;
	uint64_t next;
	uint32_t value;

	/* A guest's guest: its tables, and its devices, lie where its hypervisor's tables say. */
	if (unlikely(v->nested.l2) || r->rip % VMMU_PAGE_SIZE > VMMU_PAGE_SIZE - CODE_BYTES || ++v->quick_exits % QUICK_EXITS_MAX == 0)
		return 0;
	code = code_just_fetched(v->vm, r->cr3, r->five_levels, r->rip);
	d = code ? decode_64bit_code(code) : NULL;
	if (!d || !d->plain.is_one)
		return 0;
	next = r->rip + d->instruction.length;
	if ((plain_load_address(&d->plain, v->state.gpr, next) ^ r->gpa) % VMMU_PAGE_SIZE ||
	    !platform_mmio_look(v->vm->platform, r->gpa, &value))
		return 0;
	v->state.gpr[d->plain.to] = value;
	return next;
}
