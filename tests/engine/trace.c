/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records: their fields, their order, what is lost when a ring is full. That
 * the records replayed give the tables is checked at the end of every test of
 * every file (sim_end).
 */
#include <string.h>

#include "case.h"

MODES;

static const struct vmmu_trace_record *find(const struct sim *sim, unsigned event, unsigned nth)
{
	for (size_t i = 0; i < sim->trace.records; i++)
		if (sim->trace.record[i].event == event && nth-- == 0)
			return &sim->trace.record[i];
	fail_msg("no %s record", vmmu_trace_event_name(event));
	return NULL;
}

static void a_fault_tells_its_story(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t b = contiguous(sim, 0, 0);

	sim_slot_create(sim, 3, 0, 16 * M, VMMU_SLOT_LOG_DIRTY, b);
	struct vmmu_fault fault = {
		.gpa = vmmu_gpa_of(5 * M + 0x123),
		.access = VMMU_W,
		.error_code = 0x182,
		.rip = 0xffffffff81234567,
		.word = 0xabcd,
	};

	sim_ref_mark(&sim->ref, 5 * M / K, SIM_MAY_WRITE);
	assert_int_equal(vmmu_fault(sim->vcpu[0].engine, &fault), VMMU_FAULT_FIXED);
	sim_drain(sim);
	const struct vmmu_trace_record *begin = find(sim, VMMU_TRACE_PAGE_FAULT, 0);
	const struct vmmu_trace_record *end = find(sim, VMMU_TRACE_FAULT_END, 0);
	const struct vmmu_trace_record *slot = find(sim, VMMU_TRACE_SLOT, 0);
	const struct vmmu_trace_record *load = find(sim, VMMU_TRACE_ROOT_LOAD, 0);
	const struct vmmu_trace_record *vm = find(sim, VMMU_TRACE_VM, 0);

	assert_int_equal(begin->page_fault.address, 5 * M + 0x123);
	assert_int_equal(begin->page_fault.error_code, 0x182);
	assert_int_equal(begin->page_fault.guest_rip, 0xffffffff81234567);
	assert_int_equal(begin->page_fault.word, 0xabcd);
	assert_int_equal(begin->access, VMMU_W);
	assert_int_equal(begin->vcpu, 0);
	assert_int_equal(begin->vm, 1);
	assert_int_equal(begin->fault, fault.id);
	assert_int_equal(end->result, VMMU_FAULT_FIXED);
	assert_int_equal(end->level, 1);
	assert_int_equal(end->fault_end.gpa, 5 * M + 0x123);
	assert_int_equal(end->fault_end.pfn, fault.pfn.v);
	assert_int_equal(end->fault_end.entry, fault.entry);
	assert_int_equal(slot->slot_id, 3);
	assert_int_equal(slot->slot_flags, VMMU_SLOT_LOG_DIRTY);
	assert_int_equal(slot->cause, VMMU_CAUSE_SLOT_CREATE);
	assert_int_equal(slot->slot.base_gfn, 0);
	assert_int_equal(slot->slot.pages, 16 * M / K);
	assert_int_equal(slot->slot.backing, b);
	assert_int_equal(slot->vcpu, VMMU_TRACE_NO_VCPU);
	assert_int_equal(load->root_load.table, sim->vcpu[0].root.table.v);
	assert_int_equal(load->root_load.pointer, sim->vcpu[0].root.pointer);
	assert_int_equal(vm->config.mode, sim->config.mode);
	assert_int_equal(vm->config.levels, 4);
	assert_int_equal(vm->config.maxphyaddr, 46);
	/* Between begin and end: all tables and entries, of this fault and cause. */
	unsigned entries = 0, tables = 0;

	for (const struct vmmu_trace_record *r = begin + 1; r < end; r++) {
		assert_int_equal(r->fault, fault.id);
		entries += r->event == VMMU_TRACE_SPTE_CHANGED;
		tables += r->event == VMMU_TRACE_GET_PAGE && r->created;
		if (r->event == VMMU_TRACE_SPTE_CHANGED) {
			assert_int_equal(r->cause, VMMU_CAUSE_VIOLATION);
			assert_int_equal(r->index, (5 * M >> (12 + 9 * (r->level - 1))) & 511);
			assert_int_equal(r->spte.gfn, 5 * M / K & ~(vmmu_level_pages(r->level) - 1));
			assert_int_equal(r->spte.old_spte, 0);
		}
	}
	assert_int_equal(entries, 4);
	assert_int_equal(tables, 3);
	assert_sound(sim);
}

/*
 * What the facts of a fault allow one record to say, and what they do not: the same is told of
 * it. Whether there is a test hook, and whose clock it is, is no matter.
 */
static void a_brief_fault_says_the_same(void **state)
{
	static const struct {
		uint64_t error_code;
		uint32_t access;
		unsigned order;
		bool brief;
	} cases[] = {
		{0x1ull << 32 | 6, VMMU_W | VMMU_ACCESS_USER, 0, true},
		{0xffull << 32 | 0xfff, VMMU_R | VMMU_ACCESS_WALK, 0, true},
		{0x82, VMMU_X, 9, true},
		{0, VMMU_W, 9, true},
		{1ull << 12, VMMU_W, 0, false},
		{1ull << 31, VMMU_W, 0, false},
		{1ull << 40, VMMU_W, 0, false},
		{1ull << 63, VMMU_W, 0, false},
		{2, VMMU_W | 1 << 8, 0, false},
		{2, VMMU_W | 1u << 30, 9, false},
	};
	for (unsigned n = 0; n < 3 * sizeof(cases) / sizeof(cases[0]); n++) {
		struct sim_config config = sim_config_default(mode_of(state));
		const uint64_t gpa = 6 * M + 0x3456, error_code = cases[n / 3].error_code;

		config.unhooked = n % 3;
		config.tsc = n % 3 == 2;
		struct sim *sim = sim_start(&config);
		struct vmmu_trace_ring *ring = &sim->vcpu[0].ring;
		const uint64_t pages = cases[n / 3].order ? 512 : 1, gfn = gpa / K;
		struct vmmu_fault fault = {
			.gpa = vmmu_gpa_of(gpa),
			.access = cases[n / 3].access,
			.error_code = error_code,
			.rip = 0xffffffff81234567,
			.word = 0xfedcba9876543210,
		};

		sim_slot_create(sim, 0, 0, 64 * M, 0, contiguous(sim, 0, cases[n / 3].order));
		/* Tables, the slot and the hint are there. */
		sim_access(sim, 0, pages > 1 ? 8 * M : 7 * M, VMMU_R);
		sim_access(sim, 0, pages > 1 ? 10 * M : 6 * M, VMMU_R);
		sim_access(sim, 0, pages > 1 ? 12 * M : 6 * M + K, cases[n / 3].access & VMMU_RWX);
		sim_drain(sim);
		const size_t first = sim->trace.records;

		sim_ref_mark(&sim->ref, gfn, SIM_MAY_WRITE);
		assert_int_equal(vmmu_fault(sim->vcpu[0].engine, &fault), VMMU_FAULT_FIXED);
		assert_int_equal(vmmu_trace_ring_waiting(ring), cases[n / 3].brief ? 1 : 3);
		assert_int_equal(vmmu_trace_ring_at(ring, 0)->event,
		                 cases[n / 3].brief ? VMMU_TRACE_FAULT_FIXED : VMMU_TRACE_PAGE_FAULT);
		sim_drain(sim);
		assert_int_equal(sim->trace.records, first + 3);
		const struct vmmu_trace_record *r = &sim->trace.record[first];

		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(r[i].vm, 1);
			assert_int_equal(r[i].vcpu, 0);
			assert_int_equal(r[i].fault, fault.id);
			assert_int_equal(r[i].root, sim->vcpu[0].root.id);
			assert_int_equal(r[i].seq, r[0].seq + i);
		}
		assert_int_equal(r[0].event, VMMU_TRACE_PAGE_FAULT);
		assert_int_equal(r[0].access, fault.access);
		assert_int_equal(r[0].page_fault.address, gpa);
		assert_int_equal(r[0].page_fault.error_code, error_code);
		assert_int_equal(r[0].page_fault.guest_rip, fault.rip);
		assert_int_equal(r[0].page_fault.word, fault.word);
		assert_int_equal(r[1].event, VMMU_TRACE_SPTE_CHANGED);
		assert_int_equal(r[1].cause, VMMU_CAUSE_VIOLATION);
		assert_int_equal(r[1].level, fault.level);
		assert_int_equal(fault.level, pages > 1 ? 2 : 1);
		assert_int_equal(r[1].index, gfn / pages % 512);
		assert_int_equal(r[1].spte.gfn, gfn & ~(pages - 1));
		assert_int_equal(r[1].spte.old_spte, 0);
		assert_int_equal(r[1].spte.new_spte, fault.entry);
		assert_int_equal(r[2].event, VMMU_TRACE_FAULT_END);
		assert_int_equal(r[2].result, VMMU_FAULT_FIXED);
		assert_int_equal(r[2].level, fault.level);
		assert_int_equal(r[2].fault_end.gpa, gpa);
		assert_int_equal(r[2].fault_end.pfn, fault.pfn.v);
		assert_int_equal(r[2].fault_end.entry, fault.entry);
		assert_int_equal(r[2].fault_end.handler, VMMU_HANDLER_DIRECT);
		assert_sound(sim);
	}
}

/* A record that stands for itself comes out as it is. */
static void others_are_not_taken_apart(void **state)
{
	struct vmmu_trace_record record, out[VMMU_TRACE_EXPANDED];

	(void)state;
	for (unsigned event = 0; event < 64; event++) {
		memset(&record, 0x5a, sizeof(record));
		record.event = (uint16_t)event;
		record.level = event == VMMU_TRACE_FAULT_FIXED ? VMMU_LEVEL_MAX + 1 : 3;
		assert_int_equal(vmmu_trace_expand(&record, out), 1);
		assert_memory_equal(&record, &out[0], sizeof(record));
	}
	record.event = VMMU_TRACE_FAULT_FIXED;
	record.level = 0;
	assert_int_equal(vmmu_trace_expand(&record, out), 1);
}

/* Each operation writes its entries under its own cause. */
static void causes_name_the_reason(void **state)
{
	struct sim *sim = sim_default(state);
	uint64_t b = contiguous(sim, 0, 9);
	uint64_t cow = sim_backing_new(sim, 64 * M, &(struct sim_backing_config){.order = 0, .copy_on_write = true});
	struct vmmu_stats s;

	sim_slot_create(sim, 0, 0, 16 * M, 0, b);
	sim_slot_create(sim, 1, 64 * M, 16 * M, 0, cow);
	sim_access(sim, 0, 5 * M, VMMU_W);
	sim_prefault(sim, 0, 8 * M, K, VMMU_W, NULL);
	sim_access(sim, 0, 1 * G, VMMU_R);
	sim_slot_set_flags(sim, 0, VMMU_SLOT_LOG_DIRTY);
	sim_access(sim, 0, 5 * M, VMMU_W);
	sim_access(sim, 0, 64 * M, VMMU_R);
	sim_access(sim, 0, 64 * M, VMMU_W);
	sim_swap_out(sim, 8 * M, K);
	sim_slot_delete(sim, 1);
	vmmu_stats_read(sim->vm, &s);
	assert_int_equal(s.entries[VMMU_CAUSE_PREFAULT][2], 1);
	assert_int_equal(s.entries[VMMU_CAUSE_MMIO][1], 1);
	assert_int_equal(s.entries[VMMU_CAUSE_PROTECT][2], 2);
	assert_int_equal(s.entries[VMMU_CAUSE_SPLIT][1], 512);
	assert_int_equal(s.entries[VMMU_CAUSE_SPLIT][2], 1);
	assert_int_equal(s.entries[VMMU_CAUSE_PERMISSION][1], 1);
	assert_int_equal(s.entries[VMMU_CAUSE_ZAP_REMAP][1], 1);
	assert_int_equal(s.entries[VMMU_CAUSE_ZAP_RANGE][2], 1);
	assert_true(s.entries[VMMU_CAUSE_ZAP_SLOT][1] + s.entries[VMMU_CAUSE_ZAP_SLOT][2] > 0);
	assert_int_equal(s.entries[VMMU_CAUSE_NONE][1], 0);
	assert_sound(sim);
}

/* A ring that nobody empties: the count of what was lost is exact, and told. */
static void a_full_ring_drops_and_counts(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	struct vmmu_stats stats;

	config.ring_records = 16;
	config.untraced = true; /* what is lost cannot be replayed */
	struct sim *sim = sim_start(&config);
	struct vmmu_trace_ring *ring = &sim->vcpu[0].ring;

	sim->host.trace_full = NULL;
	vmmu_trace_enable(sim->vm, true);
	sim_trace_drain(&sim->trace, &sim->ring);
	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 0));
	for (uint64_t gpa = 0; gpa < 64 * K; gpa += K)
		sim_access(sim, 0, gpa, VMMU_W);
	uint64_t dropped = vmmu_trace_ring_dropped(ring);

	assert_true(dropped > 0);
	assert_int_equal(vmmu_trace_ring_waiting(ring), 16);
	vmmu_stats_read(sim->vm, &stats);
	assert_int_equal(stats.trace_dropped, dropped);
	/* Room again: the next record tells of the loss, with the sequence gap to match. */
	uint32_t last = vmmu_trace_ring_at(ring, 15)->seq + vmmu_trace_numbers(vmmu_trace_ring_at(ring, 15)) - 1;

	sim->trace.records = 0;
	sim_trace_drain(&sim->trace, ring);
	sim_access(sim, 0, 100 * K, VMMU_W);
	sim->trace.records = 0;
	sim_trace_drain(&sim->trace, ring);
	assert_int_equal(sim->trace.record[0].event, VMMU_TRACE_DROPS);
	assert_int_equal(sim->trace.record[0].drops.records, dropped);
	assert_int_equal(sim->trace.record[0].seq, last + 1 + dropped);
	assert_int_equal(vmmu_trace_ring_dropped(ring), dropped);
	vmmu_trace_enable(sim->vm, false);
	assert_sound(sim);
}

static void without_a_ring_all_is_dropped(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	struct vmmu_vcpu *vcpu;
	struct vmmu_root root;
	struct vmmu_stats stats;

	config.untraced = true;
	struct sim *sim = sim_start(&config);

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 0));
	assert_int_equal(vmmu_vcpu_create(sim->vm, 9, NULL, &vcpu), VMMU_OK);
	vmmu_trace_enable(sim->vm, true);
	assert_int_equal(vmmu_vcpu_load(vcpu, &root), VMMU_OK);
	struct vmmu_fault fault = {.gpa = vmmu_gpa_of(5 * M), .access = VMMU_W};

	assert_int_equal(vmmu_fault(vcpu, &fault), VMMU_FAULT_FIXED);
	vmmu_stats_read(sim->vm, &stats);
	assert_int_equal(stats.trace_dropped, 1 + 1 + 3 + 4 + 1); /* root, fault, tables, entries, end */
	vmmu_trace_enable(sim->vm, false);
	vmmu_vcpu_destroy(vcpu);
	assert_sound(sim);
}

static void nothing_is_written_while_off(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));

	config.untraced = true;
	struct sim *sim = sim_start(&config);

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 0));
	sim_access(sim, 0, 5 * M, VMMU_W);
	sim_slot_delete(sim, 0);
	vmmu_trace_mark(sim->vcpu[0].engine, 1);
	vmmu_trace_guest_flush(sim->vcpu[0].engine, VMMU_GUEST_FLUSH_CR3, 0, 0);
	sim_drain(sim);
	assert_int_equal(sim->trace.records, 0);
	assert_int_equal(sim->clock, 0); /* nor is the time asked for */
	assert_sound(sim);
}

/* Switched on in the middle of a VM's life, the trace is whole from there. */
static void tracing_may_begin_late(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));
	struct sim_replay replay;
	struct sim_census census;
	char error[256];

	config.untraced = true;
	struct sim *sim = sim_start(&config);

	sim_slot_create(sim, 0, 0, 64 * M, 0, contiguous(sim, 0, 9));
	sim_slot_create(sim, 1, 64 * M, 64 * M, 0, contiguous(sim, 64 * M, 0));
	for (uint64_t gpa = 0; gpa < 128 * M; gpa += 7 * M)
		sim_access(sim, 0, gpa, VMMU_W);
	sim_access(sim, 0, 1 * G, VMMU_R);
	for (unsigned round = 0; round < 2; round++) {
		vmmu_trace_enable(sim->vm, true);
		for (uint64_t gpa = 0; gpa < 128 * M; gpa += 3 * M)
			sim_access(sim, 0, gpa, VMMU_W);
		sim_slot_set_flags(sim, 0, round ? 0 : VMMU_SLOT_LOG_DIRTY);
		vmmu_trace_enable(sim->vm, false);
		sim_drain(sim);
		assert_true(sim_trace_replay(&sim->trace, &replay, error, sizeof(error)));
		sim_census(sim, &census);
		assert_int_equal(sim_replay_nonzero(&replay), census.nonzero);
		sim_replay_fini(&replay);
		sim_access(sim, 0, round * M + 100 * M, VMMU_W); /* unseen */
	}
	assert_sound(sim);
}

/* The host's own records stand in the vCPU's stream, outside any fault, and change nothing else. */
static void a_host_adds_records_of_its_own(void **state)
{
	struct sim *sim = sim_default(state);
	const struct vmmu_trace_record *mark, *flush;
	struct vmmu_stats before, after;
	struct vmmu_trace_ring *ring = &sim->vcpu[0].ring;
	uint32_t waiting;

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 0));
	sim_access(sim, 0, 5 * M, VMMU_W);
	vmmu_stats_read(sim->vm, &before);
	waiting = vmmu_trace_ring_waiting(ring);
	vmmu_trace_mark(sim->vcpu[0].engine, UINT64_MAX);
	vmmu_trace_guest_flush(sim->vcpu[0].engine, VMMU_GUEST_FLUSH_INVLPG, 0x1234567, 0x89ab);
	vmmu_stats_read(sim->vm, &after);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(vmmu_trace_ring_waiting(ring), waiting + 2);
	mark = vmmu_trace_ring_at(ring, waiting);
	flush = vmmu_trace_ring_at(ring, waiting + 1);
	assert_int_equal(mark->event, VMMU_TRACE_MARK);
	assert_int_equal(mark->mark.number, UINT64_MAX);
	assert_int_equal(mark->fault, 0);
	assert_int_equal(flush->event, VMMU_TRACE_GUEST_FLUSH);
	assert_int_equal(flush->instruction, VMMU_GUEST_FLUSH_INVLPG);
	assert_int_equal(flush->guest_flush.value, 0x1234567);
	assert_int_equal(flush->guest_flush.guest_rip, 0x89ab);
	assert_int_equal(flush->fault, 0);
	assert_int_equal(flush->seq, mark->seq + 1);
	assert_string_equal(vmmu_guest_flush_name(VMMU_GUEST_FLUSH_CR3), "mov-cr3");
	assert_string_equal(vmmu_guest_flush_name(VMMU_GUEST_FLUSH_COUNT), vmmu_guest_flush_name(~0u));
	assert_sound(sim);
}

static void time_never_goes_back(void **state)
{
	struct sim_config config = sim_config_default(mode_of(state));

	config.vcpus = 3;
	struct sim *sim = sim_start(&config);

	sim_slot_create(sim, 0, 0, 16 * M, 0, contiguous(sim, 0, 0));
	for (uint64_t gpa = 0; gpa < 100 * K; gpa += K)
		sim_access(sim, gpa / K % 3, gpa, VMMU_W);
	/* Straight from the rings: each stream in the order of its making. */
	for (unsigned v = 0; v < 3; v++) {
		struct vmmu_trace_ring *ring = &sim->vcpu[v].ring;
		uint64_t before = 0;

		for (uint32_t n = 0; n < vmmu_trace_ring_waiting(ring); n++) {
			assert_true(vmmu_trace_ring_at(ring, n)->time > before);
			before = vmmu_trace_ring_at(ring, n)->time;
		}
	}
	assert_sound(sim);
}

static struct vmmu_decoder decoder_of(struct vmmu_trace_config config)
{
	struct vmmu_trace_record record = {.event = VMMU_TRACE_VM, .config = config};
	struct vmmu_decoder decoder;

	vmmu_trace_decoder(&record, &decoder);
	return decoder;
}

/* What it says of a VM, and what stands for what no VM can have. */
static void a_record_names_the_decoder(void **state)
{
	static const enum vmmu_mode modes[] = {VMMU_MODE_EPT, VMMU_MODE_NPT, VMMU_MODE_SHADOW};
	struct vmmu_decoder d;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		for (uint64_t features = 0; features < 64; features++) {
			d = decoder_of((struct vmmu_trace_config){
				.mode = modes[i], .levels = 4 + i % 2, .maxphyaddr = 32 + 10 * i, .features = features});
			assert_int_equal(d.mode, modes[i]);
			assert_int_equal(d.levels, 4 + i % 2);
			assert_int_equal(d.cpu.maxphyaddr, 32 + 10 * i);
			assert_int_equal(d.cpu.page_2m, features & 1);
			assert_int_equal(d.cpu.page_1g, features >> 1 & 1);
			assert_int_equal(d.cpu.exec_only, features >> 2 & 1);
			assert_int_equal(d.cpu.ad, features >> 3 & 1);
			assert_int_equal(d.cpu.nx, features >> 4 & 1);
			assert_int_equal(d.cpu.levels5, features >> 5 & 1);
		}
	d = decoder_of((struct vmmu_trace_config){.mode = 1ull << 40, .levels = 6, .maxphyaddr = 31});
	assert_int_equal(d.mode, VMMU_MODE_EPT);
	assert_int_equal(d.levels, 4);
	assert_int_equal(d.cpu.maxphyaddr, 52);
	d = decoder_of((struct vmmu_trace_config){.mode = VMMU_MODE_NPT, .levels = 0, .maxphyaddr = 53});
	assert_int_equal(d.mode, VMMU_MODE_NPT);
	assert_int_equal(d.levels, 4);
	assert_int_equal(d.cpu.maxphyaddr, 52);
}

/* A trace may come from a later version: each number has a name, and no two the same. */
static void every_number_has_a_name(void **state)
{
	(void)state;
	assert_string_equal(vmmu_handler_name(VMMU_HANDLER_SHADOW), "shadow");
	assert_string_equal(vmmu_handler_name(VMMU_HANDLER_COUNT), "unknown");
	assert_string_equal(vmmu_guest_flush_name(VMMU_GUEST_FLUSH_INVLPG), "invlpg");
	assert_string_equal(vmmu_guest_flush_name(VMMU_GUEST_FLUSH_COUNT), "unknown");
	assert_string_equal(vmmu_cause_name(VMMU_CAUSE_COUNT), "unknown");
	assert_string_equal(vmmu_trace_event_name(0xffff), "unknown");
	assert_string_equal(vmmu_status_name(VMMU_STATUS_COUNT), "unknown");
	assert_string_equal(vmmu_fault_result_name(VMMU_FAULT_RESULT_COUNT), "unknown");
	for (unsigned a = 0; a < VMMU_CAUSE_COUNT; a++) {
		assert_string_not_equal(vmmu_cause_name(a), "unknown");
		for (unsigned b = 0; b < a; b++)
			assert_string_not_equal(vmmu_cause_name(a), vmmu_cause_name(b));
	}
	for (unsigned a = 0; a < VMMU_STATUS_COUNT; a++)
		assert_string_not_equal(vmmu_status_name((enum vmmu_status)a), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(a_fault_tells_its_story),
		BOTH(a_brief_fault_says_the_same),
		cmocka_unit_test(others_are_not_taken_apart),
		BOTH(causes_name_the_reason),
		BOTH(a_full_ring_drops_and_counts),
		BOTH(without_a_ring_all_is_dropped),
		BOTH(nothing_is_written_while_off),
		BOTH(tracing_may_begin_late),
		BOTH(a_host_adds_records_of_its_own),
		BOTH(time_never_goes_back),
		EPT(a_record_names_the_decoder),
		EPT(every_number_has_a_name),
	};

	return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
