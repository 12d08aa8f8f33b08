/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a paging structure's frame to what the engine knows of it.
 *
 * The hash grows without ever moving what is in it, since faults add to it in
 * parallel: when the newest array holds four tables a bucket, another one, eight
 * times as long, takes all that come later. A search begins with the newest, which
 * holds seven of eight tables, and looks at no more arrays than the logarithm of
 * their number.
 */
#include "table/table_hash.h"

/* Tables to a bucket at which another array is due. */
enum { LOAD = 4 };

static unsigned bits_of(unsigned generation)
{
	return VMMU_HASH_FIRST_BITS + VMMU_HASH_STEP_BITS * generation;
}

static size_t bytes_of(unsigned generation)
{
	return sizeof(struct vmmu_table *) << bits_of(generation);
}

static unsigned newest(const struct vmmu_table_hash *h)
{
	return atomic_load_explicit(&h->newest, memory_order_acquire);
}

static struct vmmu_table *_Atomic *hash_bucket_of(struct vmmu_table_hash *h, unsigned generation, vmmu_hpa hpa)
{
	uint64_t pfn = vmmu_hpa_pfn(hpa).v, mask = (1ull << bits_of(generation)) - 1;

	pfn ^= pfn >> 10 ^ pfn >> 20;
	return (generation ? h->later[generation - 1] : h->first) + (pfn & mask);
}

bool vmmu_table_hash_is_full(const struct vmmu_table_hash *h)
{
	unsigned generation = newest(h);

	return generation < VMMU_HASH_LATER &&
	       atomic_load_explicit(&h->tables, memory_order_relaxed) >> bits_of(generation) >= LOAD;
}

void vmmu_table_hash_grow(struct vmmu_tables *t)
{
	struct vmmu_table_hash *h = &t->hash;
	uint32_t generation = newest(h);
	void *array;

	/* One vCPU at a time: another one goes on with the old array meanwhile. */
	if (atomic_exchange_explicit(&h->growing, true, memory_order_acquire))
		return;
	if (vmmu_table_hash_is_full(h)) {
		generation = newest(h);
		array = t->host->object_alloc(t->ctx, bytes_of(generation + 1));
		h->later[generation] = array;
		if (array)
			atomic_store_explicit(&h->newest, generation + 1, memory_order_release);
	}
	atomic_store_explicit(&h->growing, false, memory_order_release);
}

void vmmu_table_hash_free(struct vmmu_tables *t)
{
	for (unsigned generation = newest(&t->hash); generation; generation--)
		t->host->object_free(t->ctx, (void *)t->hash.later[generation - 1], bytes_of(generation));
}

void vmmu_table_hash_add(struct vmmu_table_hash *h, struct vmmu_table *table)
{
	unsigned generation = newest(h);
	struct vmmu_table *_Atomic *bucket = hash_bucket_of(h, generation, table->hpa);
	struct vmmu_table *head = atomic_load_explicit(bucket, memory_order_relaxed);

	table->generation = (uint8_t)generation;
	do
		table->chain = head;
	while (!atomic_compare_exchange_weak_explicit(bucket, &head, table, memory_order_release,
	                                              memory_order_relaxed));
	atomic_fetch_add_explicit(&h->tables, 1, memory_order_relaxed);
}

struct vmmu_table *vmmu_table_hash_find(struct vmmu_table_hash *h, vmmu_hpa hpa)
{
	for (unsigned generation = newest(h);; generation--) {
		struct vmmu_table *table =
			atomic_load_explicit(hash_bucket_of(h, generation, hpa), memory_order_acquire);

		while (table && table->hpa.v != hpa.v)
			table = table->chain;
		if (table || !generation)
			return table;
	}
}

void vmmu_table_hash_remove(struct vmmu_table_hash *h, struct vmmu_table *table)
{
	struct vmmu_table *_Atomic *bucket = hash_bucket_of(h, table->generation, table->hpa);
	struct vmmu_table *at = atomic_load_explicit(bucket, memory_order_relaxed);

	atomic_fetch_sub_explicit(&h->tables, 1, memory_order_relaxed);
	if (at == table) {
		atomic_store_explicit(bucket, table->chain, memory_order_relaxed);
		return;
	}
	for (; at->chain != table; at = at->chain)
		VMMU_ASSERT(at->chain != NULL);
	at->chain = table->chain;
}
