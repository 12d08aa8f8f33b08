/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine for vCPUs on real threads that share the guest's tables: its memory in an array
 * of atomic words, a host that moves and protects it meanwhile, and what must be so at the end.
 * A program that includes this says what a vCPU does, and what an entry may be.
 */
#ifndef TESTS_SHADOW_SHARED_TABLES_H
#define TESTS_SHADOW_SHARED_TABLES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <cmocka.h>

#include <vmmu/exit.h>

#include "memory.h"
#include "random.h"

enum { VCPUS = 3,
       PAGES = 512,
       TABLES = 12 }; /* guest pages 1 and following */

static struct {
	enum vmmu_mode mode;
	unsigned levels; /* of the guest's tables: 2 to 5 */
	struct sim_memory tables;
	struct vmmu_host host;
	struct vmmu_vm *vm;
	_Atomic uint64_t ram[PAGES][512];
	_Atomic uint64_t first_pfn;
	_Atomic bool stop;
	unsigned findings;
} m;

static void *object_alloc(void *ctx, size_t size)
{
	(void)ctx;
	return sim_memory_object_alloc(&m.tables, size);
}

static void object_free(void *ctx, void *object, size_t size)
{
	(void)ctx;
	sim_memory_object_free(&m.tables, object, size);
}

static bool table_alloc(void *ctx, vmmu_hpa *out)
{
	(void)ctx;
	return sim_memory_table_alloc(&m.tables, out);
}

static void table_free(void *ctx, vmmu_hpa frame)
{
	(void)ctx;
	sim_memory_table_free(&m.tables, frame);
}

static enum vmmu_backing_result backing(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
                                        unsigned access, struct vmmu_backing *out)
{
	(void)ctx;
	(void)slot;
	(void)access;
	*out = (struct vmmu_backing){
		.pfn = {m.first_pfn + gfn.v}, .order = 9, .rights = VMMU_RWX, .memtype = VMMU_MEMTYPE_WB};
	return VMMU_BACKING_OK;
}

static bool owns_frame(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, vmmu_pfn pfn)
{
	(void)ctx;
	(void)slot;
	return pfn.v == m.first_pfn + gfn.v;
}

static void flush(void *ctx, const struct vmmu_flush *what)
{
	(void)ctx;
	(void)what;
	sched_yield();
}

static void relax(void *ctx)
{
	(void)ctx;
	sched_yield();
}

static _Atomic uint64_t *word_at(uint64_t gpa)
{
	return gpa >> 12 < PAGES ? &m.ram[gpa >> 12][(gpa & 4095) / 8] : NULL;
}

/* A 32-bit guest's entry is half a word. */
static unsigned shift_of(uint64_t gpa, unsigned size)
{
	return size == 4 && gpa & 4 ? 32 : 0;
}

static enum vmmu_guest_read guest_read(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	_Atomic uint64_t *word = word_at(gpa.v);

	(void)ctx;
	if (word)
		*value = *word >> shift_of(gpa.v, size);
	if (size == 4)
		*value &= 0xffffffff;
	return word != NULL ? VMMU_GUEST_READ_OK : VMMU_GUEST_READ_NONE;
}

static enum vmmu_guest_swap guest_cmpxchg(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t expected,
                                          uint64_t value)
{
	unsigned shift = shift_of(gpa.v, size);
	uint64_t mask = size == 4 ? 0xffffffffull << shift : ~0ull, word;
	_Atomic uint64_t *at = word_at(gpa.v);

	(void)ctx;
	word = *at;
	while ((word & mask) == expected << shift)
		if (atomic_compare_exchange_weak(at, &word, (word & ~mask) | value << shift))
			return VMMU_GUEST_SWAPPED;
	return VMMU_GUEST_CHANGED;
}

/* ---- what the including program says ------------------------------------------------ */

static uint64_t some_entry(uint64_t *random);
static void *vcpu_thread(void *id);

/* ---- what every vCPU does ------------------------------------------------------------ */

static const uint16_t places[4] = {0, 1, 2, 511};

static uint64_t some_frame(uint64_t *random)
{
	return sim_random_below(random, 12) ? 1 + sim_random_below(random, TABLES) : sim_random_below(random, PAGES);
}

static void write_table(struct vmmu_vcpu *vcpu, uint64_t *random)
{
	uint64_t gpa = (1 + sim_random_below(random, TABLES)) << 12 |
	               places[sim_random_below(random, 4)] * 8;

	*word_at(gpa) = some_entry(random);
	vmmu_guest_written(vcpu, vmmu_gpa_of(gpa), 8);
}

/* ---- the host, and the run -------------------------------------------------------------- */

static void *host_thread(void *arg)
{
	uint64_t bitmap[PAGES / 64];

	(void)arg;
	while (!m.stop) {
		if (vmmu_invalidate_begin(m.vm, vmmu_gpa_of(0), PAGES << 12) == VMMU_OK) {
			m.first_pfn ^= 1u << 20;
			vmmu_invalidate_end(m.vm, vmmu_gpa_of(0), PAGES << 12);
		}
		vmmu_slot_set_flags(m.vm, 0, VMMU_SLOT_LOG_DIRTY);
		vmmu_dirty_log(m.vm, 0, bitmap, PAGES / 64);
		vmmu_slot_set_flags(m.vm, 0, 0);
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	return NULL;
}

static void complain(void *arg, const char *rule, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	(void)arg;
	fprintf(stderr, "audit: %s (level %u, entry %#lx, gfn %#lx)\n", rule, step->level, step->entry,
	        gfn.v);
}

/* Tables lie at `base` and above. The engine's host is this machine. */
static void make_machine(struct vmmu_config config, uint64_t base)
{
	struct sim_memory_config memory = {.base = base, .frames = 8192, .single_view = true, .seed = 5};
	struct vmmu_slot_info slot = {.bytes = PAGES << 12};

	m.stop = false;
	assert_true(sim_memory_init(&m.tables, &memory));
	m.first_pfn = 1u << 21;
	m.host = (struct vmmu_host){
		.object_alloc = object_alloc,
		.object_free = object_free,
		.table_alloc = table_alloc,
		.table_free = table_free,
		.table_read_base = (uintptr_t)m.tables.read_view - memory.base,
		.table_write_base = (uintptr_t)m.tables.write_view - memory.base,
		.backing = backing,
		.flush = flush,
		.guest_read = guest_read,
		.guest_cmpxchg = guest_cmpxchg,
		.relax = relax,
		.owns_frame = owns_frame,
	};
	config.host = &m.host;
	config.mode = m.mode;
	assert_int_equal(vmmu_vm_create(&config, &m.vm), VMMU_OK);
	assert_int_equal(vmmu_slot_create(m.vm, &slot), VMMU_OK);
}

/* Four entries of each table lead to others; `bits` are the rest of them. Then all vCPUs, to their end. */
static void run_machine(uint64_t bits, struct vmmu_stats *stats)
{
	pthread_t vcpu[VCPUS], host;

	for (unsigned table = 1; table <= TABLES; table++)
		for (unsigned i = 0; i < 4; i++)
			m.ram[table][places[i]] = ((uint64_t)(1 + (table + i) % TABLES) << 12 | bits) *
			                          (m.levels == 2 ? 0x100000001ull : 1);
	for (uintptr_t i = 0; i < VCPUS; i++)
		assert_int_equal(pthread_create(&vcpu[i], NULL, vcpu_thread, (void *)i), 0);
	assert_int_equal(pthread_create(&host, NULL, host_thread, NULL), 0);
	for (unsigned i = 0; i < VCPUS; i++)
		pthread_join(vcpu[i], NULL);
	m.stop = true;
	pthread_join(host, NULL);
	assert_int_equal(m.findings, 0);
	vmmu_stats_read(m.vm, stats);
}

static void end_machine(void)
{
	assert_int_equal(vmmu_audit(m.vm, complain, NULL), 0);
	assert_int_equal(vmmu_vm_destroy(m.vm), VMMU_OK);
	assert_int_equal(m.tables.in_use, 0);
	assert_int_equal(m.tables.objects, 0);
	assert_null(m.tables.error);
	sim_memory_fini(&m.tables);
}

#endif
