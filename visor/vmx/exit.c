/* SPDX-License-Identifier: BSD-2-Clause */
/* Exits but for memory faults: what each says, in the terms of exit/exit.h (SDM vol. 3, 28.2). */
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/exit/shadow.h"
#include "visor/vm/memory.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"

#define ULL(x) ((unsigned long long)(x))

/* Qualification of I/O instructions: table 28-5. Address size and segment: table 28-8. */
static void handle_io(struct vcpu *v)
{
	uint64_t q = vmread(VMCS_QUALIFICATION);
	struct io_access io = {
		.port = (uint16_t)(q >> 16),
		.size = (q & 7) + 1,
		.in = q & 8,
		.string = q & 16,
		.rep = q & 32,
	};

	if (io.string) {
		uint32_t info = (uint32_t)vmread(VMCS_EXIT_INSTRUCTION_INFO);

		io.address_size = (uint8_t)(2u << (info >> 7 & 7));
		io.segment = info >> 15 & 7;
	}
	exit_io(v, &io);
}

/*
 * PAE paging keeps four entries of the guest's top table in the CPU; what MOV
 * to CR0 would load there, VM entry takes from the VMCS (27.3.2.4). False: #GP.
 */
static bool load_pdptes(struct vcpu *v)
{
	uint64_t entries[4], reserved = 0x1e6 | ~0ull << (cpuid(0x80000008, 0).eax & 0xff);

	if (!memory_read(v->vm, vmread(VMCS_GUEST_CR3) & 0xffffffe0, entries, sizeof(entries)))
		return false;
	for (unsigned i = 0; i < 4; i++) {
		if (entries[i] & 1 && entries[i] & reserved)
			return false;
		vmwrite(VMCS_GUEST_PDPTE0 + 2 * i, entries[i]);
	}
	return true;
}

/* CR0.PG goes on or off: LMA follows LME (SDM vol. 3, 4.1.2). False: the guest gets #GP. */
static bool switch_paging(struct vcpu *v, bool on)
{
	uint64_t efer = vmx_read_efer(v), cr4 = vmx_read_cr4(v);

	if (!on && cr4 & X86_CR4_PCIDE)
		return false;
	if (efer & X86_EFER_LME) {
		if (on && (!(cr4 & X86_CR4_PAE) || vmread(VMCS_GUEST_CS_ACCESS) & X86_ACCESS_LONG))
			return false;
		if (!on && vmx_in_64bit_code(v))
			return false;
		vmx_write_efer(v, on ? efer | X86_EFER_LMA : efer & ~X86_EFER_LMA);
	} else if (on && cr4 & X86_CR4_PAE && !load_pdptes(v)) {
		return false;
	}
	vmx_flush(v); /* the instruction would have emptied the TLB (4.10.4.1) */
	return true;
}

/* MOV to CR0 that changes a bit the visor owns; it may change others with it. */
static void write_cr0_by_guest(struct vcpu *v, uint64_t value)
{
	uint64_t changed = vmx_read_cr0(v) ^ value;

	value |= X86_CR0_ET;
	/* What the instruction refuses (SDM vol. 2, MOV - Move to/from Control Registers). */
	if (value >> 32 || (value & X86_CR0_PG && !(value & X86_CR0_PE)) ||
	    (value & X86_CR0_NW && !(value & X86_CR0_CD)) ||
	    (changed & X86_CR0_PG && !switch_paging(v, value & X86_CR0_PG))) {
		exit_raise(v, X86_GP, true, 0);
		return;
	}
	vmx_write_cr0(value);
	exit_skip(v);
}

/* Qualification of control-register accesses: table 28-3. */
static void handle_cr(struct vcpu *v)
{
	uint64_t q = vmread(VMCS_QUALIFICATION);
	unsigned number = q & 15, type = q >> 4 & 3, gpr = q >> 8 & 15;
	enum { MOV_TO = 0, MOV_FROM = 1 };

	if (number == 8) {
		exit_cr8(v, type == MOV_TO, gpr);
		return;
	}
	if (vmx_cpu.shadow) {
		static const enum cr_operation operation[] = {CR_WRITE, CR_READ, CR_CLTS, CR_OTHER};
		struct cr_access access = {.operation = operation[type], .cr = (uint8_t)number, .gpr = (uint8_t)gpr,
		                           .length = (uint8_t)vmx_instruction_length(v)};

		exit_cr(v, &access);
		return;
	}
	if (number == 3)
		exit_count(v, type == MOV_TO ? EXIT_CR3_WRITE : EXIT_CR3_READ);
	else
		exit_count(v, EXIT_CR_ACCESS);
	if (number == 0 && type == MOV_TO)
		write_cr0_by_guest(v, v->state.gpr[gpr]);
	else if (number == 4 && type == MOV_TO)
		exit_raise(v, X86_GP, true, 0); /* only bits that the guest does not have lead here */
	else
		vm_fail(v, "unexpected access to CR%u (qualification %llx)", number, ULL(q));
}

static void handle_exception(struct vcpu *v)
{
	uint32_t event = (uint32_t)vmread(VMCS_EXIT_EVENT);

	if ((event & EVENT_TYPE_MASK) == EVENT_NMI) {
		exit_count(v, EXIT_NMI);
		/* It was meant for the visor. The handler's IRET unblocks the next one. */
		__asm__ volatile("int $2" : : : "memory");
		return;
	}
	exit_count(v, EXIT_EXCEPTION);
	if (1u << (event & 31) & ENDLESS_EXCEPTIONS)
		vmx_reflect(v, event);
	else
		vm_fail(v, "exception %u in the guest ends it", event & 0xff);
}

static void undefined_instruction(struct vcpu *v)
{
	exit_count(v, EXIT_UNDEFINED);
	exit_raise(v, X86_UD, false, 0);
}

void vmx_handle(struct vcpu *v, uint32_t reason)
{
	if (reason & VMX_EXIT_ENTRY_FAILURE) {
		exit_count(v, EXIT_OTHER);
		vm_fail(v, "VM entry failed: %s", vmx_exit_name(reason));
		return;
	}
	switch (reason) {
	case VMX_EXIT_EXCEPTION_NMI:
		handle_exception(v);
		break;
	case VMX_EXIT_EXTERNAL_INTERRUPT:
		exit_external_interrupt(v);
		break;
	case VMX_EXIT_TRIPLE_FAULT:
		exit_triple_fault(v);
		break;
	case VMX_EXIT_INIT:
	case VMX_EXIT_SIPI:
		exit_count(v, EXIT_INIT);
		break;
	case VMX_EXIT_INTERRUPT_WINDOW:
		exit_count(v, EXIT_INTERRUPT_WINDOW);
		break;
	case VMX_EXIT_TASK_SWITCH:
		exit_task_switch(v);
		break;
	case VMX_EXIT_CPUID:
		exit_cpuid(v);
		break;
	case VMX_EXIT_HLT:
		exit_hlt(v);
		break;
	case VMX_EXIT_INVD: /* all guest memory is coherent: nothing to do */
	case VMX_EXIT_WBINVD:
		exit_count(v, EXIT_CACHE);
		exit_skip(v);
		break;
	case VMX_EXIT_RDPMC:
		exit_count(v, EXIT_RDPMC);
		exit_raise(v, X86_GP, true, 0);
		break;
	case VMX_EXIT_CR_ACCESS:
		handle_cr(v);
		break;
	case VMX_EXIT_IO:
		handle_io(v);
		break;
	case VMX_EXIT_RDMSR:
	case VMX_EXIT_WRMSR:
		exit_msr(v, reason == VMX_EXIT_WRMSR);
		break;
	case VMX_EXIT_XSETBV:
		exit_xsetbv(v);
		break;
	case VMX_EXIT_GETSEC:
	case VMX_EXIT_VMCALL ... VMX_EXIT_VMXON:
	case VMX_EXIT_MWAIT:
	case VMX_EXIT_MONITOR:
	case VMX_EXIT_INVEPT:
	case VMX_EXIT_INVVPID:
	case VMX_EXIT_VMFUNC:
	case VMX_EXIT_ENCLS:
		undefined_instruction(v);
		break;
	default:
		exit_count(v, reason == VMX_EXIT_INVLPG ? EXIT_INVLPG : EXIT_OTHER);
		vm_fail(v, "unexpected exit %u (%s)", reason, vmx_exit_name(reason));
	}
}
