/* SPDX-License-Identifier: BSD-2-Clause */
/* The pages that the permission guest maps, and how it tells what an access has done to them. */
#include "permission.h"

/* ---- the pages that are mapped ----------------------------------------------------- */

#define INT_DONE 0x80cdu
#define DESCRIPTOR_ACCESSED UINT64_C(0x00cff3000000ffff)
#define DESCRIPTOR_FRESH UINT64_C(0x00cff2000000ffff)
#define WRITTEN 0x77e11e57u
#define FLAG_AC (1u << 18)
#define FLAGS_PLAIN 2u

static volatile uint32_t *word(uint64_t gpa)
{
	return pointer_to(gpa);
}

static uint32_t unwritten(uint64_t page)
{
	return (uint32_t)page | 0xabc;
}

static void fill(uint64_t page)
{
	*word(page + AT_CODE) = INT_DONE;
	*word(page + AT_READ) = (uint32_t)page | 0x5ee;
	*word(page + AT_WRITE) = unwritten(page);
	*(volatile uint64_t *)pointer_to(page + AT_DESCRIPTOR) = DESCRIPTOR_ACCESSED;
	*(volatile uint64_t *)pointer_to(page + AT_FRESH) = DESCRIPTOR_FRESH;
}

void fill_targets(void)
{
	fill(SMALL_TARGET);
	fill(LARGE_TARGET);
}

/* ---- instructions ------------------------------------------------------------------- */

#define SELECTOR_IN_LDT(offset) ((offset) | 7u) /* TI and RPL 3 */

extern const char supervisor_read[], supervisor_write[], supervisor_fetch[], user_read[], user_write[],
	user_fetch[], user_load_segment[];

static const char *code_of(const struct sim_guest_access *access)
{
	if (access->implicit)
		return user_load_segment;
	if (access->fetch)
		return access->user ? user_fetch : supervisor_fetch;
	if (access->write)
		return access->user ? user_write : supervisor_write;
	return access->user ? user_read : supervisor_read;
}

/* ---- the CPU's answer ------------------------------------------------------------------ */

extern struct attempt attempt;
extern struct outcome outcome;
struct attempt attempt;
struct outcome outcome;

void attempt32(void);
void attempt64(void);
_Noreturn void unexpected_exception(void);

_Noreturn void unexpected_exception(void)
{
	print("FAIL exception %u, error 0x%x, pc 0x%llx, cr2 0x%llx\n", outcome.vector, (uint32_t)outcome.error,
	      (unsigned long long)outcome.pc, (unsigned long long)outcome.cr2);
	guest_exit(GUEST_EXCEPTION);
}

/* What a write has left; undone. */
static bool only_written(uint64_t page, uint64_t other)
{
	bool right = *word(page + AT_WRITE) == WRITTEN && *word(other + AT_WRITE) == unwritten(other);

	*word(page + AT_WRITE) = unwritten(page);
	return right;
}

static bool only_marked(uint64_t page, uint64_t other)
{
	volatile uint64_t *here = pointer_to(page + AT_FRESH), *there = pointer_to(other + AT_FRESH);
	bool right = *here == DESCRIPTOR_ACCESSED && *there == DESCRIPTOR_FRESH;

	*here = DESCRIPTOR_FRESH;
	return right;
}

static bool nothing_written(void)
{
	return *word(SMALL_TARGET + AT_WRITE) == unwritten(SMALL_TARGET) &&
	       *word(LARGE_TARGET + AT_WRITE) == unwritten(LARGE_TARGET);
}

/* Did the access that was carried out reach `page`? */
static bool reached(const struct access_kind *k, uint64_t page)
{
	uint64_t other = page == SMALL_TARGET ? LARGE_TARGET : SMALL_TARGET;

	if (k->then.write)
		return only_marked(page, other);
	if (k->first.write)
		return only_written(page, other);
	if (!nothing_written())
		return false;
	if (k->first.fetch)
		return outcome.pc == attempt.linear + 2;
	return k->first.implicit || outcome.operand == *word(page + AT_READ);
}

/* The page that the entries lead to when nothing stops the walk. */
static uint64_t target(const struct stage *s)
{
	return maps_large(s->space, s->upper, s->lower, s->cpu.pse) ? LARGE_TARGET : SMALL_TARGET;
}

void make_access(const struct stage *s, unsigned access, struct answer *answer)
{
	const struct access_kind *k = &access_kinds[access];

	attempt = (struct attempt){
		.linear = test_linear(s->space->mode) + k->at,
		.flags = k->first.ac ? FLAGS_PLAIN | FLAG_AC : FLAGS_PLAIN,
		.operand = k->first.implicit ? SELECTOR_IN_LDT(k->at) : WRITTEN,
		.code = (uint32_t)(uintptr_t)code_of(&k->first),
		.user = k->first.user,
	};
	if (s->space->mode >= MODE_4LEVEL)
		attempt64();
	else
		attempt32();
	if (outcome.vector != VECTOR_PF && outcome.vector != VECTOR_DONE)
		unexpected_exception();
	*answer = (struct answer){
		.vector = outcome.vector,
		.upper = entry_read(s->space, s->upper_gpa),
		.lower = entry_read(s->space, s->lower_gpa),
	};
	if (outcome.vector == VECTOR_PF) {
		answer->error = (uint32_t)outcome.error;
		answer->cr2 = k->first.implicit ? outcome.cr2 & ~7ull : outcome.cr2; /* any byte of a descriptor */
		answer->right_page = nothing_written();
	} else {
		answer->right_page = reached(k, target(s));
	}
	if (answer->upper != s->upper)
		entry_store(s->space, s->upper_gpa, s->upper);
	if (answer->lower != s->lower)
		entry_store(s->space, s->lower_gpa, s->lower);
}

bool is_same_answer(const struct answer *a, const struct answer *b)
{
	return a->vector == b->vector && a->error == b->error && a->cr2 == b->cr2 && a->upper == b->upper &&
	       a->lower == b->lower && a->right_page == b->right_page;
}

/* ---- the model's answer ------------------------------------------------------------------ */

struct model_memory {
	const struct stage *stage;
	uint64_t upper, lower;
};

static bool load_entry(void *ctx, uint64_t gpa, unsigned size, uint64_t *value)
{
	const struct model_memory *m = ctx;

	if (gpa == m->stage->upper_gpa)
		*value = m->upper;
	else if (gpa == m->stage->lower_gpa)
		*value = m->lower;
	else if (gpa < LOW_BYTES)
		*value = size == 4 ? *word(gpa) : *(volatile uint64_t *)pointer_to(gpa);
	else
		return false;
	return true;
}

/* Is the i-th entry that was read the one of `level` at gpa, and did the walk go on, or could it map 1 GiB? */
static bool is_passed(const struct sim_guest_result *r, unsigned i, uint64_t gpa, unsigned level)
{
	if ((gpa ^ r->table[i]) >= PAGE)
		return false;
	return i + 1 < r->tables || (level == 3 && r->entry[i] & ENTRY_PS);
}

/* False: the access faults. */
static bool model_access(struct model_memory *m, uint64_t linear, const struct sim_guest_access *access,
                         struct answer *answer)
{
	struct sim_guest_result r;

	sim_guest_translate(&m->stage->cpu, load_entry, m, linear, access, &r);
	for (unsigned i = 0; i < r.marks; i++)
		*(r.mark[i].gpa == m->stage->upper_gpa ? &m->upper : &m->lower) |= r.mark[i].bits;
	answer->vector = r.end == SIM_GUEST_DONE ? VECTOR_DONE : VECTOR_PF;
	for (unsigned i = 0; i < r.tables; i++) {
		if (is_passed(&r, i, m->stage->upper_gpa, m->stage->space->upper))
			answer->passed_upper = ENTRY_A;
		if (is_passed(&r, i, m->stage->lower_gpa, m->stage->space->upper - 1))
			answer->passed_lower = ENTRY_A;
	}
	if (r.end == SIM_GUEST_DONE) {
		answer->right_page = r.gpa == target(m->stage) + linear % PAGE;
		return true;
	}
	answer->error = r.code;
	answer->cr2 = linear;
	answer->right_page = true;
	return false;
}

bool is_implicit_with_ac(unsigned access)
{
	return access_kinds[access].first.implicit && access_kinds[access].first.ac;
}

/* An access as this one, which the supervisor makes by itself. */
static struct sim_guest_access explicit_of(struct sim_guest_access access)
{
	access.user = access.implicit = false;
	return access;
}

void expect_answer(const struct stage *s, unsigned access, unsigned as_explicit, struct answer *answer)
{
	const struct access_kind *k = &access_kinds[access];
	struct sim_guest_access first = as_explicit & FIRST_EXPLICIT ? explicit_of(k->first) : k->first;
	struct sim_guest_access then = as_explicit & THEN_EXPLICIT ? explicit_of(k->then) : k->then;
	struct model_memory m = {s, s->upper, s->lower};
	uint64_t linear = test_linear(s->space->mode) + k->at;

	*answer = (struct answer){0};
	if (model_access(&m, linear, &first, answer) && then.write)
		model_access(&m, linear, &then, answer);
	answer->upper = m.upper;
	answer->lower = m.lower;
}
