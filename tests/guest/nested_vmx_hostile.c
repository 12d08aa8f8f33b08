/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hypervisor (L1) that gives its CPU what no hypervisor would: fields of random values, a VMCS page of
 * random bytes, tables of random words, addresses where nothing is. Whatever becomes of L2, L1 must get
 * its CPU back. Under the visor only: an emulator need not survive it.
 */
#include "nested_garbage.h"
#include "nested_vmx.h"

#define TICKS 1000000u /* of the APIC's timer: L2 runs no longer */
#define COUNTS 20000u  /* of the preemption timer: nor so long */
#define AREA_MAX 512u  /* IA32_VMX_MISC 27:25 */
#define MSR_AREA_OF_NOTHING UINT64_C(0xd0000000)
#define MSR_NONE 0x12345678
#define FIELD_INDEXES 64u

static uint64_t *empty, *long_area;

/* Any encoding: with bits that no field has, too. */
static uint64_t random_field(void)
{
	uint64_t encoding = random_pick(4) << 13 | random_pick(4) << 10 | random_pick(FIELD_INDEXES) << 1 | (random_pick(8) == 0);

	return random_pick(16) ? encoding : encoding | 1ull << random_pick(64);
}

static void mutate(void)
{
	unsigned count = 1 + random_pick(6);

	for (unsigned i = 0; i < count; i++)
		vmwrite(random_field(), garbage_value());
	for (unsigned i = 0; i < 3; i++)
		vmread(random_field());
}

/* What is behind the revision of a VMCS page is L1's to write as long as it is not current (SDM vol. 3, 25.2). */
static void load_random_page(void)
{
	uint64_t *words = (uint64_t *)l1.other;

	check_equal(vmclear(physical(l1.other)), SUCCEEDED, "VMCLEAR");
	for (unsigned i = 1; i < 512; i++)
		words[i] = garbage_value();
	check_equal(vmptrld(physical(l1.other)), SUCCEEDED, "VMPTRLD of a page of random words");
}

static void random_instructions(void)
{
	const uint64_t pages[] = {APIC_BASE, IOAPIC_BASE, MSR_AREA_OF_NOTHING, physical_end(), physical_end() - PAGE, victims, ALL_ONES,
	                          physical(l1.vmxon_region), victims + 8};
	uint64_t address = pages[random_pick(sizeof(pages) / sizeof(pages[0]))];

	switch (random_pick(5)) {
	case 0: vmxon(address); break;
	case 1: vmclear(address); break;
	case 2: vmptrld(address); break;
	case 3: invept(random_pick(4), garbage_value(), garbage_value()); break;
	case 4: invvpid(random_pick(5), garbage_value(), garbage_value()); break;
	}
}

/* What keeps L1 whole whatever L2 does: it reaches the victims alone, no port, no register, and not for long. */
static void confine(void)
{
	const uint32_t must = CPU_HLT | CPU_MWAIT | CPU_MONITOR | CPU_MOV_DR | CPU_UNCONDITIONAL_IO | CPU_CR8_LOAD | CPU_CR8_STORE | CPU_SECONDARY;
	const uint32_t never = CPU_IO_BITMAPS | CPU_MSR_BITMAPS | CPU_MONITOR_TRAP | CPU_INTERRUPT_WINDOW | CPU_NMI_WINDOW;
	uint64_t eptp = random_pick(3) ? physical(garbage) : random_pick(2) ? physical(empty)
	                                                                    : physical_end() - PAGE;

	vmx_write_host(get_cr0(), get_cr3(), get_cr4());
	vmwrite(VMCS_PIN_CONTROLS, vmx_allowed(MSR_TRUE_PIN, PIN_EXTERNAL_INTERRUPT | PIN_PREEMPTION_TIMER | (random_pick(4) ? 0 : (uint32_t)random_next())));
	vmwrite(VMCS_CPU_CONTROLS, vmx_allowed(MSR_TRUE_CPU, must | (random_pick(4) ? 0 : (uint32_t)random_next() & ~never)));
	vmwrite(VMCS_CPU_CONTROLS2, CPU2_EPT | CPU2_DESCRIPTOR_TABLES | (random_pick(2) ? CPU2_UNRESTRICTED : 0) | (random_pick(2) ? CPU2_VPID : 0));
	vmwrite(VMCS_EXIT_CONTROLS, vmx_allowed(MSR_TRUE_EXIT, EXITING_HOST_64 | EXITING_SAVE_EFER | EXITING_LOAD_EFER | EXITING_LOAD_PAT));
	vmwrite(VMCS_PREEMPTION_TIMER, random_pick(COUNTS));
	vmwrite(VMCS_EPT_POINTER, eptp | 3 << 3 | 6 | (random_pick(2) ? 1 << 6 : 0));
	vmwrite(VMCS_EXIT_MSR_STORE_COUNT, 0); /* an exit that cannot store or load is a VMX abort: end_by_vmx_abort */
	vmwrite(VMCS_EXIT_MSR_LOAD_COUNT, 0);
	if (random_pick(8)) { /* most entries are to get further than their controls */
		vmwrite(VMCS_CR3_TARGET_COUNT, random_pick(5));
		vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
		vmwrite(VMCS_ENTRY_CONTROLS, vmx_allowed(MSR_TRUE_ENTRY, (uint32_t)vmread(VMCS_ENTRY_CONTROLS)));
		if (random_pick(2))
			vmwrite(VMCS_ENTRY_EVENT, 0);
	}
}

static volatile unsigned ticks;

static void tick(struct frame *f)
{
	(void)f;
	ticks++;
	apic_write(APIC_EOI, 0);
}

/* What has ended L2 is still pending, unless the exit has acknowledged it. */
static void take_interrupts(void)
{
	__asm__ volatile("sti; nop; cli"
	                 :
	                 :
	                 : "memory");
	apic_write(APIC_EOI, 0);
}

enum end { END_REFUSED,
	   END_NOT_ENTERED,
	   END_VIOLATION,
	   END_MISCONFIGURATION,
	   END_TIME,
	   END_EXCEPTION,
	   END_TRIPLE_FAULT,
	   END_OTHER,
	   ENDS };
static const char *const end_names[ENDS] = {"refused", "not entered", "violations", "misconfigurations", "out of time", "exceptions",
                                            "triple faults", "others"};
static unsigned seen[ENDS];

static enum end end_of(unsigned outcome)
{
	uint32_t reason = (uint32_t)vmread(VMCS_EXIT_REASON);

	if (outcome != SUCCEEDED)
		return END_REFUSED;
	if (reason & VMX_EXIT_ENTRY_FAILURE)
		return END_NOT_ENTERED;
	switch (reason) {
	case VMX_EXIT_EPT_VIOLATION: return END_VIOLATION;
	case VMX_EXIT_EPT_MISCONFIGURATION: return END_MISCONFIGURATION;
	case VMX_EXIT_EXTERNAL_INTERRUPT:
	case VMX_EXIT_PREEMPTION_TIMER: return END_TIME;
	case VMX_EXIT_EXCEPTION_NMI: return END_EXCEPTION;
	case VMX_EXIT_TRIPLE_FAULT: return END_TRIPLE_FAULT;
	}
	return END_OTHER;
}

static void try_one(void)
{
	static const uint8_t loop[] = {0x48, 0x8b, 0x03, 0x48, 0x89, 0x03, 0xff, 0xc0, 0xeb, 0xf6};

	if (random_pick(8) == 0)
		garbage_fill();
	vmx_prepare(0, 0, CPU2_EPT, loop, sizeof(loop));
	if (random_pick(8) == 0)
		load_random_page();
	l2_gpr.rbx = garbage_value();
	random_instructions();
	if (vmptrst() == ALL_ONES)
		vmptrld(physical(l1.vmcs));
	mutate();
	confine();
	apic_write(APIC_INITIAL_COUNT, TICKS);
	seen[end_of(vmx_enter(false))]++;
	take_interrupts();
	apic_write(APIC_INITIAL_COUNT, 0);
	check(get_cr0() >> 31 & 1 && get_cr4() & CR4_VMXE, "L1 has lost its paging, or VMX");
}

/* Areas whose count no area can have: the entry must fail, and soon, at the first entry that is too many. */
static void check_long_areas(void)
{
	static const struct {
		const char *what;
		uint64_t count, failing;
	} bad[] = {
		{"an area of one entry too many", AREA_MAX + 1, AREA_MAX + 1},
		{"an area of 2^31 entries", 1u << 31, AREA_MAX + 1},
	};

	for (unsigned i = 0; i < AREA_MAX * 2; i += 2)
		long_area[i] = MSR_STAR;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		PREPARE(0, 0, 0, VMCALL);
		vmwrite(VMCS_ENTRY_MSR_LOAD, physical(long_area));
		vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, bad[i].count);
		check_equal(vmx_enter(false), SUCCEEDED, bad[i].what);
		check_equal(vmread(VMCS_EXIT_REASON), 0x80000022, bad[i].what);
		check_equal(vmread(VMCS_QUALIFICATION), bad[i].failing, bad[i].what);
	}
	PREPARE(0, 0, 0, VMCALL);
	vmwrite(VMCS_ENTRY_MSR_LOAD, MSR_AREA_OF_NOTHING);
	vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 1);
	check_equal(vmx_enter(false), SUCCEEDED, "an area where nothing is");
	check_equal(vmread(VMCS_EXIT_REASON), 0x80000022, "an area where nothing is");
	check_equal(vmread(VMCS_QUALIFICATION), 1, "an area where nothing is");
	vmwrite(VMCS_ENTRY_MSR_LOAD, APIC_BASE);
	check_equal(vmx_enter(false), SUCCEEDED, "an area in the local APIC");
	check_equal(vmread(VMCS_EXIT_REASON), 0x80000022, "an area in the local APIC");
	PREPARE(0, 0, 0, VMCALL);
	vmwrite(VMCS_ENTRY_MSR_LOAD, physical(long_area));
	vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, AREA_MAX);
	check_equal(vmx_enter(false), SUCCEEDED, "an area as long as may be");
	check_equal(vmread(VMCS_EXIT_REASON), VMX_EXIT_VMCALL, "an area as long as may be");
}

/* L2 writes L1's VMCS page, and L1 does while it is current: the copy counts. */
static void check_copy(void)
{
	PREPARE(0, 0, 0, 0x48, 0xc7, 0x03, 0xff, 0xff, 0xff, 0xff, 0x0f, 0xa2, VMCALL); /* movq $-1, (%rbx); cpuid; vmcall */
	l2_gpr.rbx = physical(l1.vmcs) + 16;
	memset(l1.vmcs + 8, 0xff, PAGE - 8);
	vmx_expect_exit("CPUID of L2 that writes its own VMCS", false, VMX_EXIT_CPUID, 7);
	check_equal(vmread(VMCS_GUEST_RIP), physical(l1.code) + 7, "RIP, from the copy");
}

/* The page of the current VMCS becomes device memory, or that of another's entry: nothing is asked of it any more. */
static void check_pages_of_devices(void)
{
	check_equal(vmclear(APIC_BASE), SUCCEEDED, "VMCLEAR of device memory"); /* what it writes there is lost */
	check_equal(vmclear(MSR_AREA_OF_NOTHING), SUCCEEDED, "VMCLEAR of nothing");
	check_equal(vmptrst(), physical(l1.vmcs), "the current VMCS stays");
}

/* What emulators need not have right: the whole register counts as the type, and no register is ignored. */
static void check_by_the_manual(void)
{
	PREPARE(0, 0, 0, VMCALL);
	vmx_refused("INVEPT, type 1 and 1 << 32", invept(1ull << 32 | 1, physical(l1.ept_pml4) | 3 << 3 | 6, 0), 28);
	vmx_refused("INVVPID, type 1 and 1 << 32", invvpid(1ull << 32 | 1, 1, 0), 28);
	l1.area[0] = MSR_NONE;
	l1.area[1] = 0;
	vmwrite(VMCS_ENTRY_MSR_LOAD, physical(l1.area));
	vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 1);
	check_equal(vmx_enter(false), SUCCEEDED, "MSR load of no register");
	check_equal(vmread(VMCS_EXIT_REASON), 0x80000022, "MSR load of no register");
	for (unsigned bit = 0; bit < 2; bit++) { /* a pending MTF exit, and one with another vector */
		vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
		vmwrite(VMCS_ENTRY_EVENT, EVENT_VALID | 7u << 8 | bit);
		if (bit || !(read_msr(MSR_TRUE_CPU) >> 32 & CPU_MONITOR_TRAP))
			vmx_expect_entry_error("an event of type 7", 7);
		else
			vmx_expect_exit("an MTF exit, injected", false, VMX_EXIT_MONITOR_TRAP, 0);
	}
}

void test_nested_vmx_hostile(void)
{
	uint64_t rounds = option_number("rounds", 2000);

	if (!(cpuid(1, 0).c & 1u << 5)) {
		check(false, "CPUID shows no VMX");
		return;
	}
	vmx_set_up();
	empty = vmx_pages(1);
	long_area = vmx_pages(2 * AREA_MAX * 8 / PAGE);
	garbage_set_up(&(const struct garbage_format){.kept = 0x700, .rights = EPT_RWX, .maybe = EPT_WB, .leaf = EPT_LEAF});
	vmx_turn_on();
	apic_enable();
	on_interrupt(VECTOR, tick);
	apic_write(APIC_DIVIDE, 0xb);
	apic_write(APIC_LVT_TIMER, VECTOR);
	check_by_the_manual();
	check_long_areas();
	check_copy();
	check_pages_of_devices();
	for (uint64_t i = 0; i < rounds; i++)
		try_one();
	apic_write(APIC_LVT_TIMER, APIC_MASKED);
	print("nested-vmx-hostile:");
	for (unsigned i = 0; i < ENDS; i++)
		print(" %u %s,", seen[i], end_names[i]);
	print(" %u ticks\n", ticks);
	check(seen[END_REFUSED] && seen[END_NOT_ENTERED] && seen[END_VIOLATION] && seen[END_MISCONFIGURATION], "some ends did not come up");
	vmx_turn_off();
}

/* An exit whose MSRs cannot be loaded: the CPU shuts down (28.7). */
void end_by_vmx_abort(void)
{
	vmx_set_up();
	vmx_turn_on();
	PREPARE(0, 0, 0, VMCALL);
	l1.area[0] = MSR_NONE; /* no such register */
	vmwrite(VMCS_EXIT_MSR_LOAD, physical(l1.area));
	vmwrite(VMCS_EXIT_MSR_LOAD_COUNT, 1);
	vmx_enter(false);
	check(false, "L1 goes on behind a VMX abort");
}
