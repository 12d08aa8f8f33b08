/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Control registers: what a load of CR0, CR3, CR4 or EFER refuses, process-context
 * identifiers and protection keys (SDM vol. 3, 2.5, 4.1.1, 4.6.2, 4.10.1, 4.10.4.1).
 */
#include "space.h"

#define CR0_PE 1ull
#define CR0_NW (1ull << 29)
#define CR0_CD (1ull << 30)
#define CR0_PAGING (1ull << 31)
#define CR3_NO_FLUSH (1ull << 63)
#define CR3_PWT (1ull << 3)
#define CR4_LA57 (1ull << 12)
#define CR4_PCIDE (1ull << 17)
#define CR4_PKE (1ull << 22)
#define EFER_LME (1ull << 8)

static void try_cr0(void *value) { write_cr0((uintptr_t)value); }
static void try_cr3(void *value) { write_cr3((uintptr_t)value); }
static void try_cr4(void *value) { write_cr4((uintptr_t)value); }
static void try_efer(void *value) { write_msr((uint32_t)MSR_EFER, (uintptr_t)value); }

static void refused(void (*write)(void *), uint64_t value, const char *what)
{
	int vector = vector_of(write, (void *)(uintptr_t)value);

	check(vector == VECTOR_GP, "%s: vector %d instead of #GP", what, vector);
}

/* What QEMU's CPU, bare, does not look at; a visor that makes the writes itself does. */
static bool strict(void)
{
	return on_shadow_tables() || cpuid(0, 0).b == 0x756e6547; /* "Genu" */
}

static void rules(void)
{
	uint64_t cr0 = read_cr0(), cr4 = read_cr4(), efer = read_msr((uint32_t)MSR_EFER);

	if (!strict() && !device_present()) {
		skip("control: rules for CR0, CR3, CR4 and EFER, which this CPU does not keep (QEMU)");
		return;
	}
	refused(try_efer, efer ^ EFER_LME, "EFER.LME changed with paging on");
	refused(try_cr0, cr0 & ~CR0_PE, "CR0.PG without PE");
	refused(try_cr0, cr0 & ~CR0_PAGING, "CR0.PG cleared in 64-bit code");
	refused(try_cr0, (cr0 & ~CR0_CD) | CR0_NW, "CR0.NW without CD");
	refused(try_cr0, cr0 | 1ull << 32, "CR0 bit 32");
	refused(try_cr0, cr0 | 1ull << 63, "CR0 bit 63");
	refused(try_efer, efer | 1ull << 32, "EFER bit 32");
	refused(try_efer, efer | 1 << 9, "EFER bit 9");
	if (strict()) { /* the visor sees no load of CR3 under nested paging */
		refused(try_cr3, read_cr3() | 1ull << 62, "CR3 bit 62");
		refused(try_cr3, read_cr3() | CR3_NO_FLUSH, "CR3 bit 63 without PCIDs");
	} else {
		skip("control: rules for CR3, which this CPU does not keep (QEMU)");
	}
	refused(try_cr4, cr4 & ~(uint64_t)CR4_PAE, "CR4.PAE cleared in long mode");
	refused(try_cr4, cr4 ^ CR4_LA57, "CR4.LA57 changed in long mode");
	refused(try_cr4, cr4 | 1ull << 31, "CR4 bit 31");
	check_equal(read_cr0(), cr0, "CR0 after refused writes");
	check_equal(read_cr4(), cr4, "CR4 after refused writes");
}

/* Two address spaces under PCIDs of their own, switched with and without a flush. */
static void identifiers(void)
{
	uint64_t first = read_cr3(), root[2], page[2], linear = paging->window;

	if (!(cpuid(1, 0).c & 1u << 17)) {
		if (strict() || device_present())
			refused(try_cr4, read_cr4() | CR4_PCIDE, "CR4.PCIDE on a CPU without PCIDs");
		return;
	}
	write_cr3(first | CR3_PWT);
	refused(try_cr4, read_cr4() | CR4_PCIDE, "CR4.PCIDE set while CR3 has low bits");
	write_cr3(first);
	write_cr4(read_cr4() | CR4_PCIDE);
	check(read_cr4() & CR4_PCIDE, "CR4.PCIDE stays clear");
	for (unsigned i = 0; i < 2; i++) {
		root[i] = space_new();
		page[i] = frame_tagged();
		space_map(root[i], linear, page[i] | ENTRY_P | ENTRY_W, 1);
	}
	for (unsigned i = 0; i < 100; i++) {
		unsigned now = i & 1;

		write_cr3(root[now] | (now + 1) | (i >= 2 ? CR3_NO_FLUSH : 0));
		check_equal(read_cr3(), root[now] | (now + 1), "CR3 read back");
		check_shows(linear, page[now], "under its PCID");
	}
	/* A changed entry of a space that is not on shows after a load that flushes its PCID. */
	space_map(root[0], linear, page[1] | ENTRY_P | ENTRY_W, 1);
	write_cr3(root[0] | 1);
	check_shows(linear, page[1], "after a load of CR3 that flushes");
	refused(try_cr3, root[0] | 1 | 1ull << 62, "CR3 bit 62 with PCIDs");
	write_cr3(first);
	write_cr4(read_cr4() & ~CR4_PCIDE);
}

static uint32_t read_pkru(void)
{
	uint32_t low, high;

	__asm__ volatile("rdpkru"
	                 : "=a"(low), "=d"(high)
	                 : "c"(0));
	return low;
}

static void write_pkru(uint32_t value)
{
	__asm__ volatile("wrpkru"
	                 :
	                 : "a"(value), "c"(0), "d"(0)
	                 : "memory");
}

enum { KEY = 5,
       PF_KEY = 1 << 5,
       PF_WRITE = 1 << 1,
       PF_PRESENT = 1 << 0 };
#define ENTRY_KEY ((uint64_t)KEY << 59)

static void refuses(bool write, uint64_t linear, uint32_t error)
{
	uint32_t value;
	bool done = write ? try_store(linear, 1) : try_load(linear, &value);

	check(!done, "a key does not keep an access off");
	check_equal(last_trap.error, error, "error code of an access that a key keeps off");
}

/* Keys in user pages, for a supervisor; WRPKRU takes effect at once, though no exit tells of it. */
static void keys(void)
{
	uint64_t linear = paging->window + PAGE, page = frame_tagged();

	if (!(cpuid(7, 0).c & 1u << 3)) {
		if (strict() || device_present())
			refused(try_cr4, read_cr4() | CR4_PKE, "CR4.PKE on a CPU without protection keys");
		return;
	}
	space_map(read_cr3(), linear, page | ENTRY_P | ENTRY_W | ENTRY_U | ENTRY_KEY, 1);
	check(!(cpuid(7, 0).c & 1u << 4), "CPUID tells of CR4.PKE before it is set");
	write_cr4(read_cr4() | CR4_PKE);
	check(cpuid(7, 0).c & 1u << 4, "CPUID does not tell of CR4.PKE");
	for (unsigned i = 0; i < 3; i++) {
		write_pkru(0);
		check_shows(linear, page, "with no key withheld");
		write_pkru(2u << 2 * KEY);
		check_equal(read_pkru(), 2u << 2 * KEY, "PKRU read back");
		check_shows(linear, page, "with writes by its key withheld");
		refuses(true, linear, PF_PRESENT | PF_WRITE | PF_KEY);
		write_pkru(1u << 2 * KEY);
		refuses(false, linear, PF_PRESENT | PF_KEY);
	}
	write_cr4(read_cr4() & ~CR4_PKE);
	check_shows(linear, page, "with CR4.PKE clear");
	write_cr4(read_cr4() | CR4_PKE);
	if (strict()) /* QEMU's TLB keeps what it found while PKE was clear */
		refuses(false, linear, PF_PRESENT | PF_KEY);
	write_pkru(0);
	write_cr4(read_cr4() & ~CR4_PKE);
}

static void control(void)
{
	rules();
	identifiers();
	keys();
}

void test_control(void)
{
	in_each_mode(control);
}
