/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Simulated physical memory that holds paging structures, and the objects the
 * engine asks for.
 *
 * Frames live in a memfd that is mapped twice. The engine reads through the
 * first mapping, which is read-only: a store that does not go through the one
 * writer ends in SIGSEGV. Frames that belong to guests are numbers only
 * (backing.h): nothing in the engine has any business reading them, and there
 * is nothing mapped where they would be.
 */
#ifndef SIM_MEMORY_H
#define SIM_MEMORY_H

#include <vmmu/types.h>

#include <pthread.h>

struct sim_memory_config {
	uint64_t base; /* hpa of the first frame */
	unsigned frames;
	unsigned low_frames; /* of these, the first that many: sim_memory_table_alloc_low gives them, and it alone */
	bool single_view;    /* one mapping for both: ThreadSanitizer tells addresses apart, not frames */
	uint64_t seed;       /* order in which free frames are handed out again */
};

/* Which allocations are to fail: the nth, counted from 1; 0 = none. */
struct sim_fail_plan {
	uint64_t at[2];
	bool from_first_on; /* memory has run out: everything from at[0] on fails */
};

struct sim_frame {
	bool in_use;
	uint8_t level; /* as linked into a tree: 0 while it hangs nowhere */
	uint64_t gfn;  /* first gfn it covers when linked */
};

struct sim_object;

struct sim_memory {
	struct sim_memory_config config;
	uint8_t *read_view;
	uint8_t *write_view;
	size_t bytes;
	int fd;
	struct sim_frame *frame;
	struct sim_free_frames {
		unsigned *list;
		unsigned count;
	} low, high;
	unsigned in_use;
	uint64_t random;
	uint64_t attempts; /* allocations asked for so far, objects and frames */
	uint64_t failed;   /* of these, refused by the plan */
	struct sim_fail_plan plan;
	unsigned objects;          /* alive */
	struct sim_object *object; /* all of them */
	size_t object_bytes;
	const char *error; /* first misuse by the caller: wrong size, double free ... */
	pthread_mutex_t lock;
};

bool sim_memory_init(struct sim_memory *memory, const struct sim_memory_config *config);
void sim_memory_fini(struct sim_memory *memory);

/* Count an allocation that is neither object nor frame (a guest page): false = refused. */
bool sim_memory_grant(struct sim_memory *memory);

void *sim_memory_object_alloc(struct sim_memory *memory, size_t size);
void sim_memory_object_free(struct sim_memory *memory, void *object, size_t size);
bool sim_memory_table_alloc(struct sim_memory *memory, vmmu_hpa *out);
bool sim_memory_table_alloc_low(struct sim_memory *memory, vmmu_hpa *out);
void sim_memory_table_free(struct sim_memory *memory, vmmu_hpa frame);

/* The frame that holds hpa, or NULL when hpa is not table memory. */
struct sim_frame *sim_memory_frame(struct sim_memory *memory, uint64_t hpa);

/* What the CPU does on its bus. False: no paging structure lives at hpa now. */
bool sim_memory_load(struct sim_memory *memory, uint64_t hpa, uint64_t *value);
/* Set bits in an entry that still has the value `expected` (A and D, as the CPU does). */
bool sim_memory_set_bits(struct sim_memory *memory, uint64_t hpa, uint64_t expected, uint64_t bits);
/* Plant damage. */
void sim_memory_store(struct sim_memory *memory, uint64_t hpa, uint64_t value);

#endif
