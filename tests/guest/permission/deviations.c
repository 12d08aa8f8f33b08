/* SPDX-License-Identifier: BSD-2-Clause */
/* What emulators' own CPUs do otherwise than hardware. */
#include "permission.h"

static const struct {
	const char *word, *what;
} deviations[DEVIATIONS] = {
	[TCG_RESERVED] = {"tcg-reserved", "error codes without P for a reserved bit"},
	[TCG_ACCESSED] = {"tcg-accessed", "accessed bits above a fault"},
	[BOCHS_IMPLICIT] = {"bochs-implicit", "implicit accesses with AC as explicit ones"},
};

static bool allowed[DEVIATIONS];

const char *deviation_text(enum deviation which)
{
	return deviations[which].what;
}

/* Take `word` and the comma behind it off the front of a list. */
static bool take_word(const char **list, const char *word)
{
	const char *p = *list;

	for (; *word; word++, p++)
		if (*p != *word)
			return false;
	if (*p && *p != ',')
		return false;
	*list = *p ? p + 1 : p;
	return true;
}

bool allow_deviations(const char *list)
{
	while (*list) {
		unsigned i = 0;

		while (i < DEVIATIONS && !take_word(&list, deviations[i].word))
			i++;
		if (i == DEVIATIONS)
			return false;
		allowed[i] = true;
	}
	return true;
}

/* ---- one by one: what is allowed becomes what hardware answers ----------------------- */

/* SDM vol. 3, 4.7: a reserved bit is found in an entry that is present. */
static void excuse_reserved(struct answer *got, const struct answer *want, uint64_t *count)
{
	const uint32_t reserved = 8, present = 1;

	if (want->error & reserved && got->error == (want->error & ~present)) {
		got->error = want->error;
		++*count;
	}
}

static void excuse_entry(uint64_t *got, uint64_t want, uint64_t passed, uint64_t *count)
{
	if (*got != want && *got == (want | passed)) {
		*got = want;
		++*count;
	}
}

static void excuse_accessed(struct answer *got, const struct answer *want, uint64_t *count)
{
	if (want->vector != VECTOR_PF)
		return;
	excuse_entry(&got->upper, want->upper, want->passed_upper, count);
	excuse_entry(&got->lower, want->lower, want->passed_lower, count);
}

/*
 * Bochs 2.7 knows no difference between implicit and explicit accesses (SDM vol. 3,
 * 4.6.1). On shadow tables it lets what they map pass, and the engine refuses the rest.
 */
static void excuse_implicit(const struct stage *s, unsigned access, struct answer *got,
                            const struct answer *want, uint64_t *count)
{
	struct answer both, first;

	if (!is_implicit_with_ac(access) || is_same_answer(got, want))
		return;
	expect_answer(s, access, FIRST_EXPLICIT | THEN_EXPLICIT, &both);
	expect_answer(s, access, FIRST_EXPLICIT, &first);
	if (is_same_answer(got, &both) || is_same_answer(got, &first)) {
		*got = *want;
		++*count;
	}
}

void excuse(const struct stage *stage, unsigned access, struct answer *got, const struct answer *want,
            uint64_t counts[DEVIATIONS])
{
	if (allowed[TCG_RESERVED])
		excuse_reserved(got, want, &counts[TCG_RESERVED]);
	if (allowed[TCG_ACCESSED])
		excuse_accessed(got, want, &counts[TCG_ACCESSED]);
	if (allowed[BOCHS_IMPLICIT])
		excuse_implicit(stage, access, got, want, &counts[BOCHS_IMPLICIT]);
}
