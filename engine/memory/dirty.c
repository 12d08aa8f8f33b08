/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The dirty log of a slot: a bit for each page, and above it summaries, so that what was
 * written is found in time that follows it and not the slot's size.
 *
 * A bit of the first summary stands for 64 pages, one of the next for 64 of these, and so
 * on, up to a summary of one word. All lie behind each other in one object. A bit that is
 * set means: below it may be something. What is not set is clean.
 *
 * Whoever marks a page is inside the gate or manages. It sets the bits of the summaries first, from
 * the lowest up to the first word that had one already, and the page's last. So who
 * finds a word of pages not empty need not look at the summaries: another sees to them
 * before it leaves the gate. With the gate closed all is as it must be.
 */
#include "memory/memory.h"
#include "table/locks.h"

/* Words of the summary above `words` words. */
static size_t above(size_t words)
{
	return (words + 63) / 64;
}

size_t vmmu_dirty_bytes(const struct vmmu_slot *slot)
{
	size_t words = vmmu_dirty_words(slot), all = words;

	for (; words > 1; all += words)
		words = above(words);
	return all * sizeof(uint64_t);
}

VMMU_RARE void vmmu_dirty_first(struct vmmu_slot *slot, uint64_t word)
{
	size_t words = vmmu_dirty_words(slot);
	_Atomic uint64_t *summary = slot->dirty;

	while (words > 1) {
		uint64_t was;

		summary += words;
		words = above(words);
		was = atomic_fetch_or_explicit(&summary[word / 64], 1ull << word % 64, memory_order_relaxed);
		if (was)
			break;
		word /= 64;
	}
}

/* The first bit that is set, at or behind `bit`. 64: there is none. */
static unsigned bit_from(uint64_t word, unsigned bit)
{
	word &= ~0ull << bit;
	return word ? (unsigned)__builtin_ctzll(word) : 64;
}

size_t vmmu_dirty_find(const struct vmmu_slot *slot, struct vmmu_closed closed, size_t from)
{
	const size_t total = vmmu_dirty_words(slot);
	const _Atomic uint64_t *level[VMMU_DIRTY_LEVELS + 1] = {slot->dirty};
	unsigned up = 0, bit;
	size_t words = total, i = from;

	vmmu_assert_closed(closed);
	if (i >= total || atomic_load_explicit(&slot->dirty[i], memory_order_relaxed))
		return i < total ? i : total;
	/* Up, until there is something behind. */
	for (i++;; i = i / 64 + 1) {
		if (i >= words || words == 1)
			return total;
		level[up + 1] = level[up] + words;
		words = above(words);
		up++;
		bit = bit_from(atomic_load_explicit(&level[up][i / 64], memory_order_relaxed), i % 64);
		if (bit < 64)
			break;
	}
	/* And down again, to the first of it. */
	for (i = i / 64 * 64 + bit; --up;)
		i = i * 64 + bit_from(atomic_load_explicit(&level[up][i], memory_order_relaxed), 0);
	return i;
}

uint64_t vmmu_dirty_take(struct vmmu_slot *slot, struct vmmu_closed closed, size_t word)
{
	size_t words = vmmu_dirty_words(slot);
	_Atomic uint64_t *summary = slot->dirty;
	uint64_t bits = atomic_load_explicit(&summary[word], memory_order_relaxed);

	vmmu_assert_closed(closed);
	atomic_store_explicit(&summary[word], 0, memory_order_relaxed);
	while (words > 1) {
		uint64_t rest;

		summary += words;
		words = above(words);
		rest = atomic_load_explicit(&summary[word / 64], memory_order_relaxed) & ~(1ull << word % 64);
		atomic_store_explicit(&summary[word / 64], rest, memory_order_relaxed);
		if (rest)
			break;
		word /= 64;
	}
	return bits;
}

/* Is the word in each summary? */
static bool summarized(const struct vmmu_slot *slot, size_t word)
{
	size_t words = vmmu_dirty_words(slot);
	const _Atomic uint64_t *summary = slot->dirty;

	for (; words > 1; word /= 64) {
		summary += words;
		words = above(words);
		if (!(atomic_load_explicit(&summary[word / 64], memory_order_relaxed) >> word % 64 & 1))
			return false;
	}
	return true;
}

bool vmmu_dirty_lost(const struct vmmu_slot *slot, struct vmmu_closed closed, uint64_t *gfn)
{
	vmmu_assert_closed(closed);
	for (size_t word = 0; slot->dirty && word < vmmu_dirty_words(slot); word++)
		if (atomic_load_explicit(&slot->dirty[word], memory_order_relaxed) && !summarized(slot, word)) {
			*gfn = slot->first + word * 64;
			return true;
		}
	return false;
}
