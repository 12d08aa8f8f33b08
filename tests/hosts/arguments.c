/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every argument and every field that a caller fills in, at the edges of what its comment
 * allows and just beyond: what is outside is refused, or counts as what the comment says.
 */
#include "host.h"

#include <vmmu/nested.h>

MODES;

/* ---- a VM's configuration -------------------------------------------------------------- */

static void try_config(const struct vmmu_config *c, enum vmmu_status wanted, const char *field, uint64_t value)
{
	struct vmmu_vm *const untouched = (struct vmmu_vm *)(uintptr_t)64;
	struct vmmu_vm *vm = untouched;
	enum vmmu_status status = vmmu_vm_create(c, &vm);

	if (status != wanted)
		print_error("config.%s = %#llx\n", field, (unsigned long long)value);
	assert_string_equal(vmmu_status_name(status), vmmu_status_name(wanted));
	if (status == VMMU_OK)
		assert_ok(vmmu_vm_destroy(vm));
	else
		assert_ptr_equal(vm, untouched);
}

#define TRY(field, value, wanted) \
	do { \
		struct vmmu_config c_ = config; \
		c_.field = (value); \
		try_config(&c_, wanted, #field, (uint64_t)(value)); \
	} while (0)

static void configurations_at_their_edges(void **state)
{
	static struct vmmu_trace_record record[4];
	struct vmmu_trace_ring ring = {.records = record, .size = 4};
	struct host *host = host_with(mode_of(state), 1, 0);
	struct vmmu_config config = host_config(host, mode_of(state));

	TRY(mode, (enum vmmu_mode)0, VMMU_ERR_INVALID);
	TRY(mode, (enum vmmu_mode)4, VMMU_ERR_INVALID);
	TRY(host, NULL, VMMU_ERR_INVALID);
	for (unsigned width = 0; width < 256; width++) {
		enum vmmu_status wanted = width >= 32 && width <= 52 ? VMMU_OK : VMMU_ERR_INVALID;

		TRY(cpu.maxphyaddr, (uint8_t)width, wanted);
		TRY(guest_maxphyaddr, (uint8_t)width, width ? wanted : VMMU_OK);
	}
	for (unsigned levels = 0; levels < 256; levels++)
		TRY(levels, (uint8_t)levels,
		    levels == 0 || levels == 4 ? VMMU_OK
		    : levels == 5              ? VMMU_ERR_UNSUPPORTED
		                               : VMMU_ERR_INVALID);
	for (unsigned level = 0; level < 256; level++)
		TRY(max_level, (uint8_t)level, level <= VMMU_LEVEL_1G ? VMMU_OK : VMMU_ERR_INVALID);
	TRY(max_vcpus, 1u, VMMU_OK);
	TRY(max_vcpus, 0xffffu, VMMU_OK);
	TRY(max_vcpus, 0x10000u, VMMU_ERR_INVALID);
	TRY(max_vcpus, UINT32_MAX, VMMU_ERR_INVALID);
	TRY(max_slots, 1u, VMMU_OK);
	TRY(max_slots, UINT32_MAX, VMMU_OK);
	TRY(id, (uint16_t)0xffff, VMMU_OK);
	TRY(max_shadow_tables, 0u, VMMU_OK);
	TRY(max_shadow_tables, 1u, VMMU_ERR_INVALID);
	TRY(max_shadow_tables, VMMU_SHADOW_TABLES_MIN - 1u, VMMU_ERR_INVALID);
	TRY(max_shadow_tables, (uint32_t)VMMU_SHADOW_TABLES_MIN, VMMU_OK);
	TRY(max_shadow_tables, UINT32_MAX, VMMU_OK);
	TRY(ring, NULL, VMMU_OK);
	config.ring = &ring;
	for (uint32_t size = 0; size <= 4; size++) {
		ring.size = size;
		TRY(ring, &ring, size && size != 3 ? VMMU_OK : VMMU_ERR_INVALID);
	}
	ring.records = NULL;
	TRY(ring, &ring, VMMU_ERR_INVALID);
	assert_int_equal(vmmu_vm_create(NULL, &host->vm), VMMU_ERR_INVALID);
	assert_int_equal(vmmu_vm_create(&config, NULL), VMMU_ERR_INVALID);
	host_end(host);
}

/* The guest's own width is where its memory ends, and no wider than what the tables reach. */
static void a_guest_is_as_wide_as_said(void **state)
{
	for (unsigned width = 32; width <= 52; width++) {
		struct host *host = host_new(0);
		struct vmmu_config config = host_config(host, mode_of(state));
		uint64_t end = 1ull << (width < 46 ? width : 46);

		config.guest_maxphyaddr = (uint8_t)width;
		host_make(host, &config, 1);
		assert_ok(host_slot(host, 0, end - K, K, 0));
		assert_int_equal(host_slot(host, 1, end, K, 0), VMMU_ERR_SLOT_BEYOND);
		if (mode_of(state) != VMMU_MODE_SHADOW) {
			assert_result(host_touch(host, 0, end - K, VMMU_W), VMMU_FAULT_FIXED);
			assert_result(host_fault(host, 0, end, VMMU_W), VMMU_FAULT_BEYOND);
		}
		host_end(host);
	}
}

/* ---- vCPUs ------------------------------------------------------------------------------ */

static void a_vcpu_has_its_id_and_ring_alone(void **state)
{
	static struct vmmu_trace_record record[3][8];
	struct vmmu_trace_ring ring[3];
	struct host *host = host_new(0);
	struct vmmu_config config = host_config(host, mode_of(state));
	struct vmmu_vcpu *const untouched = (struct vmmu_vcpu *)(uintptr_t)64;
	struct vmmu_vcpu *first, *second, *vcpu = untouched;
	int64_t objects;

	for (unsigned i = 0; i < 3; i++)
		ring[i] = (struct vmmu_trace_ring){.records = record[i], .size = 8};
	config.ring = &ring[0];
	config.max_vcpus = 2;
	host_make(host, &config, 0);
	assert_ok(vmmu_vcpu_create(host->vm, 7, &ring[1], &first));
	objects = host->objects_live;
	assert_int_equal(vmmu_vcpu_create(host->vm, 7, NULL, &vcpu), VMMU_ERR_BUSY);
	assert_int_equal(vmmu_vcpu_create(host->vm, 8, &ring[1], &vcpu), VMMU_ERR_BUSY);
	assert_int_equal(vmmu_vcpu_create(host->vm, 8, &ring[0], &vcpu), VMMU_ERR_BUSY);
	assert_int_equal(vmmu_vcpu_create(host->vm, VMMU_TRACE_NO_VCPU, NULL, &vcpu), VMMU_ERR_INVALID);
	assert_int_equal(host->objects_live, objects);
	assert_ptr_equal(vcpu, untouched);
	/* No ring is nobody's. */
	assert_ok(vmmu_vcpu_create(host->vm, 0xfffe, NULL, &second));
	assert_int_equal(vmmu_vcpu_create(host->vm, 9, NULL, &vcpu), VMMU_ERR_INVALID); /* two is all */
	assert_int_equal(vmmu_vcpu_create(host->vm, 7, NULL, &vcpu), VMMU_ERR_BUSY);
	vmmu_vcpu_destroy(second);
	assert_int_equal(vmmu_vcpu_create(host->vm, 7, &ring[2], &vcpu), VMMU_ERR_BUSY);
	vmmu_vcpu_destroy(first);
	/* Both are free again. */
	assert_ok(vmmu_vcpu_create(host->vm, 7, &ring[1], &first));
	assert_ok(vmmu_vcpu_create(host->vm, 0xfffe, &ring[2], &second));
	vmmu_vcpu_destroy(first);
	vmmu_vcpu_destroy(second);
	host_end(host);
}

/* ---- faults ------------------------------------------------------------------------------- */

static unsigned asked;

static enum vmmu_backing_result count_questions(struct host *host, const struct vmmu_slot_info *slot,
                                                uint64_t gfn, unsigned access, struct vmmu_backing *out)
{
	(void)host;
	asked++;
	/* One right at a time, whatever the access had. */
	assert_true(access == VMMU_R || access == VMMU_W || access == VMMU_X);
	host_plain_answer(slot, gfn, out);
	return VMMU_BACKING_OK;
}

static void prefault_has_rights_and_nothing_else(void **state)
{
	static const unsigned none[] = {0, 8, 0x10, 0x11, VMMU_RWX | 8, VMMU_W | VMMU_ACCESS_USER,
	                                VMMU_R | VMMU_ACCESS_PEEK, 1u << 31, ~0u};
	struct host *host = host_with(mode_of(state), 1, 0);
	int64_t tables;
	uint64_t done;

	assert_ok(host_slot(host, 0, 0, 64 * M, 0));
	host->backing = count_questions;
	asked = 0;
	tables = host->tables_live;
	for (unsigned i = 0; i < sizeof(none) / sizeof(*none); i++) {
		done = 77;
		assert_result(vmmu_prefault(host->vcpu[0], vmmu_gpa_of(0), M, none[i], &done), VMMU_FAULT_DENIED);
		assert_int_equal(done, 0);
	}
	assert_int_equal(asked, 0);
	assert_int_equal(host->tables_live, tables);
	for (unsigned access = 1; access <= VMMU_RWX; access++) {
		done = 77;
		assert_result(vmmu_prefault(host->vcpu[0], vmmu_gpa_of(access * 4 * M), M, access, &done), VMMU_FAULT_FIXED);
		assert_int_equal(done, M);
		assert_result(vmmu_prefault(host->vcpu[0], vmmu_gpa_of(access * 4 * M), M, access, NULL),
		              VMMU_FAULT_SPURIOUS);
		assert_result(vmmu_prefault(host->vcpu[0], vmmu_gpa_of(access * 4 * M), 0, access, &done),
		              VMMU_FAULT_SPURIOUS);
		assert_int_equal(done, 0);
	}
	host_end(host);
}

static enum vmmu_backing_result grant_nothing(struct host *host, const struct vmmu_slot_info *slot, uint64_t gfn,
                                              unsigned access, struct vmmu_backing *out)
{
	(void)host;
	(void)access;
	host_plain_answer(slot, gfn, out);
	out->rights = 0;
	return VMMU_BACKING_OK;
}

/* Without a right it is a read where nothing is mapped, and what is mapped satisfies it. */
static void a_fault_without_a_right_is_a_read(void **state)
{
	struct host *host = host_with(mode_of(state), 1, 0);
	struct vmmu_stats stats;

	assert_ok(host_slot(host, 0, 0, 64 * K, 0));
	host->backing = grant_nothing;
	for (unsigned access = 0; access <= VMMU_RWX; access++)
		assert_result(host_touch(host, 0, 5 * K, access), VMMU_FAULT_DENIED);
	vmmu_stats_read(host->vm, &stats);
	assert_int_equal(stats.pages[VMMU_LEVEL_4K], 0);
	assert_int_equal(host_frame_of(host, 0, 5 * K, NULL), 0);
	assert_int_equal(host_audit(host), 0);
	host->backing = count_questions;
	assert_result(host_touch(host, 0, 5 * K, 0), VMMU_FAULT_FIXED);
	assert_result(host_touch(host, 0, 5 * K, 0), VMMU_FAULT_SPURIOUS);
	assert_result(host_touch(host, 0, 5 * K, VMMU_ACCESS_PRESENT), VMMU_FAULT_SPURIOUS);
	assert_int_equal(host_frame_of(host, 0, 5 * K, NULL), HOST_FRAMES + 5);
	host_end(host);
}

static void other_bits_of_an_access_are_not_looked_at(void **state)
{
	struct host *host = host_with(mode_of(state), 1, 0);

	assert_ok(host_slot(host, 0, 0, 64 * K, 0));
	for (unsigned bit = 11; bit <= 31; bit++) {
		assert_result(host_touch(host, 0, bit * K, VMMU_W | 1u << bit), VMMU_FAULT_FIXED);
		assert_int_equal(host_frame_of(host, 0, bit * K, NULL), HOST_FRAMES + bit);
	}
	assert_result(host_touch(host, 0, 3 * K, VMMU_W | 1u << 3), VMMU_FAULT_FIXED);
	host_end(host);
}

/* A guest's access sets its accessed and dirty bits, whatever else the caller has put there. */
static void a_fault_never_just_looks(void **state)
{
	struct host *host = host_with(mode_of(state), 1, 64);

	assert_ok(host_slot(host, 0, 0, 64 * K, 0));
	host_start_paging(host);
	host_set(host, G_TABLE, 40, 40 * K | GP | GW | GU);
	vmmu_guest_written(host->vcpu[0], vmmu_gpa_of(G_TABLE * K + 40 * 8), 8);
	assert_result(host_touch(host, 0, 40 * K, VMMU_W | VMMU_ACCESS_PEEK), VMMU_FAULT_FIXED);
	assert_int_equal(host_get(host, G_TABLE, 40) & (GA | GD), GA | GD);
	host_end(host);
}

/* ---- ranges -------------------------------------------------------------------------------- */

static void a_write_past_the_end_ends_there(void **state)
{
	struct host *host = host_with(mode_of(state), 1, 64);
	uint64_t log[1];

	assert_ok(host_slot(host, 0, 0, 64 * K, VMMU_SLOT_LOG_DIRTY));
	vmmu_guest_written(host->vcpu[0], vmmu_gpa_of(3 * K + 1), UINT64_MAX);
	assert_ok(vmmu_dirty_log(host->vm, 0, log, 1));
	assert_true(log[0] == ~7ull);
	vmmu_guest_written(host->vcpu[0], vmmu_gpa_of(UINT64_MAX), UINT64_MAX);
	vmmu_guest_written(host->vcpu[0], vmmu_gpa_of(3 * K), 0);
	assert_ok(vmmu_dirty_log(host->vm, 0, log, 1));
	assert_true(log[0] == 0);
	host_end(host);
}

static void ranges_that_are_none_are_refused(void **state)
{
	struct host *host = host_with(mode_of(state), 1, 0);
	uint64_t log[2] = {1, 2};

	assert_ok(host_slot(host, 0, 2 * M, 4 * M, 0));
	assert_ok(host_slot(host, 1, 8 * M, 65 * K, VMMU_SLOT_LOG_DIRTY));
	for (unsigned level = 0; level < 256; level++)
		assert_int_equal(vmmu_range_restrict(host->vm, vmmu_gpa_of(2 * M), M, level),
		                 level >= VMMU_LEVEL_4K && level <= VMMU_LEVEL_1G ? VMMU_OK : VMMU_ERR_INVALID);
	assert_int_equal(vmmu_range_restrict(host->vm, vmmu_gpa_of(2 * M), 0, 1), VMMU_ERR_INVALID);
	assert_int_equal(vmmu_range_restrict(host->vm, vmmu_gpa_of(2 * M + 1), M, 1), VMMU_ERR_INVALID);
	assert_int_equal(vmmu_range_restrict(host->vm, vmmu_gpa_of(2 * M), M + 1, 1), VMMU_ERR_INVALID);
	assert_int_equal(vmmu_range_restrict(host->vm, vmmu_gpa_of(M), 2 * M, 1), VMMU_ERR_SLOT_MISSING);
	assert_int_equal(vmmu_range_restrict(host->vm, vmmu_gpa_of(5 * M), 2 * M, 1), VMMU_ERR_SLOT_MISSING);
	assert_int_equal(vmmu_range_restrict(host->vm, vmmu_gpa_of(3 * M), -2 * M, 1), VMMU_ERR_SLOT_MISSING);
	assert_int_equal(vmmu_invalidate_begin(host->vm, vmmu_gpa_of(0), 0), VMMU_ERR_INVALID);
	assert_int_equal(vmmu_invalidate_begin(host->vm, vmmu_gpa_of(2), UINT64_MAX), VMMU_ERR_INVALID);
	assert_int_equal(vmmu_invalidate_begin(host->vm, vmmu_gpa_of(1ull << 60), K), VMMU_ERR_INVALID);
	assert_int_equal(vmmu_invalidate_end(host->vm, vmmu_gpa_of(2 * M), K), VMMU_ERR_INVALID);
	assert_int_equal(vmmu_dirty_log(host->vm, 0, log, 2), VMMU_ERR_INVALID);
	assert_int_equal(vmmu_dirty_log(host->vm, 1, log, 1), VMMU_ERR_INVALID);
	assert_int_equal(vmmu_dirty_log(host->vm, 2, log, 2), VMMU_ERR_SLOT_MISSING);
	assert_true(log[0] == 1 && log[1] == 2);
	assert_int_equal(vmmu_slot_set_flags(host->vm, 0, 4), VMMU_ERR_SLOT_FLAGS);
	assert_int_equal(vmmu_slot_set_flags(host->vm, 0, 1u << 31), VMMU_ERR_SLOT_FLAGS);
	host_end(host);
}

/* ---- records and tags ------------------------------------------------------------------------ */

static void an_unknown_flush_is_told_of_as_none(void **state)
{
	static const unsigned said[] = {VMMU_GUEST_FLUSH_INVLPG, VMMU_GUEST_FLUSH_COUNT, 1000, UINT32_MAX};
	static struct vmmu_trace_record record[64];
	struct vmmu_trace_ring ring = {.records = record, .size = 64};
	struct host *host = host_new(0);
	struct vmmu_config config = host_config(host, mode_of(state));
	unsigned seen = 0;

	host_make(host, &config, 0);
	assert_ok(vmmu_vcpu_create(host->vm, 0, &ring, &host->vcpu[host->vcpus++]));
	vmmu_trace_enable(host->vm, true);
	for (unsigned i = 0; i < 4; i++)
		vmmu_trace_guest_flush(host->vcpu[0], (enum vmmu_guest_flush)said[i], i, 0x1000 + i);
	for (uint32_t i = 0; i < vmmu_trace_ring_waiting(&ring); i++) {
		const struct vmmu_trace_record *r = vmmu_trace_ring_at(&ring, i);

		if (r->event != VMMU_TRACE_GUEST_FLUSH)
			continue;
		assert_int_equal(r->instruction, seen ? VMMU_GUEST_FLUSH_NONE : VMMU_GUEST_FLUSH_INVLPG);
		assert_int_equal(r->guest_flush.value, seen);
		seen++;
	}
	assert_int_equal(seen, 4);
	host_end(host);
}

static void a_tag_is_flushed_for_what_is_no_request(void **state)
{
	struct host *host = host_new(64);
	struct vmmu_config config = host_config(host, mode_of(state));

	config.nested = true;
	host_make(host, &config, 1);
	assert_true(vmmu_nested_tag(host->vcpu[0], 5, VMMU_NESTED_FLUSH_NONE, 0));
	assert_false(vmmu_nested_tag(host->vcpu[0], 5, VMMU_NESTED_FLUSH_NONE, 0));
	assert_false(vmmu_nested_tag(host->vcpu[0], 5, VMMU_NESTED_FLUSH_TABLES, 5));
	for (unsigned flush = VMMU_NESTED_FLUSH_TABLES + 1; flush < 300; flush++)
		assert_true(vmmu_nested_tag(host->vcpu[0], 5, (enum vmmu_nested_flush)flush, 0));
	assert_false(vmmu_nested_tag(host->vcpu[0], 5, VMMU_NESTED_FLUSH_NONE, 0));
	host_end(host);
}

/* ---- the guest's own tables -------------------------------------------------------------------- */

/* A CPU of no width that there is: the walk goes by the nearest. */
static void a_guest_cpu_that_cannot_be_counts_as_the_nearest(void **state)
{
	struct host *host = host_with(mode_of(state), 1, 64);
	const uint64_t table = 32 * K;

	for (unsigned width = 0; width < 256; width++) {
		const uint8_t nearest = width < 32 ? 32 : width > 52 ? 52
		                                                     : (uint8_t)width;
		struct vmmu_paging paging = host_long_mode(G_ROOT);
		struct vmmu_guest_mode mode, as;
		uint64_t pdpte[4] = {0};

		for (unsigned format = 0; format < 3; format++) {
			paging.efer = format ? 0 : paging.efer;
			paging.cr4 = format == 2 ? 0x10 : 0x30;
			paging.cpu.maxphyaddr = (uint8_t)width;
			vmmu_guest_mode_init(&mode, &paging);
			paging.cpu.maxphyaddr = nearest;
			vmmu_guest_mode_init(&as, &paging);
			mode.registers.cpu.maxphyaddr = nearest;
			assert_memory_equal(&mode, &as, sizeof(as));
		}
		paging.cpu.maxphyaddr = (uint8_t)width;
		for (unsigned bit = 32; bit < 63; bit++) {
			host_set(host, table / K, 2, 1ull << bit | GP);
			assert_int_equal(vmmu_guest_load_pdptes(&host->calls, host, &paging.cpu, table, pdpte),
			                 bit < nearest ? VMMU_GUEST_OK : VMMU_GUEST_FAULT);
		}
	}
	host_end(host);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void any_number_has_a_name(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4096; i++) {
		const unsigned n = i < 2048 ? i : i << 20 | 0xfffff;

		assert_string_not_equal(vmmu_status_name((enum vmmu_status)n), "");
		assert_int_equal(n < VMMU_STATUS_COUNT, strcmp(vmmu_status_name((enum vmmu_status)n), "unknown") != 0);
		assert_int_equal(n && n < VMMU_FAULT_RESULT_COUNT,
		                 strcmp(vmmu_fault_result_name((enum vmmu_fault_result)n), "unknown") != 0);
		assert_int_equal(n < VMMU_CAUSE_COUNT, strcmp(vmmu_cause_name(n), "unknown") != 0);
		assert_int_equal(n < VMMU_HANDLER_COUNT, strcmp(vmmu_handler_name(n), "unknown") != 0);
		assert_int_equal(n < VMMU_GUEST_FLUSH_COUNT, strcmp(vmmu_guest_flush_name(n), "unknown") != 0);
		assert_int_equal(n && n < VMMU_TRACE_EVENT_COUNT, strcmp(vmmu_trace_event_name(n), "unknown") != 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL(configurations_at_their_edges),
		ALL(a_guest_is_as_wide_as_said),
		ALL(a_vcpu_has_its_id_and_ring_alone),
		ALL(prefault_has_rights_and_nothing_else),
		ALL(a_fault_without_a_right_is_a_read),
		ALL(other_bits_of_an_access_are_not_looked_at),
		SHADOW(a_fault_never_just_looks),
		ALL(a_write_past_the_end_ends_there),
		ALL(ranges_that_are_none_are_refused),
		ALL(an_unknown_flush_is_told_of_as_none),
		DIRECT(a_tag_is_flushed_for_what_is_no_request),
		SHADOW(a_guest_cpu_that_cannot_be_counts_as_the_nearest),
		cmocka_unit_test(any_number_has_a_name),
	};

	cmocka_set_test_filter(getenv("ONLY"));
	return cmocka_run_group_tests_name("arguments", tests, NULL, NULL);
}
