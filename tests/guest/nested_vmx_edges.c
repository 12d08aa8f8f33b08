/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What VMX must refuse, or bear, from a hypervisor (L1) that is wrong about everything: addresses of
 * devices and of nothing, MSR areas, events of each type, tables that lead to themselves. As
 * nested_vmx.c: each answer is printed, and must be the same on the bare machine and under the visor.
 */
#include "nested_vmx.h"

#define HOLE UINT64_C(0xd0000000) /* between RAM and devices: nothing is there */
#define MSR_X2APIC_ID 0x802
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_PAT 0x277
#define SELF (UINT64_C(1) << 39) /* L2's gpas from here on: the top table itself */

/* ---- addresses ---------------------------------------------------------------------------------- */

static const struct {
	const char *what;
	uint64_t gpa;
} nowhere[] = {
	{"the local APIC", APIC_BASE},
	{"the I/O APIC", IOAPIC_BASE},
	{"nothing", HOLE},
	{"nothing, misaligned", HOLE + 8},
	{"an address of 64 bits", ALL_ONES << 12},
};
#define NOWHERES (sizeof(nowhere) / sizeof(nowhere[0]))

static void check_vmxon_nowhere(void)
{
	for (unsigned i = 0; i < NOWHERES; i++) {
		print("nested: VMXON at %s, exit none: outcome %u\n", nowhere[i].what, vmxon(nowhere[i].gpa));
		check_equal(vmxon(nowhere[i].gpa), FAILED_INVALID, nowhere[i].what);
	}
}

static void check_vmptrld_nowhere(void)
{
	check_equal(vmclear(physical(l1.vmcs)), SUCCEEDED, "VMCLEAR");
	check_equal(vmptrld(physical(l1.vmcs)), SUCCEEDED, "VMPTRLD");
	for (unsigned i = 0; i < NOWHERES; i++) {
		vmx_refused(nowhere[i].what, vmptrld(nowhere[i].gpa), nowhere[i].gpa & 0xfff || nowhere[i].gpa >= physical_end() ? 9 : 11);
		check_equal(vmptrst(), physical(l1.vmcs), "the current VMCS stays");
	}
}

/* Bitmaps that cannot be read: every port and register exits. */
static void check_bitmaps_nowhere(void)
{
	PREPARE(0, CPU_IO_BITMAPS, 0, 0xe6, 0x80, VMCALL); /* out %al, $80h */
	vmwrite(VMCS_IO_BITMAP_A, HOLE);
	vmx_expect_exit("OUT with no bitmap to read", false, VMX_EXIT_IO, 0);
	PREPARE(0, CPU_MSR_BITMAPS, 0, 0x0f, 0x32, VMCALL); /* rdmsr */
	vmwrite(VMCS_MSR_BITMAP, HOLE);
	l2_gpr.rcx = MSR_LSTAR;
	vmx_expect_exit("RDMSR with no bitmap to read", false, VMX_EXIT_RDMSR, 0);
	PREPARE(0, CPU_IO_BITMAPS, 0, VMCALL);
	vmwrite(VMCS_IO_BITMAP_A, physical(l1.io_map) + 8);
	vmx_expect_entry_error("a misaligned bitmap A", 7);
	PREPARE(0, CPU_IO_BITMAPS, 0, VMCALL);
	vmwrite(VMCS_IO_BITMAP_B, physical_end());
	vmx_expect_entry_error("a bitmap B beyond memory", 7);
	PREPARE(0, CPU_MSR_BITMAPS, 0, VMCALL);
	vmwrite(VMCS_MSR_BITMAP, physical_end() - 8);
	vmx_expect_entry_error("a misaligned MSR bitmap", 7);
}

static void check_links(void)
{
	static const struct {
		const char *what;
		uint64_t gpa;
	} links[] = {{"a link to nothing", HOLE}, {"a link to the local APIC", APIC_BASE}};

	for (unsigned i = 0; i < 3; i++) {
		PREPARE(0, 0, 0, VMCALL);
		vmwrite(VMCS_LINK_POINTER, i < 2 ? links[i].gpa : physical(l1.vmcs));
		check_equal(vmx_enter(false), SUCCEEDED, "a failed entry");
		print("nested: %s, exit reason 0x%x qualification 0x%lx\n", i < 2 ? links[i].what : "a link to the VMCS itself",
		      (unsigned)vmread(VMCS_EXIT_REASON), vmread(VMCS_QUALIFICATION));
		check_equal(vmread(VMCS_EXIT_REASON), 0x80000021, "its reason");
		check_equal(vmread(VMCS_QUALIFICATION), 4, "its qualification");
	}
}

/* ---- MSR areas ------------------------------------------------------------------------------------ */

static void check_msr_loads(void)
{
	static const struct {
		const char *what;
		uint32_t msr, reserved;
		uint64_t value;
	} bad[] = {
		{"FS_BASE", MSR_FS_BASE, 0, 0},
		{"GS_BASE", MSR_GS_BASE, 0, 0},
		{"the first of the x2APIC", 0x800, 0, 0},
		{"one of the x2APIC", MSR_X2APIC_ID, 0, 0},
		{"the last of the x2APIC", 0x8ff, 0, 0},
		{"LSTAR, reserved bits", MSR_LSTAR, 1, 0},
		{"LSTAR, not canonical", MSR_LSTAR, 0, UINT64_C(1) << 60},
		{"KERNEL_GS_BASE, not canonical", MSR_KERNEL_GS_BASE, 0, UINT64_C(1) << 60},
		{"PAT of no type", MSR_PAT, 0, 2},
		{"EFER, undefined bits", MSR_EFER, 0, 0xffff0000},
		{"IA32_VMX_BASIC", MSR_VMX_BASIC, 0, 0},
		{"IA32_FEATURE_CONTROL", MSR_FEATURE_CONTROL, 0, 0},
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		PREPARE(0, 0, 0, VMCALL);
		l1.area[0] = MSR_STAR;
		l1.area[1] = 0x5555;
		l1.area[2] = bad[i].msr | (uint64_t)bad[i].reserved << 32;
		l1.area[3] = bad[i].value;
		vmwrite(VMCS_ENTRY_MSR_LOAD, physical(l1.area));
		vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 2);
		check_equal(vmx_enter(false), SUCCEEDED, bad[i].what);
		print("nested: MSR load of %s, exit reason 0x%x qualification 0x%lx\n", bad[i].what, (unsigned)vmread(VMCS_EXIT_REASON),
		      vmread(VMCS_QUALIFICATION));
		check_equal(vmread(VMCS_EXIT_REASON), 0x80000022, bad[i].what);
		check_equal(vmread(VMCS_QUALIFICATION), 2, bad[i].what);
	}
}

static void check_msr_areas(void)
{
	static const struct {
		const char *what;
		uint32_t address, count;
		uint64_t gpa, entries;
	} bad[] = {
		{"an area to load on entry, misaligned", VMCS_ENTRY_MSR_LOAD, VMCS_ENTRY_MSR_LOAD_COUNT, 8, 1},
		{"an area to load on entry, beyond memory", VMCS_ENTRY_MSR_LOAD, VMCS_ENTRY_MSR_LOAD_COUNT, ALL_ONES << 52, 1},
		{"an area to store, misaligned", VMCS_EXIT_MSR_STORE, VMCS_EXIT_MSR_STORE_COUNT, 8, 1},
		{"an area to store, beyond memory", VMCS_EXIT_MSR_STORE, VMCS_EXIT_MSR_STORE_COUNT, ALL_ONES << 52, 1},
		{"an area to load on exit, misaligned", VMCS_EXIT_MSR_LOAD, VMCS_EXIT_MSR_LOAD_COUNT, 8, 1},
		{"an area to load on exit, beyond memory", VMCS_EXIT_MSR_LOAD, VMCS_EXIT_MSR_LOAD_COUNT, ALL_ONES << 52, 1},
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		PREPARE(0, 0, 0, VMCALL);
		vmwrite(bad[i].address, bad[i].gpa);
		vmwrite(bad[i].count, bad[i].entries);
		vmx_expect_entry_error(bad[i].what, 7);
	}
	PREPARE(0, 0, 0, VMCALL);
	vmwrite(VMCS_ENTRY_MSR_LOAD, physical_end() - 16);
	vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 2);
	vmx_expect_entry_error("an area that goes over the end of physical memory", 7);
	PREPARE(0, 0, 0, VMCALL);
	vmwrite(VMCS_ENTRY_MSR_LOAD, 8);
	vmwrite(VMCS_EXIT_MSR_STORE, 8);
	vmwrite(VMCS_EXIT_MSR_LOAD, 8);
	vmx_expect_exit("misaligned areas of no entries", false, VMX_EXIT_VMCALL, 0);
}

/* ---- events ---------------------------------------------------------------------------------------- */

enum { HANDLER = 0x20 };

/* Every vector of L2's leads to a VMCALL. */
static void set_gates(void)
{
	static const uint8_t vmcall[] = {VMCALL};
	uint64_t entry = physical(l1.code) + HANDLER;

	for (unsigned vector = 0; vector < 256; vector++) {
		l1.idt[2 * vector] = (entry & 0xffff) | CODE64 << 16 | UINT64_C(0x8e) << 40 | (entry >> 16 & 0xffff) << 48;
		l1.idt[2 * vector + 1] = entry >> 32;
	}
	memcpy(l1.code + HANDLER, vmcall, sizeof(vmcall));
}

static void inject(uint32_t event, unsigned length)
{
	unsigned outcome;

	PREPARE(0, 0, 0, VMCALL);
	vmwrite(VMCS_ENTRY_EVENT, event);
	vmwrite(VMCS_ENTRY_INSTRUCTION_LENGTH, length);
	outcome = vmx_enter(false);
	print("nested: event 0x%08x length %u, exit %u error %u reason 0x%x at +0x%lx\n", event, length, outcome,
	      outcome ? (unsigned)vmread(VMCS_INSTRUCTION_ERROR) : 0, outcome ? 0 : (unsigned)vmread(VMCS_EXIT_REASON),
	      outcome ? 0 : vmread(VMCS_GUEST_RIP) - physical(l1.code));
	check(outcome == SUCCEEDED || (outcome == FAILED_VALID && vmread(VMCS_INSTRUCTION_ERROR) == 7), "event 0x%08x: outcome %u", event, outcome);
}

/* Each type with vectors that matter, with and without an error code, and the lengths of software's. */
static void check_event_types(void)
{
	static const uint8_t vectors[] = {0, 2, 3, 4, 8, 13, 14, 17, 31, 32, 255};
	static const uint8_t lengths[] = {0, 1, 15, 16};

	set_gates();
	for (unsigned type = 0; type < 7; type++) {
		for (unsigned v = 0; v < sizeof(vectors); v++) {
			for (unsigned error = 0; error < 2; error++)
				inject(EVENT_VALID | (error ? EVENT_ERROR : 0) | type << 8 | vectors[v], 1);
		}
		for (unsigned i = 0; type >= 4 && type < 7 && i < sizeof(lengths); i++) {
			if (lengths[i] || !(read_msr(MSR_VMX_MISC) >> 30 & 1))
				inject(EVENT_VALID | type << 8 | 3, lengths[i]);
		}
	}
	for (unsigned bit = 12; bit < 31; bit++)
		inject(EVENT_VALID | 1u << bit | VECTOR, 1);
	PREPARE(0, 0, 0, VMCALL);
	vmwrite(VMCS_ENTRY_EVENT, EVENT_VALID | EVENT_ERROR | TYPE_EXCEPTION | VECTOR_GP);
	vmwrite(VMCS_ENTRY_EVENT_ERROR, 0x10000);
	vmx_expect_entry_error("an error code of 17 bits", 7);
}

/* ---- EPT --------------------------------------------------------------------------------------------- */

static void check_ept_pointers(void)
{
	for (unsigned bit = 0; bit < 12; bit++) {
		if (bit == 6)
			continue; /* accessed and dirty flags, where there are any */
		PREPARE(0, 0, CPU2_EPT, VMCALL);
		vmwrite(VMCS_EPT_POINTER, (physical(l1.ept_pml4) | 3 << 3 | 6) ^ 1ull << bit);
		print("nested: EPTP with bit %u changed, exit none: outcome %u\n", bit, vmx_enter(false));
		check_equal(vmread(VMCS_INSTRUCTION_ERROR), 7, "an EPTP with another bit");
	}
	for (uint64_t bit = physical_end(); bit; bit <<= 1) {
		PREPARE(0, 0, CPU2_EPT, VMCALL);
		vmwrite(VMCS_EPT_POINTER, physical(l1.ept_pml4) | 3 << 3 | 6 | bit);
		check_equal(vmx_enter(false), FAILED_VALID, "an EPTP beyond memory");
		check_equal(vmread(VMCS_INSTRUCTION_ERROR), 7, "an EPTP beyond memory");
	}
}

static void expect_refused_address(const char *what, uint64_t eptp)
{
	PREPARE(0, 0, CPU2_EPT, VMCALL);
	vmwrite(VMCS_EPT_POINTER, eptp);
	check_equal(vmx_enter(false), SUCCEEDED, what);
	print("nested: %s, exit reason %u qualification 0x%lx\n", what, (unsigned)vmread(VMCS_EXIT_REASON), vmread(VMCS_QUALIFICATION) & 0x1ff);
}

/* The top table is its own next one, at every level: L2 reads and writes it. */
static void check_own_tables(void)
{
	uint64_t through = SELF | SELF >> 9 | SELF >> 18 | SELF >> 27; /* the table's own page */

	l1.ept_pml4[1] = physical(l1.ept_pml4) | EPT_RWX;
	PREPARE(0, 0, CPU2_EPT, 0x48, 0x8b, 0x03, 0x48, 0x89, 0x0b, 0x48, 0x8b, 0x13, VMCALL); /* load, store, load at (%rbx) */
	l2_gpr.rbx = through + 8 * 5;
	l2_gpr.rcx = 0x1230; /* no rights */
	vmx_expect_exit("L2 writes an entry that leads nowhere", false, VMX_EXIT_VMCALL, 9);
	check_equal(l1.ept_pml4[5], 0x1230, "the entry that L2 has written");
	check_equal(l2_gpr.rdx, 0x1230, "... as L2 reads it");
	/* L2 takes its own way away: it is L1's table, and L1's to say when that counts. */
	PREPARE(0, 0, CPU2_EPT, 0x48, 0x89, 0x0b, VMCALL, 0x48, 0x8b, 0x13, VMCALL);
	l2_gpr.rbx = through + 8 * 1;
	l2_gpr.rcx = 0;
	vmx_expect_exit("L2 clears the entry that leads to itself", false, VMX_EXIT_VMCALL, 3);
	check_equal(l1.ept_pml4[1], 0, "the entry that L2 has cleared");
	invept(1, physical(l1.ept_pml4) | 3 << 3 | 6, 0);
	vmwrite(VMCS_GUEST_RIP, physical(l1.code) + 6);
	vmx_expect_exit("L2 reads through the entry that it has cleared", true, VMX_EXIT_EPT_VIOLATION, 6);
	print("nested: a read through no entry, exit gpa 0x%lx\n", vmread(VMCS_GUEST_PHYSICAL_ADDRESS));
	/* An entry that makes itself reserved. */
	l1.ept_pml4[1] = physical(l1.ept_pml4) | EPT_RWX;
	invept(2, 0, 0);
	PREPARE(0, 0, CPU2_EPT, 0x48, 0x89, 0x0b, VMCALL, 0x48, 0x8b, 0x13, VMCALL);
	l2_gpr.rbx = through + 8 * 1;
	l2_gpr.rcx = physical(l1.ept_pml4) | EPT_RWX | EPT_LEAF; /* no leaf may stand there */
	vmx_expect_exit("L2 makes the entry reserved", false, VMX_EXIT_VMCALL, 3);
	invept(1, physical(l1.ept_pml4) | 3 << 3 | 6, 0);
	vmwrite(VMCS_GUEST_RIP, physical(l1.code) + 6);
	vmx_expect_exit("L2 reads through the entry that it has made reserved", true, VMX_EXIT_EPT_MISCONFIGURATION, 6);
	l1.ept_pml4[1] = l1.ept_pml4[5] = 0;
	invept(2, 0, 0);
}

static void check_ept_nowhere(void)
{
	memset(l1.tables, 0, PAGE);
	expect_refused_address("an EPTP to an empty table", physical(l1.tables) | 3 << 3 | 6);
	for (unsigned i = 0; i < 512; i++)
		l1.tables[i] = EPT_W; /* never allowed without R */
	expect_refused_address("an EPTP to a table of writable entries", physical(l1.tables) | 3 << 3 | 6);
	for (unsigned i = 0; i < 512; i++)
		l1.tables[i] = (physical_end() - 1) | EPT_RWX;
	expect_refused_address("an EPTP to a table of ones", physical(l1.tables) | 3 << 3 | 6);
	for (unsigned i = 0; i < 512; i++)
		l1.tables[i] = physical_end() | EPT_RWX;
	expect_refused_address("an EPTP to a table of addresses beyond memory", physical(l1.tables) | 3 << 3 | 6);
}

/* What INVEPT and INVVPID say of their descriptors (31.3). */
static void check_descriptors(void)
{
	static const struct {
		const char *what;
		uint64_t type, first, second;
	} ept[] = {
		{"INVEPT of EPTP 0", 1, 0, 0},
		{"INVEPT of an EPTP of ones", 1, ALL_ONES, 0},
		{"INVEPT of an EPTP with a reserved bit", 1, 0x809e, 0},
		{"INVEPT of an EPTP that nothing uses", 1, 0x801e, 0},
		{"INVEPT of an EPTP of three levels", 1, 0x8016, 0},
		{"INVEPT, the second word not 0", 1, 0x801e, 1},
		{"INVEPT of all, ones", 2, ALL_ONES, ALL_ONES},
		{"INVEPT, type of ones", ALL_ONES, 0, 0},
	},
	  vpid[] = {
		  {"INVVPID of an address, VPID 0", 0, 0, 0},
		  {"INVVPID of an address", 0, 1, 0x1000},
		  {"INVVPID of all, ones", 2, ALL_ONES, ALL_ONES},
		  {"INVVPID of all", 2, 0, ALL_ONES},
		  {"INVVPID of all, a VPID", 2, 5, 0},
		  {"INVVPID but global, VPID 0", 3, 0, 0},
		  {"INVVPID but global", 3, 1, ALL_ONES},
		  {"INVVPID, reserved bits", 0, 1ull << 63 | 1, 0},
		  {"INVVPID, type of ones", ALL_ONES, 1, 0},
	  };

	check_equal(vmptrld(physical(l1.vmcs)), SUCCEEDED, "VMPTRLD");
	for (unsigned i = 0; i < sizeof(ept) / sizeof(ept[0]); i++)
		vmx_answer_of_instruction(ept[i].what, invept(ept[i].type, ept[i].first, ept[i].second));
	for (unsigned i = 0; i < sizeof(vpid) / sizeof(vpid[0]); i++)
		vmx_answer_of_instruction(vpid[i].what, invvpid(vpid[i].type, vpid[i].first, vpid[i].second));
}

/* ---- a guest that is nowhere --------------------------------------------------------------------------- */

static void check_guest_nowhere(void)
{
	PREPARE(0, 0, 0, 0x0f, 0x0b); /* ud2 */
	vmwrite(VMCS_GUEST_IDTR_BASE, HOLE);
	vmx_expect_exit("#UD with an IDT of nothing", false, VMX_EXIT_TRIPLE_FAULT, 0);
	PREPARE(0, 0, 0, 0x0f, 0x0b);
	set_gates();
	vmwrite(VMCS_GUEST_RSP, UINT64_C(1) << 60);
	vmx_expect_exit("#UD with a stack that is not canonical", false, VMX_EXIT_TRIPLE_FAULT, 0);
	PREPARE(0, 0, CPU2_EPT, VMCALL);
	vmwrite(VMCS_GUEST_CR3, physical_end() - PAGE);
	check_equal(vmx_enter(false), SUCCEEDED, "CR3 at the end of physical memory");
	vmx_answer("CR3 at the end of physical memory, under EPT", SUCCEEDED);
	check_equal(vmread(VMCS_EXIT_REASON), VMX_EXIT_EPT_VIOLATION, "its exit");
}

void test_nested_vmx_edges(void)
{
	if (!(cpuid(1, 0).c & 1u << 5)) {
		check(false, "CPUID shows no VMX");
		return;
	}
	vmx_set_up();
	set_cr4((void *)(get_cr4() | CR4_VMXE));
	set_cr0((void *)(get_cr0() | CR0_NE));
	if (!(read_msr(MSR_FEATURE_CONTROL) & 1))
		write_msr(MSR_FEATURE_CONTROL, 5);
	check_vmxon_nowhere();
	vmx_turn_on();
	check_vmptrld_nowhere();
	check_descriptors();
	check_bitmaps_nowhere();
	check_links();
	check_msr_loads();
	check_msr_areas();
	check_event_types();
	check_ept_pointers();
	check_own_tables();
	check_ept_nowhere();
	check_guest_nowhere();
	vmx_turn_off();
}
