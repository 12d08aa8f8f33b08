/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command line:
 *
 *   every=N              try one pair of entries in N under each setting (default 1)
 *   space=N              only the space of this number
 *   from=N count=N       only these of the tries in a space
 *   show=N               show so many mismatches (default 10)
 *   allow=WORD,WORD      what an emulator's own CPU does otherwise; it is counted:
 *     tcg-reserved         a #PF for a reserved bit has an error code without P
 *     tcg-accessed         an access that faults has set the accessed bits of the entries
 *                          above the one that stops it, and that of a 1 GiB page
 *     bochs-implicit       EFLAGS.AC excuses implicit accesses from SMAP
 *
 * One line for each space with a digest of all answers, by which machines can be
 * compared; a line "SKIP ..." for what the CPU does not offer.
 */
#include "../multiboot.h"
#include "sim/random.h"
#include "permission.h"

const struct multiboot_info *boot_info;

static struct {
	uint32_t every, from, count, show;
} options;

static unsigned shown;

struct tally {
	uint64_t tried, mismatches, left_out;
	uint64_t allowed[DEVIATIONS];
	uint64_t digest;
};

/* ---- digest: FNV-1a -------------------------------------------------------------------- */

#define DIGEST_START UINT64_C(0xcbf29ce484222325)

static void add_word(struct tally *t, uint64_t value)
{
	for (unsigned i = 0; i < 8; i++)
		t->digest = (t->digest ^ (value >> 8 * i & 0xff)) * UINT64_C(0x100000001b3);
}

/* Nothing that depends on where the linker has put the tables. */
static void add_answer(struct tally *t, uint64_t number, const struct stage *s, const struct answer *a)
{
	uint64_t changed = (a->upper ^ s->upper) << 8 | (a->lower ^ s->lower);

	add_word(t, number << 16 | a->vector << 8 | a->error);
	add_word(t, a->cr2);
	add_word(t, changed << 1 | a->right_page);
}

/* ---- one combination ---------------------------------------------------------------------- */

static void show_answer(const char *who, const struct answer *a)
{
	print("    %s: ", who);
	if (a->vector == VECTOR_PF)
		print("#PF, error code 0x%x, CR2 0x%llx", a->error, (unsigned long long)a->cr2);
	else
		print("no fault");
	print(", upper 0x%llx, lower 0x%llx%s\n", (unsigned long long)a->upper, (unsigned long long)a->lower,
	      a->right_page ? "" : ", memory is not what it should be");
}

static void show_mismatch(const struct stage *s, uint32_t number, unsigned access, const struct answer *got,
                          const struct answer *want)
{
	const struct sim_guest_cpu *c = &s->cpu;

	if (shown++ >= options.show)
		return;
	print("  %s, try %u: %s, upper 0x%llx, lower 0x%llx,\n", s->space->name, number, access_kinds[access].name,
	      (unsigned long long)s->upper, (unsigned long long)s->lower);
	print("    WP %u, PSE %u, SMEP %u, SMAP %u, PKE %u, NXE %u, entries at 0x%llx and 0x%llx\n", c->wp, c->pse,
	      c->smep, c->smap, c->pke, c->nxe, (unsigned long long)s->upper_gpa,
	      (unsigned long long)s->lower_gpa);
	show_answer("this CPU", got);
	show_answer("the model", want);
}

static void try_access(const struct stage *s, uint32_t number, unsigned access, struct tally *t)
{
	struct answer got, want;

	expect_answer(s, access, 0, &want);
	make_access(s, access, &got);
	t->tried++;
	excuse(s, access, &got, &want, t->allowed);
	if (!is_same_answer(&got, &want)) {
		t->mismatches++;
		show_mismatch(s, number, access, &got, &want);
		fill_targets();
	}
	add_answer(t, (uint64_t)number * 16 + access, s, &got);
}

/* ---- one space ---------------------------------------------------------------------------- */

static uint16_t pairs[1 << 16];

static void set_pair(struct stage *s, uint32_t number, uint16_t pair, unsigned key)
{
	const struct space *space = s->space;
	uint64_t *leaf;

	s->upper = entry_for(space, space->upper, pair & 0xff, s->cpu.pse, number, test_table(space->upper - 1));
	s->lower = entry_for(space, space->upper - 1, pair >> 8, s->cpu.pse, number / 3, test_table(space->upper - 2));
	if (space->keys) {
		leaf = pair & BIT_PS ? &s->upper : &s->lower;
		*leaf |= (uint64_t)key << 59;
	}
	entry_store(space, s->upper_gpa, s->upper);
	entry_store(space, s->lower_gpa, s->lower);
}

static void try_pair(struct stage *s, uint32_t number, uint16_t pair, unsigned key, struct tally *t)
{
	set_pair(s, number, pair, key);
	for (unsigned a = 0; a < access_count; a++)
		try_access(s, number, a, t);
}

static struct stage stage_of(const struct space *space, unsigned controls)
{
	struct stage s = {
		.space = space,
		.upper_gpa = test_entry_gpa(space->upper),
		.lower_gpa = test_entry_gpa(space->upper - 1),
	};

	set_controls(space, controls);
	describe_processor(&s.cpu);
	return s;
}

/* `number` counts all pairs in all settings, whether they are tried or not. */
static void try_controls(const struct space *space, unsigned controls, unsigned pair_count, uint32_t *number,
                         struct tally *t)
{
	struct stage s = stage_of(space, controls);

	for (unsigned key = 0; key < (space->keys ? 4u : 1u); key++)
		for (unsigned i = 0; i < pair_count; i++, ++*number)
			if (*number % options.every == 0 && *number - options.from < options.count)
				try_pair(&s, *number, pairs[i], keys[key], t);
}

/*
 * One pair after another, each with one access after another and each of these
 * under another setting: what was remembered or built for one must not serve the
 * next. The numbers of these tries begin at SWITCHED.
 */
enum { SWITCHES = 16 };
#define SWITCHED UINT32_C(0x80000000)

static void switch_controls(const struct space *space, bool pse, unsigned pair_count, struct tally *t)
{
	unsigned choice = offered_controls(space) & ~(unsigned)CONTROL_PSE;
	struct stage s = stage_of(space, pse ? CONTROL_PSE : 0);
	uint32_t number = SWITCHED;
	uint64_t random = 1;

	for (unsigned i = 0; i < pair_count; i++) {
		if (!is_settled(space, pairs[i], pse))
			continue;
		set_pair(&s, 0, pairs[i], keys[i % 4]);
		for (unsigned step = 0; step < SWITCHES; step++) {
			uint64_t r = sim_random(&random);
			unsigned controls = (unsigned)r & choice;

			set_controls(space, controls | (pse ? CONTROL_PSE : 0));
			describe_controls(&s.cpu, controls);
			try_access(&s, number++, (uint32_t)(r >> 32) % access_count, t);
		}
	}
}

static uint64_t combinations(const struct space *space, unsigned pair_count)
{
	return (uint64_t)pair_count * access_count * (space->keys ? 4 : 1);
}

/* Unless `usable`, all are left out. */
static void try_all_controls(const struct space *space, bool usable, struct tally *t, struct tally *switched)
{
	unsigned offered = offered_controls(space), relevant = space_controls(space), pair_count = 0;
	uint32_t number = 0;

	for (unsigned controls = 0; controls < CONTROLS; controls++) {
		if (controls & ~relevant)
			continue;
		if (controls == 0 || controls == CONTROL_PSE) {
			pair_count = space_pairs(space, controls & CONTROL_PSE, pairs);
			if (usable && !(controls & ~offered) && !options.from)
				switch_controls(space, controls & CONTROL_PSE, pair_count, switched);
		}
		if (!usable || controls & ~offered)
			t->left_out += combinations(space, pair_count);
		else
			try_controls(space, controls, pair_count, &number, t);
	}
}

static void print_features(const struct space *space)
{
	unsigned missing = space_controls(space) & ~offered_controls(space);

	if (missing)
		print(" without%s%s%s%s", missing & CONTROL_SMEP ? " SMEP" : "", missing & CONTROL_SMAP ? " SMAP" : "",
		      missing & CONTROL_NXE ? " NX" : "", missing & CONTROL_PSE ? " PSE" : "");
}

static void report(const struct space *space, const char *how, const struct tally *t)
{
	print("permission: %s%s", space->name, how);
	print_features(space);
	print(": %llu combinations, digest %16llx\n", (unsigned long long)t->tried, (unsigned long long)t->digest);
	for (enum deviation d = 0; d < DEVIATIONS; d++)
		if (t->allowed[d])
			print("permission: %s%s: allowed: %llu %s\n", space->name, how, (unsigned long long)t->allowed[d],
			      deviation_text(d));
	if (t->left_out)
		print("SKIP permission: %s: %llu combinations left out\n", space->name,
		      (unsigned long long)t->left_out);
}

static void add(struct tally *total, const struct tally *t)
{
	total->tried += t->tried;
	total->mismatches += t->mismatches;
	total->left_out += t->left_out;
	for (enum deviation d = 0; d < DEVIATIONS; d++)
		total->allowed[d] += t->allowed[d];
}

static void try_space(const struct space *space, struct tally *total)
{
	struct tally t = {.digest = DIGEST_START}, switched = {.digest = DIGEST_START};
	const char *lacks = space_lacks(space);

	if (lacks) {
		try_all_controls(space, false, &t, &switched);
		print("SKIP permission: %s: %llu combinations left out, this CPU has %s\n", space->name,
		      (unsigned long long)t.left_out, lacks);
	} else {
		paging_on(space);
		try_all_controls(space, true, &t, &switched);
		paging_off();
		report(space, "", &t);
		report(space, ", settings switched", &switched);
	}
	add(total, &t);
	add(total, &switched);
}

/* ---- main ----------------------------------------------------------------------------------- */

static void read_options(void)
{
	const char *allow = option("allow");

	if (allow && !allow_deviations(allow)) {
		print("FAIL permission: not all of allow=%s can be allowed\n", allow);
		guest_exit(GUEST_UNFIT);
	}
	options.every = (uint32_t)option_number("every", 1);
	options.from = (uint32_t)option_number("from", 0);
	options.count = (uint32_t)option_number("count", UINT32_MAX);
	options.show = (uint32_t)option_number("show", 10);
	if (!options.every) {
		print("FAIL permission: every=0 tries nothing\n");
		guest_exit(GUEST_UNFIT);
	}
}

void permission_main(uint32_t magic, const struct multiboot_info *info);
void permission_main(uint32_t magic, const struct multiboot_info *info)
{
	struct tally total = {0};
	uint64_t only;

	boot_info = info;
	console_setup();
	if (magic != MULTIBOOT_LOADED) {
		print("FAIL permission: not started by multiboot (0x%x)\n", magic);
		guest_exit(GUEST_UNFIT);
	}
	read_options();
	only = option_number("space", space_count);
	processor_setup();
	fill_targets();
	for (unsigned i = 0; i < space_count; i++)
		if (only == space_count || i == only)
			try_space(&spaces[i], &total);
	print("permission: %llu combinations, %llu mismatches, %llu left out\n", (unsigned long long)total.tried,
	      (unsigned long long)total.mismatches, (unsigned long long)total.left_out);
	print("%s permission %llu combinations\n", total.mismatches || !total.tried ? "FAIL" : "PASS",
	      (unsigned long long)total.tried);
	guest_exit(total.mismatches > GUEST_FAILURES_MAX ? GUEST_FAILURES_MAX : (uint32_t)total.mismatches);
}
