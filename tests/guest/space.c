/* SPDX-License-Identifier: BSD-2-Clause */
/* Address spaces over a table of paging modes (SDM vol. 3, 4.3 to 4.5). */
#include "space.h"

#define POOL_BYTES (24 * MIB)

const struct paging *paging;

static uint64_t pool, pool_next, pool_end;

/* ---- Frames ---------------------------------------------------------------- */

void frames_start(void)
{
	if (!pool) {
		pool = take_ram(POOL_BYTES);
		pool_end = pool + POOL_BYTES;
	}
	pool_next = pool;
}

uint64_t frames_take(unsigned count, uint64_t alignment)
{
	uint64_t base = (pool_next + alignment - 1) & ~(alignment - 1);

	pool_next = base + count * PAGE;
	if (pool_next > pool_end) {
		print("FAIL frames: a stress test needs more than its pool has\n");
		guest_exit(GUEST_UNFIT);
	}
	return base;
}

struct range frames_left(void)
{
	return (struct range){pool_next, pool_end - pool_next};
}

void frames_give_back(uint64_t first)
{
	pool_next = first;
}

uint64_t frame_take(void)
{
	uint64_t gpa = frames_take(1, PAGE);

	memset((void *)(uintptr_t)gpa, 0, PAGE);
	return gpa;
}

uint32_t tag_of(uint64_t gpa)
{
	return (uint32_t)(gpa >> 12) * 0x9e3779b1u ^ 0x5a5a;
}

void frame_set_tag(uint64_t gpa)
{
	*word_at(gpa) = tag_of(gpa);
	*word_at(gpa + PAGE - 4) = tag_of(gpa);
}

uint64_t frame_tagged(void)
{
	uint64_t gpa = frame_take();

	frame_set_tag(gpa);
	return gpa;
}

/* ---- Entries and tables -------------------------------------------------------- */

unsigned level_shift(unsigned level)
{
	return 12 + paging->index_bits * (level - 1);
}

static bool is_pae_top(unsigned level)
{
	return paging->levels == 3 && level == 3;
}

unsigned table_entries(unsigned level)
{
	return is_pae_top(level) ? 4 : 1u << paging->index_bits;
}

unsigned index_of(uint64_t linear, unsigned level)
{
	return (unsigned)(linear >> level_shift(level)) & (table_entries(level) - 1);
}

unsigned large_level(void)
{
	if (paging->levels >= 4)
		return cpuid(0x80000001, 0).d & 1u << 26 ? 3 : 2;
	return 2;
}

static volatile uint64_t *entry_at(uint64_t table, unsigned index)
{
	return (volatile uint64_t *)(uintptr_t)(table + 8 * index);
}

uint64_t entry_read(uint64_t table, unsigned index)
{
	if (paging->entry_bytes == 4)
		return *word_at(table + 4 * index);
	return *entry_at(table, index);
}

/* A CPU that stores 4 bytes at a time must not show an entry that is half the old and half the new. */
static void write_in_halves(uint64_t at, uint64_t value)
{
	if (*word_at(at + 4) != (uint32_t)(value >> 32)) {
		*word_at(at) = 0;
		*word_at(at + 4) = (uint32_t)(value >> 32);
	}
	*word_at(at) = (uint32_t)value;
}

void entry_write(uint64_t table, unsigned index, uint64_t value)
{
	if (paging->entry_bytes == 4)
		*word_at(table + 4 * index) = (uint32_t)value;
	else if (sizeof(uintptr_t) == 8)
		*entry_at(table, index) = value;
	else
		write_in_halves(table + 8 * index, value);
}

uint64_t link_to(uint64_t gpa, unsigned level)
{
	return gpa | (is_pae_top(level) ? ENTRY_P : ENTRY_P | ENTRY_W | ENTRY_U);
}

uint64_t address_in(uint64_t entry)
{
	return entry & 0x000ffffffffff000;
}

uint64_t space_table(uint64_t root, uint64_t linear, unsigned level)
{
	uint64_t table = root;

	for (unsigned at = paging->levels; at > level; at--) {
		unsigned index = index_of(linear, at);

		if (!(entry_read(table, index) & ENTRY_P))
			entry_write(table, index, link_to(frame_take(), at));
		table = address_in(entry_read(table, index));
	}
	return table;
}

void space_map(uint64_t root, uint64_t linear, uint64_t entry, unsigned level)
{
	entry_write(space_table(root, linear, level), index_of(linear, level), entry);
}

/* ---- Home ---------------------------------------------------------------------------- */

#ifdef __x86_64__

static const struct paging modes[] = {
	{"4-level", 4, 8, 9, UINT64_C(200) << 39},
	{"5-level", 5, 8, 9, UINT64_C(3) << 48},
};

void paging_reload(uint32_t cr3, uint32_t cr4); /* boot.S */

static uint64_t first_root;                    /* what the guest started with */
static _Alignas(4096) uint64_t top_level[512]; /* the same below a fifth level */

uint64_t space_new(void)
{
	uint64_t root = frame_take();

	entry_write(root, 0, paging->levels == 5 ? top_level[0] : entry_read(first_root, 0));
	return root;
}

static unsigned paging_modes(void)
{
	static bool told;
	bool offered = cpuid(0, 0).a >= 7 && cpuid(7, 0).c & 1u << 16;

	if (!offered && !told)
		skip("5-level paging, CPUID does not offer it");
	told = true;
	return offered ? 2 : 1;
}

static void begin(void)
{
	if (!first_root)
		first_root = read_cr3();
	frames_start();
	if (paging->levels == 5) {
		top_level[0] = top_level[511] = first_root | ENTRY_P | ENTRY_W;
		paging_reload((uint32_t)(uintptr_t)top_level, (uint32_t)read_cr4() | CR4_LA57);
	}
	write_cr0(read_cr0() | CR0_WP);
	write_cr3(space_new());
}

static void end(void)
{
	write_cr0(read_cr0() & ~(uintptr_t)CR0_WP);
	if (paging->levels == 5)
		paging_reload((uint32_t)first_root, (uint32_t)read_cr4() & ~(uint32_t)CR4_LA57);
	else
		write_cr3(first_root);
}

#else

static const struct paging modes[] = {
	{"32-bit", 2, 4, 10, GIB},
	{"PAE", 3, 8, 9, GIB},
};

static uint64_t homes[2]; /* of each mode: tables of the top level's first entries */

static uint64_t *home(void)
{
	return &homes[paging - modes];
}

/*
 * Pages of 4 KiB in 32-bit paging, where CR4.PSE may come and go, and of 2 MiB
 * in PAE paging. The tables lie below the rest of the pool's frames.
 */
void home_make(void)
{
	uint64_t top = ram_end() < GIB ? ram_end() : GIB;
	unsigned level = paging->levels - 1, bytes = 1u << level_shift(level);
	uint64_t flags = ENTRY_P | ENTRY_W | (level == 2 ? ENTRY_LARGE : 0);
	unsigned entries = (unsigned)((top + bytes - 1) >> level_shift(level));
	unsigned tables = (entries >> paging->index_bits) + 1;

	*home() = frames_take(tables, PAGE);
	memset((void *)(uintptr_t)*home(), 0, tables * PAGE);
	for (unsigned i = 0; i < entries; i++)
		entry_write(*home(), i, (uint64_t)i * bytes | flags);
}

uint64_t space_new(void)
{
	uint64_t root = frame_take();
	unsigned shift = level_shift(paging->levels);

	for (unsigned i = 0; i == 0 || (uint64_t)i << shift < ram_end(); i++)
		entry_write(root, i, (*home() + i * PAGE) | (paging->levels == 2 ? ENTRY_P | ENTRY_W : ENTRY_P));
	return root;
}

void paging_turn_on(uint64_t root)
{
	uintptr_t cr4 = read_cr4() & ~(uintptr_t)(CR4_PAE | CR4_PSE);

	write_cr4(cr4 | (paging->levels == 3 ? CR4_PAE : CR4_PSE));
	write_cr3(root);
	write_cr0(read_cr0() | CR0_PG | CR0_WP);
}

void paging_turn_off(void)
{
	write_cr0(read_cr0() & ~(uintptr_t)(CR0_PG | CR0_WP));
}

unsigned paging_modes(void)
{
	return sizeof(modes) / sizeof(modes[0]);
}

void paging_select(unsigned mode)
{
	paging = &modes[mode];
}

static void begin(void)
{
	frames_start();
	home_make();
	paging_turn_on(space_new());
}

static void end(void)
{
	paging_turn_off();
}

#endif

void in_each_mode(void (*test)(void))
{
	for (unsigned i = 0, n = paging_modes(); i < n; i++) {
		paging = &modes[i];
		begin();
		test();
		end();
		if (device_present())
			audit(paging->name);
	}
}

/* ---- Accesses -------------------------------------------------------------------------- */

struct access {
	uint64_t linear;
	uint32_t value;
};

static void do_load(void *argument)
{
	struct access *a = argument;

	a->value = *word_at(a->linear);
}

static void do_store(void *argument)
{
	const struct access *a = argument;

	*word_at(a->linear) = a->value;
}

static void do_call(void *argument)
{
	const struct access *a = argument;

	((void (*)(void))(uintptr_t)a->linear)();
}

static bool try(void (*access)(void *), struct access *a)
{
	if (run_guarded(access, a))
		return true;
	check(last_trap.vector == VECTOR_PF && last_trap.cr2 == a->linear,
	      "%s: vector %lu, error 0x%lx, CR2 0x%lx by an access to 0x%lx", paging->name, last_trap.vector,
	      last_trap.error, last_trap.cr2, a->linear);
	return false;
}

bool try_load(uint64_t linear, uint32_t *value)
{
	struct access a = {.linear = linear};
	bool done = try(do_load, &a);

	*value = a.value;
	return done;
}

bool try_store(uint64_t linear, uint32_t value)
{
	struct access a = {.linear = linear, .value = value};

	return try(do_store, &a);
}

bool try_call(uint64_t linear)
{
	struct access a = {.linear = linear};

	return try(do_call, &a);
}

void check_shows(uint64_t linear, uint64_t gpa, const char *when)
{
	uint32_t value;
	bool there = try_load(linear, &value);

	if (!gpa)
		check(!there, "%s, %s: 0x%lx shows 0x%x and must fault", paging->name, when, linear, value);
	else
		check(there && value == tag_of(gpa), "%s, %s: 0x%lx shows 0x%x (there: %u) instead of frame 0x%lx with 0x%x",
		      paging->name, when, linear, value, there, gpa, tag_of(gpa));
}

void check_shows_either(uint64_t linear, uint64_t old_gpa, uint64_t new_gpa, const char *when)
{
	uint32_t value;

	if (!try_load(linear, &value))
		check(!old_gpa || !new_gpa, "%s, %s: 0x%lx faults", paging->name, when, linear);
	else
		check((old_gpa && value == tag_of(old_gpa)) || (new_gpa && value == tag_of(new_gpa)),
		      "%s, %s: 0x%lx shows 0x%x, neither frame 0x%lx nor 0x%lx", paging->name, when, linear, value,
		      old_gpa, new_gpa);
}

unsigned rounds(unsigned usual)
{
	uint32_t load_percent = (uint32_t)option_number("load", 100), n = usual * load_percent;

	return n < 100 ? 1 : n / 100;
}
