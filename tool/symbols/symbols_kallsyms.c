/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table that a Linux kernel carries of its own symbols (CONFIG_KALLSYMS).
 *
 * Nothing in the image says where it is, so it is found by its shape:
 *
 *   token_table   256 zero-terminated strings. Characters that occur in names
 *                 stand for themselves, so "0" to "9" follow one another.
 *   token_index   256 u16: where each token begins. Proves the token table.
 *   num_syms      u32
 *   names         per symbol a length (7 bits, or 14 bits in two bytes) and
 *                 that many tokens, which spell a type letter and the name
 *   markers       u32 offset of every 256th name. Proves names and num_syms.
 *   offsets       per symbol an i32; addresses are relative to
 *   relative_base one address
 *
 * Up to Linux 6.3 offsets and relative_base stand before num_syms, later ones
 * have them behind token_index. All are aligned to the size of an address.
 */
#include <stdlib.h>
#include <string.h>

#include "builder.h"

enum {
	TOKENS = 256,
	NAMES_PER_MARKER = 256,
	SYMBOLS_MIN = 1000,
	SYMBOLS_MAX = 4000000,
	NAME_MAX_LENGTH = 512,
	BUDGET_PER_BYTE = 4,
};

struct kallsyms {
	const uint8_t *data;
	size_t size;
	size_t word; /* bytes of an address: 8 or 4 */
	size_t token_table;
	uint16_t token_index[TOKENS];
	size_t after_tokens; /* where token_index ends */
	size_t num_syms_at;
	uint32_t count;
	size_t names;
	size_t offsets;
	uint64_t base;
	bool negative;   /* CONFIG_KALLSYMS_ABSOLUTE_PERCPU: see address_of */
	uint64_t budget; /* names that may still be looked at while they are searched for */
};

static size_t aligned(const struct kallsyms *k, size_t offset)
{
	return (offset + k->word - 1) / k->word * k->word;
}

static uint32_t u32_at(const struct kallsyms *k, size_t offset)
{
	uint32_t value;

	memcpy(&value, k->data + offset, sizeof(value));
	return value;
}

static uint64_t word_at(const struct kallsyms *k, size_t offset)
{
	uint64_t value = 0;

	memcpy(&value, k->data + offset, k->word);
	return value;
}

/* `digit_0` is where the token for the character '0' begins. */
static bool check_tokens(struct kallsyms *k, size_t digit_0)
{
	size_t end = digit_0, index;

	for (unsigned token = '0'; token < TOKENS; token++) {
		const uint8_t *zero = memchr(k->data + end, 0, k->size - end);

		if (!zero)
			return false;
		end = (size_t)(zero - k->data) + 1;
	}
	index = aligned(k, end);
	if (index + sizeof(k->token_index) > k->size)
		return false;
	memcpy(k->token_index, k->data + index, sizeof(k->token_index));
	if (k->token_index[0] != 0 || k->token_index['0'] > digit_0)
		return false;
	k->token_table = digit_0 - k->token_index['0'];
	for (unsigned token = 0; token + 1 < TOKENS; token++) {
		size_t start = k->token_table + k->token_index[token];

		if (start >= end || strnlen((const char *)k->data + start, end - start) + 1 !=
		                            (size_t)(k->token_index[token + 1] - k->token_index[token]))
			return false;
	}
	k->after_tokens = index + sizeof(k->token_index);
	return true;
}

static bool find_tokens(struct kallsyms *k)
{
	static const char digits[] = "0\0001\0002\0003\0004\0005\0006\0007\0008\0009";
	size_t from = 0;

	while (from < k->size) {
		const uint8_t *hit = memmem(k->data + from, k->size - from, digits, sizeof(digits));

		if (!hit)
			return false;
		if (check_tokens(k, (size_t)(hit - k->data)))
			return true;
		from = (size_t)(hit - k->data) + 1;
	}
	return false;
}

/* Length in tokens of the name at *at; moves *at to its first token. 0: no name there. */
static unsigned name_length(const struct kallsyms *k, size_t *at)
{
	unsigned length = k->data[(*at)++];

	/* Names over 127 tokens have a second length byte since Linux 6.1. */
	if (length & 0x80)
		length = (length & 0x7f) | (unsigned)k->data[(*at)++] << 7;
	return length <= NAME_MAX_LENGTH ? length : 0;
}

/*
 * One name has been looked at. An image can be made in which each word begins what
 * looks like names; in a kernel few do, so there is an end to it.
 */
static bool spend(struct kallsyms *k)
{
	return k->budget && k->budget--;
}

/* Do `count` names start at `names`, and does the marker table behind them agree? */
static bool check_names(struct kallsyms *k, size_t names, uint32_t count)
{
	uint32_t marker_count = (count + NAMES_PER_MARKER - 1) / NAMES_PER_MARKER;
	size_t at = names, markers;
	uint32_t *starts = NULL;
	bool ok = false;

	if (names + count * 2ull > k->token_table)
		return false;
	/* Most places are no names at all: see that before asking for memory. */
	for (uint32_t i = 0; i < NAMES_PER_MARKER; i++) {
		unsigned length = name_length(k, &at);

		at += length;
		if (length == 0 || at + 2 > k->token_table || !spend(k))
			return false;
	}
	starts = allocate(marker_count * sizeof(*starts));
	at = names;
	for (uint32_t i = 0; i < count; i++) {
		unsigned length;

		if (i % NAMES_PER_MARKER == 0)
			starts[i / NAMES_PER_MARKER] = (uint32_t)(at - names);
		length = name_length(k, &at);
		at += length;
		if (length == 0 || at + 2 > k->token_table || !spend(k))
			goto out;
	}
	markers = aligned(k, at);
	ok = markers + marker_count * 4ull <= k->token_table &&
	     memcmp(k->data + markers, starts, marker_count * 4ull) == 0;
out:
	free(starts);
	return ok;
}

static bool find_names(struct kallsyms *k)
{
	for (size_t at = 0; at + k->word < k->token_table && k->budget; at += k->word) {
		uint32_t count = u32_at(k, at);

		if (count < SYMBOLS_MIN || count > SYMBOLS_MAX || (k->word == 8 && u32_at(k, at + 4) != 0))
			continue;
		if (check_names(k, at + k->word, count)) {
			k->num_syms_at = at;
			k->count = count;
			k->names = at + k->word;
			return true;
		}
	}
	return false;
}

/*
 * With per-CPU symbols kept absolute, offsets of 0 and above are addresses and
 * negative ones count from relative_base - 1 down; otherwise all are unsigned
 * distances from relative_base.
 */
static uint64_t address_of(const struct kallsyms *k, uint32_t symbol)
{
	uint32_t raw = u32_at(k, k->offsets + symbol * 4ull);
	int32_t offset = (int32_t)raw;

	if (!k->negative)
		return k->base + raw;
	return offset >= 0 ? (uint64_t)offset : k->base - 1 - (uint64_t)(int64_t)offset;
}

static bool in_kernel_half(const struct kallsyms *k, uint64_t address)
{
	return k->word == 8 ? address >= 0xffff800000000000ull : address >= 0x40000000ull;
}

/* Symbols are sorted by address, and nearly all of them are the kernel's. */
static bool check_addresses(struct kallsyms *k, size_t offsets, size_t base_at)
{
	uint32_t negative = 0, ordered = 0;
	uint64_t last = 0;

	if (offsets + k->count * 4ull > k->size || base_at + k->word > k->size)
		return false;
	k->offsets = offsets;
	k->base = word_at(k, base_at);
	if (!in_kernel_half(k, k->base))
		return false;
	for (uint32_t i = 0; i < k->count; i++)
		negative += (int32_t)u32_at(k, offsets + i * 4ull) < 0;
	k->negative = negative > k->count / 2;
	for (uint32_t i = 0; i < k->count; i++) {
		uint64_t address = address_of(k, i);

		ordered += address >= last;
		last = address;
	}
	return ordered > k->count - k->count / 100;
}

static bool find_addresses(struct kallsyms *k)
{
	size_t bytes = aligned(k, k->count * 4ull);
	size_t behind = aligned(k, k->after_tokens);

	if (k->num_syms_at >= bytes + k->word &&
	    check_addresses(k, k->num_syms_at - k->word - bytes, k->num_syms_at - k->word))
		return true;
	return check_addresses(k, behind, behind + bytes);
}

/* Spell out one name; returns its length with the type letter, at most `room`. */
static size_t spell(const struct kallsyms *k, size_t at, unsigned length, char *out, size_t room)
{
	size_t size = 0;

	for (unsigned i = 0; i < length; i++) {
		const char *token = (const char *)k->data + k->token_table + k->token_index[k->data[at + i]];

		while (*token && size < room)
			out[size++] = *token++;
	}
	return size;
}

static void read_symbols(const struct kallsyms *k, struct symbols_builder *builder)
{
	char name[NAME_MAX_LENGTH];
	size_t at = k->names;

	for (uint32_t i = 0; i < k->count; i++) {
		unsigned length = name_length(k, &at);
		size_t size = spell(k, at, length, name, sizeof(name));
		uint64_t address = address_of(k, i);

		at += length;
		if (size > 1 && in_kernel_half(k, address))
			builder_add(builder, address, name[0], name + 1, size - 1);
	}
}

bool symbols_from_kallsyms(struct symbols_builder *builder, const uint8_t *data, size_t size,
                           char **error)
{
	for (size_t word = 8; word >= 4; word /= 2) {
		struct kallsyms k = {
			.data = data,
			.size = size,
			.word = word,
			.budget = BUDGET_PER_BYTE * (uint64_t)size,
		};

		if (find_tokens(&k) && find_names(&k) && find_addresses(&k)) {
			read_symbols(&k, builder);
			return true;
		}
	}
	*error = duplicate("no kallsyms table was found in the kernel (is it built with CONFIG_KALLSYMS, "
	                   "and Linux 4.6 or later?); give System.map or a vmlinux with --symbols");
	return false;
}
