/* SPDX-License-Identifier: BSD-2-Clause */
/* The first dimension of `vmmu walk --l2`: the path of an address of L2's in the tables of L1's, as far as the trace knows it. */
#ifndef TOOL_WALK_L1_H
#define TOOL_WALK_L1_H

#include <jansson.h>

#include "../trace/view.h"

struct l1_step {
	uint8_t level;
	bool known;     /* something has read the entry until that moment */
	uint16_t index; /* in L1's table */
	uint64_t where; /* the entry's own: gpa of L1 */
	uint64_t entry; /* as it was read last */
};

struct l1_path {
	const struct view *view;
	const struct replay_vm *vm;
	uint64_t l2_gpa;
	uint64_t moment; /* records before this number have happened */
	uint8_t entry_bytes;
	bool mapped; /* the path ends at a page: */
	uint64_t l1_gpa;
	unsigned count;
	struct l1_step steps[VMMU_LEVEL_MAX];
};

/* From the table of L1's that the merged table `top` stands for. The trace is sorted. */
void l1_path_find(struct l1_path *path, const struct view *view, const struct replay_vm *vm,
                  const struct replay_table *top, uint64_t l2_gpa, uint64_t moment);

void l1_path_print(const struct l1_path *path);
/* What is known of the entry of this level over time. Needs view_index_faults. */
void l1_path_print_history(const struct l1_path *path, unsigned level);
/* Steps, with their histories unless `brief`. */
json_t *l1_path_json(const struct l1_path *path, bool brief);

/* Text as elsewhere in JSON: "0x...". */
json_t *walk_hex(uint64_t value);

#endif
