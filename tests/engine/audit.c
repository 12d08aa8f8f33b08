/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmmu_audit finds planted damage of each kind, vmmu_fault reports a damaged
 * entry instead of repairing it, and the looking-inside calls tell the truth.
 */
#include "case.h"

#include <string.h>

MODES;

/* Entry positions on the path to 5 MiB (level 2 leaf) and 33 MiB (level 1 leaf). */
struct planted {
	struct sim *sim;
	struct sim_walk large, small;
	unsigned findings;
	char rules[1024];
};

static void count(void *arg, const char *rule, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	struct planted *p = arg;

	(void)gfn;
	assert_non_null(step);
	p->findings++;
	strncat(p->rules, rule, sizeof(p->rules) - strlen(p->rules) - 1);
	strncat(p->rules, "; ", sizeof(p->rules) - strlen(p->rules) - 1);
}

static struct planted plant_bed(void **state)
{
	struct planted p = {.sim = sim_default(state)};

	sim_slot_create(p.sim, 0, 0, 32 * M, 0, contiguous(p.sim, 0, 9));
	sim_slot_create(p.sim, 1, 32 * M, 31 * M, VMMU_SLOT_LOG_DIRTY, contiguous(p.sim, 32 * M, 9));
	sim_slot_create(p.sim, 2, 128 * M, 32 * M, VMMU_SLOT_READONLY, contiguous(p.sim, 128 * M, 9));
	assert_int_equal(sim_access(p.sim, 0, 5 * M, VMMU_W), SIM_OK);
	assert_int_equal(sim_access(p.sim, 0, 33 * M, VMMU_R), SIM_OK);
	assert_int_equal(sim_access(p.sim, 0, 129 * M, VMMU_R), SIM_OK);
	sim_look(p.sim, 5 * M, 0, &p.large);
	sim_look(p.sim, 33 * M, 0, &p.small);
	assert_int_equal(p.large.level, 2);
	assert_int_equal(p.small.level, 1);
	assert_true(sim_check(p.sim));
	return p;
}

/* Plant, audit, take it out again. */
static void expect_finding(struct planted *p, uint64_t entry_hpa, uint64_t value, const char *what)
{
	uint64_t was;

	sim_memory_load(&p->sim->memory, entry_hpa, &was);
	sim_memory_store(&p->sim->memory, entry_hpa, value);
	p->findings = 0;
	p->rules[0] = '\0';
	unsigned told = vmmu_audit(p->sim->vm, count, p);

	sim_memory_store(&p->sim->memory, entry_hpa, was);
	if (told == 0 || told != p->findings)
		fail_msg("%s: %u findings returned, %u reported (%s)", what, told, p->findings, p->rules);
	assert_int_equal(vmmu_audit(p->sim->vm, NULL, NULL), 0);
}

static uint64_t leaf_hpa(const struct sim_walk *walk)
{
	return walk->step[walk->steps - 1].entry_hpa;
}

static uint64_t leaf_of(const struct sim_walk *walk)
{
	return walk->step[walk->steps - 1].entry;
}

static void finds_planted_damage(void **state)
{
	bool ept = mode_of(state) == VMMU_MODE_EPT;
	struct planted p = plant_bed(state);
	uint64_t write = 2, present = ept ? 7 : 1;
	uint64_t large = leaf_hpa(&p.large), small = leaf_hpa(&p.small);
	uint64_t table_of_small = p.small.step[p.small.steps - 2].entry_hpa;
	uint64_t table_entry = p.small.step[p.small.steps - 2].entry;
	uint64_t level2 = large & ~(uint64_t)4095;

	expect_finding(&p, small, leaf_of(&p.small) ^ 0x1000, "another frame");
	expect_finding(&p, small, leaf_of(&p.small) | write, "write in a page the log does not have");
	expect_finding(&p, small, leaf_of(&p.small) | 1ull << 50, "an address bit past MAXPHYADDR");
	expect_finding(&p, small, 0, "a leaf gone that is still counted");
	expect_finding(&p, large, leaf_of(&p.large) | 1ull << 13, "a misaligned large page");
	expect_finding(&p, small + 8, leaf_of(&p.small) + 0x1000, "a leaf too many");
	expect_finding(&p, level2 + 8 * 20, leaf_of(&p.large), "a large leaf where it does not belong");
	expect_finding(&p, level2 + 8 * 31, leaf_of(&p.large) - (5ull << 20) + (62ull << 20),
	               "a leaf over the slot's edge");
	expect_finding(&p, level2 + 8 * 40, leaf_of(&p.large), "a leaf outside every slot");
	expect_finding(&p, level2 + 8 * 64, leaf_of(&p.large) | write, "write in a read-only slot");
	expect_finding(&p, table_of_small, table_entry ^ 0x10000, "a table that is none");
	expect_finding(&p, table_of_small + 8, table_entry, "a table reached twice");
	expect_finding(&p, table_of_small, table_entry & ~write, "a right withheld above the leaves");
	expect_finding(&p, large, leaf_of(&p.large) & ~present & 0xfff, "neither empty nor present");
	if (ept) {
		expect_finding(&p, small, (leaf_of(&p.small) & ~7ull) | 2, "write without read");
		expect_finding(&p, small, leaf_of(&p.small) | 7 << 3, "memory type 7");
		expect_finding(&p, table_of_small, table_entry | 1 << 4, "reserved bits in a table's entry");
	} else {
		expect_finding(&p, table_of_small, table_entry & ~4ull, "a supervisor entry");
		expect_finding(&p, table_of_small, table_entry | 1ull << 63, "NX above the leaves");
	}
	assert_sound(p.sim);
}

/* The bit of an entry that decides what the decoder says of one of its fields. */
static uint64_t bit_behind(const struct sim *sim, unsigned level, uint64_t entry, size_t field)
{
	struct vmmu_decoder decoder = {.mode = sim->config.mode, .levels = 4, .cpu = sim->config.cpu};
	struct vmmu_entry_info before, after;

	vmmu_entry_decode(&decoder, level, entry, &before);
	for (unsigned bit = 0; bit < 64; bit++) {
		vmmu_entry_decode(&decoder, level, entry ^ 1ull << bit, &after);
		if (after.kind == before.kind &&
		    *((bool *)&before + field) != *((bool *)&after + field))
			return 1ull << bit;
	}
	fail_msg("no bit decides it");
	return 0;
}

static void finds_contradicting_software_bits(void **state)
{
	struct planted p = plant_bed(state);
	uint64_t leaf = leaf_of(&p.large);
	uint64_t host = bit_behind(p.sim, 2, leaf, offsetof(struct vmmu_entry_info, host_writable));
	uint64_t map = bit_behind(p.sim, 2, leaf, offsetof(struct vmmu_entry_info, map_writable));

	assert_int_equal(leaf & (host | map), host | map);
	expect_finding(&p, leaf_hpa(&p.large), leaf & ~map, "writable, but not to become so");
	expect_finding(&p, leaf_hpa(&p.large), leaf & ~host, "writable against the host");
	assert_sound(p.sim);
}

/* Entries that were right a moment ago, put back after a call that removed them. */
static void finds_what_should_have_gone(void **state)
{
	struct planted p = plant_bed(state);
	uint64_t hpa = leaf_hpa(&p.large), leaf = leaf_of(&p.large);
	struct vmmu_path path;

	assert_int_equal(sim_invalidate_begin(p.sim, 4 * M, 2 * M), VMMU_OK);
	expect_finding(&p, hpa, leaf, "a leaf in a range under invalidation");
	sim_invalidate_end(p.sim, 4 * M, 2 * M);
	assert_int_equal(sim_restrict(p.sim, 4 * M, 2 * M, VMMU_LEVEL_4K), VMMU_OK);
	expect_finding(&p, hpa, leaf, "a leaf above its range's cap");
	/* An MMIO entry of the present generation, where there is memory, and above level 1. */
	sim_access(p.sim, 0, 1 * G, VMMU_R);
	vmmu_path_of(p.sim->vm, vmmu_gpa_of(1 * G), &path);
	assert_int_equal(path.step[path.steps - 1].info.kind, VMMU_ENTRY_MMIO);
	expect_finding(&p, leaf_hpa(&p.small) + 8, path.step[path.steps - 1].entry,
	               "MMIO inside a slot");
	expect_finding(&p, hpa, path.step[path.steps - 1].entry, "MMIO above the lowest level");
	assert_sound(p.sim);
}

/* The CPU reports the entry; the engine says so and touches nothing. */
static void damage_met_by_the_cpu_is_reported(void **state)
{
	bool ept = mode_of(state) == VMMU_MODE_EPT;
	struct planted p = plant_bed(state);
	uint64_t hpas[] = {leaf_hpa(&p.large), leaf_hpa(&p.small),
	                   p.small.step[p.small.steps - 2].entry_hpa};
	uint64_t gpas[] = {5 * M, 33 * M, 33 * M};

	for (unsigned i = 0; i < 3; i++) {
		uint64_t was, now, writes = p.sim->writes;
		struct vmmu_fault fault = ept
		                                  ? vmmu_fault_from_ept_misconfig(vmmu_gpa_of(gpas[i]), 0)
		                                  : vmmu_fault_from_npf(0x10000000d, vmmu_gpa_of(gpas[i]), 0);

		sim_memory_load(&p.sim->memory, hpas[i], &was);
		sim_memory_store(&p.sim->memory, hpas[i], was | 1ull << 48);
		assert_int_equal(vmmu_fault(p.sim->vcpu[0].engine, &fault), VMMU_FAULT_BAD_ENTRY);
		assert_int_equal(p.sim->writes, writes);
		assert_int_equal(fault.entry, was | 1ull << 48);
		sim_memory_load(&p.sim->memory, hpas[i], &now);
		assert_int_equal(now, was | 1ull << 48);
		sim_memory_store(&p.sim->memory, hpas[i], was);
	}
	assert_sound(p.sim);
}

/* The same when no present bit was reported: a fault never builds over damage. */
static void damage_in_the_way_of_a_fault_is_reported(void **state)
{
	struct planted p = plant_bed(state);
	uint64_t hpa = p.small.step[p.small.steps - 2].entry_hpa + 8, was; /* of 34 MiB */
	struct vmmu_fault fault = {.gpa = vmmu_gpa_of(35 * M), .access = VMMU_W};

	sim_memory_load(&p.sim->memory, hpa, &was);
	sim_memory_store(&p.sim->memory, hpa, 0xff0);
	assert_int_equal(vmmu_fault(p.sim->vcpu[0].engine, &fault), VMMU_FAULT_BAD_ENTRY);
	sim_memory_store(&p.sim->memory, hpa, was);
	assert_sound(p.sim);
}

static void a_path_is_what_the_cpu_walks(void **state)
{
	struct planted p = plant_bed(state);
	static const uint64_t gpas[] = {5 * M, 33 * M + 123, 129 * M, 33 * M + K, 1 * G, 600 * G};

	sim_access(p.sim, 0, 1 * G, VMMU_R); /* an MMIO entry */
	for (unsigned i = 0; i < sizeof(gpas) / sizeof(gpas[0]); i++) {
		struct vmmu_path path;
		struct sim_walk walk;

		vmmu_path_of(p.sim->vm, vmmu_gpa_of(gpas[i]), &path);
		sim_look(p.sim, gpas[i], 0, &walk);
		assert_int_equal(path.steps, walk.steps);
		for (unsigned s = 0; s < path.steps; s++) {
			assert_int_equal(path.step[s].level, walk.step[s].level);
			assert_int_equal(path.step[s].table.v + 8 * path.step[s].index, walk.step[s].entry_hpa);
			assert_int_equal(path.step[s].entry, walk.step[s].entry);
		}
		enum vmmu_entry_kind kind = path.step[path.steps - 1].info.kind;

		assert_int_equal(kind == VMMU_ENTRY_LEAF, walk.end == SIM_WALK_MAPPED);
		assert_int_equal(kind == VMMU_ENTRY_EMPTY, walk.end == SIM_WALK_ABSENT);
		assert_int_equal(kind == VMMU_ENTRY_MMIO, walk.end == SIM_WALK_BAD);
	}
	struct vmmu_path none;

	vmmu_path_of(p.sim->vm, vmmu_gpa_of(1ull << 52), &none);
	assert_int_equal(none.steps, 0);
	assert_sound(p.sim);
}

static void names_are_never_null(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 64; i++) {
		assert_non_null(vmmu_status_name((enum vmmu_status)i));
		assert_non_null(vmmu_fault_result_name((enum vmmu_fault_result)i));
		assert_non_null(vmmu_cause_name(i));
		assert_non_null(vmmu_trace_event_name(i));
	}
	assert_string_equal(vmmu_cause_name(VMMU_CAUSE_VIOLATION), "violation");
	assert_string_equal(vmmu_trace_event_name(VMMU_TRACE_PAGE_FAULT), "kvm_page_fault");
	for (unsigned i = 1; i < VMMU_STATUS_COUNT; i++)
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(vmmu_status_name((enum vmmu_status)i),
			                        vmmu_status_name((enum vmmu_status)j));
}

static void decoding_for_an_impossible_cpu_is_bad(void **state)
{
	struct vmmu_decoder decoder = {.mode = mode_of(state), .levels = 4, .cpu = sim_cpu_full()};
	struct vmmu_entry_info info;

	vmmu_entry_decode(&decoder, 1, 0, &info);
	assert_int_equal(info.kind, VMMU_ENTRY_EMPTY);
	vmmu_entry_decode(&decoder, 0, 0x1037, &info);
	assert_int_equal(info.kind, VMMU_ENTRY_BAD);
	vmmu_entry_decode(&decoder, 6, 0x1037, &info);
	assert_int_equal(info.kind, VMMU_ENTRY_BAD);
	decoder.cpu.maxphyaddr = 60;
	vmmu_entry_decode(&decoder, 1, 0x1037, &info);
	assert_int_equal(info.kind, VMMU_ENTRY_BAD);
	decoder.mode = (enum vmmu_mode)9;
	vmmu_entry_decode(&decoder, 1, 0x1037, &info);
	assert_int_equal(info.kind, VMMU_ENTRY_BAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(finds_planted_damage),
		BOTH(finds_contradicting_software_bits),
		BOTH(finds_what_should_have_gone),
		BOTH(damage_met_by_the_cpu_is_reported),
		BOTH(damage_in_the_way_of_a_fault_is_reported),
		BOTH(a_path_is_what_the_cpu_walks),
		cmocka_unit_test(names_are_never_null),
		BOTH(decoding_for_an_impossible_cpu_is_bad),
	};

	return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
