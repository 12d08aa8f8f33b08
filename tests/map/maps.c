/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two maps in one VM. No mode of the API makes two direct maps yet, so this
 * program stands inside the engine: it adds the second one itself. What it tries
 * is what every later kind of map relies on: a fault builds in the vCPU's map and
 * nowhere else, and a management call reaches all maps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "map/direct/direct.h"
#include "table/locks.h"

#define K 0x1000ull
#define M 0x100000ull
#define G 0x40000000ull

enum { FRAMES = 64 };

/* A host whose frames are an array, and whose backing is gfn + 0x100000. */
struct host {
	struct vmmu_host table;
	struct vmmu_vm *vm;
	struct vmmu_vcpu *vcpu;
	void *arena;
	bool taken[FRAMES];
	unsigned frames, objects, flushes, waits;
	unsigned order;
};

static void *object_alloc(void *ctx, size_t size)
{
	struct host *h = ctx;
	void *object = aligned_alloc(64, (size + 63) & ~63ull);

	h->objects++;
	return memset(object, 0, size);
}

static void object_free(void *ctx, void *object, size_t size)
{
	struct host *h = ctx;

	(void)size;
	h->objects--;
	free(object);
}

static bool table_alloc(void *ctx, vmmu_hpa *out)
{
	struct host *h = ctx;

	for (unsigned i = 0; i < FRAMES; i++) {
		if (h->taken[i])
			continue;
		h->taken[i] = true;
		h->frames++;
		memset((char *)h->arena + i * K, 0, K);
		out->v = (i + 1) * K;
		return true;
	}
	return false;
}

static void table_free(void *ctx, vmmu_hpa frame)
{
	struct host *h = ctx;

	h->taken[frame.v / K - 1] = false;
	h->frames--;
}

static enum vmmu_backing_result backing(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
                                        unsigned access, struct vmmu_backing *out)
{
	struct host *h = ctx;

	(void)slot, (void)access;
	*out = (struct vmmu_backing){
		.pfn = {gfn.v + 0x100000}, .order = (uint8_t)h->order, .rights = VMMU_RWX, .memtype = VMMU_MEMTYPE_WB};
	return VMMU_BACKING_OK;
}

static void flush(void *ctx, const struct vmmu_flush *f)
{
	struct host *h = ctx;

	(void)f;
	h->flushes++;
}

/* A fault waits for the gate: the one who had closed it opens it now. */
static void relax(void *ctx)
{
	struct host *h = ctx;

	h->waits++;
	atomic_store(&h->vm->tables.closed, false);
}

/* ---- the case ------------------------------------------------------------------- */

static struct vmmu_config config_of(struct host *h)
{
	return (struct vmmu_config){
		.host = &h->table,
		.host_ctx = h,
		.mode = VMMU_MODE_EPT,
		.cpu = {.maxphyaddr = 40, .page_2m = true, .ad = true},
	};
}

static struct vmmu_map *add_map(struct host *h)
{
	struct vmmu_config config = config_of(h);
	struct vmmu_op op = vmmu_manage_op(h->vm);

	assert_true(vmmu_direct_create(h->vm, &op, &config, &h->vm->maps->layout));
	return op.map;
}

static struct host *start(unsigned order)
{
	struct host *h = calloc(1, sizeof(*h));
	struct vmmu_config config;
	struct vmmu_slot_info slot = {.id = 0, .bytes = 4 * G};

	h->order = order;
	h->arena = aligned_alloc(K, FRAMES * K);
	h->table = (struct vmmu_host){
		.object_alloc = object_alloc,
		.object_free = object_free,
		.table_alloc = table_alloc,
		.table_free = table_free,
		.table_read_base = (uintptr_t)h->arena - K,
		.table_write_base = (uintptr_t)h->arena - K,
		.backing = backing,
		.flush = flush,
		.relax = relax,
	};
	config = config_of(h);
	assert_int_equal(vmmu_vm_create(&config, &h->vm), VMMU_OK);
	assert_int_equal(vmmu_slot_create(h->vm, &slot), VMMU_OK);
	assert_int_equal(vmmu_vcpu_create(h->vm, 0, NULL, &h->vcpu), VMMU_OK);
	return h;
}

static void end(struct host *h)
{
	assert_int_equal(vmmu_audit(h->vm, NULL, NULL), 0);
	vmmu_vcpu_destroy(h->vcpu);
	assert_int_equal(vmmu_vm_destroy(h->vm), VMMU_OK);
	assert_int_equal(h->frames, 0);
	assert_int_equal(h->objects, 0);
	free(h->arena);
	free(h);
}

static enum vmmu_fault_result fault_on(struct host *h, struct vmmu_map *map, uint64_t gpa, unsigned access)
{
	struct vmmu_fault f = {.gpa = {gpa}, .access = access};

	h->vcpu->map = map;
	return vmmu_fault(h->vcpu, &f);
}

/* What ends the translation of gpa in `map`. */
static uint64_t entry_in(struct host *h, struct vmmu_map *map, uint64_t gpa)
{
	struct vmmu_managing managing = vmmu_manage_lock(&h->vm->tables);
	struct vmmu_op op = vmmu_manage_op(h->vm);
	uint64_t entry;

	op.map = map;
	entry = vmmu_find_leaf(&op, gpa / K).entry;
	vmmu_manage_unlock(&h->vm->tables, managing);
	return entry;
}

static bool is_mapped(struct host *h, struct vmmu_map *map, uint64_t gpa)
{
	return vmmu_is_present(&map->layout, entry_in(h, map, gpa));
}

/* ---- faults ---------------------------------------------------------------------- */

static void a_fault_builds_in_the_vcpus_map_alone(void **state)
{
	struct host *h = start(0);
	struct vmmu_map *a = h->vm->maps, *b = add_map(h);

	(void)state;
	/* Neighbours in one 2 MiB block: where the first walk ended is where the next one may begin. */
	for (unsigned i = 0; i < 8; i++) {
		struct vmmu_map *in = i & 1 ? b : a, *out = i & 1 ? a : b;

		assert_int_equal(fault_on(h, in, i * K, VMMU_W), VMMU_FAULT_FIXED);
		assert_true(is_mapped(h, in, i * K));
		assert_false(is_mapped(h, out, i * K));
	}
	/* The same page in both: two entries. */
	assert_int_equal(fault_on(h, b, 0, VMMU_W), VMMU_FAULT_FIXED);
	assert_int_equal(fault_on(h, b, 0, VMMU_W), VMMU_FAULT_SPURIOUS);
	end(h);
}

static void a_later_map_never_takes_over_the_hint_of_one_that_is_gone(void **state)
{
	struct host *h = start(0);
	struct vmmu_map *b = add_map(h), *c;
	struct vmmu_managing managing;
	struct vmmu_op op = vmmu_manage_op(h->vm);
	uint16_t id = b->id;

	(void)state;
	assert_int_equal(fault_on(h, b, 0, VMMU_W), VMMU_FAULT_FIXED);
	op.map = b;
	managing = vmmu_manage_lock(&h->vm->tables);
	b->ops->fini(&op, managing);
	vmmu_manage_unlock(&h->vm->tables, managing);

	c = add_map(h);
	assert_int_not_equal(c->id, id);
	assert_int_not_equal(c->id, h->vm->maps->id);
	assert_int_equal(fault_on(h, c, K, VMMU_W), VMMU_FAULT_FIXED);
	assert_true(is_mapped(h, c, K));
	h->vcpu->map = h->vm->maps;
	end(h);
}

/* ---- management --------------------------------------------------------------------- */

static void an_invalidation_reaches_all_maps(void **state)
{
	struct host *h = start(0);
	struct vmmu_map *a = h->vm->maps, *b = add_map(h);

	(void)state;
	assert_int_equal(fault_on(h, a, 0, VMMU_R), VMMU_FAULT_FIXED);
	assert_int_equal(fault_on(h, b, 0, VMMU_R), VMMU_FAULT_FIXED);
	assert_int_equal(fault_on(h, b, 8 * M, VMMU_R), VMMU_FAULT_FIXED);
	assert_int_equal(vmmu_invalidate_begin(h->vm, vmmu_gpa_of(0), K), VMMU_OK);
	assert_false(is_mapped(h, a, 0));
	assert_false(is_mapped(h, b, 0));
	assert_true(is_mapped(h, b, 8 * M));
	assert_true(h->flushes > 0);
	assert_int_equal(fault_on(h, b, 0, VMMU_R), VMMU_FAULT_RETRY);
	assert_int_equal(vmmu_invalidate_end(h->vm, vmmu_gpa_of(0), K), VMMU_OK);
	end(h);
}

static void a_round_of_the_dirty_log_reaches_all_maps(void **state)
{
	struct host *h = start(0);
	struct vmmu_map *a = h->vm->maps, *b = add_map(h);
	uint64_t *bitmap = calloc(4 * G / K / 64, sizeof(*bitmap));

	(void)state;
	assert_int_equal(vmmu_slot_set_flags(h->vm, 0, VMMU_SLOT_LOG_DIRTY), VMMU_OK);
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(fault_on(h, a, 3 * K, VMMU_W | (round ? VMMU_ACCESS_PRESENT : 0)), VMMU_FAULT_FIXED);
		assert_int_equal(fault_on(h, b, 3 * K, VMMU_W | (round ? VMMU_ACCESS_PRESENT : 0)), VMMU_FAULT_FIXED);
		assert_int_equal(vmmu_dirty_log(h->vm, 0, bitmap, 4 * G / K / 64), VMMU_OK);
		assert_int_equal(bitmap[0], 1 << 3);
		assert_false(vmmu_entry_rights(&a->layout, entry_in(h, a, 3 * K)) & VMMU_W);
		assert_false(vmmu_entry_rights(&b->layout, entry_in(h, b, 3 * K)) & VMMU_W);
	}
	free(bitmap);
	end(h);
}

static void a_slot_that_becomes_read_only_is_so_in_all_maps(void **state)
{
	struct host *h = start(9);
	struct vmmu_map *a = h->vm->maps, *b = add_map(h);

	(void)state;
	assert_int_equal(fault_on(h, a, 0, VMMU_W), VMMU_FAULT_FIXED);
	assert_int_equal(fault_on(h, b, 0, VMMU_W), VMMU_FAULT_FIXED);
	assert_int_equal(vmmu_slot_set_flags(h->vm, 0, VMMU_SLOT_READONLY), VMMU_OK);
	assert_false(vmmu_entry_rights(&a->layout, entry_in(h, a, 0)) & VMMU_W);
	assert_false(vmmu_entry_rights(&b->layout, entry_in(h, b, 0)) & VMMU_W);
	assert_int_equal(vmmu_slot_delete(h->vm, 0), VMMU_OK);
	assert_false(is_mapped(h, a, 0));
	assert_false(is_mapped(h, b, 0));
	end(h);
}

/* ---- looking --------------------------------------------------------------------------- */

static void count_leaf(void *arg, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	unsigned *leaves = arg;

	(void)gfn;
	*leaves += step->info.kind == VMMU_ENTRY_LEAF;
}

static void a_dump_and_an_audit_see_all_maps(void **state)
{
	struct host *h = start(0);
	struct vmmu_map *a = h->vm->maps, *b = add_map(h);
	unsigned leaves = 0;

	(void)state;
	assert_int_equal(fault_on(h, a, 0, VMMU_R), VMMU_FAULT_FIXED);
	assert_int_equal(fault_on(h, b, 0, VMMU_R), VMMU_FAULT_FIXED);
	assert_int_equal(fault_on(h, b, K, VMMU_R), VMMU_FAULT_FIXED);
	vmmu_dump(h->vm, count_leaf, &leaves);
	assert_int_equal(leaves, 3);
	assert_int_equal(vmmu_audit(h->vm, NULL, NULL), 0);
	/* A leaf more than is counted, in the second map. */
	vmmu_count(&h->vm->tables.manager.count.pages[VMMU_LEVEL_4K], 1);
	assert_int_equal(vmmu_audit(h->vm, NULL, NULL), 1);
	vmmu_count(&h->vm->tables.manager.count.pages[VMMU_LEVEL_4K], (uint64_t)-1);
	end(h);
}

/* Nobody watches here, so these faults go the short way, which no test hook sees. */
static void short_ways_wait_for_the_gate(void **state)
{
	static const unsigned access[] = {VMMU_W, VMMU_W | VMMU_ACCESS_PRESENT};
	static const enum vmmu_fault_result result[] = {VMMU_FAULT_FIXED, VMMU_FAULT_SPURIOUS};
	struct host *h = start(0);
	struct vmmu_map *map = h->vm->maps;

	(void)state;
	assert_int_equal(fault_on(h, map, 0, VMMU_W), VMMU_FAULT_FIXED);
	for (unsigned i = 0; i < 2; i++) {
		h->waits = 0;
		atomic_store(&h->vm->tables.closed, true);
		assert_int_equal(fault_on(h, map, K, access[i]), result[i]);
		assert_true(h->waits > 0);
		assert_false(atomic_load(&h->vm->tables.closed));
	}
	end(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fault_builds_in_the_vcpus_map_alone),
		cmocka_unit_test(a_later_map_never_takes_over_the_hint_of_one_that_is_gone),
		cmocka_unit_test(an_invalidation_reaches_all_maps),
		cmocka_unit_test(a_round_of_the_dirty_log_reaches_all_maps),
		cmocka_unit_test(a_slot_that_becomes_read_only_is_so_in_all_maps),
		cmocka_unit_test(a_dump_and_an_audit_see_all_maps),
		cmocka_unit_test(short_ways_wait_for_the_gate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
