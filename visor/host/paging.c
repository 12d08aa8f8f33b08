/* SPDX-License-Identifier: BSD-2-Clause */
/* SDM vol. 3, 4.5 "4-level paging". */
#include "visor/host/paging.h"

#include "visor/cpu/state.h"
#include "visor/cpu/x86.h"
#include "visor/host/frame.h"
#include "visor/host/stacks.h"
#include "visor/lib/crc32c.h"

#define PAGE 4096ull
#define PAGE_2M (1ull << 21)
#define PAGE_1G (1ull << 30)
#define LOW_END 0x100000ull /* firmware's and real mode's: nothing of the visor's */
#define ADDRESS 0x000ffffffffff000ull

enum { P = 1 << 0,
       W = 1 << 1,
       PCD = 1 << 4,
       A = 1 << 5,
       D = 1 << 6,
       PS = 1 << 7 };
#define NX (1ull << 63)
#define TABLE (P | W | A) /* rights come from the leaves alone */
#define DATA (P | W | A | D | NX)
#define DEVICE (DATA | PCD)

#define APIC_BASE_ADDRESS 0xffffff000ull

extern const uint8_t visor_image_start[], visor_text_end[], visor_rodata_end[], visor_image_end[];

static uint64_t *top;

/* The table below `entry`, made if there is none. NULL: no memory. */
static uint64_t *table_below(uint64_t *entry)
{
	if (!*entry) {
		uint64_t frame = frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, true);

		if (!frame)
			return NULL;
		*entry = frame | TABLE;
	}
	return (uint64_t *)(uintptr_t)(*entry & ADDRESS);
}

static unsigned index_of(uint64_t address, unsigned level)
{
	return address >> (12 + 9 * (level - 1)) & 511;
}

/* The entry of `level` that maps `address`. NULL: no memory, or a larger page is there already. */
static uint64_t *entry_at(uint64_t address, unsigned level)
{
	uint64_t *table = top;

	for (unsigned at = 4; at > level; at--) {
		uint64_t *entry = &table[index_of(address, at)];

		if (*entry & PS)
			return NULL;
		table = table_below(entry);
		if (!table)
			return NULL;
	}
	return &table[index_of(address, level)];
}

static bool map_page(uint64_t address, unsigned level, uint64_t bits)
{
	uint64_t *entry = entry_at(address, level);

	if (!entry)
		return false;
	*entry = address | bits | (level > 1 ? PS : 0);
	return true;
}

static bool is_mapped(uint64_t address)
{
	uint64_t *table = top;

	for (unsigned at = 4; at; at--) {
		uint64_t entry = table[index_of(address, at)];

		if (!(entry & P))
			return false;
		if (at == 1 || entry & PS)
			return true;
		table = (uint64_t *)(uintptr_t)(entry & ADDRESS);
	}
	return false;
}

/* [base, end) in the largest pages that fit; what is mapped already stays as it is. */
static bool map_ram(uint64_t base, uint64_t end, bool huge)
{
	while (base < end) {
		uint64_t size = PAGE;
		unsigned level = 1;

		if (huge && base % PAGE_1G == 0 && end - base >= PAGE_1G) {
			size = PAGE_1G;
			level = 3;
		} else if (base % PAGE_2M == 0 && end - base >= PAGE_2M) {
			size = PAGE_2M;
			level = 2;
		}
		/* Where a table is already, whatever is smaller goes below it. */
		while (level > 1 && entry_at(base, level) && *entry_at(base, level)) {
			level--;
			size >>= 9;
		}
		if (!is_mapped(base) && !map_page(base, level, DATA))
			return false;
		base += size;
	}
	return true;
}

static bool map_image(void)
{
	for (uint64_t at = (uintptr_t)visor_image_start; at < (uintptr_t)visor_image_end; at += PAGE) {
		uint64_t bits = DATA;

		if (at < (uintptr_t)visor_text_end)
			bits = P | A;
		else if (at < (uintptr_t)visor_rodata_end)
			bits = P | A | NX;
		if (!map_page(at, 1, bits))
			return false;
	}
	return true;
}

/* Last of all: the pages below the stacks. */
static void unmap_guards(void)
{
	for (const struct host_stack *s = host_stacks; s->guard; s++)
		*entry_at((uintptr_t)s->guard, 1) = 0;
}

static uint64_t page_down(uint64_t address)
{
	return address & ~(PAGE - 1);
}

static bool map_all(const struct boot_info *boot)
{
	bool huge = cpuid(0x80000001, 0).edx & 1u << 26;

	if (!map_image())
		return false;
	for (unsigned i = 0; i < boot->memory_count; i++) {
		uint64_t base = page_down(boot->memory[i].base + PAGE - 1), end = page_down(boot->memory[i].end);

		if (!map_ram(base < LOW_END ? LOW_END : base, end, huge))
			return false;
	}
	for (unsigned i = 0; i < boot->module_count; i++) {
		if (!map_ram(page_down(boot->modules[i].base), page_down(boot->modules[i].end + PAGE - 1), false))
			return false;
	}
	return map_page(rdmsr(MSR_APIC_BASE) & APIC_BASE_ADDRESS, 1, DEVICE);
}

static void protect(void)
{
	uint64_t cr4 = read_cr4();

	if (cpuid(1, 0).edx & 1u << 7)
		cr4 |= X86_CR4_MCE;
	if (cpuid(0, 0).eax >= 7) {
		struct cpuid features = cpuid(7, 0);

		cr4 |= (features.ebx & 1u << 7 ? X86_CR4_SMEP : 0) | (features.ebx & 1u << 20 ? X86_CR4_SMAP : 0) |
		       (features.ecx & 1u << 2 ? X86_CR4_UMIP : 0);
	}
	write_cr4(cr4);
}

bool paging_init(const struct boot_info *boot)
{
	uint64_t root = frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, true);

	top = (uint64_t *)(uintptr_t)root;
	if (!root || !map_all(boot))
		return false;
	unmap_guards();
	write_cr3(root);
	protect();
	return true;
}

static uint32_t checksum_table(uint32_t so_far, const uint64_t *table, unsigned level)
{
	for (unsigned i = 0; i < 512; i++) {
		uint64_t entry = table[i] & ~(uint64_t)(A | D);

		if (!entry)
			continue;
		so_far = crc32c(so_far, &(uint64_t){i}, 1);
		so_far = crc32c(so_far, &entry, 1);
		if (level > 1 && entry & P && !(entry & PS))
			so_far = checksum_table(so_far, (const uint64_t *)(uintptr_t)(entry & ADDRESS), level - 1);
	}
	return so_far;
}

uint32_t paging_checksum(void)
{
	return checksum_table(0, top, 4);
}
