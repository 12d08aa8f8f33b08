/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's hardware breakpoints on a CPU that leaves them armed.
 *
 * #VMEXIT disables all breakpoints in DR7 (APM vol. 2, 15.6). QEMU's TCG puts the
 * host's value into DR7 and still raises #DB at the guest's addresses, in the visor,
 * too; a write to DR7 then does not disarm them, because the value there is no longer
 * the one they were made from. So the guest's writes to its debug registers exit
 * there. svm/entry.S arms the breakpoints just before VMRUN and disarms them just
 * behind it, and both know of the same value. What would meet the few instructions in
 * between, or what these touch, is never armed: the guest has no breakpoint there. That
 * are VMRUN's own pages, too: QEMU takes a physical address that an instruction accesses
 * for a linear one, and begins VMRUN again, of which half is done.
 */
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/svm/internal.h"
#include "visor/svm/vmcb.h"
#include "visor/vm/fail.h"

#define BREAKPOINTS 4u
#define CR4_DE (1ull << 3)
#define LONGEST 8u /* bytes that one breakpoint covers, at most */
#define DR7_ENABLE(n) (3ull << 2 * (n))

void svm_intercept_debug(struct vmcb *b)
{
	if (svm_cpu.leaves_debug_armed)
		b->dr_write = 1u << 0 | 1u << 1 | 1u << 2 | 1u << 3 | 1u << 5 | 1u << 7;
}

static uint64_t breakpoint_address(unsigned n)
{
	return n == 0 ? read_dr0() : n == 1 ? read_dr1()
	                     : n == 2       ? read_dr2()
	                                    : read_dr3();
}

static bool meets(uint64_t address, uint64_t base, uint64_t bytes)
{
	return address < base + bytes && address + LONGEST > base;
}

/* Would the visor meet it while it is armed? */
static bool in_the_way(const struct vcpu *v, uint64_t address)
{
	return meets(address, (uintptr_t)svm_armed_start, (uint64_t)(svm_armed_end - svm_armed_start)) ||
	       meets(address, (uintptr_t)v->state.gpr, sizeof(v->state.gpr)) ||
	       meets(address, v->svm.vmcb->host_stack, sizeof(uint64_t)) ||
	       meets(address, (uintptr_t)v->svm.vmcb, VMMU_PAGE_SIZE) || meets(address, svm_cpu.save_area, VMMU_PAGE_SIZE);
}

void svm_arm_breakpoints(struct vcpu *v)
{
	struct vmcb *b = v->svm.vmcb;
	uint64_t armed = b->dr7 & ~X86_DR7_DETECT;

	b->armed_dr7 = 0;
	if (likely(!svm_cpu.leaves_debug_armed || !(armed & X86_DR7_ENABLED)))
		return;
	for (unsigned n = 0; n < BREAKPOINTS; n++) {
		if (in_the_way(v, breakpoint_address(n)))
			armed &= ~DR7_ENABLE(n);
	}
	b->armed_dr7 = armed & X86_DR7_ENABLED ? armed : 0;
}

static void write_address(unsigned n, uint64_t value)
{
	switch (n) {
	case 0: write_dr0(value); break;
	case 1: write_dr1(value); break;
	case 2: write_dr2(value); break;
	default: write_dr3(value); break;
	}
}

void svm_handle_dr_write(struct vcpu *v, unsigned number)
{
	struct vmcb *b = v->svm.vmcb;
	unsigned gpr, length = svm_decode_dr_write(v, &gpr);
	uint64_t value;

	exit_count(v, EXIT_DR_ACCESS);
	if (!length) {
		exit_give_up(v, "the instruction that writes DR%u cannot be read", number);
		return;
	}
	if (b->dr7 & X86_DR7_DETECT) { /* SDM vol. 3, 18.2.4 */
		b->dr7 &= ~X86_DR7_DETECT;
		b->dr6 |= X86_DR6_BD;
		exit_raise(v, X86_DB, false, 0);
		return;
	}
	if (number == 5) { /* another name for DR7, without debugging extensions (SDM vol. 3, 18.2.2) */
		if (b->cr4 & CR4_DE) {
			exit_raise(v, X86_UD, false, 0);
			return;
		}
		number = 7;
	}
	value = svm_in_64bit_code(v) ? v->state.gpr[gpr] : (uint32_t)v->state.gpr[gpr];
	if (number == 7 && value >> 32) {
		exit_raise(v, X86_GP, true, 0);
		return;
	}
	if (number == 7)
		b->dr7 = (value & ~X86_DR7_ZEROS) | X86_DR7_ONES;
	else
		write_address(number, value);
	exit_skip_bytes(v, length);
}
