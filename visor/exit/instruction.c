/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions that exit by their own name. */
#include "visor/cpu/x86.h"
#include "visor/emulate/emulate.h"
#include "visor/exit/exit.h"
#include "visor/lib/string.h"
#include "visor/vm/cpuid.h"
#include "visor/vm/msr.h"
#include "visor/vm/vm.h"

void exit_cpuid(struct vcpu *v)
{
	uint64_t *gpr = v->state.gpr;
	struct cpuid r = cpuid_for_guest(v, (uint32_t)gpr[X86_RAX], (uint32_t)gpr[X86_RCX]);

	exit_count(v, EXIT_CPUID);
	gpr[X86_RAX] = r.eax;
	gpr[X86_RBX] = r.ebx;
	gpr[X86_RCX] = r.ecx;
	gpr[X86_RDX] = r.edx;
	exit_skip(v);
}

void exit_msr(struct vcpu *v, bool write)
{
	uint64_t *gpr = v->state.gpr, value = (uint32_t)gpr[X86_RAX] | gpr[X86_RDX] << 32;
	uint32_t msr = (uint32_t)gpr[X86_RCX];

	exit_count(v, write ? EXIT_MSR_WRITE : EXIT_MSR_READ);
	if (!(write ? msr_write(v, msr, value) : msr_read(v, msr, &value))) {
		exit_raise(v, X86_GP, true, 0);
		return;
	}
	if (!write) {
		gpr[X86_RAX] = (uint32_t)value;
		gpr[X86_RDX] = value >> 32;
	}
	exit_skip(v);
}

/* SDM vol. 1, 13.3: x87 always; AVX needs SSE; the three parts of AVX-512 come together, with AVX. */
static bool xcr0_valid(uint64_t value)
{
	uint64_t supported = cpuid(0xd, 0).eax & CPUID_XCR0_ALLOWED;
	uint64_t avx512 = value & 0xe0;

	return !(value & ~supported) && value & 1 && !((value & 4) && !(value & 2)) &&
	       !(avx512 && (avx512 != 0xe0 || !(value & 4)));
}

void exit_xsetbv(struct vcpu *v)
{
	uint64_t *gpr = v->state.gpr, value = (uint32_t)gpr[X86_RAX] | gpr[X86_RDX] << 32;

	exit_count(v, EXIT_XSETBV);
	v->backend->read_state(v);
	if (!(v->state.cr4 & X86_CR4_OSXSAVE)) {
		exit_raise(v, X86_UD, false, 0);
		return;
	}
	if ((uint32_t)gpr[X86_RCX] != 0 || v->state.cpl || !xcr0_valid(value)) {
		exit_raise(v, X86_GP, true, 0);
		return;
	}
	xsetbv0(value); /* the visor has no extended state: the guest's XCR0 stays in the CPU */
	exit_skip(v);
}

void exit_cr8(struct vcpu *v, bool write, unsigned gpr)
{
	exit_count(v, EXIT_CR8_ACCESS);
	if (write) {
		if (v->state.gpr[gpr] & ~15ull) {
			exit_raise(v, X86_GP, true, 0);
			return;
		}
		platform_set_cr8(v->vm->platform, (uint8_t)v->state.gpr[gpr]);
	} else {
		v->state.gpr[gpr] = platform_cr8(v->vm->platform);
	}
	exit_skip(v);
}

/*
 * The interface that CPUID leaf 40000100h names (Linux documentation,
 * virt/kvm/x86/hypercalls.rst): number in RAX, result there, nothing else changes.
 * None of its calls is offered but the poll for interrupts, which always is and
 * finds that they come by themselves. Called with the guest's registers read.
 */
static void answer_hypercall(struct vcpu *v)
{
	enum { VAPIC_POLL_IRQ = 1 };
	const int64_t no_such_call = -1000, not_permitted = -1;
	uint64_t *rax = &v->state.gpr[X86_RAX];
	bool wide = v->backend->in_64bit_code(v);
	uint64_t number = wide ? *rax : (uint32_t)*rax;
	int64_t result;

	exit_count(v, EXIT_HYPERCALL);
	if (v->state.cpl)
		result = not_permitted;
	else
		result = number == VAPIC_POLL_IRQ ? 0 : no_such_call;
	*rax = wide ? (uint64_t)result : (uint32_t)result;
}

void exit_hypercall(struct vcpu *v)
{
	v->backend->read_state(v);
	answer_hypercall(v);
	exit_skip(v);
}

/* VMCALL is Intel's, VMMCALL AMD's. Neither has a prefix or an operand. */
static const uint8_t hypercalls[][3] = {{0x0f, 0x01, 0xc1}, {0x0f, 0x01, 0xd9}};

/*
 * KVM, whose name CPUID shows, answers both on every CPU: a guest may have been built for
 * the other vendor. Called with the guest's registers read.
 */
static bool at_hypercall(struct vcpu *v)
{
	uint8_t bytes[sizeof(hypercalls[0])];

	if (guest_fetch(&v->state, &v->vm->bus, bytes, sizeof(bytes)) != sizeof(bytes))
		return false;
	return memcmp(bytes, hypercalls[0], sizeof(bytes)) == 0 || memcmp(bytes, hypercalls[1], sizeof(bytes)) == 0;
}

void exit_invalid_opcode(struct vcpu *v)
{
	v->backend->read_state(v);
	if (at_hypercall(v)) {
		answer_hypercall(v);
		exit_skip_bytes(v, sizeof(hypercalls[0]));
		return;
	}
	exit_count(v, EXIT_EXCEPTION);
	exit_raise(v, X86_UD, false, 0);
}
