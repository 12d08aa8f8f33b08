/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest's memory for the loader to write to, and images to load. */
#ifndef TESTS_UNIT_LOAD_FIXTURE_H
#define TESTS_UNIT_LOAD_FIXTURE_H

#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"
#include "visor/load/bytes.h"
#include "visor/load/load.h"
#include "visor/load/memory_map.h"

#define MIB (1ull << 20)

struct guest {
	uint8_t *memory;
	uint64_t bytes;
	struct load_request request;
	struct load_result result;
};

/* Refuses, and so fails the test, what is not backed by a slot. */
static inline bool guest_write(void *ctx, uint64_t gpa, const void *bytes, size_t n)
{
	struct guest *g = ctx;
	struct guest_memory_range slot[GUEST_MEMORY_RANGES];
	unsigned slots = guest_memory_slots(g->bytes, slot);

	for (unsigned i = 0; i < slots; i++) {
		if (gpa < slot[i].base || gpa - slot[i].base > slot[i].bytes || n > slot[i].bytes - (gpa - slot[i].base))
			continue;
		memcpy(g->memory + gpa, bytes, n);
		return true;
	}
	fail_msg("write outside memory: 0x%llx, %zu bytes", (unsigned long long)gpa, n);
	return false;
}

static inline struct guest *guest_new(uint64_t bytes)
{
	struct guest *g = calloc(1, sizeof(*g));

	g->bytes = bytes;
	g->memory = calloc(1, bytes);
	g->request = (struct load_request){.memory_bytes = bytes, .cpus = 1, .write = guest_write, .ctx = g};
	return g;
}

static inline void guest_free(struct guest *g)
{
	free(g->memory);
	free(g);
}

static inline void expect_loaded(struct guest *g, enum load_kind kind)
{
	if (!load_guest(&g->request, &g->result))
		fail_msg("refused: %s", g->result.reason);
	assert_int_equal(g->result.kind, kind);
	assert_string_equal(g->result.reason, "");
}

static inline void expect_refused(struct guest *g, const char *reason)
{
	assert_false(load_guest(&g->request, &g->result));
	assert_string_equal(g->result.reason, reason);
}

static inline struct load_blob blob(const uint8_t *bytes, size_t size)
{
	return (struct load_blob){.bytes = bytes, .size = size};
}

static inline uint32_t guest32(const struct guest *g, uint64_t gpa)
{
	return get32(g->memory + gpa);
}

#endif
