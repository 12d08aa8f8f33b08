/* SPDX-License-Identifier: BSD-2-Clause */
/* From a paging structure's frame to its struct vmmu_table. */
#ifndef VMMU_TABLE_HASH_H
#define VMMU_TABLE_HASH_H

#include "table/tables.h"

/* Is it time to grow? Any lock may be held, or none. */
bool vmmu_table_hash_is_full(const struct vmmu_table_hash *h);
/* Do so. Calls the host: never inside the gate. Without memory all stays right, only slower. */
void vmmu_table_hash_grow(struct vmmu_tables *t);
/* Give all arrays back. No table is left. */
void vmmu_table_hash_free(struct vmmu_tables *t);

/* Inside the gate, by several actors at once. */
void vmmu_table_hash_add(struct vmmu_table_hash *h, struct vmmu_table *table);
/* NULL: there is none. Gate closed, or under the lock that orders all who add and remove. */
struct vmmu_table *vmmu_table_hash_find(struct vmmu_table_hash *h, vmmu_hpa hpa);
/* The same. */
void vmmu_table_hash_remove(struct vmmu_table_hash *h, struct vmmu_table *table);

#endif
