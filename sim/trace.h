/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sink of the engine's trace: all records in memory, in the order of
 * their clock, and what must be true of them.
 */
#ifndef SIM_TRACE_H
#define SIM_TRACE_H

#include <vmmu/trace.h>
#include <vmmu/types.h>

#include <pthread.h>
#include <stdio.h>

struct sim_trace {
	struct vmmu_trace_record *record;
	size_t records;
	size_t room;
	bool sorted;
	pthread_mutex_t lock;
};

void sim_trace_init(struct sim_trace *trace);
void sim_trace_fini(struct sim_trace *trace);

/* Take everything out of a ring. Only the ring's producer, or anyone while it rests. */
void sim_trace_drain(struct sim_trace *trace, struct vmmu_trace_ring *ring);

/* Number of records of one event, and of one event with a cause and level. */
size_t sim_trace_count(const struct sim_trace *trace, unsigned event);

/* Tables as the records say they are: the value of each entry that is not zero. */
struct sim_replay {
	uint64_t *hpa; /* of the entry; 0 = place is free */
	uint64_t *value;
	size_t room; /* power of two */
	size_t used;
};

/*
 * Replay all writes from empty tables. Checks on the way that each record's old
 * value is what the replay has, that only allocated tables are written, that
 * freed ones are not, and that a freed table's flush was done before. On
 * failure `error` says what is wrong.
 */
bool sim_trace_replay(struct sim_trace *trace, struct sim_replay *replay, char *error, size_t size);
uint64_t sim_replay_get(const struct sim_replay *replay, uint64_t hpa);
size_t sim_replay_nonzero(const struct sim_replay *replay);
void sim_replay_fini(struct sim_replay *replay);

/* Sequence numbers without gap, faults begun and ended, flushes owed and done. */
bool sim_trace_consistent(struct sim_trace *trace, char *error, size_t size);

/* All that happened to the entry at hpa and to the table it sits in. */
void sim_trace_history(struct sim_trace *trace, uint64_t entry_hpa, FILE *out);
void sim_trace_print(const struct vmmu_trace_record *record, FILE *out);

#endif
