/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's own translation, as SDM vol. 3, chapter 5 "Paging" lays it down.
 * Section numbers below are of that chapter. Guests see 52 physical-address bits.
 */
#include "visor/emulate/guest_walk.h"

#define ENTRY_PRESENT (1ull << 0)
#define ENTRY_WRITABLE (1ull << 1)
#define ENTRY_USER (1ull << 2)
#define ENTRY_ACCESSED (1ull << 5)
#define ENTRY_DIRTY (1ull << 6)
#define ENTRY_PAGE (1ull << 7)
#define ENTRY_NO_EXECUTE (1ull << 63)
#define ENTRY_KEY(e) ((e) >> 59 & 15)

#define ADDRESS_64 0x000ffffffffff000ull  /* of 8-byte entries */
#define PAE_RESERVED 0x7ff0000000000000ull
#define PSE36_RESERVED (1u << 21)

/* How one paging mode lays out its tables. */
struct geometry {
	unsigned levels;
	unsigned index_bits;   /* per level; 10 with 4-byte entries, else 9 */
	unsigned entry_bytes;
	unsigned top_bits;     /* of the root: PAE has 2 */
};

/* Rights gathered on the way down. */
struct rights {
	bool writable, user, no_execute;
	unsigned key;
};

static struct geometry geometry_of(const struct x86_cpu_state *cpu)
{
	if (cpu->efer & X86_EFER_LMA) {
		bool five = cpu->cr4 & X86_CR4_LA57;

		return (struct geometry){.levels = five ? 5 : 4, .index_bits = 9, .entry_bytes = 8, .top_bits = 9};
	}
	if (cpu->cr4 & X86_CR4_PAE)
		return (struct geometry){.levels = 3, .index_bits = 9, .entry_bytes = 8, .top_bits = 2};
	return (struct geometry){.levels = 2, .index_bits = 10, .entry_bytes = 4, .top_bits = 10};
}

static uint64_t root_of(const struct x86_cpu_state *cpu, const struct geometry *g)
{
	if (g->levels == 3)
		return cpu->cr3 & 0xffffffe0u;
	return g->levels == 2 ? cpu->cr3 & 0xfffff000u : cpu->cr3 & ADDRESS_64;
}

static unsigned level_shift(const struct geometry *g, unsigned level)
{
	return 12 + g->index_bits * (level - 1);
}

static uint64_t entry_address(const struct geometry *g, uint64_t table, uint64_t gva, unsigned level)
{
	unsigned bits = level == g->levels ? g->top_bits : g->index_bits;

	return table + (gva >> level_shift(g, level) & ((1u << bits) - 1)) * g->entry_bytes;
}

static bool no_execute_exists(const struct x86_cpu_state *cpu, const struct geometry *g)
{
	return g->entry_bytes == 8 && (cpu->efer & X86_EFER_NXE);
}

/* Can this entry map a page? 5.3 to 5.5, table 5-1. */
static bool is_page(const struct x86_cpu_state *cpu, const struct geometry *g, unsigned level,
                    uint64_t entry)
{
	if (level == 1)
		return true;
	if (!(entry & ENTRY_PAGE))
		return false;
	if (g->levels == 2)
		return cpu->cr4 & X86_CR4_PSE;
	return level == 2 || (level == 3 && g->levels > 3);
}

/* 5.6.1, 5.7: reserved bits that do not depend on the CPU's physical-address width. */
static bool has_reserved_bits(const struct x86_cpu_state *cpu, const struct geometry *g, unsigned level,
                              uint64_t entry)
{
	bool page = is_page(cpu, g, level, entry);

	if (g->levels == 2)
		return level == 2 && page && (entry & PSE36_RESERVED);
	if ((entry & ENTRY_NO_EXECUTE) && !no_execute_exists(cpu, g))
		return true;
	if (g->levels == 3 && (entry & PAE_RESERVED))
		return true;
	/* Bit 5 too is reserved, but QEMU marks these entries accessed: no other CPU
	 * would have let the guest load CR3 with it. */
	if (g->levels == 3 && level == 3)
		return entry & (0x1c6 | ENTRY_NO_EXECUTE);
	if (level > 1 && page) /* below the page's address only PAT, bit 12, is free */
		return entry & ((1ull << level_shift(g, level)) - 1) & 0xffffe000u;
	return level > 3 && (entry & ENTRY_PAGE);
}

static uint64_t page_address(const struct geometry *g, unsigned level, uint64_t entry)
{
	if (g->levels == 2 && level == 2) /* PSE-36: bits 20:13 are address bits 39:32 */
		return (entry & 0xffc00000u) | (entry >> 13 & 0xff) << 32;
	return entry & (g->levels == 2 ? 0xfffff000u : ADDRESS_64) & ~((1ull << level_shift(g, level)) - 1);
}

/* PAE's page-directory-pointer entries have no rights of their own (5.4.1). */
static void narrow(struct rights *r, const struct geometry *g, unsigned level, uint64_t entry)
{
	if (g->levels == 3 && level == 3)
		return;
	r->writable = r->writable && (entry & ENTRY_WRITABLE);
	r->user = r->user && (entry & ENTRY_USER);
	r->no_execute = r->no_execute || (g->entry_bytes == 8 && (entry & ENTRY_NO_EXECUTE));
	r->key = ENTRY_KEY(entry);
}

/* 5.6.2: keys of user pages limit data accesses from every privilege level. */
static bool key_forbids(const struct x86_cpu_state *cpu, const struct geometry *g,
                        const struct rights *r, unsigned access)
{
	bool user = cpu->cpl == 3;
	unsigned disable = cpu->pkru >> 2 * r->key & 3;

	if (g->levels < 4 || !(cpu->cr4 & X86_CR4_PKE) || !r->user || (access & GUEST_WALK_FETCH))
		return false;
	if (disable & 1)
		return true;
	return (disable & 2) && (access & GUEST_WALK_WRITE) && (user || (cpu->cr0 & X86_CR0_WP));
}

/* 5.6.1 Determination of Access Rights. */
static bool allowed(const struct x86_cpu_state *cpu, const struct rights *r, unsigned access)
{
	bool write = access & GUEST_WALK_WRITE, fetch = access & GUEST_WALK_FETCH;

	if (fetch && r->no_execute)
		return false;
	if (cpu->cpl == 3)
		return r->user && (!write || r->writable);
	if (fetch)
		return !(r->user && (cpu->cr4 & X86_CR4_SMEP));
	if (r->user && (cpu->cr4 & X86_CR4_SMAP) && !(cpu->rflags & X86_FLAG_AC))
		return false;
	return !write || r->writable || !(cpu->cr0 & X86_CR0_WP);
}

/* 5.7: bit 4 is reported only where execution can be forbidden at all. */
static enum guest_walk_result fault(const struct x86_cpu_state *cpu, const struct geometry *g,
                                    unsigned access, unsigned why, struct guest_walk *out)
{
	if (!no_execute_exists(cpu, g) && !(cpu->cr4 & X86_CR4_SMEP))
		access &= ~GUEST_WALK_FETCH;
	out->error_code = access | why | (cpu->cpl == 3 ? GUEST_WALK_USER : 0);
	return GUEST_WALK_FAULT;
}

static enum guest_walk_result finish(const struct x86_cpu_state *cpu, const struct geometry *g,
                                     const struct rights *r, uint64_t gva, unsigned level,
                                     uint64_t entry, unsigned access, struct guest_walk *out)
{
	if (!allowed(cpu, r, access))
		return fault(cpu, g, access, GUEST_WALK_PRESENT, out);
	if (key_forbids(cpu, g, r, access))
		return fault(cpu, g, access, GUEST_WALK_PRESENT | GUEST_WALK_PROTECTION_KEY, out);
	out->page_bytes = 1ull << level_shift(g, level);
	out->gpa = page_address(g, level, entry) | (gva & (out->page_bytes - 1));
	return GUEST_WALK_OK;
}

static enum guest_walk_result walk_tables(const struct x86_cpu_state *cpu,
                                          const struct guest_memory *memory, uint64_t gva,
                                          unsigned access, struct guest_walk *out)
{
	struct geometry g = geometry_of(cpu);
	struct rights r = {.writable = true, .user = true};
	uint64_t table = root_of(cpu, &g), entry;

	for (unsigned level = g.levels;; level--) {
		out->gpa = entry_address(&g, table, gva, level);
		if (!memory->read(memory->ctx, out->gpa, g.entry_bytes, &entry))
			return GUEST_WALK_NO_MEMORY;
		if (!(entry & ENTRY_PRESENT))
			return fault(cpu, &g, access, 0, out);
		if (has_reserved_bits(cpu, &g, level, entry))
			return fault(cpu, &g, access, GUEST_WALK_PRESENT | GUEST_WALK_RESERVED, out);
		narrow(&r, &g, level, entry);
		if (is_page(cpu, &g, level, entry))
			return finish(cpu, &g, &r, gva, level, entry, access, out);
		table = entry & (g.levels == 2 ? 0xfffff000u : ADDRESS_64);
	}
}

enum guest_walk_result guest_walk(const struct x86_cpu_state *cpu, const struct guest_memory *memory,
                                  uint64_t gva, unsigned access, struct guest_walk *out)
{
	*out = (struct guest_walk){0};
	if (!(cpu->efer & X86_EFER_LMA))
		gva &= 0xffffffffu;
	if (cpu->cr0 & X86_CR0_PG)
		return walk_tables(cpu, memory, gva, access, out);
	out->gpa = gva;
	out->page_bytes = 1ull << 32;
	return GUEST_WALK_OK;
}

/* The largest access of a bus: a power of two up to 8 that is not more than `n`. */
static unsigned access_size(uint64_t n)
{
	return n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
}

/* On the way to a translation that exists. PAE's page-directory-pointer entries have no such bits. */
static enum guest_walk_result mark_tables(const struct x86_cpu_state *cpu, const struct guest_memory *memory,
                                          uint64_t gva, bool write)
{
	struct geometry g = geometry_of(cpu);
	uint64_t table = root_of(cpu, &g), at, entry, marked;

	for (unsigned level = g.levels;; level--) {
		bool page;

		at = entry_address(&g, table, gva, level);
		if (!memory->read(memory->ctx, at, g.entry_bytes, &entry))
			return GUEST_WALK_NO_MEMORY;
		page = is_page(cpu, &g, level, entry);
		marked = entry | ENTRY_ACCESSED | (page && write ? ENTRY_DIRTY : 0);
		if (marked != entry && !(g.levels == 3 && level == 3) &&
		    !memory->write(memory->ctx, at, g.entry_bytes, marked))
			return GUEST_WALK_NO_MEMORY;
		if (page)
			return GUEST_WALK_OK;
		table = entry & (g.levels == 2 ? 0xfffff000u : ADDRESS_64);
	}
}

enum guest_walk_result guest_access(const struct x86_cpu_state *cpu, const struct guest_memory *memory,
                                    uint64_t gva, unsigned access, struct guest_walk *out)
{
	enum guest_walk_result result = guest_walk(cpu, memory, gva, access, out);

	if (result != GUEST_WALK_OK || !(cpu->cr0 & X86_CR0_PG))
		return result;
	return mark_tables(cpu, memory, cpu->efer & X86_EFER_LMA ? gva : gva & 0xffffffffu, access & GUEST_WALK_WRITE);
}

unsigned guest_fetch(const struct x86_cpu_state *cpu, const struct guest_memory *memory,
                     uint8_t *bytes, unsigned max)
{
	bool long_mode = (cpu->efer & X86_EFER_LMA) && (cpu->segment[X86_CS].access & X86_ACCESS_LONG);
	uint64_t base = long_mode ? 0 : cpu->segment[X86_CS].base, value;
	struct guest_walk w = {0};
	unsigned size;

	for (unsigned i = 0; i < max; i += size, w.gpa += size) {
		uint64_t gva = base + cpu->rip + i, left = 4096 - (gva & 0xfff);

		if (!long_mode)
			gva &= 0xffffffffu;
		if ((!i || left == 4096) && guest_walk(cpu, memory, gva, GUEST_WALK_FETCH, &w) != GUEST_WALK_OK)
			return i;
		size = access_size(left < max - i ? left : max - i);
		if (!memory->read(memory->ctx, w.gpa, size, &value))
			return i;
		for (unsigned b = 0; b < size; b++)
			bytes[i + b] = (uint8_t)(value >> 8 * b);
	}
	return max;
}
