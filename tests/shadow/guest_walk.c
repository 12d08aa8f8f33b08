/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest page-table walker against an independent model, exhaustively: all
 * combinations of the bits that matter in the last two levels, every kind of
 * access, every setting of the control bits, in every paging mode. Compared are
 * the result, the address, the error code and every bit of guest memory
 * afterwards.
 *
 *   guest_walk [every]    try one combination in `every` (default 127; 1 = all)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <vmmu/guest.h>

#include "guest_machine.h"

static unsigned every = 127;

/* ---- guest memory: a few frames ------------------------------------------------- */

enum { FRAMES = 6,
       PML5 = 0,
       PML4,
       PDPT,
       DIRECTORY,
       TABLE,
       SPARE };

struct memory {
	uint8_t byte[FRAMES][4096];
	unsigned swaps;
	unsigned fail_swaps; /* answer CHANGED this many times */
	uint64_t change_to;  /* ... and store this first */
	bool read_only;
};

static bool read_guest(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	struct memory *memory = ctx;

	*value = 0;
	if (gpa.v >> 12 >= FRAMES)
		return false;
	memcpy(value, &memory->byte[gpa.v >> 12][gpa.v & 4095], size);
	return true;
}

static bool load(void *ctx, uint64_t gpa, unsigned size, uint64_t *value)
{
	return read_guest(ctx, vmmu_gpa_of(gpa), size, value);
}

static void poke(struct memory *memory, uint64_t gpa, unsigned size, uint64_t value)
{
	memcpy(&memory->byte[gpa >> 12][gpa & 4095], &value, size);
}

static enum vmmu_guest_read read_for_walk(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	return read_guest(ctx, gpa, size, value) ? VMMU_GUEST_READ_OK : VMMU_GUEST_READ_NONE;
}

static enum vmmu_guest_swap swap_guest(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t expected,
                                       uint64_t value)
{
	struct memory *memory = ctx;
	uint64_t now;

	memory->swaps++;
	if (memory->read_only)
		return VMMU_GUEST_READ_ONLY;
	if (memory->fail_swaps) {
		memory->fail_swaps--;
		poke(memory, gpa.v, size, memory->change_to);
		return VMMU_GUEST_CHANGED;
	}
	assert_true(read_guest(memory, gpa, size, &now));
	assert_int_equal(now, expected); /* nobody else writes here */
	poke(memory, gpa.v, size, value);
	return VMMU_GUEST_SWAPPED;
}

static const struct vmmu_host host = {.guest_read = read_for_walk, .guest_cmpxchg = swap_guest};

/* ---- one mode, one address ------------------------------------------------------- */

struct machine {
	struct memory memory;
	struct vmmu_paging paging;
	struct vmmu_guest_mode mode;
	struct sim_guest_cpu cpu;
	uint64_t gva;
	uint64_t upper_gpa, lower_gpa; /* the two entries under test */
	unsigned size;
	uint64_t compared;
};

enum kind { K32,
	    K_PAE,
	    K_4LEVEL,
	    K_5LEVEL };

/* The model's words for the same registers. */
static void apply(struct machine *m)
{
	const struct vmmu_paging *p = &m->paging;

	vmmu_guest_mode_init(&m->mode, p);
	m->cpu = sim_gm_cpu_of(p);
}

/* Registers for a mode; the control bits under test come from `bits`. */
static void set_registers(struct machine *m, enum kind kind, unsigned bits)
{
	struct vmmu_paging *p = &m->paging;

	p->cr0 = 1u << 31 | 1u | (bits & 1u) << 16;
	p->cr4 = 1u << 4 | (uint64_t)(bits >> 1 & 1) << 20 | (uint64_t)(bits >> 2 & 1) << 21 |
	         (uint64_t)(bits >> 3 & 1) << 22;
	p->efer = (uint64_t)(bits >> 4 & 1) << 11;
	if (kind >= K_PAE)
		p->cr4 |= 1u << 5;
	if (kind >= K_4LEVEL)
		p->efer |= 1u << 8 | 1u << 10;
	if (kind == K_5LEVEL)
		p->cr4 |= 1u << 12;
}

static struct machine *new_machine(enum kind kind)
{
	struct machine *m = calloc(1, sizeof(*m));
	uint64_t table = 0x67; /* P W U A D */

	assert_non_null(m);
	m->paging.cpu = (struct vmmu_guest_cpu){.maxphyaddr = 38, .pse36 = true, .page_1g = true};
	m->gva = kind == K32 ? 0xc0c03123 : kind == K_PAE ? 0xc0a03123
	                                                  : 0xffff8000c0a03123;
	m->size = kind == K32 ? 4 : 8;
	if (kind == K_5LEVEL) {
		m->gva = 0xff123400c0a03123;
		poke(&m->memory, PML5 * 4096 + 8 * (m->gva >> 48 & 511), 8, PML4 * 4096 | table);
	}
	if (kind >= K_4LEVEL) {
		poke(&m->memory, PML4 * 4096 + 8 * (m->gva >> 39 & 511), 8, PDPT * 4096 | table);
		poke(&m->memory, PDPT * 4096 + 8 * (m->gva >> 30 & 511), 8, DIRECTORY * 4096 | table);
	}
	m->paging.pdpte[3] = DIRECTORY * 4096 | 1;
	m->paging.cr3 = (kind == K_5LEVEL ? PML5 : kind == K_4LEVEL ? PML4
	                                   : kind == K_PAE          ? PDPT
	                                                            : DIRECTORY) *
	                4096u;
	m->upper_gpa = DIRECTORY * 4096 + (kind == K32 ? 4 * (m->gva >> 22 & 1023)
	                                               : 8 * (m->gva >> 21 & 511));
	m->lower_gpa = TABLE * 4096 + (kind == K32 ? 4 * (m->gva >> 12 & 1023)
	                                           : 8 * (m->gva >> 12 & 511));
	return m;
}

/* ---- accesses --------------------------------------------------------------------- */

static const struct {
	const char *name;
	unsigned engine;
	struct sim_guest_access model;
} accesses[] = {
	{"supervisor read", VMMU_R, {.write = false}},
	{"supervisor read, AC", VMMU_R | VMMU_ACCESS_AC, {.ac = true}},
	{"supervisor write", VMMU_W, {.write = true}},
	{"supervisor write, AC", VMMU_W | VMMU_ACCESS_AC, {.write = true, .ac = true}},
	{"supervisor fetch", VMMU_X, {.fetch = true}},
	{"supervisor fetch, AC", VMMU_X | VMMU_ACCESS_AC, {.fetch = true, .ac = true}},
	{"user read", VMMU_R | VMMU_ACCESS_USER, {.user = true}},
	{"user read, AC", VMMU_R | VMMU_ACCESS_USER | VMMU_ACCESS_AC, {.user = true, .ac = true}},
	{"user write", VMMU_W | VMMU_ACCESS_USER, {.write = true, .user = true}},
	{"user fetch", VMMU_X | VMMU_ACCESS_USER, {.fetch = true, .user = true}},
	{"implicit read at CPL 3", VMMU_R | VMMU_ACCESS_USER | VMMU_ACCESS_IMPLICIT, {.user = true, .implicit = true}},
	{"implicit read, AC", VMMU_R | VMMU_ACCESS_IMPLICIT | VMMU_ACCESS_AC, {.implicit = true, .ac = true}},
	{"implicit write, AC", VMMU_W | VMMU_ACCESS_IMPLICIT | VMMU_ACCESS_AC, {.write = true, .implicit = true, .ac = true}},
};
#define ACCESSES (sizeof(accesses) / sizeof(accesses[0]))

static const enum vmmu_guest_result same_end[] = {
	[SIM_GUEST_DONE] = VMMU_GUEST_OK,
	[SIM_GUEST_PF] = VMMU_GUEST_FAULT,
	[SIM_GUEST_GP] = VMMU_GUEST_NONCANONICAL,
	[SIM_GUEST_BUS] = VMMU_GUEST_NO_MEMORY,
};

static unsigned rights_of(const struct sim_guest_result *r)
{
	return (r->writable ? VMMU_PAGE_WRITE : 0u) | (r->user ? VMMU_PAGE_USER : 0u) |
	       (r->exec ? VMMU_PAGE_EXEC : 0u) | VMMU_PAGE_READ;
}

static void differ(const struct machine *m, unsigned a, const char *what, uint64_t engine,
                   uint64_t model)
{
	uint64_t upper, lower;

	memcpy(&upper, &m->memory.byte[m->upper_gpa >> 12][m->upper_gpa & 4095], 8);
	memcpy(&lower, &m->memory.byte[m->lower_gpa >> 12][m->lower_gpa & 4095], 8);
	fail_msg("%s: %s is %#lx, the model says %#lx\n"
	         "  cr0 %#lx cr4 %#lx efer %#lx pkru %#x gva %#lx upper %#lx lower %#lx",
	         accesses[a].name, what, engine, model, m->paging.cr0, m->paging.cr4, m->paging.efer,
	         m->paging.pkru, m->gva, upper, lower);
}

static void same(const struct machine *m, unsigned a, const char *what, uint64_t engine,
                 uint64_t model)
{
	if (engine != model)
		differ(m, a, what, engine, model);
}

/* Memory must now be what it was plus the model's bits, and the engine's steps must say so. */
static void compare_marks(struct machine *m, unsigned a, const struct sim_guest_result *model)
{
	unsigned swaps = m->memory.swaps;

	for (unsigned i = 0; i < model->marks; i++) {
		const struct sim_guest_mark *mark = &model->mark[i];
		uint64_t now, before = 0;

		for (unsigned t = 0; t < model->tables; t++)
			if (model->table[t] == (mark->gpa & ~0xfffull))
				before = model->entry[t];
		read_guest(&m->memory, vmmu_gpa_of(mark->gpa), mark->size, &now);
		same(m, a, "an entry after the walk", now, before | mark->bits);
		poke(&m->memory, mark->gpa, mark->size, before); /* as found, for the next access */
	}
	same(m, a, "the number of entries stored to", swaps, model->marks);
}

static void compare(struct machine *m, unsigned a)
{
	struct sim_guest_result model;
	struct vmmu_guest_walk walk;
	enum vmmu_guest_result result;

	sim_guest_translate(&m->cpu, load, &m->memory, m->gva, &accesses[a].model, &model);
	m->memory.swaps = 0;
	result = vmmu_guest_walk(&host, &m->memory, &m->mode, vmmu_gva_of(m->gva), accesses[a].engine,
	                         &walk);
	m->compared++;
	same(m, a, "the result", result, same_end[model.end]);
	if (model.end == SIM_GUEST_PF || model.end == SIM_GUEST_BUS)
		same(m, a, "the error code", walk.error_code, model.code);
	if (model.end == SIM_GUEST_DONE) {
		same(m, a, "the address", walk.gpa.v, model.gpa);
		same(m, a, "the page's rights", walk.rights, rights_of(&model));
		same(m, a, "the page's size", walk.page_shift, model.page_shift);
		same(m, a, "the key", walk.key, model.key);
	}
	compare_marks(m, a, &model);
}

/* ---- all combinations ------------------------------------------------------------------ */

/* Eight bits that matter, spread to their places: P W U A D PS reserved NX. */
static uint64_t spread(unsigned n, enum kind kind, bool upper)
{
	uint64_t entry = (n & 1) | (n >> 1 & 1) << 1 | (n >> 2 & 1) << 2 | (n >> 3 & 1) << 5 |
	                 (n >> 4 & 1) << 6 | (n >> 5 & 1) << 7;

	if (n >> 6 & 1)
		entry |= kind == K32 ? 1u << 21 : 1ull << (upper ? 40 : 51);
	if (n >> 7 & 1)
		entry |= kind == K32 ? 1ull << 19 : 1ull << 63;
	return entry;
}

static void try_entries(struct machine *m, enum kind kind, unsigned u, unsigned l, unsigned key)
{
	uint64_t upper = spread(u, kind, true), lower = spread(l, kind, false);

	/* A frame that is no reserved bit where it stands. */
	upper |= upper & 0x80 ? 0 : TABLE * 4096;
	lower |= 0x123000;
	if (m->cpu.pke && kind >= K_4LEVEL)
		*(upper & 0x80 ? &upper : &lower) |= (uint64_t)key << 59;
	poke(&m->memory, m->upper_gpa, m->size, upper);
	poke(&m->memory, m->lower_gpa, m->size, lower);
	for (unsigned a = 0; a < ACCESSES; a++)
		compare(m, a);
}

/* Keys 4, 9, 13 and 15 stand for: allowed, no access, no writing, neither. */
static const unsigned keys[4] = {4, 9, 13, 15};
#define PKRU (1u << 18 | 2u << 26 | 3u << 30)

static void all_combinations(enum kind kind)
{
	struct machine *m = new_machine(kind);
	unsigned turn = 0;

	for (unsigned bits = 0; bits < 32; bits++) {
		/* No NX outside PAE, no keys outside long mode: those bits change nothing to try twice. */
		if (kind < K_4LEVEL && (bits & 8) && bits != 31)
			continue;
		set_registers(m, kind, bits);
		m->paging.pkru = PKRU;
		apply(m);
		for (unsigned key = 0; key < (m->cpu.pke && kind >= K_4LEVEL ? 4u : 1u); key++)
			for (unsigned n = 0; n < 1u << 16; n++)
				if (turn++ % every == 0)
					try_entries(m, kind, n & 255, n >> 8, keys[key]);
	}
	printf("            %lu walks compared\n", m->compared);
	free(m);
}

static void every_combination_32bit(void **state)
{
	(void)state;
	all_combinations(K32);
}
static void every_combination_pae(void **state)
{
	(void)state;
	all_combinations(K_PAE);
}
static void every_combination_4level(void **state)
{
	(void)state;
	all_combinations(K_4LEVEL);
}
static void every_combination_5level(void **state)
{
	(void)state;
	all_combinations(K_5LEVEL);
}

/* ---- every single bit, at every level, under every CPU --------------------------------- */

static void flip_bits(struct machine *m, uint64_t entry_gpa, uint64_t base)
{
	for (unsigned bit = 0; bit < 8 * m->size; bit++) {
		poke(&m->memory, entry_gpa, m->size, base ^ 1ull << bit);
		for (unsigned a = 0; a < ACCESSES; a++)
			compare(m, a);
	}
	poke(&m->memory, entry_gpa, m->size, base);
}

static uint64_t entry_at(struct machine *m, uint64_t gpa)
{
	uint64_t value;

	assert_true(read_guest(&m->memory, vmmu_gpa_of(gpa), m->size, &value));
	return value;
}

static void flip_everywhere(enum kind kind, struct vmmu_guest_cpu cpu, unsigned control, bool pse)
{
	struct machine *m = new_machine(kind);
	struct sim_guest_result path;

	set_registers(m, kind, control);
	if (!pse)
		m->paging.cr4 &= ~0x10ull;
	m->paging.cpu = cpu;
	m->paging.pkru = PKRU;
	apply(m);
	for (unsigned huge = 0; huge < 3; huge++) {
		uint64_t pdpt_gpa = PDPT * 4096 + 8 * (m->gva >> 30 & 511);

		poke(&m->memory, m->upper_gpa, m->size, huge ? 0xe7 : TABLE * 4096 | 0x67);
		poke(&m->memory, m->lower_gpa, m->size, 0x123067);
		if (kind >= K_4LEVEL)
			poke(&m->memory, pdpt_gpa, 8, huge == 2 ? 0xe7 : DIRECTORY * 4096 | 0x67);
		sim_guest_translate(&m->cpu, load, &m->memory, m->gva, &accesses[0].model, &path);
		for (unsigned t = 0; t < path.tables; t++) {
			unsigned shift = kind == K32 ? 22 - 10 * t
			                             : (kind == K_PAE ? 21 : kind == K_4LEVEL ? 39
			                                                                      : 48) -
			                                       9 * t;
			uint64_t index = m->gva >> shift & (kind == K32 ? 1023 : 511);
			uint64_t gpa = path.table[t] + index * m->size;

			flip_bits(m, gpa, entry_at(m, gpa));
		}
	}
	free(m);
}

static void every_bit_of_every_level(void **state)
{
	static const uint8_t widths[] = {32, 36, 39, 40, 46, 52};

	(void)state;
	for (enum kind kind = K32; kind <= K_5LEVEL; kind++)
		for (unsigned w = 0; w < sizeof(widths); w++)
			for (unsigned features = 0; features < 16; features++)
				for (unsigned nxe = 0; nxe < 2; nxe++) {
					struct vmmu_guest_cpu cpu = {
						.maxphyaddr = widths[w],
						.pse36 = features & 1,
						.page_1g = features & 2,
						.bit8_reserved = features & 4,
					};

					flip_everywhere(kind, cpu, 15 | nxe << 4, features & 8);
				}
}

/* ---- what the combinations do not reach ------------------------------------------------- */

static struct machine *plain_machine(enum kind kind)
{
	struct machine *m = new_machine(kind);

	set_registers(m, kind, 1 | 16);
	apply(m);
	poke(&m->memory, m->upper_gpa, m->size, TABLE * 4096 | 7);
	poke(&m->memory, m->lower_gpa, m->size, 0x123007);
	return m;
}

static enum vmmu_guest_result walk(struct machine *m, uint64_t gva, unsigned access,
                                   struct vmmu_guest_walk *out)
{
	return vmmu_guest_walk(&host, &m->memory, &m->mode, vmmu_gva_of(gva), access, out);
}

static void canonical_addresses(void **state)
{
	static const uint64_t gvas[] = {
		0x00007fffffffffff,
		0x0000800000000000,
		0xffff7fffffffffff,
		0xffff800000000000,
		0x00ffffffffffffff,
		0x0100000000000000,
		0xfeffffffffffffff,
		0xff00000000000000,
		0,
		~0ull,
	};

	(void)state;
	for (enum kind kind = K32; kind <= K_5LEVEL; kind++) {
		struct machine *m = plain_machine(kind);

		for (unsigned i = 0; i < sizeof(gvas) / sizeof(gvas[0]); i++) {
			m->gva = gvas[i];
			compare(m, 0);
		}
		free(m);
	}
}

static void paging_off_is_identity(void **state)
{
	struct machine *m = plain_machine(K32);
	struct vmmu_guest_walk out;

	(void)state;
	m->paging.cr0 &= ~(1ull << 31);
	apply(m);
	assert_int_equal(walk(m, 0x1fee01234, VMMU_W | VMMU_ACCESS_USER, &out), VMMU_GUEST_OK);
	assert_int_equal(out.gpa.v, 0xfee01234);
	assert_int_equal(out.level, 0);
	compare(m, 2);
	free(m);
}

static void a_peek_sets_no_bit(void **state)
{
	struct machine *m = plain_machine(K_4LEVEL);
	struct vmmu_guest_walk out;

	(void)state;
	assert_int_equal(walk(m, m->gva, VMMU_W | VMMU_ACCESS_PEEK, &out), VMMU_GUEST_OK);
	assert_int_equal(m->memory.swaps, 0);
	assert_false(out.dirty);
	assert_int_equal(walk(m, m->gva, VMMU_W, &out), VMMU_GUEST_OK);
	assert_int_equal(m->memory.swaps, 2);
	assert_true(out.dirty);
	assert_int_equal(entry_at(m, m->lower_gpa), 0x123067);
	free(m);
}

/* Another CPU takes the page away between the reading and the setting of A. */
static void a_changed_entry_starts_the_walk_anew(void **state)
{
	struct machine *m = plain_machine(K_PAE);
	struct vmmu_guest_walk out;

	(void)state;
	m->memory.fail_swaps = 1;
	m->memory.change_to = 0; /* the directory entry goes away */
	assert_int_equal(walk(m, m->gva, VMMU_R, &out), VMMU_GUEST_FAULT);
	assert_int_equal(out.error_code, 0);
	assert_int_equal(entry_at(m, m->upper_gpa), 0);
	assert_int_equal(entry_at(m, m->lower_gpa), 0x123007);
	free(m);
}

static void entries_that_never_rest_are_busy(void **state)
{
	struct machine *m = plain_machine(K_PAE);
	struct vmmu_guest_walk out;

	(void)state;
	m->memory.fail_swaps = ~0u;
	m->memory.change_to = TABLE * 4096 | 7;
	assert_int_equal(walk(m, m->gva, VMMU_R, &out), VMMU_GUEST_BUSY);
	free(m);
}

static void tables_in_rom_keep_their_bits(void **state)
{
	struct machine *m = plain_machine(K_4LEVEL);
	struct vmmu_guest_walk out;

	(void)state;
	m->memory.read_only = true;
	assert_int_equal(walk(m, m->gva, VMMU_W, &out), VMMU_GUEST_OK);
	assert_int_equal(out.gpa.v, 0x123123);
	assert_false(out.dirty);
	free(m);
}

static void tables_outside_memory(void **state)
{
	struct machine *m = plain_machine(K_4LEVEL);
	struct vmmu_guest_walk out;

	(void)state;
	poke(&m->memory, m->upper_gpa, 8, 0x5000007);
	assert_int_equal(walk(m, m->gva, VMMU_W | VMMU_ACCESS_USER, &out), VMMU_GUEST_NO_MEMORY);
	assert_int_equal(out.error_code, VMMU_PF_WRITE | VMMU_PF_USER);
	assert_int_equal(out.step[out.steps - 1].where.v >> 12, 0x5000);
	for (unsigned a = 0; a < ACCESSES; a++)
		compare(m, a);
	free(m);
}

static enum vmmu_guest_read read_busy(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	(void)ctx, (void)gpa, (void)size, (void)value;
	return VMMU_GUEST_READ_BUSY;
}

static void pdptes_are_loaded_whole_or_not_at_all(void **state)
{
	static const struct vmmu_host busy = {.guest_read = read_busy};
	static const uint64_t good = 0x3019; /* P, PWT, PCD and a table */
	struct memory *memory = calloc(1, sizeof(*memory));
	struct vmmu_guest_cpu cpu = {.maxphyaddr = 38};
	uint64_t pdpte[4] = {7, 7, 7, 7};

	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		bool reserved = bit == 1 || bit == 2 || (bit >= 5 && bit <= 8) || bit >= 38;

		poke(memory, 0x1060, 8, good);
		poke(memory, 0x1068, 8, 0xfffffffffffffffe); /* not present: nothing is reserved */
		poke(memory, 0x1070, 8, good | 1ull << bit);
		poke(memory, 0x1078, 8, 0);
		memset(pdpte, 0x77, sizeof(pdpte));
		assert_int_equal(vmmu_guest_load_pdptes(&host, memory, &cpu, 0x107f, pdpte),
		                 reserved ? VMMU_GUEST_FAULT : VMMU_GUEST_OK);
		assert_int_equal(pdpte[0], reserved ? 0x7777777777777777 : good);
		assert_int_equal(pdpte[2], reserved ? 0x7777777777777777 : good | 1ull << bit);
	}
	assert_int_equal(vmmu_guest_load_pdptes(&host, memory, &cpu, 0x900000, pdpte), VMMU_GUEST_NO_MEMORY);
	/* Not just now: nothing is loaded, and nothing is said of the entries. */
	memset(pdpte, 0x77, sizeof(pdpte));
	assert_int_equal(vmmu_guest_load_pdptes(&busy, memory, &cpu, 0x107f, pdpte), VMMU_GUEST_BUSY);
	assert_int_equal(pdpte[0], 0x7777777777777777);
	free(memory);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_combination_32bit),
		cmocka_unit_test(every_combination_pae),
		cmocka_unit_test(every_combination_4level),
		cmocka_unit_test(every_combination_5level),
		cmocka_unit_test(every_bit_of_every_level),
		cmocka_unit_test(canonical_addresses),
		cmocka_unit_test(paging_off_is_identity),
		cmocka_unit_test(a_peek_sets_no_bit),
		cmocka_unit_test(a_changed_entry_starts_the_walk_anew),
		cmocka_unit_test(entries_that_never_rest_are_busy),
		cmocka_unit_test(tables_in_rom_keep_their_bits),
		cmocka_unit_test(tables_outside_memory),
		cmocka_unit_test(pdptes_are_loaded_whole_or_not_at_all),
	};

	if (argc > 1)
		every = (unsigned)strtoul(argv[1], NULL, 10);
	if (!every)
		every = 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
