/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmmu_translate: where a gpa leads now, by the short way and the long one, with the test
 * hook and without.
 */
#include "case.h"

MODES;

static struct sim *machine(void **state, bool unhooked)
{
	struct sim_config config = sim_config_default(mode_of(state));

	config.vcpus = 2;
	config.unhooked = config.untraced = unhooked;
	config.cpu.page_1g = true;
	return sim_start(&config);
}

static struct vmmu_translation said;

static enum vmmu_entry_kind ask(struct sim *sim, unsigned vcpu, uint64_t gpa)
{
	said = (struct vmmu_translation){.entry = 1, .pfn = {2}, .level = 3, .rights = 4};
	return vmmu_translate(sim->vcpu[vcpu].engine, vmmu_gpa_of(gpa), &said);
}

static void assert_page(struct sim *sim, unsigned vcpu, uint64_t gpa, unsigned level, unsigned rights)
{
	struct sim_walk walk;

	sim_look(sim, gpa, 0, &walk);
	assert_int_equal(walk.end, SIM_WALK_MAPPED);
	assert_int_equal(ask(sim, vcpu, gpa), VMMU_ENTRY_LEAF);
	assert_int_equal(said.pfn.v, walk.pfn);
	assert_int_equal(said.level, level);
	assert_int_equal(said.rights, rights);
}

static void assert_none(struct sim *sim, unsigned vcpu, uint64_t gpa, enum vmmu_entry_kind kind, unsigned level)
{
	assert_int_equal(ask(sim, vcpu, gpa), kind);
	assert_int_equal(said.pfn.v, 0);
	assert_int_equal(said.rights, 0);
	assert_int_equal(said.level, level);
	assert_int_equal(!said.entry, kind == VMMU_ENTRY_EMPTY);
}

static void pages_of_all_sizes(void **state, bool unhooked)
{
	struct sim *sim = machine(state, unhooked);

	sim_slot_create(sim, 0, 0, 2 * M, 0, on_demand(sim, 0, 0));
	sim_slot_create(sim, 1, 4 * M, 2 * M, 0, contiguous(sim, 4 * M, 9));
	sim_slot_create(sim, 2, 1 * G, 1 * G, 0, contiguous(sim, 1 * G, 18));
	assert_none(sim, 0, 3 * K, VMMU_ENTRY_EMPTY, sim->vcpu[0].start.level);
	sim_access(sim, 0, 3 * K, VMMU_W);
	sim_access(sim, 0, 4 * M + 5 * K, VMMU_R);
	sim_access(sim, 0, 1 * G + 77 * M, VMMU_R);
	for (unsigned again = 0; again < 2; again++)
		for (unsigned vcpu = 0; vcpu < 2; vcpu++) {
			assert_page(sim, vcpu, 3 * K, VMMU_LEVEL_4K, VMMU_RWX);
			assert_page(sim, vcpu, 4 * M + 9 * K, VMMU_LEVEL_2M, VMMU_RWX);
			assert_page(sim, vcpu, 1 * G + 900 * M, VMMU_LEVEL_1G, VMMU_RWX);
			assert_none(sim, vcpu, 4 * K, VMMU_ENTRY_EMPTY, VMMU_LEVEL_4K);
			assert_none(sim, vcpu, 2 * M, VMMU_ENTRY_EMPTY, VMMU_LEVEL_2M);
		}
	assert_sound(sim);
}

static void rights_as_they_are(void **state, bool unhooked)
{
	static const unsigned rights[] = {VMMU_R, VMMU_R | VMMU_W, VMMU_R | VMMU_X, VMMU_RWX};
	struct sim *sim = machine(state, unhooked);

	for (unsigned i = 0; i < 4; i++) {
		uint64_t base = i * 64 * K;

		sim_slot_create(sim, i, base, 64 * K, 0,
		                sim_backing_new(sim, base, &(struct sim_backing_config){.rights = (uint8_t)rights[i]}));
		sim_access(sim, 0, base, VMMU_R);
		assert_page(sim, 0, base, VMMU_LEVEL_4K, rights[i]);
	}
	sim_slot_set_flags(sim, 3, VMMU_SLOT_LOG_DIRTY);
	assert_page(sim, 0, 3 * 64 * K, VMMU_LEVEL_4K, VMMU_R | VMMU_X);
	assert_sound(sim);
}

static void no_page(void **state, bool unhooked)
{
	struct sim *sim = machine(state, unhooked);

	sim_access(sim, 0, 64 * M + K, VMMU_R);
	assert_none(sim, 0, 64 * M + K, VMMU_ENTRY_MMIO, VMMU_LEVEL_4K);
	assert_none(sim, 0, 1ull << 52, VMMU_ENTRY_EMPTY, 0);
	assert_none(sim, 1, ~0ull, VMMU_ENTRY_EMPTY, 0);
	assert_sound(sim);
}

/* Nothing of what a vCPU has met before is believed when it is gone. */
static void what_is_gone(void **state, bool unhooked)
{
	struct sim *sim = machine(state, unhooked);

	for (unsigned round = 0; round < 2; round++) {
		sim_slot_create(sim, 0, 0, 16 * M, 0, on_demand(sim, 0, 0));
		for (unsigned i = 0; i < 4; i++)
			sim_access(sim, 0, i * K, VMMU_W);
		assert_page(sim, 0, 2 * K, VMMU_LEVEL_4K, VMMU_RWX);
		sim_swap_out(sim, 2 * K, K);
		assert_none(sim, 0, 2 * K, VMMU_ENTRY_EMPTY, VMMU_LEVEL_4K);
		assert_page(sim, 0, 3 * K, VMMU_LEVEL_4K, VMMU_RWX);
		sim_slot_delete(sim, 0);
		assert_int_equal(ask(sim, 0, 3 * K), VMMU_ENTRY_EMPTY);
		assert_int_equal(ask(sim, 1, 3 * K), VMMU_ENTRY_EMPTY);
	}
	assert_sound(sim);
}

/* A page, also one whose way down is known, is only one where the CPU would take every entry. */
static void damage(void **state, bool unhooked)
{
	struct sim *sim = machine(state, unhooked);
	struct sim_walk walk;
	uint64_t was;

	sim_slot_create(sim, 0, 0, 16 * M, 0, on_demand(sim, 0, 0));
	sim_access(sim, 0, K, VMMU_W);
	sim_look(sim, K, 0, &walk);
	assert_int_equal(walk.steps, 4);
	for (unsigned i = 2; i < 4; i++) {
		assert_page(sim, 0, K, VMMU_LEVEL_4K, VMMU_RWX);
		sim_memory_load(&sim->memory, walk.step[i].entry_hpa, &was);
		sim_memory_store(&sim->memory, walk.step[i].entry_hpa, was | 1ull << 48);
		assert_none(sim, 0, K, VMMU_ENTRY_BAD, walk.step[i].level);
		sim_memory_store(&sim->memory, walk.step[i].entry_hpa, was);
	}
	assert_sound(sim);
}

#define HOOKED(name) \
	static void name##_hooked(void **state) { name(state, false); } \
	static void name##_unhooked(void **state) { name(state, true); }

HOOKED(pages_of_all_sizes)
HOOKED(rights_as_they_are)
HOOKED(no_page)
HOOKED(what_is_gone)
HOOKED(damage)

int main(void)
{
	const struct CMUnitTest tests[] = {
#define EACH(name) BOTH(name##_hooked), BOTH(name##_unhooked)
		EACH(pages_of_all_sizes),
		EACH(rights_as_they_are),
		EACH(no_page),
		EACH(what_is_gone),
		EACH(damage),
	};

	return cmocka_run_group_tests_name("lookup", tests, NULL, NULL);
}
