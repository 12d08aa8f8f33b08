/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Promise 5 for nested maps: what vCPUs do in L2 and in L1 to L1's tables, and what the host
 * does meanwhile, over all schedules. Each access is judged by L1's tables and the slots
 * (sim/nested_machine.h), at each write of an entry CPUs look around and remember what they
 * find, and at the end the audit and the replay of the trace must agree.
 */
#include "cases.h"
#include "nested_machine.h"

#define K 4096ull
#define GIB (1ull << 30)

/* Frames of L1's. Slot 1 has the last ones. */
enum { NESTED_ROOT = 16,
       NESTED_LEVEL_3,
       NESTED_LEVEL_2,
       NESTED_LEAF, /* maps L2's pages 0 to 7 to DATA and following, and page 9 is itself */
       NESTED_OTHER_ROOT,
       NESTED_OTHER_3,
       NESTED_OTHER_LEAF,
       NESTED_L2_TABLES, /* four, of L2's own: in its eyes L1's addresses */
       NESTED_DATA = 32,
       NESTED_SLOT_1 = 48,
       NESTED_RAM = 1024,
       NESTED_BLOCK = 512,
       NESTED_MANY = 128 /* leaf tables, for want of room */ };
enum { ALIAS = 9, /* L2's page that is the leaf table */
       SLOT_1_PAGE = 8 /* of slot 1 */ };

struct nested_scenario {
	const char *name;
	unsigned vcpus;
	uint32_t max_tables;
	/* Alone, before the actors begin, and when all are done. May be NULL. */
	void (*before)(struct sim_nm *nm);
	explore_actor actor[EXPLORE_ACTORS];
	void (*after)(struct sim_nm *nm);
};

/* ---- L1's tables ---------------------------------------------------------------------- */

static bool is_ept(const struct sim_nm *nm)
{
	return nm->config.mode == VMMU_MODE_EPT;
}

static uint64_t rwx(const struct sim_nm *nm)
{
	return is_ept(nm) ? 7 : 7 | 0x20;
}

static uint64_t table_of(const struct sim_nm *nm, unsigned frame)
{
	return frame * K | rwx(nm);
}

static uint64_t page_of(const struct sim_nm *nm, unsigned frame)
{
	return frame * K | rwx(nm) | (is_ept(nm) ? VMMU_MEMTYPE_WB << 3 : 0);
}

/* A and D are set already: the hardware has nothing to tell the engine. */
static uint64_t used(const struct sim_nm *nm, uint64_t entry)
{
	return entry | (is_ept(nm) ? 0x300 : 0x60);
}

static void host_sets(struct sim_nm *nm, unsigned vcpu, unsigned table, unsigned index, uint64_t entry)
{
	sim_nm_by(nm, vcpu);
	sim_nm_host_write(nm, table * K + index * 8, 8, entry);
}

static void run_l2(struct sim_nm *nm, unsigned vcpu, unsigned root, bool flags)
{
	struct vmmu_nested n = {.cpu = sim_nm_cpu_of(&nm->config), .root = root * K, .cr4 = 0x20, .efer = 3u << 10};

	if (is_ept(nm))
		n.root |= VMMU_MEMTYPE_WB | 3u << 3 | (flags ? 1u << 6 : 0);
	sim_nm_by(nm, vcpu);
	/* Another vCPU's flush comes first. */
	while (sim_nm_enter(nm, &n) == VMMU_ERR_BUSY)
		sim_nm_by(nm, vcpu);
}

static void run_l1(struct sim_nm *nm, unsigned vcpu)
{
	sim_nm_by(nm, vcpu);
	sim_nm_enter(nm, NULL);
}

/* An access of whichever of L1 and L2 runs there. */
static void at(struct sim_nm *nm, unsigned vcpu, uint64_t gpa, unsigned access)
{
	sim_nm_by(nm, vcpu);
	sim_nm_access(nm, gpa, access, 0x1000 * (vcpu + 1));
}

/* L1 leaves L2, writes an entry as its CPU does, and enters L2 again. */
static void l1_sets(struct sim_nm *nm, unsigned vcpu, unsigned table, unsigned index, uint64_t entry)
{
	run_l1(nm, vcpu);
	sim_nm_by(nm, vcpu);
	sim_nm_access(nm, table * K + index * 8, VMMU_W, entry);
	run_l2(nm, vcpu, NESTED_ROOT, true);
}

static void nested_begin(struct sim_nm *nm)
{
	sim_nm_slot_create(nm, 0, 0, NESTED_SLOT_1, 0);
	sim_nm_slot_create(nm, 1, NESTED_SLOT_1, 16, 0);
	sim_nm_slot_create(nm, 2, 64, NESTED_RAM - 64, 0);
	host_sets(nm, 0, NESTED_ROOT, 0, table_of(nm, NESTED_LEVEL_3));
	host_sets(nm, 0, NESTED_LEVEL_3, 0, table_of(nm, NESTED_LEVEL_2));
	host_sets(nm, 0, NESTED_LEVEL_2, 0, table_of(nm, NESTED_LEAF));
	host_sets(nm, 0, NESTED_OTHER_ROOT, 0, table_of(nm, NESTED_OTHER_3));
	host_sets(nm, 0, NESTED_OTHER_3, 0, table_of(nm, NESTED_LEVEL_2));
	for (unsigned i = 0; i < 8; i++) {
		host_sets(nm, 0, NESTED_LEAF, i, page_of(nm, NESTED_DATA + i));
		host_sets(nm, 0, NESTED_OTHER_LEAF, i, page_of(nm, NESTED_DATA + 8 + i));
	}
	host_sets(nm, 0, NESTED_LEAF, ALIAS, page_of(nm, NESTED_LEAF));
	host_sets(nm, 0, NESTED_LEAF, SLOT_1_PAGE, page_of(nm, NESTED_SLOT_1));
	for (unsigned n = 0; n < nm->vcpus; n++)
		run_l2(nm, n, NESTED_ROOT, true);
}

/* ---- what happens ------------------------------------------------------------------------ */

static void nested_used(struct sim_nm *nm)
{
	for (unsigned n = 0; n < nm->vcpus; n++) {
		at(nm, n, 0, VMMU_R);
		at(nm, n, K, VMMU_W);
	}
}

static void nested_use_all(struct sim_nm *nm)
{
	for (unsigned n = 0; n < nm->vcpus; n++) {
		run_l2(nm, n, NESTED_ROOT, true);
		for (unsigned i = 0; i < 10; i++)
			at(nm, n, i * K, i % 2 ? VMMU_R : VMMU_W);
	}
}

static void l2_of_0(void *nm)
{
	at(nm, 0, 0, VMMU_R);
	at(nm, 0, K, VMMU_W);
	at(nm, 0, 0, VMMU_W);
}

static void l2_of_1(void *nm)
{
	at(nm, 1, 0, VMMU_W);
	at(nm, 1, K, VMMU_X);
}

static void l2_of_2(void *nm)
{
	at(nm, 2, 0, VMMU_X);
	at(nm, 2, 2 * K, VMMU_W);
}

static void l1_remaps_by_1(void *arg)
{
	struct sim_nm *nm = arg;

	l1_sets(nm, 1, NESTED_LEAF, 0, used(nm, page_of(nm, NESTED_DATA + 6)));
	at(nm, 1, 0, VMMU_W);
}

static void l1_unmaps_and_maps_by_1(void *arg)
{
	struct sim_nm *nm = arg;

	l1_sets(nm, 1, NESTED_LEAF, 0, 0);
	at(nm, 1, 0, VMMU_R);
	l1_sets(nm, 1, NESTED_LEAF, 0, page_of(nm, NESTED_DATA + 5));
	at(nm, 1, 0, VMMU_W);
}

static void l1_protects_by_1(void *arg)
{
	struct sim_nm *nm = arg;

	l1_sets(nm, 1, NESTED_LEAF, 1, used(nm, page_of(nm, NESTED_DATA + 1)) & ~2ull);
	at(nm, 1, K, VMMU_W);
}

/* A round of L1's own log: flags cleared in its tables. */
static void l1_cleans_by_1(void *arg)
{
	struct sim_nm *nm = arg;

	l1_sets(nm, 1, NESTED_LEAF, 0, page_of(nm, NESTED_DATA));
	l1_sets(nm, 1, NESTED_LEAF, 1, page_of(nm, NESTED_DATA + 1));
	at(nm, 1, K, VMMU_W);
}

static void l1_changes_the_table_by_1(void *arg)
{
	struct sim_nm *nm = arg;

	l1_sets(nm, 1, NESTED_LEVEL_2, 0, table_of(nm, NESTED_OTHER_LEAF));
	at(nm, 1, 0, VMMU_W);
}

static void l1_makes_it_large_by_1(void *arg)
{
	struct sim_nm *nm = arg;

	l1_sets(nm, 1, NESTED_LEVEL_2, 0, page_of(nm, NESTED_BLOCK) | 0x80);
	at(nm, 1, 0, VMMU_W);
	l1_sets(nm, 1, NESTED_LEVEL_2, 0, table_of(nm, NESTED_LEAF));
	at(nm, 1, K, VMMU_R);
}

static void l1_makes_it_data_by_1(void *arg)
{
	struct sim_nm *nm = arg;

	l1_sets(nm, 1, NESTED_LEVEL_2, 0, 0);
	run_l1(nm, 1);
	for (unsigned i = 0; i < 4; i++)
		at(nm, 1, NESTED_LEAF * K + i * 8, VMMU_W);
}

/* L2 itself has L1's table among its pages. */
static void l2_writes_the_table_by_1(void *arg)
{
	struct sim_nm *nm = arg;

	sim_nm_by(nm, 1);
	sim_nm_access(nm, ALIAS * K, VMMU_W, page_of(nm, NESTED_DATA + 4));
	at(nm, 1, 0, VMMU_W);
}

static void device_writes_by_1(void *arg)
{
	struct sim_nm *nm = arg;

	host_sets(nm, 1, NESTED_LEAF, 0, page_of(nm, NESTED_DATA + 3));
	host_sets(nm, 1, NESTED_LEAF, 1, 0);
	at(nm, 1, 0, VMMU_W);
}

static void l2_writes_by_0(void *nm)
{
	at(nm, 0, 0, VMMU_W);
}

/* L1's table is written for it, it executes INVEPT, and enters L2: none of the old may be left. */
static void write_and_invept_by_1(void *arg)
{
	struct sim_nm *nm = arg;

	host_sets(nm, 1, NESTED_LEAF, 0, page_of(nm, NESTED_DATA + 3));
	run_l1(nm, 1);
	run_l2(nm, 1, NESTED_ROOT, true);
}

static void other_root_by_0(void *arg)
{
	struct sim_nm *nm = arg;

	run_l2(nm, 0, NESTED_OTHER_ROOT, true);
	at(nm, 0, 0, VMMU_W);
	run_l2(nm, 0, NESTED_ROOT, true);
	at(nm, 0, 0, VMMU_R);
}

/* The same tables without flags, where these count for nothing. */
static void without_flags_by_0(void *arg)
{
	struct sim_nm *nm = arg;

	run_l2(nm, 0, NESTED_ROOT, false);
	at(nm, 0, 0, VMMU_W);
	at(nm, 0, K, VMMU_R);
	run_l2(nm, 0, NESTED_ROOT, true);
	at(nm, 0, 0, VMMU_W);
}

static void l1_runs_by_0(void *arg)
{
	struct sim_nm *nm = arg;

	run_l1(nm, 0);
	at(nm, 0, NESTED_DATA * K, VMMU_W);
	at(nm, 0, NESTED_LEAF * K, VMMU_R);
	run_l2(nm, 0, NESTED_ROOT, true);
	at(nm, 0, 0, VMMU_R);
}

static void release_by_1(void *arg)
{
	struct sim_nm *nm = arg;

	sim_nm_by(nm, 1);
	vmmu_guest_release(nm->cpu[1].vcpu, vmmu_gpa_of(NESTED_LEAF * K));
	at(nm, 1, 0, VMMU_W);
}

/* ---- the host ------------------------------------------------------------------------------- */

static void nested_migrate(void *nm)
{
	sim_nm_migrate(nm);
}

/* Tables of L2's without a flag set, and the page that they lead to. */
static void nested_with_tables_of_l2(struct sim_nm *nm)
{
	for (unsigned i = 0; i < 4; i++)
		host_sets(nm, 0, NESTED_L2_TABLES + i, 0, (i < 3 ? NESTED_L2_TABLES + i + 1 : NESTED_DATA) * K | 7);
	run_l1(nm, 0);
}

/* For whoever emulates an instruction of L2: no second dimension stands between its look at an entry and its mark. */
static void walk_by_0(void *arg)
{
	static const struct vmmu_paging r = {
		.cr0 = 1u << 31 | 1u << 16, .cr3 = NESTED_L2_TABLES * K, .cr4 = 0x20, .efer = 1u << 10, .cpu = {.maxphyaddr = 40}};
	enum vmmu_nested_result result;
	struct vmmu_nested_walk out;
	struct vmmu_guest_mode l2;
	struct sim_nm *nm = arg;

	vmmu_guest_mode_init(&l2, &r);
	sim_nm_by(nm, 0);
	result = vmmu_nested_walk(nm->cpu[0].vcpu, &l2, vmmu_gva_of(0), VMMU_W, &out);
	if (result != VMMU_NESTED_BUSY && (result != VMMU_NESTED_OK || out.l1_gpa.v != NESTED_DATA * K))
		sim_nm_fail(nm, "a walk ends with %d at %#lx", (int)result, out.l1_gpa.v);
}

static void nested_logged(struct sim_nm *nm)
{
	nested_used(nm);
	sim_nm_slot_flags(nm, 0, VMMU_SLOT_LOG_DIRTY);
}

static void nested_fetch_logs(void *arg)
{
	struct sim_nm *nm = arg;

	sim_nm_log(nm, 0);
	sim_nm_log(nm, 0);
}

static void nested_last_log(struct sim_nm *nm)
{
	nested_use_all(nm);
	sim_nm_log(nm, 0);
}

static void use_slot_1_by_1(void *arg)
{
	struct sim_nm *nm = arg;

	at(nm, 1, SLOT_1_PAGE * K, VMMU_W);
	at(nm, 1, 0, VMMU_R);
	at(nm, 1, SLOT_1_PAGE * K, VMMU_R);
}

static void nested_delete_slot_1(void *nm)
{
	sim_nm_slot_delete(nm, 1);
}

/* ---- want of room ------------------------------------------------------------------------------ */

static void nested_many_tables(struct sim_nm *nm)
{
	for (unsigned i = 0; i < NESTED_MANY; i++) {
		host_sets(nm, 0, 256 + i, 0, page_of(nm, NESTED_DATA + i % 8));
		host_sets(nm, 0, NESTED_LEVEL_2, 1 + i, table_of(nm, 256 + i));
	}
	for (unsigned n = 0; n < nm->vcpus; n++)
		run_l2(nm, n, NESTED_ROOT, true);
	for (unsigned i = 0; i < NESTED_MANY / 2; i++)
		at(nm, i % 2, (1 + i) * 512 * K, VMMU_W);
}

static void more_tables_by_0(void *arg)
{
	for (unsigned i = 0; i < 2; i++)
		at(arg, 0, (NESTED_MANY / 2 + 1 + i) * 512 * K, VMMU_W);
}

static void more_tables_by_1(void *arg)
{
	for (unsigned i = 0; i < 2; i++)
		at(arg, 1, (NESTED_MANY - i) * 512 * K, VMMU_R);
}

/* ---- the list -------------------------------------------------------------------------------------- */

static const struct nested_scenario scenarios_of_nested[] = {
	{"nested-same-table-missing", 3, 0, NULL, {l2_of_0, l2_of_1, l2_of_2}, nested_use_all},
	{"nested-remap", 2, 0, nested_used, {l2_of_0, l1_remaps_by_1}, nested_use_all},
	{"nested-first-use-and-remap", 2, 0, NULL, {l2_of_0, l1_remaps_by_1}, nested_use_all},
	{"nested-unmap-and-map", 2, 0, nested_used, {l2_of_0, l1_unmaps_and_maps_by_1}, nested_use_all},
	{"nested-write-protect", 3, 0, nested_used, {l2_of_0, l1_protects_by_1, l2_of_2}, nested_use_all},
	{"nested-flags-cleared", 2, 0, nested_used, {l2_of_0, l1_cleans_by_1}, nested_use_all},
	{"nested-other-table", 2, 0, nested_used, {l2_of_0, l1_changes_the_table_by_1}, nested_use_all},
	{"nested-large-page", 2, 0, nested_used, {l2_of_0, l1_makes_it_large_by_1}, nested_use_all},
	{"nested-table-becomes-data", 2, 0, nested_used, {l2_of_0, l1_makes_it_data_by_1}, NULL},
	{"nested-l2-writes-table", 2, 0, nested_used, {l2_of_0, l2_writes_the_table_by_1}, nested_use_all},
	{"nested-device-writes", 2, 0, nested_used, {l2_of_0, device_writes_by_1}, nested_use_all},
	{"nested-invept", 2, 0, nested_used, {l2_writes_by_0, write_and_invept_by_1}, nested_use_all},
	{"nested-two-roots", 2, 0, nested_used, {other_root_by_0, l1_remaps_by_1}, nested_use_all},
	{"nested-without-flags", 2, 0, nested_used, {without_flags_by_0, l1_cleans_by_1}, nested_use_all},
	{"nested-l1-beside", 2, 0, nested_used, {l1_runs_by_0, l2_of_1}, nested_use_all},
	{"nested-release", 2, 0, nested_used, {l2_of_0, release_by_1}, nested_use_all},
	{"nested-host-takes-frames", 2, 0, nested_used, {l2_of_0, l1_remaps_by_1, nested_migrate}, nested_use_all},
	{"nested-first-use-and-host", 2, 0, NULL, {l2_of_0, l2_of_1, nested_migrate}, nested_use_all},
	{"nested-walk-and-host", 1, 0, nested_with_tables_of_l2, {walk_by_0, nested_migrate}, nested_use_all},
	{"nested-log", 2, 0, nested_logged, {l2_of_0, l1_remaps_by_1, nested_fetch_logs}, nested_last_log},
	{"nested-slot-deleted", 2, 0, nested_used, {l2_of_0, use_slot_1_by_1, nested_delete_slot_1}, NULL},
	{"nested-reclaim", 2, 64, nested_many_tables, {more_tables_by_0, more_tables_by_1}, nested_use_all},
};

/* ---- as cases for the explorer ----------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum vmmu_mode mode;
} nested_modes[] = {{"nested-ept", VMMU_MODE_EPT}, {"nested-npt", VMMU_MODE_NPT}};

enum { NESTED_MODES = sizeof(nested_modes) / sizeof(nested_modes[0]) };

struct nested_run {
	const struct nested_scenario *scenario;
	enum vmmu_mode mode;
};

static bool nested_is_stuck;
static const struct nested_scenario *nested_running;

static void *nested_world(const void *arg)
{
	const struct nested_run *run = arg;
	struct sim_nm_config config = {
		.seed = 1,
		.mode = run->mode,
		.ram_pages = NESTED_RAM,
		.vcpus = run->scenario->vcpus,
		.memtype = VMMU_MEMTYPE_WB,
		.max_shadow_tables = run->scenario->max_tables,
		.look_percent = 30,
		.pause = explore_point,
		.wait = explore_wait,
	};
	struct sim_nm *nm;

	nested_is_stuck = false;
	nested_running = run->scenario;
	nm = sim_nm_new(&config);
	nested_begin(nm);
	if (run->scenario->before)
		run->scenario->before(nm);
	return nm;
}

static bool nested_world_ends(void *world)
{
	struct sim_nm *nm = world;

	/* Its actors rest in the midst of calls: there is no way to take it apart. */
	if (nested_is_stuck)
		return false;
	if (nested_running->after && !nm->failed)
		nested_running->after(nm);
	return sim_nm_end(nm);
}

static void nested_stuck(void *world)
{
	nested_is_stuck = true;
	sim_nm_fail(world, "no actor gets any further");
}

bool nested_case(unsigned n, struct schedule_case *out)
{
	static struct nested_run run; /* one case at a time */

	if (n / NESTED_MODES >= sizeof(scenarios_of_nested) / sizeof(scenarios_of_nested[0]))
		return false;
	run = (struct nested_run){&scenarios_of_nested[n / NESTED_MODES], nested_modes[n % NESTED_MODES].mode};
	*out = (struct schedule_case){
		.scenario = run.scenario->name,
		.mode = nested_modes[n % NESTED_MODES].name,
		.kind = SCHEDULE_NESTED,
		.job = {.begin = nested_world, .end = nested_world_ends, .stuck = nested_stuck, .arg = &run},
	};
	while (out->job.actors < EXPLORE_ACTORS && run.scenario->actor[out->job.actors]) {
		out->job.actor[out->job.actors] = run.scenario->actor[out->job.actors];
		out->job.actors++;
	}
	return true;
}
