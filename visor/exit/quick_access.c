/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/exit/quick_access.h"

#include <vmmu/guest.h>

#include "visor/cpu/vcpu.h"
#include "visor/device/platform.h"
#include "visor/emulate/decode.h"
#include "visor/emulate/plain_access.h"
#include "visor/vm/code.h"
#include "visor/vm/cpuid.h"
#include "visor/vm/memory.h"
#include "visor/vm/vm.h"

#define CODE_BYTES 16u /* not fewer than an instruction has */

/* Nothing but what the register reads as. */
static bool load(struct vcpu *v, const struct quick_access *a, const struct plain_access *p)
{
	uint32_t value;

	if (p->kind != PLAIN_LOAD || !platform_mmio_look(v->vm->platform, a->gpa, &value))
		return false;
	v->state.gpr[p->gpr] = value;
	return true;
}

/* The engine follows the entry that is there then. */
static bool store(struct vcpu *v, const struct quick_access *a, const struct plain_access *p, uint64_t *rflags)
{
	uint8_t *page;

	if (p->kind == PLAIN_LOAD || a->gpa % sizeof(uint64_t))
		return false;
	page = memory_page(v->vm, a->gpa, true);
	if (!page)
		return false;
	if (plain_store(p, (uint64_t *)(void *)(page + a->gpa % VMMU_PAGE_SIZE), v->state.gpr, rflags))
		vmmu_guest_written(v->mmu, vmmu_gpa_of(a->gpa), sizeof(uint64_t));
	return true;
}

/*
 * What the long way looks at, and this one need not:
 * - The rights of the code's page and of the operand's: the CPU has found both, or it would
 *   have raised #PF before it came to the second level.
 * - Whether the address is canonical: it is the same CPU's own #GP.
 * - Whether gpa is RAM: the engine has found no slot there, or the slot of a table.
 * - Whether gpa is the operand's, and not that of a guest table which lies there: the place in the
 *   page is compared, as on the long way. The operand is at a register's first byte, or is aligned, and so
 *   lies in one page.
 * - Whether time has come for a device, and what it may raise: platform_mmio_look answers
 *   only while that cannot be. A store to RAM raises nothing.
 * Console and timers of the visor have their turn at each QUICK_EXITS_MAX'th.
 */
uint64_t quick_access(struct vcpu *v, const struct quick_access *a, enum vmmu_fault_result result, uint64_t *rflags)
{
	const struct decoded *d;
	const uint8_t *code;
	uint64_t next;

	/* A guest's guest: its tables, and its devices, lie where its hypervisor's tables say. */
	if (unlikely(v->nested.l2) || a->rip % VMMU_PAGE_SIZE > VMMU_PAGE_SIZE - CODE_BYTES || ++v->quick_exits % QUICK_EXITS_MAX == 0)
		return 0;
	code = code_just_fetched(v->vm, a->cr3, a->five_levels, a->rip);
	d = code ? decode_64bit_code(code) : NULL;
	if (!d || d->plain.kind == PLAIN_NONE)
		return 0;
	next = a->rip + d->instruction.length;
	if ((plain_address(&d->plain, v->state.gpr, next) ^ a->gpa) % VMMU_PAGE_SIZE)
		return 0;
	if (!(result == VMMU_FAULT_WRITE_TABLE ? store(v, a, &d->plain, rflags) : load(v, a, &d->plain)))
		return 0;
	return next;
}
