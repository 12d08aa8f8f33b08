/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's state in the VMCB, and in registers that SVM does not switch (APM vol. 2, 15.5.1). */
#include "visor/cpu/x86.h"
#include "visor/exit/shadow.h"
#include "visor/lib/string.h"
#include "visor/svm/internal.h"
#include "visor/svm/vmcb.h"
#include "visor/vm/nested.h"
#include "visor/vm/vm.h"

static struct x86_segment from_vmcb(const struct vmcb_segment *s)
{
	uint32_t access = (s->attributes & 0xff) | (s->attributes & 0xf00u) << 4;

	return (struct x86_segment){
		.selector = s->selector,
		.access = access & 1u << 7 ? access : access | X86_ACCESS_UNUSABLE,
		.limit = s->limit,
		.base = s->base,
	};
}

static struct vmcb_segment to_vmcb(const struct x86_segment *s)
{
	uint32_t access = s->access & X86_ACCESS_UNUSABLE ? 0 : s->access;

	return (struct vmcb_segment){
		.selector = s->selector,
		.attributes = (uint16_t)((access & 0xff) | (access >> 4 & 0xf00)),
		.limit = s->limit,
		.base = s->base,
	};
}

/*
 * Under nested paging the CPU reads the PDPTEs when a walk needs them, and checks
 * nothing before (15.25.10). QEMU takes them for entries as all others are, and
 * sets the accessed bit there, which a load of CR3 would refuse.
 */
static void read_pdptes(struct vcpu *v, struct x86_cpu_state *s)
{
	for (unsigned i = 0; i < 4; i++) {
		if (!nested_read(v, (s->cr3 & 0xffffffe0) + 8 * i, 8, &s->pdpte[i]))
			s->pdpte[i] = 0;
	}
}

static void load_paging(struct vcpu *v, struct x86_cpu_state *s)
{
	const struct vmcb *b = v->svm.vmcb;

	if (svm_is_shadow(v)) {
		s->cr0 = v->paging.cr0;
		s->cr3 = v->paging.cr3;
		s->cr4 = v->paging.cr4;
		s->efer = v->paging.efer;
		memcpy(s->pdpte, v->paging.pdpte, sizeof(s->pdpte));
		return;
	}
	s->cr0 = b->cr0;
	s->cr3 = b->cr3;
	s->cr4 = svm_read_cr4(v);
	s->efer = svm_read_efer(v);
	if (s->cr0 & X86_CR0_PG && s->cr4 & X86_CR4_PAE && !(s->efer & X86_EFER_LMA))
		read_pdptes(v, s);
}

/* All but the general registers that the entry code keeps. */
void svm_load_state(struct vcpu *v, struct x86_cpu_state *s)
{
	struct vmcb *b = v->svm.vmcb;
	const struct vmcb_segment *segments[] = {&b->es, &b->cs, &b->ss, &b->ds, &b->fs, &b->gs};

	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		s->segment[i] = from_vmcb(segments[i]);
	s->ldtr = from_vmcb(&b->ldtr);
	s->tr = from_vmcb(&b->tr);
	s->gdtr = (struct x86_table_register){(uint16_t)b->gdtr.limit, b->gdtr.base};
	s->idtr = (struct x86_table_register){(uint16_t)b->idtr.limit, b->idtr.base};
	s->gpr[X86_RAX] = b->rax;
	s->gpr[X86_RSP] = b->rsp;
	s->rip = b->rip;
	s->rflags = b->rflags;
	load_paging(v, s);
	s->cpl = b->cpl;
	s->pkru = s->cr4 & X86_CR4_PKE ? rdpkru() : 0;
}

void svm_read_state(struct vcpu *v)
{
	svm_load_state(v, &v->state);
}

/* Into the VMCB what the guest or the visor may have changed in registers. */
void svm_commit(struct vcpu *v)
{
	struct vmcb *b = v->svm.vmcb;

	b->rax = v->state.gpr[X86_RAX];
	b->rsp = v->state.gpr[X86_RSP];
	b->rip = v->state.rip;
	b->rflags = v->state.rflags;
}

/* Exits that make UMIP where the CPU has none (15.9): all that it keeps from user code, SMSW by reads of CR0. */
#define UMIP_INTERCEPTS (INTERCEPT_IDTR_READ | INTERCEPT_GDTR_READ | INTERCEPT_LDTR_READ | INTERCEPT_TR_READ)
#define UMIP_CR_READS (1u << 0 | 1u << 4) /* CR4 tells of UMIP */

void svm_set_cr4(struct vcpu *v, uint64_t value, uint64_t real)
{
	struct vmcb *b = v->svm.vmcb;

	v->svm.umip = svm_cpu.umip_by_exits && value & X86_CR4_UMIP;
	b->cr4 = v->svm.umip ? real & ~X86_CR4_UMIP : real;
	b->intercept1 = v->svm.umip ? b->intercept1 | UMIP_INTERCEPTS : b->intercept1 & ~(uint32_t)UMIP_INTERCEPTS;
	b->cr_read = (uint16_t)(v->svm.umip ? b->cr_read | UMIP_CR_READS : b->cr_read & ~UMIP_CR_READS);
}

void svm_write_state(struct vcpu *v)
{
	struct vmcb *b = v->svm.vmcb;
	const struct x86_cpu_state *s = &v->state;
	struct vmcb_segment *segments[] = {&b->es, &b->cs, &b->ss, &b->ds, &b->fs, &b->gs};

	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		*segments[i] = to_vmcb(&s->segment[i]);
	b->ldtr = to_vmcb(&s->ldtr);
	b->tr = to_vmcb(&s->tr);
	b->gdtr.limit = s->gdtr.limit;
	b->gdtr.base = s->gdtr.base;
	b->idtr.limit = s->idtr.limit;
	b->idtr.base = s->idtr.base;
	if (!svm_is_shadow(v)) { /* else they are changed one by one, by exit/shadow.c */
		b->cr0 = s->cr0;
		b->cr3 = s->cr3;
		if (unlikely(s->cr4 != svm_read_cr4(v)))
			svm_set_cr4(v, s->cr4, s->cr4);
		b->efer = s->efer | X86_EFER_SVME;
	}
	b->cpl = s->cpl;
	svm_commit(v);
}

static uint64_t *special(struct vcpu *v, enum cpu_special which)
{
	struct vmcb *b = v->svm.vmcb;

	switch (which) {
	case CPU_SPECIAL_PAT: return &b->pat;
	case CPU_SPECIAL_TSC_OFFSET: return &b->tsc_offset;
	case CPU_SPECIAL_CR2: return &b->cr2;
	case CPU_SPECIAL_DR6: return &b->dr6;
	case CPU_SPECIAL_DR7: return &b->dr7;
	}
	__builtin_unreachable();
}

uint64_t svm_read_special(struct vcpu *v, enum cpu_special which)
{
	return *special(v, which);
}

void svm_write_special(struct vcpu *v, enum cpu_special which, uint64_t value)
{
	*special(v, which) = value;
}

uint64_t svm_read_cr0(struct vcpu *v)
{
	return svm_is_shadow(v) ? v->paging.cr0 : v->svm.vmcb->cr0;
}

uint64_t svm_read_cr4(struct vcpu *v)
{
	return svm_is_shadow(v) ? v->paging.cr4 : v->svm.vmcb->cr4 | (v->svm.umip ? X86_CR4_UMIP : 0);
}

uint64_t svm_read_efer(struct vcpu *v)
{
	return svm_is_shadow(v) ? v->paging.efer : (v->svm.vmcb->efer & ~X86_EFER_SVME) | (v->svm.svme ? X86_EFER_SVME : 0);
}

void svm_read_paging(struct vcpu *v, struct vmmu_paging *out)
{
	const struct vmcb *b = v->svm.vmcb;

	*out = (struct vmmu_paging){
		.cr0 = b->cr0,
		.cr3 = b->cr3,
		.cr4 = svm_read_cr4(v),
		.efer = svm_read_efer(v),
		.cpu = v->vm->bus.cpu,
	};
}

/* VMRUN wants EFER.SVME set (15.5.1). The instruction may have emptied the TLB. */
void svm_write_paging(struct vcpu *v, const struct vmmu_paging *next)
{
	struct vmcb *b = v->svm.vmcb;

	b->cr0 = next->cr0;
	b->cr3 = next->cr3;
	svm_set_cr4(v, next->cr4, next->cr4);
	b->efer = next->efer | X86_EFER_SVME;
	v->svm.svme = next->efer & X86_EFER_SVME;
	svm_flush(v);
}

bool svm_in_64bit_code(struct vcpu *v)
{
	return svm_is_64bit_code(v->svm.vmcb);
}

/* Reads of a register are left alone while the CPU's own says the same as the guest's. */
void svm_shadow_set_root(struct vcpu *v, const struct vmmu_root *root)
{
	struct vmcb *b = v->svm.vmcb;
	const struct vmmu_paging *p = &v->paging;

	b->cr3 = v->svm.root = root->pointer;
	b->cr0 = shadow_real_cr0(p);
	svm_set_cr4(v, p->cr4, shadow_real_cr4(p));
	b->efer = shadow_real_efer(p) | X86_EFER_SVME;
	b->cr_read |= (b->cr0 != p->cr0 ? 1u << 0 : 0) | (b->cr4 != p->cr4 ? 1u << 4 : 0);
}

void svm_flush(struct vcpu *v)
{
	v->svm.vmcb->tlb_control = TLB_FLUSH_ALL;
}

uint64_t svm_trace_word(struct vcpu *v)
{
	const struct vmcb *b = v->svm.vmcb;
	uint64_t cr3 = svm_is_shadow(v) ? v->paging.cr3 : b->cr3;

	return (cr3 & ~(uint64_t)VMMU_TRACE_WORD_BITS) | b->cpl |
	       (svm_read_cr0(v) & X86_CR0_PG ? VMMU_TRACE_WORD_PAGING : 0) |
	       (b->efer & X86_EFER_LMA ? VMMU_TRACE_WORD_LMA : 0) | (v->nested.l2 ? VMMU_TRACE_WORD_L2 : 0);
}
