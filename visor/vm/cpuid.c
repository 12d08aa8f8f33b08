/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CPUID as the guest sees it: of each leaf only the bits that are listed here.
 * A feature is listed when the visor either emulates it or needs to do nothing
 * about it: the guest's FPU, SSE and AVX state stays in the CPU, the visor has
 * none (SDM vol. 2, CPUID; APM vol. 3, appendix E).
 */
#include "visor/cpu/x86.h"
#include "visor/device/pv_clock.h"
#include "visor/vm/cpuid.h"
#include "visor/vm/nested.h"
#include "visor/vm/speculation.h"
#include "visor/vm/vm.h"

#define BIT(n) (1u << (n))
#define BITS(high, low) ((uint32_t)(((2ull << (high)) - 1) & ~((1ull << (low)) - 1)))

enum { LEAF_HYPERVISOR = 0x40000000u,
       LEAF_EXTENDED = 0x80000000u };
#define LAST_BASIC 0xdu
#define LAST_EXTENDED (LEAF_EXTENDED + 8)

/* Leaf 1 ECX */
#define FEATURES_1C \
	(BIT(0) /* SSE3 */ | BIT(1) /* PCLMULQDQ */ | BIT(9) /* SSSE3 */ | BIT(12) /* FMA */ | \
	 BIT(13) /* CX16 */ | BIT(17) /* PCID */ | BITS(20, 19) /* SSE4 */ | BIT(22) /* MOVBE */ | \
	 BIT(23) /* POPCNT */ | BIT(25) /* AES */ | BIT(26) /* XSAVE */ | BIT(28) /* AVX */ | \
	 BIT(29) /* F16C */ | BIT(30) /* RDRAND */)
#define EMULATED_1C (BIT(21) /* x2APIC */ | BIT(24) /* TSC deadline */ | BIT(31) /* hypervisor */)
#define OSXSAVE_1C BIT(27)
/* Leaf 1 EDX, and the half of 80000001H EDX that repeats it. Machine checks (7, 14), SMM's and
 * thermal bits stay out. */
#define FEATURES_1D \
	(BITS(6, 0) /* FPU VME DE PSE TSC MSR PAE */ | BIT(8) /* CX8 */ | BIT(9) /* APIC */ | \
	 BIT(11) /* SEP */ | BIT(12) /* MTRR */ | BIT(13) /* PGE */ | BIT(15) /* CMOV */ | \
	 BIT(16) /* PAT */ | BIT(17) /* PSE36 */ | BIT(19) /* CLFLUSH */ | BITS(26, 23) /* MMX.. */ | \
	 BIT(27) /* self snoop */)
#define INVPCID_7B BIT(10)
#define RDPID_7C BIT(22)
#define RDTSCP_81D BIT(27)
#define FEATURES_7B \
	(BIT(0) /* FSGSBASE */ | BIT(3) /* BMI1 */ | BIT(5) /* AVX2 */ | BIT(7) /* SMEP */ | \
	 BIT(8) /* BMI2 */ | BIT(9) /* ERMS */ | INVPCID_7B | BITS(19, 16) | \
	 BIT(20) /* SMAP */ | BIT(21) | BIT(23) /* CLFLUSHOPT */ | BIT(24) /* CLWB */ | \
	 BIT(28) | BIT(29) /* SHA */ | BITS(31, 30))
#define APIC_BASE_ENABLE BIT(11)
#define PKU_7C BIT(3)
#define OSPKE_7C BIT(4)
#define LA57_7C BIT(16)
#define UMIP_7C BIT(2)
#define FEATURES_7C \
	(BIT(1) /* VBMI */ | UMIP_7C | PKU_7C | BIT(6) | BITS(12, 8) | BIT(14) | LA57_7C | RDPID_7C)
#define FEATURES_7D BIT(4) /* fast short REP MOV */
#define FEATURES_81C \
	(BIT(0) /* LAHF64 */ | BIT(4) /* CR8 by LOCK MOV */ | BIT(5) /* LZCNT */ | BIT(6) | BIT(7) | \
	 BIT(8) | BIT(11) | BIT(16) | BIT(21))
#define REPEATED_81D (BITS(9, 0) | BITS(17, 12) | BITS(24, 23))
#define FEATURES_81D \
	((FEATURES_1D & REPEATED_81D) | BIT(11) /* SYSCALL */ | BIT(20) /* NX */ | BIT(22) | \
	 BIT(26) /* 1 GiB pages */ | RDTSCP_81D | BIT(29) /* long mode */ | BITS(31, 30))

#define XSAVE_COMPONENTS CPUID_XCR0_ALLOWED
#define XSAVE_1A (BIT(0) /* XSAVEOPT */ | BIT(1) /* XSAVEC */ | BIT(2) /* XGETBV 1 */)

static void filter_1(struct vcpu *v, struct cpuid *r)
{
	uint64_t base;

	r->ebx = (r->ebx & 0xffff) | BIT(16); /* one logical CPU, APIC id 0 */
	r->ecx = (r->ecx & FEATURES_1C) | EMULATED_1C;
	if (r->ecx & BIT(26) && v->backend->read_cr4(v) & X86_CR4_OSXSAVE)
		r->ecx |= OSXSAVE_1C;
	r->edx &= FEATURES_1D;
	/* SDM vol. 3, 11.4.3: without the APIC's enable bit the CPU has none. */
	if (v->vm->platform && platform_msr_read(v->vm->platform, MSR_APIC_BASE, &base) && !(base & APIC_BASE_ENABLE))
		r->edx &= ~BIT(9);
}

static void filter_7(struct vcpu *v, uint32_t subleaf, struct cpuid *r)
{
	struct cpuid filtered = {0};

	if (subleaf == 0) {
		filtered.ebx = r->ebx & FEATURES_7B;
		filtered.ecx = r->ecx & FEATURES_7C;
		if (!v->backend->allows(CPU_FEATURE_INVPCID))
			filtered.ebx &= ~INVPCID_7B;
		if (!v->backend->allows(CPU_FEATURE_RDTSCP))
			filtered.ecx &= ~RDPID_7C;
		if (!v->backend->allows(CPU_FEATURE_LA57))
			filtered.ecx &= ~LA57_7C;
		/* A hypervisor may execute SGDT at each entry of its guest, as Debian's KVM under SVM: no exits for that. */
		if (v->backend->allows(CPU_FEATURE_UMIP_BY_EXITS) && !v->vm->options->nested)
			filtered.ecx |= UMIP_7C;
		if (filtered.ecx & PKU_7C && v->backend->read_cr4(v) & X86_CR4_PKE)
			filtered.ecx |= OSPKE_7C;
		filtered.edx = r->edx & (FEATURES_7D | SPECULATION_7D);
	}
	*r = filtered;
}

/* Bytes of an XSAVE area with all of `components` in it, in the standard format. */
static uint32_t xsave_bytes(uint32_t components)
{
	uint32_t bytes = 512 + 64; /* legacy area and header */

	for (uint32_t i = 2; i < 32; i++) {
		struct cpuid part = {0};

		if (components & BIT(i))
			part = cpuid(0xd, i);
		if (part.ebx + part.eax > bytes)
			bytes = part.ebx + part.eax;
	}
	return bytes;
}

/*
 * The same in the compacted format: one component behind the other, on 64
 * bytes where bit 1 of ECX says so (SDM vol. 1, 13.4.3). Not taken from the
 * CPU: Bochs 2.7 gives the standard format's size there.
 */
static uint32_t compacted_xsave_bytes(uint64_t components)
{
	uint32_t bytes = 512 + 64;

	for (uint32_t i = 2; i < 32; i++) {
		struct cpuid part;

		if (!(components & BIT(i)))
			continue;
		part = cpuid(0xd, i);
		if (part.ecx & BIT(1))
			bytes = (bytes + 63) & ~63u;
		bytes += part.eax;
	}
	return bytes;
}

/* XCR0 in the CPU is the guest's own, so that the size the CPU reports in EBX is right for it. */
static void filter_xsave(uint32_t subleaf, struct cpuid *r)
{
	if (subleaf == 0) {
		r->eax &= XSAVE_COMPONENTS;
		r->ecx = xsave_bytes(r->eax);
		r->edx = 0;
	} else if (subleaf == 1) {
		*r = (struct cpuid){
			.eax = r->eax & XSAVE_1A,
			.ebx = r->eax ? compacted_xsave_bytes(xgetbv0()) : 0,
		};
	} else if (subleaf >= 32 || !(XSAVE_COMPONENTS & BIT(subleaf))) {
		*r = (struct cpuid){0};
	}
}

static struct cpuid basic_leaf(struct vcpu *v, uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r = cpuid(leaf, subleaf);

	switch (leaf) {
	case 0:
		r.eax = r.eax < LAST_BASIC ? r.eax : LAST_BASIC;
		break;
	case 1:
		filter_1(v, &r);
		break;
	case 2: /* cache descriptors */
		break;
	case 4: /* caches: shared with nobody */
		r.eax &= 0x3fff;
		break;
	case 6:
		r = (struct cpuid){.eax = BIT(2)}; /* the APIC timer always runs */
		break;
	case 7:
		filter_7(v, subleaf, &r);
		break;
	case 0xd:
		filter_xsave(subleaf, &r);
		break;
	default:
		r = (struct cpuid){0};
	}
	return r;
}

/* Linear: as many levels as the guest may have. Physical: no further than four of ours translate. */
static struct cpuid address_widths(struct vcpu *v, const struct cpuid *cpu)
{
	uint32_t linear = cpu->eax >> 8 & 0xff, physical = cpu->eax & 0xff;

	if (linear > 48 && !v->backend->allows(CPU_FEATURE_LA57))
		linear = 48;
	return (struct cpuid){
		.eax = linear << 8 | (physical < 48 ? physical : 48),
		.ebx = cpu->ebx & SPECULATION_88B,
	};
}

static struct cpuid extended_leaf(struct vcpu *v, uint32_t leaf)
{
	struct cpuid r = cpuid(leaf, 0);

	switch (leaf) {
	case LEAF_EXTENDED:
		r.eax = r.eax < LAST_EXTENDED ? r.eax : LAST_EXTENDED;
		break;
	case LEAF_EXTENDED + 1:
		r.ebx = 0;
		r.ecx &= FEATURES_81C;
		r.edx &= FEATURES_81D;
		if (!v->backend->allows(CPU_FEATURE_RDTSCP))
			r.edx &= ~RDTSCP_81D;
		break;
	case LEAF_EXTENDED + 7:
		r = (struct cpuid){.edx = r.edx & BIT(8)}; /* invariant TSC */
		break;
	case LEAF_EXTENDED + 8:
		r = address_widths(v, &r);
		break;
	default:
		break; /* brand string and caches: as they are */
	}
	return r;
}

static struct cpuid leaf_of_all(struct vcpu *v, uint32_t leaf, uint32_t subleaf)
{
	if (leaf == LEAF_HYPERVISOR) /* "vmmu visor" */
		return (struct cpuid){LEAF_HYPERVISOR, 0x756d6d76, 0x73697620, 0x2020726f};
	if (leaf == PV_CLOCK_CPUID) /* a second interface, and what it has */
		return (struct cpuid){PV_CLOCK_CPUID + 1, PV_CLOCK_CPUID_EBX, PV_CLOCK_CPUID_ECX, PV_CLOCK_CPUID_EDX};
	if (leaf == PV_CLOCK_CPUID + 1)
		return (struct cpuid){PV_CLOCK_FEATURES, 0, 0, 0};
	if (leaf >= LEAF_EXTENDED)
		return leaf <= LAST_EXTENDED && leaf <= cpuid(LEAF_EXTENDED, 0).eax ? extended_leaf(v, leaf)
		                                                                    : (struct cpuid){0};
	if (leaf <= LAST_BASIC && leaf <= cpuid(0, 0).eax)
		return basic_leaf(v, leaf, subleaf);
	return (struct cpuid){0};
}

static struct cpuid cpuid_answer(struct vcpu *v, uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r = leaf_of_all(v, leaf, subleaf);

	if (v->vm->options->nested)
		v->backend->nested->cpuid(v, leaf, &r);
	return r;
}

/* These follow CR4 and XCR0; all others say the same at all times. */
static bool is_live(uint32_t leaf)
{
	return leaf == 1 || leaf == 7 || leaf == 0xd;
}

/*
 * Answers are kept: under another hypervisor each CPUID of the visor's own is an exit,
 * and the filters above take longer than all the rest of a guest's.
 */
static inline struct cpuid_kept *cpuid_place_of(struct vcpu *v, uint32_t leaf, uint32_t subleaf)
{
	return &v->cpuid_kept[(leaf ^ leaf >> 28 ^ subleaf << 2) % CPUID_KEPT];
}

bool cpuid_answer_quickly(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint64_t *eax)
{
	const struct cpuid_kept *kept = cpuid_place_of(v, leaf, subleaf);

	if (!kept->valid || kept->leaf != leaf || kept->subleaf != subleaf)
		return false;
	if (++v->quick_exits % QUICK_EXITS_MAX == 0)
		return false;
	v->vm->exits[EXIT_CPUID]++;
	*eax = kept->answer.eax;
	v->state.gpr[X86_RBX] = kept->answer.ebx;
	v->state.gpr[X86_RCX] = kept->answer.ecx;
	v->state.gpr[X86_RDX] = kept->answer.edx;
	return true;
}

struct cpuid cpuid_for_guest(struct vcpu *v, uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_kept *kept = cpuid_place_of(v, leaf, subleaf);

	if (kept->valid && kept->leaf == leaf && kept->subleaf == subleaf)
		return kept->answer;
	if (is_live(leaf))
		return cpuid_answer(v, leaf, subleaf);
	*kept = (struct cpuid_kept){
		.leaf = leaf, .subleaf = subleaf, .valid = true, .answer = cpuid_answer(v, leaf, subleaf)};
	return kept->answer;
}

#define VENDOR_INTEL_EBX 0x756e6547 /* "Genu" of GenuineIntel */
#define VENDOR_AMD_EBX 0x68747541   /* "Auth" of AuthenticAMD */

struct vmmu_guest_cpu cpuid_paging(struct vcpu *v)
{
	return (struct vmmu_guest_cpu){
		.maxphyaddr = (uint8_t)cpuid_for_guest(v, LEAF_EXTENDED + 8, 0).eax,
		.pse36 = cpuid_for_guest(v, 1, 0).edx & BIT(17),
		.page_1g = cpuid_for_guest(v, LEAF_EXTENDED + 1, 0).edx & BIT(26),
		.bit8_reserved = cpuid_for_guest(v, 0, 0).ebx == VENDOR_AMD_EBX,
	};
}

bool cpuid_shows_intel(struct vcpu *v)
{
	return cpuid_for_guest(v, 0, 0).ebx == VENDOR_INTEL_EBX;
}
