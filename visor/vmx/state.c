/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's state in the VMCS, and in registers that VMX does not switch (SDM vol. 3, 25.4). */
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/exit/shadow.h"
#include "visor/vm/vm.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"
#include "visor/vmx/nested.h"

/* `index` counts as the VMCS does: ES CS SS DS FS GS LDTR TR. */
static struct x86_segment read_segment(unsigned index)
{
	return (struct x86_segment){
		.selector = (uint16_t)vmread(VMCS_GUEST_ES_SELECTOR + 2 * index),
		.access = (uint32_t)vmread(VMCS_GUEST_ES_ACCESS + 2 * index),
		.limit = (uint32_t)vmread(VMCS_GUEST_ES_LIMIT + 2 * index),
		.base = vmread(VMCS_GUEST_ES_BASE + 2 * index),
	};
}

static void write_segment(unsigned index, const struct x86_segment *s)
{
	vmwrite(VMCS_GUEST_ES_SELECTOR + 2 * index, s->selector);
	vmwrite(VMCS_GUEST_ES_ACCESS + 2 * index, s->access);
	vmwrite(VMCS_GUEST_ES_LIMIT + 2 * index, s->limit);
	vmwrite(VMCS_GUEST_ES_BASE + 2 * index, s->base);
}

uint64_t vmx_read_cr0(struct vcpu *v)
{
	if (vmx_cpu.shadow)
		return v->paging.cr0;
	if (unlikely(v->nested.l2)) /* the shadow is L1's affair */
		return (vmread(VMCS_GUEST_CR0) & ~CR0_OWNED) | (v->vmx.nested->cr0 & CR0_OWNED);
	return (vmread(VMCS_GUEST_CR0) & ~CR0_OWNED) | (vmread(VMCS_CR0_SHADOW) & CR0_OWNED);
}

uint64_t vmx_read_cr4(struct vcpu *v)
{
	if (vmx_cpu.shadow)
		return v->paging.cr4;
	if (unlikely(v->nested.l2))
		return (vmread(VMCS_GUEST_CR4) & CR4_GUEST) | (v->vmx.nested->cr4 & ~CR4_GUEST);
	return (vmread(VMCS_GUEST_CR4) & CR4_GUEST) | (vmread(VMCS_CR4_SHADOW) & ~CR4_GUEST);
}

static void write_cr0_of_guest(struct vcpu *v, uint64_t value)
{
	uint64_t fixed = rdmsr(MSR_VMX_CR0_FIXED0) & ~(X86_CR0_PE | X86_CR0_PG); /* 24.8, unrestricted guest */

	if (unlikely(v->nested.l2))
		v->vmx.nested->cr0 = value;
	vmwrite(VMCS_CR0_SHADOW, v->nested.l2 ? nvmx_cr0_shadow(v->vmx.nested, value) : value);
	vmwrite(VMCS_GUEST_CR0, (value & ~(X86_CR0_CD | X86_CR0_NW)) | fixed | X86_CR0_NE | X86_CR0_ET);
}

/* `real` is what the CPU gets of it. UMIP of a CPU that has none is made of exits (25.6.2), for as long as it is set. */
static void vmx_set_cr4(struct vcpu *v, uint64_t value, uint64_t real)
{
	if (unlikely(v->nested.l2))
		v->vmx.nested->cr4 = value;
	vmwrite(VMCS_CR4_SHADOW, v->nested.l2 ? nvmx_cr4_shadow(v->vmx.nested, value) : value);
	if (vmx_cpu.umip_by_exits) {
		real &= ~X86_CR4_UMIP;
		vmwrite(VMCS_CPU_CONTROLS2, v->vmx.secondary | (value & X86_CR4_UMIP ? CPU2_DESCRIPTOR_TABLES : 0));
	}
	vmwrite(VMCS_GUEST_CR4, real | rdmsr(MSR_VMX_CR4_FIXED0));
}

static void write_cr4_of_guest(struct vcpu *v, uint64_t value)
{
	vmx_set_cr4(v, value, value);
}

uint64_t vmx_read_efer(struct vcpu *v)
{
	return vmx_cpu.shadow ? v->paging.efer : vmread(VMCS_GUEST_EFER);
}

/* The entry control for 64-bit mode must agree with LMA (27.3.1.1). */
static void write_real_efer(uint64_t value)
{
	uint64_t entry = vmread(VMCS_ENTRY_CONTROLS) & ~(uint64_t)ENTRY_IA32E;

	vmwrite(VMCS_ENTRY_CONTROLS, value & X86_EFER_LMA ? entry | ENTRY_IA32E : entry);
	vmwrite(VMCS_GUEST_EFER, value);
}

/* All of CR0 and CR4 is the visor's: reads give the read shadows, writes that differ from them exit. */
void vmx_shadow_set_root(struct vcpu *v, const struct vmmu_root *root)
{
	const struct vmmu_paging *p = &v->paging;
	uint64_t cache = X86_CR0_CD | X86_CR0_NW;

	if (!(p->cr0 & X86_CR0_PE)) {
		vm_fail(v, "the guest turns to real mode, where VMX without unrestricted guest cannot follow");
		return;
	}
	vmwrite(VMCS_GUEST_CR3, root->pointer);
	vmwrite(VMCS_CR0_SHADOW, p->cr0);
	vmwrite(VMCS_GUEST_CR0, (shadow_real_cr0(p) & ~cache) | rdmsr(MSR_VMX_CR0_FIXED0));
	vmx_set_cr4(v, p->cr4, shadow_real_cr4(p));
	write_real_efer(shadow_real_efer(p));
}

void vmx_read_state(struct vcpu *v)
{
	struct x86_cpu_state *s = &v->state;

	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		s->segment[i] = read_segment(i);
	s->ldtr = read_segment(X86_SEGMENT_COUNT);
	s->tr = read_segment(X86_SEGMENT_COUNT + 1);
	s->gdtr = (struct x86_table_register){(uint16_t)vmread(VMCS_GUEST_GDTR_LIMIT), vmread(VMCS_GUEST_GDTR_BASE)};
	s->idtr = (struct x86_table_register){(uint16_t)vmread(VMCS_GUEST_IDTR_LIMIT), vmread(VMCS_GUEST_IDTR_BASE)};
	s->gpr[X86_RSP] = vmread(VMCS_GUEST_RSP);
	s->rip = vmread(VMCS_GUEST_RIP);
	s->rflags = vmread(VMCS_GUEST_RFLAGS);
	s->cr0 = vmx_read_cr0(v);
	s->cr3 = vmx_cpu.shadow ? v->paging.cr3 : vmread(VMCS_GUEST_CR3);
	s->cr4 = vmx_read_cr4(v);
	s->efer = vmx_read_efer(v);
	for (unsigned i = 0; i < 4; i++)
		s->pdpte[i] = vmx_cpu.shadow ? v->paging.pdpte[i] : vmread(VMCS_GUEST_PDPTE0 + 2 * i);
	s->cpl = s->segment[X86_SS].access >> 5 & 3; /* SS.DPL is the CPL (25.4.1) */
	s->pkru = s->cr4 & X86_CR4_PKE ? rdpkru() : 0;
}

void vmx_commit(struct vcpu *v)
{
	vmwrite(VMCS_GUEST_RSP, v->state.gpr[X86_RSP]);
	vmwrite(VMCS_GUEST_RIP, v->state.rip);
	vmwrite(VMCS_GUEST_RFLAGS, v->state.rflags);
}

void vmx_write_state(struct vcpu *v)
{
	const struct x86_cpu_state *s = &v->state;

	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		write_segment(i, &s->segment[i]);
	write_segment(X86_SEGMENT_COUNT, &s->ldtr);
	write_segment(X86_SEGMENT_COUNT + 1, &s->tr);
	vmwrite(VMCS_GUEST_GDTR_LIMIT, s->gdtr.limit);
	vmwrite(VMCS_GUEST_GDTR_BASE, s->gdtr.base);
	vmwrite(VMCS_GUEST_IDTR_LIMIT, s->idtr.limit);
	vmwrite(VMCS_GUEST_IDTR_BASE, s->idtr.base);
	if (!vmx_cpu.shadow) { /* else they are changed one by one, by exit/shadow.c */
		write_cr0_of_guest(v, s->cr0);
		vmwrite(VMCS_GUEST_CR3, s->cr3);
		write_cr4_of_guest(v, s->cr4);
		write_real_efer(s->efer);
	}
	vmx_commit(v);
}

void vmx_read_paging(struct vcpu *v, struct vmmu_paging *out)
{
	*out = (struct vmmu_paging){
		.cr0 = vmx_read_cr0(v),
		.cr3 = vmread(VMCS_GUEST_CR3),
		.cr4 = vmx_read_cr4(v),
		.efer = vmread(VMCS_GUEST_EFER),
		.cpu = v->vm->bus.cpu,
	};
	for (unsigned i = 0; i < 4; i++)
		out->pdpte[i] = vmread(VMCS_GUEST_PDPTE0 + 2 * i);
}

void vmx_load_paging(struct vcpu *v, const struct vmmu_paging *next)
{
	write_cr0_of_guest(v, next->cr0);
	vmwrite(VMCS_GUEST_CR3, next->cr3);
	write_cr4_of_guest(v, next->cr4);
	write_real_efer(next->efer);
	for (unsigned i = 0; i < 4; i++)
		vmwrite(VMCS_GUEST_PDPTE0 + 2 * i, next->pdpte[i]);
}

/* The instruction may have emptied the TLB (4.10.4.1). */
void vmx_write_paging(struct vcpu *v, const struct vmmu_paging *next)
{
	vmx_load_paging(v, next);
	vmx_flush(v);
}

/* CR2 and DR6 are not switched: the guest's stay in the CPU. */
uint64_t vmx_read_special(struct vcpu *v, enum cpu_special which)
{
	(void)v;
	switch (which) {
	case CPU_SPECIAL_PAT: return vmread(VMCS_GUEST_PAT);
	case CPU_SPECIAL_TSC_OFFSET: return vmread(VMCS_TSC_OFFSET);
	case CPU_SPECIAL_CR2: return read_cr2();
	case CPU_SPECIAL_DR6: return read_dr6();
	case CPU_SPECIAL_DR7: return vmread(VMCS_GUEST_DR7);
	}
	__builtin_unreachable();
}

void vmx_write_special(struct vcpu *v, enum cpu_special which, uint64_t value)
{
	(void)v;
	switch (which) {
	case CPU_SPECIAL_PAT:
		vmwrite(VMCS_GUEST_PAT, value);
		break;
	case CPU_SPECIAL_TSC_OFFSET:
		vmwrite(VMCS_TSC_OFFSET, value);
		break;
	case CPU_SPECIAL_CR2:
		write_cr2(value);
		break;
	case CPU_SPECIAL_DR6:
		write_dr6(value);
		break;
	case CPU_SPECIAL_DR7:
		vmwrite(VMCS_GUEST_DR7, value);
		break;
	}
}

bool vmx_in_64bit_code(struct vcpu *v)
{
	(void)v;
	return vmread(VMCS_GUEST_EFER) & X86_EFER_LMA && vmread(VMCS_GUEST_CS_ACCESS) & X86_ACCESS_LONG;
}

unsigned vmx_instruction_length(struct vcpu *v)
{
	(void)v;
	return (unsigned)vmread(VMCS_EXIT_INSTRUCTION_LENGTH);
}

void vmx_flush(struct vcpu *v)
{
	if (!vmx_cpu.shadow) /* without VPID every entry does it */
		v->vmx.entry_work |= ENTRY_FLUSH_EPT;
}

uint64_t vmx_trace_word(struct vcpu *v)
{
	uint64_t cr3 = vmx_cpu.shadow ? v->paging.cr3 : vmread(VMCS_GUEST_CR3);

	return (cr3 & ~(uint64_t)VMMU_TRACE_WORD_BITS) |
	       (vmread(VMCS_GUEST_SS_ACCESS) >> 5 & VMMU_TRACE_WORD_CPL) |
	       (vmx_read_cr0(v) & X86_CR0_PG ? VMMU_TRACE_WORD_PAGING : 0) |
	       (vmread(VMCS_GUEST_EFER) & X86_EFER_LMA ? VMMU_TRACE_WORD_LMA : 0) | (v->nested.l2 ? VMMU_TRACE_WORD_L2 : 0);
}
