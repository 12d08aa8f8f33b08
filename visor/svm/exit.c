/* SPDX-License-Identifier: BSD-2-Clause */
/* AMD-V, with and without nested paging: APM vol. 2, chapter 15 "Secure Virtual Machine". */
#include "visor/svm/svm.h"

#include <vmmu/exit.h>

#include "visor/cpu/gpr_offsets.h"
#include "visor/cpu/x86.h"
#include "visor/emulate/emulate.h"
#include "visor/exit/exit.h"
#include "visor/exit/shadow.h"
#include "visor/host/frame.h"
#include "visor/host/log.h"
#include "visor/lib/string.h"
#include "visor/svm/vmcb.h"
#include "visor/vm/memory.h"
#include "visor/vm/vm.h"

_Static_assert(offsetof(struct vcpu, state.gpr[X86_RDI]) == GPR_RDI, "svm/entry.S");
_Static_assert(offsetof(struct vcpu, state.gpr[X86_R15]) == GPR_R15, "svm/entry.S");

#define VM_CR_SVMDIS (1ull << 4)
#define IO_BITMAP_ORDER 2           /* 12 KiB (15.10.1), as a run of four frames */
#define MSR_BITMAP_ORDER 1          /* 8 KiB (15.11) */
#define GUEST_ASID 1
#define CPUID_TCG_EBX 0x54474354    /* "TCGT" of TCGTCGTCGTCG */
#define ULL(x) ((unsigned long long)(x))

void svm_loop(struct vcpu *vcpu, uint64_t vmcb);
bool svm_exit(struct vcpu *v);

/* Where the CPU keeps the visor's own state while a guest runs (15.30.4). */
static uint64_t host_save_area;
static bool has_next_rip;
/*
 * QEMU's TCG, as its CPUID says: once, on a busy machine, a guest test saw an
 * injected interrupt twice. Offered as a virtual interrupt it takes another way
 * there. (Bochs, for its part, never takes a virtual interrupt for delivered.)
 */
static bool may_inject_twice;

/* ---- turning it on ------------------------------------------------------------ */

static bool svm_present(void)
{
	return cpuid(0x80000000, 0).eax >= 0x8000000a && cpuid(0x80000001, 0).ecx & 1u << 2;
}

static bool is_shadow(const struct vcpu *v)
{
	return v->backend->mode == VMMU_MODE_SHADOW;
}

static bool enable(const struct cpuid features, const char **reason)
{
	if (rdmsr(MSR_VM_CR) & VM_CR_SVMDIS) {
		*reason = "SVM is switched off by the firmware (VM_CR.SVMDIS): enable it in the firmware's setup";
		return false;
	}
	has_next_rip = features.edx & 1u << 3;
	may_inject_twice = cpuid(1, 0).ecx & 1u << 31 && cpuid(0x40000000, 0).ebx == CPUID_TCG_EBX;
	host_save_area = frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, true);
	if (!host_save_area) {
		*reason = "no memory for the host save area";
		return false;
	}
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | X86_EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, host_save_area);
	return true;
}

static bool svm_shadow_enable(const char **reason)
{
	return enable(cpuid(0x8000000a, 0), reason);
}

static bool svm_enable(const char **reason)
{
	struct cpuid features = cpuid(0x8000000a, 0);

	if (!(features.edx & 1u << 0)) {
		*reason = "this CPU has SVM but no nested paging (NPT): try mmu=shadow";
		return false;
	}
	return enable(features, reason);
}

static void svm_describe(struct vmmu_cpu *out)
{
	*out = (struct vmmu_cpu){
		.maxphyaddr = (uint8_t)cpuid(0x80000008, 0).eax,
		.page_2m = true,
		.page_1g = cpuid(0x80000001, 0).edx & 1u << 26,
		.ad = true,
		.nx = true, /* boot/entry.S sets EFER.NXE */
	};
}

/* The depth of the walk goes by the CR4 that the guest runs with. */
static void svm_shadow_describe(struct vmmu_cpu *out)
{
	svm_describe(out);
	out->levels5 = cpuid_has_la57();
}

/* Nothing needs switching on: what CPUID shows works in a guest. A nested walk knows four levels here. */
static bool svm_allows(enum cpu_feature feature)
{
	return feature != CPU_FEATURE_LA57;
}

/* On shadow tables a guest's PCIDs are not the CPU's: INVPCID would be refused. */
static bool svm_shadow_allows(enum cpu_feature feature)
{
	return feature != CPU_FEATURE_INVPCID;
}

/* ---- control block ------------------------------------------------------------- */

/* The MSR permission map has two bits per register, read and write (15.11). */
static void pass_msr(uint8_t *bitmap, uint32_t msr)
{
	uint32_t bit = msr < 0x2000 ? msr * 2 : 0x4000 + (msr & 0x1fff) * 2;

	bitmap[bit / 8] &= (uint8_t)~(3u << bit % 8);
}

static void fill_bitmaps(struct vcpu *v)
{
	/* Switched by VMLOAD and VMSAVE or not used by the visor: the guest's own. */
	static const uint32_t own[] = {
		MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK,
		MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP,
	};
	uint8_t *msrs = (uint8_t *)(uintptr_t)v->svm.msr_bitmap;

	memset((void *)(uintptr_t)v->svm.io_bitmap, 0xff, VMMU_PAGE_SIZE << IO_BITMAP_ORDER);
	memset(msrs, 0xff, VMMU_PAGE_SIZE << MSR_BITMAP_ORDER);
	for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		pass_msr(msrs, own[i]);
}

/* Without nested paging the visor must see what becomes of the guest's own (15.12.15, 15.8). */
static void intercept_paging(struct vmcb *b)
{
	b->cr_read |= 1u << 3;
	b->cr_write |= 1u << 0 | 1u << 3 | 1u << 4;
	b->exceptions |= 1u << X86_PF;
	b->intercept1 |= INTERCEPT_TASK_SWITCH;
}

static void svm_vcpu_free(struct vcpu *v)
{
	if (v->svm.vmcb)
		frame_free((uintptr_t)v->svm.vmcb, FRAME_ORDER_4K);
	if (v->svm.io_bitmap)
		frame_free(v->svm.io_bitmap, IO_BITMAP_ORDER);
	if (v->svm.msr_bitmap)
		frame_free(v->svm.msr_bitmap, MSR_BITMAP_ORDER);
	memset(&v->svm, 0, sizeof(v->svm));
}

static bool svm_vcpu_init(struct vcpu *v)
{
	struct vmcb *b = (void *)(uintptr_t)frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, true);

	v->svm.vmcb = b;
	v->svm.io_bitmap = frame_alloc(IO_BITMAP_ORDER, FRAME_VISOR, false);
	v->svm.msr_bitmap = frame_alloc(MSR_BITMAP_ORDER, FRAME_VISOR, false);
	if (!b || !v->svm.io_bitmap || !v->svm.msr_bitmap) {
		svm_vcpu_free(v);
		return false;
	}
	fill_bitmaps(v);
	b->cr_read = b->cr_write = 1u << 8; /* CR8 is the emulated local APIC's */
	b->exceptions = 1u << X86_MC | ENDLESS_EXCEPTIONS;
	b->intercept1 = INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_INIT | INTERCEPT_RDPMC | INTERCEPT_CPUID |
	                INTERCEPT_INVD | INTERCEPT_HLT | INTERCEPT_INVLPGA | INTERCEPT_IO | INTERCEPT_MSR |
	                INTERCEPT_FERR | INTERCEPT_SHUTDOWN;
	b->intercept2 = INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE |
	                INTERCEPT_STGI | INTERCEPT_CLGI | INTERCEPT_SKINIT | INTERCEPT_WBINVD |
	                INTERCEPT_MONITOR | INTERCEPT_MWAIT | INTERCEPT_XSETBV | INTERCEPT_RDPRU;
	b->intercept3 = INTERCEPT_INVLPGB | INTERCEPT_INVLPGB_ILLEGAL | INTERCEPT_TLBSYNC;
	b->io_bitmap = v->svm.io_bitmap;
	b->msr_bitmap = v->svm.msr_bitmap;
	b->asid = GUEST_ASID;
	b->tlb_control = TLB_FLUSH_ALL;
	b->virtual_interrupt = VIRTUAL_INTERRUPT_MASKING;
	b->host_word = (uintptr_t)v;
	b->efer = X86_EFER_SVME;
	b->dr6 = 0xffff0ff0;
	b->dr7 = 0x400;
	b->pat = 0x0007040600070406; /* as after reset (7.8.1) */
	if (is_shadow(v))
		intercept_paging(b);
	else
		b->nested_control = NESTED_PAGING;
	return true;
}

static void svm_set_root(struct vcpu *v, const struct vmmu_root *root)
{
	v->svm.vmcb->nested_cr3 = root->pointer;
}

/* Reads of a register are left alone while the CPU's own says the same as the guest's. */
static void svm_shadow_set_root(struct vcpu *v, const struct vmmu_root *root)
{
	struct vmcb *b = v->svm.vmcb;
	const struct vmmu_paging *p = &v->paging;

	b->cr3 = v->svm.root = root->pointer;
	b->cr0 = shadow_real_cr0(p);
	b->cr4 = shadow_real_cr4(p);
	b->efer = shadow_real_efer(p) | X86_EFER_SVME;
	b->cr_read &= (uint16_t)~(1u << 0 | 1u << 4);
	b->cr_read |= (b->cr0 != p->cr0 ? 1u << 0 : 0) | (b->cr4 != p->cr4 ? 1u << 4 : 0);
}

/* ---- state ------------------------------------------------------------------------ */

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

static void vmsave(struct vmcb *b)
{
	__asm__ volatile("vmsave %%rax" : : "a"(b) : "memory");
}

static void vmload(struct vmcb *b)
{
	__asm__ volatile("vmload %%rax" : : "a"(b) : "memory");
}

/*
 * Under nested paging the CPU reads the PDPTEs when a walk needs them, and checks
 * nothing before (15.25.10). QEMU takes them for entries as all others are, and
 * sets the accessed bit there, which a load of CR3 would refuse.
 */
static void read_pdptes(struct vcpu *v, struct x86_cpu_state *s)
{
	for (unsigned i = 0; i < 4; i++) {
		if (!memory_guest_read(v->vm, vmmu_gpa_of((s->cr3 & 0xffffffe0) + 8 * i), 8, &s->pdpte[i]))
			s->pdpte[i] = 0;
	}
}

static void load_paging(struct vcpu *v, struct x86_cpu_state *s)
{
	const struct vmcb *b = v->svm.vmcb;

	if (is_shadow(v)) {
		s->cr0 = v->paging.cr0;
		s->cr3 = v->paging.cr3;
		s->cr4 = v->paging.cr4;
		s->efer = v->paging.efer;
		memcpy(s->pdpte, v->paging.pdpte, sizeof(s->pdpte));
		return;
	}
	s->cr0 = b->cr0;
	s->cr3 = b->cr3;
	s->cr4 = b->cr4;
	s->efer = b->efer & ~X86_EFER_SVME;
	if (s->cr0 & X86_CR0_PG && s->cr4 & X86_CR4_PAE && !(s->efer & X86_EFER_LMA))
		read_pdptes(v, s);
}

/* All but the general registers that the entry code keeps. Only while a guest's state is loaded. */
static void load_state(struct vcpu *v, struct x86_cpu_state *s)
{
	struct vmcb *b = v->svm.vmcb;
	const struct vmcb_segment *segments[] = {&b->es, &b->cs, &b->ss, &b->ds, &b->fs, &b->gs};

	vmsave(b); /* FS, GS, TR and LDTR are still in the CPU */
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

static void svm_read_state(struct vcpu *v)
{
	load_state(v, &v->state);
}

/* Into the VMCB what the guest or the visor may have changed in registers. */
static void commit(struct vcpu *v)
{
	struct vmcb *b = v->svm.vmcb;

	b->rax = v->state.gpr[X86_RAX];
	b->rsp = v->state.gpr[X86_RSP];
	b->rip = v->state.rip;
	b->rflags = v->state.rflags;
}

static void svm_write_state(struct vcpu *v)
{
	struct vmcb *b = v->svm.vmcb;
	const struct x86_cpu_state *s = &v->state;
	struct vmcb_segment *segments[] = {&b->es, &b->cs, &b->ss, &b->ds, &b->fs, &b->gs};

	vmsave(b); /* the fields of VMLOAD that are not in x86_cpu_state */
	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		*segments[i] = to_vmcb(&s->segment[i]);
	b->ldtr = to_vmcb(&s->ldtr);
	b->tr = to_vmcb(&s->tr);
	b->gdtr.limit = s->gdtr.limit;
	b->gdtr.base = s->gdtr.base;
	b->idtr.limit = s->idtr.limit;
	b->idtr.base = s->idtr.base;
	if (!is_shadow(v)) { /* else they are changed one by one, by exit/shadow.c */
		b->cr0 = s->cr0;
		b->cr3 = s->cr3;
		b->cr4 = s->cr4;
		b->efer = s->efer | X86_EFER_SVME;
	}
	b->cpl = s->cpl;
	commit(v);
	vmload(b);
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

static uint64_t svm_read_special(struct vcpu *v, enum cpu_special which)
{
	return *special(v, which);
}

static void svm_write_special(struct vcpu *v, enum cpu_special which, uint64_t value)
{
	*special(v, which) = value;
}

static uint64_t svm_read_cr0(struct vcpu *v)
{
	return is_shadow(v) ? v->paging.cr0 : v->svm.vmcb->cr0;
}

static uint64_t svm_read_cr4(struct vcpu *v)
{
	return is_shadow(v) ? v->paging.cr4 : v->svm.vmcb->cr4;
}

static uint64_t svm_read_efer(struct vcpu *v)
{
	return is_shadow(v) ? v->paging.efer : v->svm.vmcb->efer & ~X86_EFER_SVME;
}

static void svm_write_efer(struct vcpu *v, uint64_t value)
{
	if (is_shadow(v))
		shadow_write_efer(v, value);
	else
		v->svm.vmcb->efer = value | X86_EFER_SVME; /* VMRUN wants it set (15.5.1) */
}

static bool svm_in_64bit_code(struct vcpu *v)
{
	const struct vmcb *b = v->svm.vmcb;

	return b->efer & X86_EFER_LMA && b->cs.attributes & X86_ACCESS_LONG >> 4;
}

static bool svm_interrupts_shadowed(struct vcpu *v)
{
	return v->svm.vmcb->interrupt_shadow & 1;
}

static void svm_clear_shadow(struct vcpu *v)
{
	v->svm.vmcb->interrupt_shadow &= ~1ull;
}

#define VIRTUAL_INTERRUPT (VIRTUAL_INTERRUPT_REQUEST | VIRTUAL_INTERRUPT_PRIORITY | VIRTUAL_INTERRUPT_IGNORE_TPR)

/* A virtual interrupt that is never delivered: its intercept says when it could be (15.21.4). */
static void svm_want_window(struct vcpu *v, bool on)
{
	struct vmcb *b = v->svm.vmcb;

	if (on) {
		b->virtual_interrupt |= VIRTUAL_INTERRUPT;
		b->intercept1 |= INTERCEPT_VINTR;
	} else {
		b->virtual_interrupt &= ~VIRTUAL_INTERRUPT;
		b->intercept1 &= ~(uint32_t)INTERCEPT_VINTR;
	}
}

/* The usual form, without prefixes, of the instructions that exit. */
static const struct plain_instruction {
	uint16_t exit_code;
	uint8_t length, bytes[2];
} plain_instructions[] = {
	{SVM_EXIT_CPUID, 2, {0x0f, 0xa2}}, {SVM_EXIT_MSR, 2, {0x0f, 0x30}},  {SVM_EXIT_MSR, 2, {0x0f, 0x32}},
	{SVM_EXIT_HLT, 1, {0xf4}},         {SVM_EXIT_WBINVD, 2, {0x0f, 0x09}}, {SVM_EXIT_INVD, 2, {0x0f, 0x08}},
};

static unsigned plain_length(struct vcpu *v, const struct x86_cpu_state *s)
{
	uint8_t bytes[2] = {0};
	unsigned count = guest_fetch(s, &v->vm->bus, bytes, sizeof(bytes));

	for (unsigned i = 0; i < sizeof(plain_instructions) / sizeof(plain_instructions[0]); i++) {
		const struct plain_instruction *p = &plain_instructions[i];

		if (p->exit_code == v->svm.vmcb->exit_code && count >= p->length &&
		    memcmp(bytes, p->bytes, p->length) == 0)
			return p->length;
	}
	return 0;
}

/* Without next-RIP save: look at what is at CS:RIP, and decode it when it is nothing usual. */
static unsigned svm_instruction_length(struct vcpu *v)
{
	const struct vmcb *b = v->svm.vmcb;
	uint8_t bytes[EMULATE_MAX_INSTRUCTION];
	struct x86_cpu_state s;
	unsigned length;

	if (b->exit_code == SVM_EXIT_IO)
		return (unsigned)(b->exit_info2 - b->rip); /* 15.10.2: EXITINFO2 is the next RIP */
	if (has_next_rip && b->next_rip)
		return (unsigned)(b->next_rip - b->rip);
	load_state(v, &s);
	length = plain_length(v, &s);
	if (length)
		return length;
	return instruction_length(&s, bytes, guest_fetch(&s, &v->vm->bus, bytes, sizeof(bytes)));
}

static void svm_flush(struct vcpu *v)
{
	v->svm.vmcb->tlb_control = TLB_FLUSH_ALL;
}

static uint64_t svm_trace_word(struct vcpu *v)
{
	const struct vmcb *b = v->svm.vmcb;
	uint64_t cr3 = is_shadow(v) ? v->paging.cr3 : b->cr3;

	return (cr3 & ~(uint64_t)VMMU_TRACE_WORD_BITS) | b->cpl |
	       (svm_read_cr0(v) & X86_CR0_PG ? VMMU_TRACE_WORD_PAGING : 0) |
	       (b->efer & X86_EFER_LMA ? VMMU_TRACE_WORD_LMA : 0);
}

/* ---- exits -------------------------------------------------------------------------- */

/*
 * Where event injection is not to be trusted, an external interrupt is delivered
 * as a virtual one (15.21.4): the guest can take it now, so that the CPU does so
 * before anything else.
 */
static void offer_interrupt(struct vcpu *v, unsigned vector)
{
	struct vmcb *b = v->svm.vmcb;

	/* A window for the next one can wait: this one's handler tells the controller of its end. */
	svm_want_window(v, false);
	v->window_wanted = false;
	b->virtual_interrupt &= ~(0xffull << VIRTUAL_INTERRUPT_VECTOR_SHIFT);
	b->virtual_interrupt |= VIRTUAL_INTERRUPT | (uint64_t)vector << VIRTUAL_INTERRUPT_VECTOR_SHIFT;
}

/* The interrupt that was offered and has not been delivered; or 0. */
static uint32_t withdraw_interrupt(struct vmcb *b)
{
	if (b->intercept1 & INTERCEPT_VINTR || !(b->virtual_interrupt & VIRTUAL_INTERRUPT_REQUEST))
		return 0;
	b->virtual_interrupt &= ~VIRTUAL_INTERRUPT;
	return EVENT_VALID | EVENT_EXTERNAL | (b->virtual_interrupt >> VIRTUAL_INTERRUPT_VECTOR_SHIFT & 0xff);
}

/* Events whose delivery this exit broke off, for the next entry (15.7.2). */
static void recover_event(struct vcpu *v)
{
	struct vmcb *b = v->svm.vmcb;
	uint32_t offered = withdraw_interrupt(b), event = (uint32_t)b->exit_interrupt_info;
	unsigned vector = event & 0xff;

	v->event = event & EVENT_VALID ? 0 : offered;
	if (!(event & EVENT_VALID))
		return;
	/* INT3 and INTO, which only these instructions raise: as VMX tells of them. */
	if ((event & EVENT_TYPE_MASK) == EVENT_EXCEPTION && (vector == 3 || vector == 4))
		event = (event & ~EVENT_TYPE_MASK & ~EVENT_HAS_ERROR) | EVENT_SOFTWARE_EXCEPTION;
	/* QEMU reports an interrupt as an exception; no exception has such a vector. */
	if ((event & EVENT_TYPE_MASK) == EVENT_EXCEPTION && vector >= 32)
		event = (event & ~EVENT_TYPE_MASK) | EVENT_EXTERNAL;
	v->event = event;
	v->event_error = (uint32_t)(b->exit_interrupt_info >> 32);
}

/* INTn, INT3 and INTO: RIP still points at them. */
static bool executes_again(uint32_t event)
{
	uint32_t type = event & EVENT_TYPE_MASK;

	return type == EVENT_SOFTWARE_INTERRUPT || type == EVENT_SOFTWARE_EXCEPTION;
}

static void inject_event(struct vcpu *v)
{
	bool deliver = v->event & EVENT_VALID && !executes_again(v->event);

	if (may_inject_twice && deliver && (v->event & EVENT_TYPE_MASK) == EVENT_EXTERNAL) {
		offer_interrupt(v, v->event & 0xff);
		deliver = false;
	}
	v->svm.vmcb->event_injection = deliver ? v->event | (uint64_t)v->event_error << 32 : 0;
	v->event = 0;
}

static unsigned fetch(struct vcpu *v, uint8_t *bytes)
{
	struct x86_cpu_state s = {0};

	load_state(v, &s);
	return guest_fetch(&s, &v->vm->bus, bytes, EMULATE_MAX_INSTRUCTION);
}

/*
 * What the prefixes of INS or OUTS say: the segment (DS without one) and the
 * address size. Decode assists are not on every CPU, and QEMU leaves the
 * address size out of EXITINFO1.
 */
static void read_string_prefixes(struct vcpu *v, struct io_access *io)
{
	const struct vmcb *b = v->svm.vmcb;
	bool big = b->cs.attributes & X86_ACCESS_BIG >> 4, other = false;
	uint8_t bytes[EMULATE_MAX_INSTRUCTION];
	unsigned count = fetch(v, bytes);

	io->segment = X86_DS;
	for (unsigned i = 0; i < count && (bytes[i] & 0xfc) != 0x6c; i++) {
		switch (bytes[i]) {
		case 0x26: io->segment = X86_ES; break;
		case 0x2e: io->segment = X86_CS; break;
		case 0x36: io->segment = X86_SS; break;
		case 0x3e: io->segment = X86_DS; break;
		case 0x64: io->segment = X86_FS; break;
		case 0x65: io->segment = X86_GS; break;
		case 0x67: other = true; break;
		}
	}
	if (svm_in_64bit_code(v))
		io->address_size = other ? 4 : 8;
	else
		io->address_size = big != other ? 4 : 2;
}

/* EXITINFO1: 15.10.2, figure 15-3. */
static void handle_io(struct vcpu *v)
{
	uint64_t info = v->svm.vmcb->exit_info1;
	struct io_access io = {
		.port = (uint16_t)(info >> 16),
		.in = info & 1,
		.string = info & 4,
		.rep = info & 8,
		.size = info >> 4 & 7,
	};

	if (io.string)
		read_string_prefixes(v, &io);
	exit_io(v, &io);
}

/*
 * What is at CS:RIP, for CPUs without decode assists: prefixes (REX last), then
 * 0F 20 or 22 with the general register in ModRM.rm, 0F 06, or something else
 * that is left to the emulator. False: it cannot be read.
 */
static bool decode_cr_access(struct vcpu *v, bool write, unsigned cr, struct cr_access *out)
{
	uint8_t bytes[EMULATE_MAX_INSTRUCTION];
	unsigned count = fetch(v, bytes), at = 0, high = 0;

	for (; at < count && bytes[at] != 0x0f; at++)
		high = (bytes[at] & 0xf1) == 0x41 ? 8 : 0;
	if (at + 2 > count)
		return false;
	*out = (struct cr_access){.operation = CR_OTHER, .cr = (uint8_t)cr, .length = (uint8_t)(at + 3)};
	if (bytes[at + 1] == 0x06) {
		out->operation = CR_CLTS;
		out->length--;
	} else if ((bytes[at + 1] & 0xfd) == 0x20) {
		if (at + 2 == count)
			return false;
		out->operation = write ? CR_WRITE : CR_READ;
		out->gpr = (uint8_t)((bytes[at + 2] & 7u) | high);
	}
	return true;
}

static void handle_cr(struct vcpu *v, uint64_t exit_code)
{
	bool write = exit_code >= SVM_EXIT_CR_WRITE;
	struct cr_access access;

	if (!decode_cr_access(v, write, exit_code & 15, &access))
		vm_fail(v, "the instruction that accessed CR%u cannot be read", (unsigned)exit_code & 15);
	else if (access.cr == 8)
		exit_cr8(v, write, access.gpr);
	else
		exit_cr(v, &access);
}

static const char *exit_code_name(uint64_t code)
{
	static const struct {
		uint64_t code;
		const char *name;
	} names[] = {
		{SVM_EXIT_EXCEPTION + X86_PF, "page fault"}, {SVM_EXIT_TASK_SWITCH, "task switch"},
		{SVM_EXIT_EXCEPTION + X86_MC, "machine check"}, {SVM_EXIT_INTR, "physical interrupt"},
		{SVM_EXIT_NMI, "NMI"}, {SVM_EXIT_INIT, "INIT"}, {SVM_EXIT_VINTR, "virtual interrupt"},
		{SVM_EXIT_RDPMC, "RDPMC"}, {SVM_EXIT_CPUID, "CPUID"}, {SVM_EXIT_INVD, "INVD"},
		{SVM_EXIT_HLT, "HLT"}, {SVM_EXIT_INVLPGA, "INVLPGA"}, {SVM_EXIT_IO, "I/O"},
		{SVM_EXIT_MSR, "MSR"}, {SVM_EXIT_FERR, "FERR freeze"}, {SVM_EXIT_SHUTDOWN, "shutdown"},
		{SVM_EXIT_VMRUN, "VMRUN"}, {SVM_EXIT_VMMCALL, "VMMCALL"}, {SVM_EXIT_VMLOAD, "VMLOAD"},
		{SVM_EXIT_VMSAVE, "VMSAVE"}, {SVM_EXIT_STGI, "STGI"}, {SVM_EXIT_CLGI, "CLGI"},
		{SVM_EXIT_SKINIT, "SKINIT"}, {SVM_EXIT_WBINVD, "WBINVD"}, {SVM_EXIT_MONITOR, "MONITOR"},
		{SVM_EXIT_MWAIT, "MWAIT"}, {SVM_EXIT_XSETBV, "XSETBV"}, {SVM_EXIT_RDPRU, "RDPRU"},
		{SVM_EXIT_NPF, "nested page fault"},
	};

	if ((uint32_t)code == SVM_EXIT_INVALID)
		return "invalid guest state";
	if (code <= SVM_EXIT_CR_LAST)
		return code >= SVM_EXIT_CR_WRITE ? "CR write" : "CR read";
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].code == code)
			return names[i].name;
	}
	return "unknown";
}

static void svm_dump(struct vcpu *v)
{
	const struct vmcb *b = v->svm.vmcb;

	log_line("  exit %llx (%s) info1 %llx info2 %llx event %llx", ULL(b->exit_code), exit_code_name(b->exit_code),
	         ULL(b->exit_info1), ULL(b->exit_info2), ULL(b->exit_interrupt_info));
	log_line("  vmcb %llx ncr3 %llx asid %u vintr %llx shadow %llx cr2 %llx dr6 %llx dr7 %llx", ULL((uintptr_t)b),
	         ULL(b->nested_cr3), b->asid, ULL(b->virtual_interrupt), ULL(b->interrupt_shadow), ULL(b->cr2),
	         ULL(b->dr6), ULL(b->dr7));
}

/* Give the guest the exception that it has raised; DR6 tells of it already (15.12.2). */
static void reflect(struct vcpu *v, unsigned vector)
{
	exit_count(v, EXIT_EXCEPTION);
	if (vector == X86_DB)
		v->svm.vmcb->dr7 &= ~X86_DR7_DETECT;
	exit_raise(v, vector, vector == X86_AC, (uint32_t)v->svm.vmcb->exit_info1);
}

static void undefined_instruction(struct vcpu *v)
{
	exit_count(v, EXIT_UNDEFINED);
	exit_raise(v, X86_UD, false, 0);
}

static void handle(struct vcpu *v)
{
	const struct vmcb *b = v->svm.vmcb;

	switch (b->exit_code) {
	case SVM_EXIT_CR_READ ... SVM_EXIT_CR_LAST:
		handle_cr(v, b->exit_code);
		break;
	case SVM_EXIT_EXCEPTION + X86_DB:
	case SVM_EXIT_EXCEPTION + X86_AC:
		reflect(v, (unsigned)(b->exit_code - SVM_EXIT_EXCEPTION));
		break;
	case SVM_EXIT_EXCEPTION + X86_PF: /* only under tables that are not the engine's: page_fault_exit */
		exit_count(v, EXIT_OTHER);
		vm_fail(v, "the guest has loaded %llx into CR3 with no exit: it has switched tasks, which QEMU does not "
		             "intercept", ULL(b->cr3));
		break;
	case SVM_EXIT_TASK_SWITCH:
		exit_task_switch(v);
		break;
	case SVM_EXIT_INTR:
		exit_external_interrupt(v);
		break;
	case SVM_EXIT_NMI: /* taken by the visor's own handler when global interrupts came on */
		exit_count(v, EXIT_NMI);
		break;
	case SVM_EXIT_INIT:
		exit_count(v, EXIT_INIT);
		break;
	case SVM_EXIT_VINTR:
		exit_count(v, EXIT_INTERRUPT_WINDOW);
		break;
	case SVM_EXIT_RDPMC:
		exit_count(v, EXIT_RDPMC);
		exit_raise(v, X86_GP, true, 0);
		break;
	case SVM_EXIT_CPUID:
		exit_cpuid(v);
		break;
	case SVM_EXIT_INVD: /* all guest memory is coherent: nothing to do */
	case SVM_EXIT_WBINVD:
		exit_count(v, EXIT_CACHE);
		exit_skip(v);
		break;
	case SVM_EXIT_HLT:
		exit_hlt(v);
		break;
	case SVM_EXIT_IO:
		handle_io(v);
		break;
	case SVM_EXIT_MSR:
		exit_msr(v, b->exit_info1 & 1);
		break;
	case SVM_EXIT_SHUTDOWN:
		exit_triple_fault(v);
		break;
	case SVM_EXIT_XSETBV:
		exit_xsetbv(v);
		break;
	case SVM_EXIT_INVLPGA:
	case SVM_EXIT_VMRUN:
	case SVM_EXIT_VMMCALL:
	case SVM_EXIT_VMLOAD:
	case SVM_EXIT_VMSAVE:
	case SVM_EXIT_STGI:
	case SVM_EXIT_CLGI:
	case SVM_EXIT_SKINIT:
	case SVM_EXIT_MONITOR:
	case SVM_EXIT_MWAIT:
	case SVM_EXIT_RDPRU:
	case SVM_EXIT_INVLPGB:
	case SVM_EXIT_INVLPGB_ILLEGAL:
	case SVM_EXIT_TLBSYNC:
		undefined_instruction(v);
		break;
	default:
		exit_count(v, EXIT_OTHER);
		vm_fail(v, "unexpected exit %llx (%s)", ULL(b->exit_code), exit_code_name(b->exit_code));
	}
}

/* Everything but memory faults that the engine settled. `fault` is NULL for other exits. */
static __attribute__((noinline)) bool slow_exit(struct vcpu *v, const struct vmmu_fault *fault,
                                                enum vmmu_fault_result result)
{
	struct vmcb *b = v->svm.vmcb;

	/* From here the visor is interruptible where it says so; a pending NMI comes in now. */
	__asm__ volatile("cli; stgi" : : : "memory");
	v->state.gpr[X86_RAX] = b->rax;
	v->state.gpr[X86_RSP] = b->rsp;
	v->state.rip = b->rip;
	v->state.rflags = b->rflags;
	recover_event(v);
	if (fault)
		exit_memory_rest(v, fault, result);
	else
		handle(v);
	exit_finish(v);
	commit(v);
	inject_event(v);
	__asm__ volatile("clgi; sti" : : : "memory");
	return v->stop;
}

static __attribute__((noinline)) void reinject_event(struct vcpu *v)
{
	recover_event(v);
	inject_event(v);
}

/* A nested page fault. Most end here: the engine has built what was missing, the guest goes on. */
static inline __attribute__((always_inline)) bool memory_exit(struct vcpu *v, struct vmcb *b)
{
	struct vmmu_fault fault = vmmu_fault_from_npf(b->exit_info1, vmmu_gpa_of(b->exit_info2), b->rip);
	enum vmmu_fault_result result;

	if (unlikely(v->tracing))
		fault.word = svm_trace_word(v);
	v->memory_faults++;
	result = vmmu_fault(v->mmu, &fault);
	if (unlikely(result > VMMU_FAULT_RETRY))
		return slow_exit(v, &fault, result);
	b->event_injection = 0;
	if (unlikely(b->exit_interrupt_info & EVENT_VALID))
		reinject_event(v);
	return false;
}

/*
 * A #PF under shadow paging (15.12.15: CR2 is still the guest's own, EXITINFO2
 * has the address). The guest's own faults end here, too. Apart, so that a nested
 * page fault saves no registers for it.
 */
static __attribute__((noinline)) bool page_fault_exit(struct vcpu *v, struct vmcb *b)
{
	struct vmmu_fault fault =
		vmmu_fault_from_pf(b->exit_info1, vmmu_gva_of(b->exit_info2), b->cpl, b->rflags, b->rip);
	bool delivering = b->exit_interrupt_info & EVENT_VALID;
	enum vmmu_fault_result result;

	if (unlikely(b->cr3 != v->svm.root))
		return slow_exit(v, NULL, 0);
	if (unlikely(v->tracing))
		fault.word = svm_trace_word(v);
	v->memory_faults++;
	result = shadow_fault(v, &fault);
	if (result == VMMU_FAULT_INJECT_PF && !delivering) {
		b->cr2 = fault.gva.v;
		b->event_injection = EVENT_VALID | EVENT_EXCEPTION | EVENT_HAS_ERROR | X86_PF | fault.error_code << 32;
		return false;
	}
	if (unlikely(result > VMMU_FAULT_RETRY))
		return slow_exit(v, &fault, result);
	b->event_injection = 0;
	if (unlikely(delivering))
		reinject_event(v);
	return false;
}

/* Called by svm/entry.S. True: leave the loop. */
bool svm_exit(struct vcpu *v)
{
	struct vmcb *b = v->svm.vmcb;

	b->tlb_control = 0;
	if (likely(b->exit_code == SVM_EXIT_NPF))
		return memory_exit(v, b);
	if (b->exit_code == SVM_EXIT_EXCEPTION + X86_PF)
		return page_fault_exit(v, b);
	return slow_exit(v, NULL, 0);
}

static void svm_run(struct vcpu *v)
{
	svm_loop(v, (uintptr_t)v->svm.vmcb);
}

#define SVM_COMMON                                       \
	.present = svm_present,                                 \
	.vcpu_init = svm_vcpu_init,                             \
	.vcpu_free = svm_vcpu_free,                             \
	.run = svm_run,                                         \
	.read_state = svm_read_state,                           \
	.write_state = svm_write_state,                         \
	.write_registers = commit,                              \
	.read_special = svm_read_special,                       \
	.write_special = svm_write_special,                     \
	.read_cr0 = svm_read_cr0,                               \
	.read_cr4 = svm_read_cr4,                               \
	.read_efer = svm_read_efer,                             \
	.write_efer = svm_write_efer,                           \
	.in_64bit_code = svm_in_64bit_code,                     \
	.interrupts_shadowed = svm_interrupts_shadowed,         \
	.clear_shadow = svm_clear_shadow,                       \
	.want_window = svm_want_window,                         \
	.instruction_length = svm_instruction_length,           \
	.flush = svm_flush,                                     \
	.trace_word = svm_trace_word,                           \
	.dump = svm_dump,

const struct cpu_backend cpu_svm = {
	.name = "npt",
	.machine = "SVM with NPT",
	.fault_exit = "npf",
	.mode = VMMU_MODE_NPT,
	.enable = svm_enable,
	.describe = svm_describe,
	.allows = svm_allows,
	.set_root = svm_set_root,
	SVM_COMMON
};

const struct cpu_backend cpu_svm_shadow = {
	.name = "shadow",
	.machine = "SVM with shadow paging",
	.fault_exit = "page-fault",
	.mode = VMMU_MODE_SHADOW,
	.enable = svm_shadow_enable,
	.describe = svm_shadow_describe,
	.allows = svm_shadow_allows,
	.set_root = svm_shadow_set_root,
	SVM_COMMON
};
