/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What L1's capability MSRs promise, bit by bit and field by field, and in which order VM entry checks
 * (SDM vol. 3, 25 to 28, appendices A and B). As nested_vmx.c: what the bare machine has, too, must have
 * the same answer under the visor. Where the two promise different things, each is held to its own.
 */
#include "nested_vmx.h"

#define MSR_FIXED_PIN 0x481
#define MSR_FIXED_ENTRY 0x484
#define MSR_VMX_CR0_FIXED0 0x486
#define MSR_VMX_CR0_FIXED1 0x487
#define MSR_VMX_CR4_FIXED0 0x488
#define MSR_VMX_CR4_FIXED1 0x489
#define MSR_VMX_VMCS_ENUM 0x48a
#define MSR_VMX_CPU2 0x48b
#define MSR_PAT 0x277
#define PAT_USUAL UINT64_C(0x0007040600070406)
#define PAT_OTHER UINT64_C(0x0007040600070401)
#define DR7_FIXED 0x400u

/* ---- capabilities ------------------------------------------------------------------------------ */

static const struct {
	const char *what;
	uint32_t msr, field;
} controls[] = {
	{"pin-based controls", MSR_TRUE_PIN, VMCS_PIN_CONTROLS},
	{"processor-based controls", MSR_TRUE_CPU, VMCS_CPU_CONTROLS},
	{"secondary controls", MSR_VMX_CPU2, VMCS_CPU_CONTROLS2},
	{"exit controls", MSR_TRUE_EXIT, VMCS_EXIT_CONTROLS},
	{"entry controls", MSR_TRUE_ENTRY, VMCS_ENTRY_CONTROLS},
};
#define CONTROLS (sizeof(controls) / sizeof(controls[0]))

/* Controls as they may be: what must be 1 may be 1; the plain registers say no more than the TRUE ones. */
static void check_capabilities(void)
{
	for (unsigned i = 0; i < CONTROLS; i++) {
		uint64_t capability = read_msr(controls[i].msr);

		check(!((uint32_t)capability & ~(capability >> 32)), "%s: 0x%lx", controls[i].what, capability);
	}
	for (unsigned i = 0; i < 4; i++) {
		uint64_t plain = read_msr(MSR_FIXED_PIN + i), exact = read_msr(MSR_TRUE_PIN + i);

		check_equal(plain >> 32, exact >> 32, "what may be 1");
		check(!((uint32_t)exact & ~(uint32_t)plain), "0x%x: the TRUE register wants more", MSR_TRUE_PIN + i);
	}
	check_equal(read_msr(MSR_VMX_CR0_FIXED0) & ~read_msr(MSR_VMX_CR0_FIXED1), 0, "CR0's fixed bits");
	check_equal(read_msr(MSR_VMX_CR4_FIXED0) & ~read_msr(MSR_VMX_CR4_FIXED1), 0, "CR4's fixed bits");
	check_equal(read_msr(MSR_VMX_BASIC) >> 32 & 0x1fff, PAGE, "bytes of a VMCS");
	check_equal(read_msr(MSR_VMX_BASIC) >> 50 & 15, 6, "the memory type of a VMCS");
}

/* A bit that may not be 1, or not be 0, is error 7, for each of the five words. */
static void check_each_control(void)
{
	for (unsigned i = 0; i < CONTROLS; i++) {
		uint64_t capability = read_msr(controls[i].msr);

		for (unsigned bit = 0; bit < 32; bit++) {
			bool must = capability >> bit & 1, may = capability >> 32 >> bit & 1;

			if (!must && may)
				continue;
			PREPARE(0, 0, CPU2_EPT, VMCALL);
			vmwrite(controls[i].field, vmread(controls[i].field) ^ 1u << bit);
			check(vmx_enter(false) == FAILED_VALID && vmread(VMCS_INSTRUCTION_ERROR) == 7, "%s: bit %u is %s", controls[i].what, bit,
			      must ? "0" : "1");
		}
	}
}

/* Secondary controls count only where the primary ones say so. */
static void check_secondary_off(void)
{
	PREPARE(0, 0, 0, VMCALL);
	vmwrite(VMCS_CPU_CONTROLS2, UINT32_MAX);
	vmwrite(VMCS_CPU_CONTROLS, vmread(VMCS_CPU_CONTROLS) & ~(uint64_t)CPU_SECONDARY);
	vmx_expect_exit("secondary controls that do not count", false, VMX_EXIT_VMCALL, 0);
}

/* ---- fields -------------------------------------------------------------------------------------- */

#define ENCODING(width, type, index) ((width) << 13 | (type) << 10 | (index) << 1)
enum { WIDTH_64 = 1,
       READ_ONLY = 1 };

/* What a field keeps of 64 ones, by its width; rights of segments have reserved bits that a CPU may drop. */
static void check_field(uint32_t encoding, uint64_t before)
{
	static const uint64_t mask[] = {0xffff, ALL_ONES, 0xffffffff, ALL_ONES};
	unsigned width = encoding >> 13;
	uint64_t got;

	check_equal(vmwrite(encoding, ALL_ONES), SUCCEEDED, "VMWRITE of a field");
	got = vmread(encoding);
	check(got == mask[width] || (got & ~mask[width]) == 0, "field 0x%x keeps 0x%lx", encoding, got);
	check_equal(vmwrite(encoding, 0), SUCCEEDED, "VMWRITE of a field");
	check_equal(vmread(encoding), 0, "a field of 0");
	if (width == WIDTH_64) {
		vmwrite(encoding | 1, 0x89abcdef);
		check_equal(vmread(encoding), UINT64_C(0x89abcdef) << 32, "the upper half");
	}
	vmwrite(encoding, before);
}

/* Every encoding of the four widths and types, up to the highest index that IA32_VMX_VMCS_ENUM names, and beyond. */
static void check_every_field(void)
{
	unsigned highest = read_msr(MSR_VMX_VMCS_ENUM) >> 1 & 0x1ff, seen = 0, count = 0;

	PREPARE(0, 0, 0, VMCALL);
	for (uint32_t width = 0; width < 4; width++) {
		for (uint32_t type = 0; type < 4; type++) {
			for (uint32_t index = 0; index < 64; index++) {
				uint32_t encoding = ENCODING(width, type, index);
				uint64_t value = 0;
				unsigned outcome = vmread_to(encoding, &value);

				if (outcome != SUCCEEDED) {
					check_equal(vmread(VMCS_INSTRUCTION_ERROR), 12, "VMREAD of no field");
					check(vmwrite(encoding, 0) == FAILED_VALID && vmread(VMCS_INSTRUCTION_ERROR) == 12, "VMWRITE of no field");
					continue;
				}
				count++;
				seen = index > seen ? index : seen;
				if (type != READ_ONLY)
					check_field(encoding, value);
				else if (!(read_msr(MSR_VMX_MISC) >> 29 & 1))
					check(vmwrite(encoding, 0) == FAILED_VALID && vmread(VMCS_INSTRUCTION_ERROR) == 13, "field 0x%x can be written", encoding);
				check_equal(vmread_to(encoding | 1, &value) == SUCCEEDED, width == WIDTH_64, "the upper half of it");
			}
		}
	}
	check(seen <= highest, "a field has index %u, and the highest is %u", seen, highest);
	check(count > 100, "%u fields", count);
}

/* ---- the order of checks --------------------------------------------------------------------------- */

static void spoil_controls(void)
{
	vmwrite(VMCS_CR3_TARGET_COUNT, 500);
}

static void spoil_host(void)
{
	vmwrite(VMCS_HOST_TR_SELECTOR, 0);
}

static void spoil_guest(void)
{
	vmwrite(VMCS_GUEST_CR4, 0x20); /* no VMXE */
}

static void spoil_link(void)
{
	vmwrite(VMCS_LINK_POINTER, 8);
}

static void spoil_area(void)
{
	l1.area[0] = ALL_ONES;
	vmwrite(VMCS_ENTRY_MSR_LOAD, physical(l1.area));
	vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 1);
}

/* Each thing that is wrong hides those that are looked at later: 27.1 to 27.4. (Within the guest's state any order will do.) */
static void check_order(void)
{
	uint64_t tr;

	static void (*const spoil[])(void) = {spoil_controls, spoil_host, spoil_guest, spoil_link, spoil_area};
	static const char *const name[] = {"controls", "host", "guest", "link", "MSR load"};
	const unsigned count = sizeof(spoil) / sizeof(spoil[0]);

	for (unsigned first = 0; first < count; first++) {
		unsigned outcome;

		PREPARE(0, 0, 0, VMCALL);
		for (unsigned i = first; i < count; i++)
			spoil[i]();
		outcome = vmx_enter(false);
		print("nested: wrong from %s on, exit outcome %u error %u reason 0x%x qualification %lu\n", name[first], outcome,
		      outcome ? (unsigned)vmread(VMCS_INSTRUCTION_ERROR) : 0, outcome ? 0 : (unsigned)vmread(VMCS_EXIT_REASON),
		      outcome ? 0 : vmread(VMCS_QUALIFICATION));
		if (first < 2)
			check_equal(vmread(VMCS_INSTRUCTION_ERROR), 7 + first, name[first]);
		else
			check_equal(vmread(VMCS_EXIT_REASON), first < 4 ? 0x80000021 : 0x80000022, name[first]);
	}
	/* The launch state comes before all of them. */
	PREPARE(0, 0, 0, VMCALL);
	spoil_controls();
	vmx_refused("VMRESUME of a clear VMCS whose controls are wrong", vmx_enter(true), 5);
	PREPARE(0, 0, 0, VMCALL);
	vmx_expect_exit("an entry", false, VMX_EXIT_VMCALL, 0);
	tr = vmread(VMCS_HOST_TR_SELECTOR);
	spoil_controls();
	spoil_host();
	vmx_refused("VMLAUNCH of a launched VMCS whose controls are wrong", vmx_enter(false), 4);
	vmx_refused("VMRESUME of it", vmx_enter(true), 7);
	vmwrite(VMCS_CR3_TARGET_COUNT, 0);
	vmx_refused("VMRESUME of it with its controls mended", vmx_enter(true), 8);
	vmwrite(VMCS_HOST_TR_SELECTOR, tr);
	vmx_expect_exit("VMRESUME of it with its host state mended", true, VMX_EXIT_VMCALL, 0);
}

/* What the MSR says of activity states is what an entry takes (appendix A.6, 27.3.1.5). */
static void check_activity(void)
{
	uint64_t misc = read_msr(MSR_VMX_MISC);

	for (unsigned state = 1; state < 4; state++) {
		if (misc >> 5 >> state & 1)
			continue;
		PREPARE(0, 0, 0, VMCALL);
		vmwrite(VMCS_GUEST_ACTIVITY, state);
		check_equal(vmx_enter(false), SUCCEEDED, "an activity state that is none");
		check_equal(vmread(VMCS_EXIT_REASON), 0x80000021, "an activity state that is none");
	}
}

/* ---- instructions by their controls ------------------------------------------------------------------ */

static bool has_cpu2(uint32_t bit)
{
	return read_msr(MSR_VMX_CPU2) >> 32 & bit;
}

/* Without its control the instruction is not there. */
static void check_absent(const char *what, const uint8_t *bytes, unsigned n)
{
	vmx_prepare(0, 0, CPU2_EPT, bytes, n);
	vmwrite(VMCS_EXCEPTION_BITMAP, 1u << VECTOR_UD);
	vmx_expect_exit(what, false, VMX_EXIT_EXCEPTION_NMI, 0);
}

static void check_secondary_controls(void)
{
	static const uint8_t rdtscp[] = {0x0f, 0x01, 0xf9, VMCALL}, invpcid[] = {0x66, 0x0f, 0x38, 0x82, 0x03};

	check_absent("RDTSCP without its control", rdtscp, sizeof(rdtscp));
	check_absent("INVPCID without its control", invpcid, sizeof(invpcid));
	if (has_cpu2(CPU2_RDTSCP)) {
		vmx_prepare(0, 0, CPU2_EPT | CPU2_RDTSCP, rdtscp, sizeof(rdtscp));
		vmx_expect_exit("RDTSCP", false, VMX_EXIT_VMCALL, 3);
		vmx_prepare(0, CPU_RDTSC, CPU2_EPT | CPU2_RDTSCP, rdtscp, sizeof(rdtscp));
		vmx_expect_exit("RDTSCP, with RDTSC exiting", false, VMX_EXIT_RDTSCP, 0);
	}
	if (has_cpu2(CPU2_INVPCID)) {
		vmx_prepare(0, CPU_INVLPG, CPU2_EPT | CPU2_INVPCID, invpcid, sizeof(invpcid));
		l2_gpr.rax = 2;
		l2_gpr.rbx = physical(l1.page);
		vmx_expect_exit("INVPCID, with INVLPG exiting", false, VMX_EXIT_INVPCID, 0);
	}
	PREPARE(0, 0, CPU2_WBINVD, 0x0f, 0x09);
	vmx_expect_exit("WBINVD", false, VMX_EXIT_WBINVD, 0);
	PREPARE(0, 0, 0, 0x0f, 0x09, VMCALL);
	vmx_expect_exit("WBINVD, not intercepted", false, VMX_EXIT_VMCALL, 2);
	PREPARE(0, 0, 0, 0x0f, 0x08);
	vmx_expect_exit("INVD", false, VMX_EXIT_INVD, 0);
	PREPARE(0, 0, CPU2_DESCRIPTOR_TABLES, 0x0f, 0x01, 0x03); /* sgdt (%rbx) */
	vmx_expect_exit("SGDT", false, VMX_EXIT_GDTR_IDTR, 0);
	print("nested: SGDT's information, exit 0x%lx\n", vmread(VMCS_EXIT_INSTRUCTION_INFO) & 0x387ffb80);
	PREPARE(0, 0, CPU2_DESCRIPTOR_TABLES, 0x0f, 0x00, 0x03); /* sldt (%rbx) */
	vmx_expect_exit("SLDT", false, VMX_EXIT_LDTR_TR, 0);
	PREPARE(0, 0, 0, 0x0f, 0x00, 0xc0, VMCALL);
	vmx_expect_exit("SLDT, not intercepted", false, VMX_EXIT_VMCALL, 3);
}

static void check_primary_controls(void)
{
	PREPARE(0, CPU_RDPMC, 0, 0x0f, 0x33);
	vmx_expect_exit("RDPMC", false, VMX_EXIT_RDPMC, 0);
	PREPARE(0, CPU_MWAIT, 0, 0x0f, 0x01, 0xc9);
	vmx_expect_exit("MWAIT", false, VMX_EXIT_MWAIT, 0);
	PREPARE(0, CPU_MONITOR, 0, 0x0f, 0x01, 0xc8);
	vmx_expect_exit("MONITOR", false, VMX_EXIT_MONITOR, 0);
	PREPARE(0, CPU_PAUSE, 0, 0xf3, 0x90);
	vmx_expect_exit("PAUSE", false, VMX_EXIT_PAUSE, 0);
	PREPARE(0, 0, 0, 0xf3, 0x90, VMCALL);
	vmx_expect_exit("PAUSE, not intercepted", false, VMX_EXIT_VMCALL, 2);
	PREPARE(0, CPU_CR3_LOAD | CPU_CR3_STORE, 0, 0x0f, 0x20, 0xd8); /* mov %cr3, %rax */
	vmx_expect_exit("MOV from CR3", false, VMX_EXIT_CR_ACCESS, 0);
	PREPARE(0, CPU_CR8_LOAD, 0, 0x44, 0x0f, 0x22, 0xc0); /* mov %rax, %cr8 */
	vmx_expect_exit("MOV to CR8", false, VMX_EXIT_CR_ACCESS, 0);
	PREPARE(0, CPU_CR8_STORE, 0, 0x44, 0x0f, 0x20, 0xc0);
	vmx_expect_exit("MOV from CR8", false, VMX_EXIT_CR_ACCESS, 0);
	PREPARE(PIN_NMI | PIN_VIRTUAL_NMI, CPU_NMI_WINDOW, 0, 0x90, 0x90);
	vmx_expect_exit("the NMI window", false, VMX_EXIT_NMI_WINDOW, 0);
	PREPARE(0, CPU_NMI_WINDOW, 0, VMCALL);
	vmx_expect_entry_error("the NMI window without virtual NMIs", 7);
	PREPARE(PIN_VIRTUAL_NMI, 0, 0, VMCALL);
	vmx_expect_entry_error("virtual NMIs without NMI exiting", 7);
	PREPARE(0, 0, 0, VMCALL);
	vmwrite(VMCS_EXIT_CONTROLS, vmread(VMCS_EXIT_CONTROLS) | EXITING_SAVE_PREEMPTION_TIMER);
	vmx_expect_entry_error("a timer saved that does not run", 7);
}

/* L2's TSC is L1's and the offset. */
static void check_tsc_offset(void)
{
	const uint64_t offset = UINT64_C(1) << 50;
	uint64_t before, got;

	PREPARE(0, CPU_TSC_OFFSET, 0, 0x0f, 0x31, VMCALL);
	vmwrite(VMCS_TSC_OFFSET, offset);
	before = rdtsc();
	vmx_expect_exit("RDTSC with an offset", false, VMX_EXIT_VMCALL, 2);
	got = (l2_gpr.rdx << 32 | (uint32_t)l2_gpr.rax) - offset;
	check(got > before && got < rdtsc(), "L2's TSC: 0x%lx", got);
	PREPARE(0, 0, 0, 0x0f, 0x31, VMCALL);
	vmwrite(VMCS_TSC_OFFSET, offset);
	vmx_expect_exit("RDTSC with an offset that does not count", false, VMX_EXIT_VMCALL, 2);
	check((l2_gpr.rdx << 32 | (uint32_t)l2_gpr.rax) < offset, "the offset counts");
}

/* ---- what entries and exits load and save --------------------------------------------------------------- */

static void check_saved_timer(void)
{
	const uint64_t start = UINT64_C(1) << 30;

	PREPARE(PIN_PREEMPTION_TIMER, 0, 0, 0x90, VMCALL);
	vmwrite(VMCS_PREEMPTION_TIMER, start);
	vmwrite(VMCS_EXIT_CONTROLS, vmread(VMCS_EXIT_CONTROLS) | EXITING_SAVE_PREEMPTION_TIMER);
	vmx_expect_exit("a timer that is saved", false, VMX_EXIT_VMCALL, 1);
	check(vmread(VMCS_PREEMPTION_TIMER) <= start && vmread(VMCS_PREEMPTION_TIMER) > start / 2, "the timer: 0x%lx", vmread(VMCS_PREEMPTION_TIMER));
	PREPARE(PIN_PREEMPTION_TIMER, 0, 0, 0x90, VMCALL);
	vmwrite(VMCS_PREEMPTION_TIMER, start);
	vmx_expect_exit("a timer that is not saved", false, VMX_EXIT_VMCALL, 1);
	check_equal(vmread(VMCS_PREEMPTION_TIMER), start, "the timer");
}

/* DR7, PAT and EFER: each is loaded and saved by its own controls. */
static void check_loads(void)
{
	uint64_t pat = read_msr(MSR_PAT), efer = read_msr(MSR_EFER);

	PREPARE(0, CPU_MSR_BITMAPS, 0, VMCALL);
	vmwrite(VMCS_GUEST_PAT, PAT_OTHER);
	vmwrite(VMCS_HOST_PAT, PAT_USUAL);
	vmwrite(VMCS_GUEST_DR7, DR7_FIXED | 2);
	vmwrite(VMCS_ENTRY_CONTROLS, vmread(VMCS_ENTRY_CONTROLS) | ENTRY_LOAD_PAT);
	vmwrite(VMCS_EXIT_CONTROLS, vmread(VMCS_EXIT_CONTROLS) | EXITING_LOAD_PAT);
	vmx_expect_exit("PAT loaded by entry and exit", false, VMX_EXIT_VMCALL, 0);
	check_equal(read_msr(MSR_PAT), PAT_USUAL, "PAT behind the exit");
	check_equal(vmread(VMCS_GUEST_DR7), DR7_FIXED | 2, "DR7, saved");
	check_equal(vmread(VMCS_GUEST_PAT), PAT_OTHER, "the guest's PAT");
	/* Without the exit's control L1 goes on with L2's. */
	PREPARE(0, 0, 0, VMCALL);
	vmwrite(VMCS_GUEST_PAT, PAT_OTHER);
	vmwrite(VMCS_ENTRY_CONTROLS, vmread(VMCS_ENTRY_CONTROLS) | ENTRY_LOAD_PAT);
	vmx_expect_exit("PAT loaded by the entry alone", false, VMX_EXIT_VMCALL, 0);
	check_equal(read_msr(MSR_PAT), PAT_OTHER, "PAT behind the exit");
	write_msr(MSR_PAT, pat);
	PREPARE(0, 0, 0, VMCALL);
	vmwrite(VMCS_GUEST_PAT, 0);
	vmwrite(VMCS_EXIT_CONTROLS, vmread(VMCS_EXIT_CONTROLS) | EXITING_SAVE_PAT);
	vmx_expect_exit("PAT saved", false, VMX_EXIT_VMCALL, 0);
	check_equal(vmread(VMCS_GUEST_PAT), pat, "the guest's PAT");
	/* No EFER is loaded: LMA and LME follow the entry's and the exit's mode. */
	PREPARE(0, 0, 0, VMCALL);
	vmwrite(VMCS_GUEST_EFER, 0);
	vmwrite(VMCS_HOST_EFER, 0);
	vmwrite(VMCS_ENTRY_CONTROLS, vmread(VMCS_ENTRY_CONTROLS) & ~(uint64_t)ENTRY_LOAD_EFER);
	vmwrite(VMCS_EXIT_CONTROLS, vmread(VMCS_EXIT_CONTROLS) & ~(uint64_t)EXITING_LOAD_EFER);
	vmx_expect_exit("EFER that nobody loads", false, VMX_EXIT_VMCALL, 0);
	check_equal(vmread(VMCS_GUEST_EFER), efer, "EFER, saved");
	check_equal(read_msr(MSR_EFER), efer, "EFER behind the exit");
	PREPARE(0, 0, 0, VMCALL);
	vmwrite(VMCS_GUEST_PAT, 2);
	vmwrite(VMCS_ENTRY_CONTROLS, vmread(VMCS_ENTRY_CONTROLS) | ENTRY_LOAD_PAT);
	check_equal(vmx_enter(false), SUCCEEDED, "a PAT of no type");
	check_equal(vmread(VMCS_EXIT_REASON), 0x80000021, "a PAT of no type");
}

void test_nested_vmx_controls(void)
{
	if (!(cpuid(1, 0).c & 1u << 5)) {
		check(false, "CPUID shows no VMX");
		return;
	}
	vmx_set_up();
	vmx_turn_on();
	check_capabilities();
	check_each_control();
	check_secondary_off();
	check_every_field();
	check_order();
	check_activity();
	check_secondary_controls();
	check_primary_controls();
	check_tsc_offset();
	check_saved_timer();
	check_loads();
	vmx_turn_off();
}
