/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptor tables, page tables and control registers. SDM vol. 3, chapters 2 to 4, 6 and 8. */
#include "permission.h"

#define CR0_PG (1u << 31)
#define CR0_WP (1u << 16)
#define CR4_PSE (1u << 4)
#define CR4_PAE (1u << 5)
#define CR4_LA57 (1u << 12)
#define CR4_SMEP (1u << 20)
#define CR4_SMAP (1u << 21)
#define CR4_PKE (1u << 22)
#define CR4_TRIED (CR4_PSE | CR4_SMEP | CR4_SMAP | CR4_PKE)
#define MSR_EFER 0xc0000080u
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define EFER_NXE (1u << 11)

#define READ_CR(n) \
	static uint32_t read_cr##n(void) \
	{ \
		uint32_t v; \
		__asm__ volatile("mov %%cr" #n ", %0" \
		                 : "=r"(v)); \
		return v; \
	}
#define WRITE_CR(n) \
	static void write_cr##n(uint32_t v) { __asm__ volatile("mov %0, %%cr" #n \
		                                               : \
		                                               : "r"(v) \
		                                               : "memory"); }
READ_CR(0)
READ_CR(3)
READ_CR(4)
WRITE_CR(0)
WRITE_CR(3)
WRITE_CR(4)

/* ---- descriptors -------------------------------------------------------------- */

struct table_register {
	uint16_t limit;
	uint32_t base;
} __attribute__((packed));

static uint64_t gdt[SELECTOR_LDT / 8 + 2] = {
	[SELECTOR_CODE32 / 8] = 0x00cf9b000000ffff,
	[SELECTOR_DATA / 8] = 0x00cf93000000ffff,
	[SELECTOR_CODE64 / 8] = 0x00af9b000000ffff,
	[SELECTOR_USER_DATA / 8] = 0x00cff3000000ffff,
	[SELECTOR_USER_CODE32 / 8] = 0x00cffb000000ffff,
	[SELECTOR_USER_CODE64 / 8] = 0x00affb000000ffff,
};
static uint64_t idt32[VECTOR_COUNT], idt64[VECTOR_COUNT][2];
static uint32_t tss32[26], tss64[26];

extern const char entries32[], entries64[], handler_stack_top[], user_page[];

static uint32_t address_of(const void *p)
{
	return (uint32_t)(uintptr_t)p;
}

/* A present interrupt gate that CPL 3 may use: DPL 3, type 14. */
static uint64_t gate(const void *entry, unsigned selector)
{
	uint32_t at = address_of(entry);

	return (at & 0xffff) | selector << 16 | (uint64_t)(0xee00 | (at & 0xffff0000)) << 32;
}

/* A TSS (type 9) or an LDT (type 2); its upper half counts only in long mode. */
static void system_segment(unsigned selector, uint64_t base, uint32_t limit, unsigned type)
{
	gdt[selector / 8] = (limit & 0xffff) | (base & 0xffffff) << 16 | (uint64_t)(0x80 | type) << 40 |
	                    (base >> 24 & 0xff) << 56;
	gdt[selector / 8 + 1] = base >> 32;
}

void processor_setup(void)
{
	struct table_register r = {sizeof(gdt) - 1, address_of(gdt)};

	for (unsigned v = 0; v < VECTOR_COUNT; v++) {
		idt32[v] = gate(entries32 + v * ENTRY_BYTES, SELECTOR_CODE32);
		idt64[v][0] = gate(entries64 + v * ENTRY_BYTES, SELECTOR_CODE64);
	}
	tss32[1] = tss64[1] = address_of(handler_stack_top); /* ESP0, and RSP0's lower half */
	tss32[2] = SELECTOR_DATA;
	tss32[25] = tss64[25] = sizeof(tss32) << 16; /* no I/O permission map */
	__asm__ volatile("lgdt %0\n\t"
	                 "ljmp %1, $1f\n"
	                 "1:\tmov %2, %%ss\n\t"
	                 "mov %3, %%ds\n\t"
	                 "mov %3, %%es"
	                 :
	                 : "m"(r), "i"(SELECTOR_CODE32), "r"(SELECTOR_DATA), "r"(SELECTOR_USER_DATA)
	                 : "memory");
}

/* With paging on, as long mode has its own forms of all of these. The page under test is the LDT. */
static void load_tables(enum mode mode)
{
	bool wide = mode >= MODE_4LEVEL;
	struct table_register r = {wide ? sizeof(idt64) - 1 : sizeof(idt32) - 1,
	                           wide ? address_of(idt64) : address_of(idt32)};

	system_segment(SELECTOR_LDT, test_linear(mode), PAGE - 1, 2);
	system_segment(SELECTOR_TSS, wide ? address_of(tss64) : address_of(tss32), sizeof(tss32) - 1, 9);
	__asm__ volatile("lidt %0"
	                 :
	                 : "m"(r));
	if (wide)
		load_system_segments64();
	else
		load_system_segments32();
}

/* ---- page tables ----------------------------------------------------------------- */

enum { POOL_PAGES = 24,
       P_W_A_D = 0x63,
       P_W_U_A_D = 0x67 };

static _Alignas(4096) uint8_t pool[POOL_PAGES][4096];
static unsigned pool_used;
static uint64_t test_entries[6]; /* by level */

uint64_t entry_read(const struct space *space, uint64_t gpa)
{
	return entry_bytes(space->mode) == 4 ? *(volatile uint32_t *)pointer_to(gpa)
	                                     : *(volatile uint64_t *)pointer_to(gpa);
}

void entry_store(const struct space *space, uint64_t gpa, uint64_t value)
{
	if (entry_bytes(space->mode) == 4)
		*(volatile uint32_t *)pointer_to(gpa) = (uint32_t)value;
	else
		*(volatile uint64_t *)pointer_to(gpa) = value;
}

static uint64_t new_table(void)
{
	if (pool_used == POOL_PAGES) {
		print("FAIL permission: %u pages are too few for the tables\n", POOL_PAGES);
		guest_exit(GUEST_UNFIT);
	}
	return address_of(memset(pool[pool_used++], 0, PAGE));
}

/* The entry of `level` for `linear`; tables above it that are missing are made. */
static uint64_t entry_on_way(const struct space *space, uint64_t linear, unsigned level)
{
	uint64_t table = address_of(pool[0]);

	for (unsigned l = top_level(space->mode);; l--) {
		uint64_t at = table + entry_bytes(space->mode) * entry_index(space->mode, linear, l);

		if (l == level)
			return at;
		if (!entry_read(space, at))
			entry_store(space, at, new_table() | (space->mode == MODE_PAE && l == 3 ? 1 : P_W_U_A_D));
		table = entry_read(space, at) & 0xfffff000;
	}
}

uint64_t test_entry_gpa(unsigned level)
{
	return test_entries[level];
}

uint64_t test_table(unsigned level)
{
	return test_entries[level] & ~(PAGE - 1);
}

static void make_tables(const struct space *space)
{
	pool_used = 0;
	new_table();
	for (uint32_t linear = 0; linear < LOW_BYTES; linear += PAGE)
		entry_store(space, entry_on_way(space, linear, 1),
		            linear | (linear == address_of(user_page) ? P_W_U_A_D : P_W_A_D));
	for (unsigned level = top_level(space->mode); level >= 1; level--)
		test_entries[level] = entry_on_way(space, test_linear(space->mode), level);
	entry_store(space, test_entries[1], SMALL_TARGET | P_W_U_A_D);
}

/* ---- control registers -------------------------------------------------------------- */

void paging_on(const struct space *space)
{
	bool wide = space->mode >= MODE_4LEVEL;

	make_tables(space);
	write_cr4((read_cr4() & ~(CR4_PAE | CR4_LA57)) | (space->mode != MODE_32BIT ? CR4_PAE : 0) |
	          (space->mode == MODE_5LEVEL ? CR4_LA57 : 0));
	if (wide)
		write_msr(MSR_EFER, read_msr(MSR_EFER) | EFER_LME);
	write_cr3(address_of(pool[0]));
	write_cr0(read_cr0() | CR0_PG);
	load_tables(space->mode);
}

void paging_off(void)
{
	write_cr0(read_cr0() & ~(CR0_PG | CR0_WP));
	write_cr4(read_cr4() & ~CR4_TRIED);
	if (read_msr(MSR_EFER) & EFER_LME)
		write_msr(MSR_EFER, read_msr(MSR_EFER) & ~(uint64_t)EFER_LME);
}

static void set_nxe(bool on)
{
	uint64_t old = read_msr(MSR_EFER), next = (old & ~(uint64_t)EFER_NXE) | (on ? EFER_NXE : 0);

	if (next != old)
		write_msr(MSR_EFER, next);
}

void set_controls(const struct space *space, unsigned controls)
{
	uint32_t old0 = read_cr0(), old4 = read_cr4();
	uint32_t cr0 = (old0 & ~CR0_WP) | (controls & CONTROL_WP ? CR0_WP : 0);
	uint32_t cr4 = (old4 & ~CR4_TRIED) | (controls & CONTROL_SMEP ? CR4_SMEP : 0) |
	               (controls & CONTROL_SMAP ? CR4_SMAP : 0) | (controls & CONTROL_PSE ? CR4_PSE : 0) |
	               (space->keys ? CR4_PKE : 0);

	if (cr0 != old0)
		write_cr0(cr0);
	if (cr4 != old4)
		write_cr4(cr4);
	if (space_controls(space) & CONTROL_NXE)
		set_nxe(controls & CONTROL_NXE);
	if (space->keys)
		__asm__ volatile("wrpkru"
		                 :
		                 : "a"(PKRU_VALUE), "c"(0), "d"(0));
	write_cr3(read_cr3()); /* a change of NXE forgets no translation by itself */
}

void describe_controls(struct sim_guest_cpu *cpu, unsigned controls)
{
	cpu->wp = controls & CONTROL_WP;
	cpu->smep = controls & CONTROL_SMEP;
	cpu->smap = controls & CONTROL_SMAP;
	cpu->nxe = controls & CONTROL_NXE;
}

void describe_processor(struct sim_guest_cpu *cpu)
{
	uint32_t cr0 = read_cr0(), cr4 = read_cr4();
	uint64_t efer = cpuid(0x80000000, 0).a > 0x80000000 ? read_msr(MSR_EFER) : 0;
	struct cpuid features = cpuid(1, 0);
	bool widths = cpuid(0x80000000, 0).a >= 0x80000008;

	*cpu = (struct sim_guest_cpu){
		.pg = cr0 & CR0_PG,
		.wp = cr0 & CR0_WP,
		.pse = cr4 & CR4_PSE,
		.pae = cr4 & CR4_PAE,
		.la57 = cr4 & CR4_LA57,
		.smep = cr4 & CR4_SMEP,
		.smap = cr4 & CR4_SMAP,
		.pke = cr4 & CR4_PKE,
		.lma = efer & EFER_LMA,
		.nxe = efer & EFER_NXE,
		.cr3 = read_cr3(),
		.pkru = PKRU_VALUE,
		.maxphyaddr = widths ? cpuid(0x80000008, 0).a & 0xff : 36,
		.pse36 = features.d & 1u << 17,
		.page_1g = cpuid(0x80000001, 0).d & 1u << 26,
		.amd = cpuid(0, 0).b == 0x68747541, /* "Auth" */
	};
	for (unsigned i = 0; i < 4 && cpu->pae && !cpu->lma; i++)
		cpu->pdpte[i] = *(volatile uint64_t *)pointer_to((cpu->cr3 & ~31ull) + 8 * i);
}
