/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Promise 5 for shadow paging: what vCPUs do to tables that they share, and what
 * the host does meanwhile, over all schedules. Each access is judged by the
 * guest's tables (sim/guest_machine.h), at each write of an entry CPUs look
 * around, and at the end the audit and the replay of the trace must agree.
 */
#include "cases.h"
#include "guest.h"

struct shadow_scenario {
	const char *name;
	unsigned vcpus;
	uint32_t max_tables;
	/* Alone, before the actors begin, and when all are done. May be NULL. */
	void (*before)(struct sim_gm *gm);
	explore_actor actor[EXPLORE_ACTORS];
	void (*after)(struct sim_gm *gm);
};

/* ---- pages of one table -------------------------------------------------------------- */

static void all_used(struct sim_gm *gm)
{
	for (unsigned n = 0; n < gm->vcpus; n++) {
		guest_read(gm, n, guest_page(0));
		guest_write(gm, n, guest_page(1));
	}
}

/* Both vCPUs can write the leaf table, which nobody has used yet. */
static void tables_writable(struct sim_gm *gm)
{
	for (unsigned n = 0; n < gm->vcpus; n++)
		guest_set(gm, n, LEAF, 9, 0);
}

static void use_0(void *gm)
{
	guest_read(gm, 0, guest_page(0));
	guest_write(gm, 0, guest_page(1));
}

static void use_1(void *gm)
{
	guest_write(gm, 1, guest_page(0));
	guest_read(gm, 1, guest_page(1));
}

static void use_2(void *gm)
{
	guest_read(gm, 2, guest_page(0));
	guest_write(gm, 2, guest_page(2));
}

static void remap_by_1(void *gm)
{
	guest_set(gm, 1, LEAF, 0, guest_entry(DATA + 6));
	sim_gm_invlpg(gm, 1, guest_page(0));
	guest_write(gm, 1, guest_page(0));
}

static void unmap_and_map_by_1(void *gm)
{
	guest_set(gm, 1, LEAF, 0, 0);
	sim_gm_invlpg(gm, 1, guest_page(0));
	guest_read(gm, 1, guest_page(0)); /* #PF */
	guest_set(gm, 1, LEAF, 0, guest_entry(DATA + 5));
	guest_write(gm, 1, guest_page(0));
}

static void remap_other_by_0(void *gm)
{
	guest_set(gm, 0, LEAF, 1, guest_entry(DATA + 7));
	sim_gm_invlpg(gm, 0, guest_page(1));
	guest_read(gm, 0, guest_page(1));
}

static void write_many_by_1(void *gm)
{
	for (unsigned i = 2; i < 6; i++)
		guest_set(gm, 1, LEAF, i, guest_entry(DATA + 15 - i));
	sim_gm_invlpg(gm, 1, guest_page(2));
	guest_read(gm, 1, guest_page(2));
}

/* ---- rights, accessed and dirty bits ----------------------------------------------------- */

static void read_only_page(struct sim_gm *gm)
{
	guest_set(gm, 0, LEAF, 0, guest_entry_with(DATA, GUEST_WRITE));
	for (unsigned n = 0; n < gm->vcpus; n++)
		guest_read(gm, n, guest_page(0));
}

static void copy_on_write_by_1(void *gm)
{
	guest_user_write(gm, 1, guest_page(0)); /* #PF; what the handler does: */
	guest_set(gm, 1, LEAF, 0, guest_entry(DATA + 4));
	sim_gm_invlpg(gm, 1, guest_page(0));
	guest_user_write(gm, 1, guest_page(0));
}

static void write_protect_by_1(void *gm)
{
	guest_set(gm, 1, LEAF, 1, guest_entry_with(DATA + 1, GUEST_WRITE));
	sim_gm_invlpg(gm, 1, guest_page(1));
	guest_write(gm, 1, guest_page(1)); /* #PF */
}

static void kernel_ignores_protection(void *gm)
{
	guest_write_protect(gm, 1, false);
	guest_write(gm, 1, guest_page(0));
	guest_user_read(gm, 1, guest_page(0));
	guest_write_protect(gm, 1, true);
	guest_write(gm, 1, guest_page(0)); /* #PF */
}

static void users_of_0(void *gm)
{
	guest_user_read(gm, 0, guest_page(0));
	guest_user_write(gm, 0, guest_page(0)); /* #PF */
}

static void clean_page(struct sim_gm *gm)
{
	guest_set(gm, 0, LEAF, 0, guest_entry_with(DATA, GUEST_DIRTY));
	guest_set(gm, 0, LEAF, 1, guest_entry_with(DATA + 1, GUEST_DIRTY | GUEST_ACCESSED));
}

static void clean_again_by_1(void *gm)
{
	guest_set(gm, 1, LEAF, 0, guest_entry_with(DATA, GUEST_DIRTY | GUEST_ACCESSED));
	sim_gm_invlpg(gm, 1, guest_page(0));
	guest_read(gm, 1, guest_page(0));
	guest_write(gm, 1, guest_page(0));
}

static void read_then_write_0(void *gm)
{
	guest_read(gm, 0, guest_page(0));
	guest_write(gm, 0, guest_page(0));
	guest_read(gm, 0, guest_page(1));
}

/* ---- upper tables, roots -------------------------------------------------------------------- */

/* The table whose entry 0 names LEAF: with 32-bit paging it is the top one. */
static unsigned directory(void)
{
	return guest_mode->levels == 2 ? TOP : DIRECTORY;
}

static void other_leaf_by_1(void *gm)
{
	guest_set(gm, 1, directory(), 0, guest_entry(LEAF2));
	sim_gm_invlpg(gm, 1, guest_page(0));
	guest_write(gm, 1, guest_page(0));
}

/* The leaf table becomes data: taken out, then written all over. */
static void leaf_becomes_data(void *gm)
{
	guest_set(gm, 1, directory(), 0, 0);
	sim_gm_invlpg(gm, 1, guest_page(0));
	guest_set(gm, 1, LEAF, 0, 0x1234567);
	guest_set(gm, 1, LEAF, 1, 0x7654321);
	guest_set(gm, 1, directory(), 0, guest_entry(LEAF2));
	guest_read(gm, 1, guest_page(1));
}

static void switch_roots_0(void *gm)
{
	guest_switch(gm, 0, TOP2);
	guest_read(gm, 0, guest_page(0));
	guest_switch(gm, 0, TOP);
	guest_write(gm, 0, guest_page(1));
}

static void write_root_by_1(void *gm)
{
	uint64_t entry = 0;

	sim_gm_read(gm, TOP2 * 4096ull, guest_mode->entry_bytes, &entry);
	guest_set(gm, 1, TOP2, 0, 0);
	guest_set(gm, 1, TOP2, 0, entry);
	guest_set(gm, 1, TOP, 3, 0);
	guest_read(gm, 1, guest_page(0));
}

/* Four address spaces have come and gone before: the oldest may be let go of. */
static void many_roots(struct sim_gm *gm)
{
	for (unsigned i = 0; i < 9; i++)
		guest_switch(gm, 0, LEAF2 - i % 3 * 2);
	guest_switch(gm, 0, TOP);
	all_used(gm);
}

/* Two MiB, or four, in one entry, over frames that are not in step. */
static void large_page_by_1(void *gm)
{
	guest_set(gm, 1, directory(), 0, guest_entry_with(0, 0) | GUEST_LARGE);
	sim_gm_invlpg(gm, 1, guest_page(0));
	guest_read(gm, 1, guest_page(DATA));
	guest_write(gm, 1, guest_page(DATA + 1));
	guest_set(gm, 1, directory(), 0, guest_entry(LEAF));
	sim_gm_invlpg(gm, 1, guest_page(0));
	guest_write(gm, 1, guest_page(1));
}

static void no_paging_by_1(void *gm)
{
	struct sim_gm *machine = gm;
	struct vmmu_paging with = machine->vcpu[1].paging, p = with;

	p.cr0 = 1;
	p.efer = p.cr4 = 0;
	sim_gm_set_paging(gm, 1, &p);
	/* A store to the leaf table through the direct map, with no table of the guest's in between. */
	sim_gm_access(gm, 1, LEAF * 4096ull, &(struct sim_guest_access){.write = true},
	              guest_mode->entry_bytes, guest_entry(DATA + 3));
	sim_gm_set_paging(gm, 1, &with);
	guest_read(gm, 1, guest_page(0));
}

/* ---- fault handlers that write one entry --------------------------------------------------------- */

static void handle_fault(struct sim_gm *gm, unsigned vcpu, unsigned page)
{
	guest_write(gm, vcpu, guest_page(page)); /* #PF */
	guest_set(gm, vcpu, LEAF, page, guest_entry(DATA + page % 16));
	guest_write(gm, vcpu, guest_page(page));
}

/* Twice: the next write is awaited, and the leaf table stays held for it. */
static void handlers_known(struct sim_gm *gm)
{
	all_used(gm);
	handle_fault(gm, 0, 20);
	handle_fault(gm, 0, 21);
}

static void handler_by_0(void *gm)
{
	handle_fault(gm, 0, 22);
	guest_read(gm, 0, guest_page(0));
}

static void handler_by_1(void *gm)
{
	handle_fault(gm, 1, 23);
	guest_read(gm, 1, guest_page(22));
}

/* Not the word that was announced, and more than one. */
static void handler_of_many_by_1(void *gm)
{
	guest_read(gm, 1, guest_page(24)); /* #PF */
	guest_set(gm, 1, LEAF, 25, guest_entry(DATA + 1));
	guest_set(gm, 1, LEAF, 24, guest_entry(DATA + 2));
	guest_set(gm, 1, LEAF, 0, guest_entry(DATA + 3));
	guest_read(gm, 1, guest_page(24));
}

/* ---- the host -------------------------------------------------------------------------------- */

static void logged(struct sim_gm *gm)
{
	sim_gm_slot_flags(gm, 0, VMMU_SLOT_LOG_DIRTY);
	all_used(gm);
}

static void logged_handlers(struct sim_gm *gm)
{
	logged(gm);
	handlers_known(gm);
}

static void fetch_logs(void *gm)
{
	sim_gm_log(gm, 0);
	sim_gm_log(gm, 0);
}

static void log_on_and_off(void *gm)
{
	sim_gm_slot_flags(gm, 0, VMMU_SLOT_LOG_DIRTY);
	sim_gm_log(gm, 0);
	sim_gm_slot_flags(gm, 0, 0);
}

static void migrate(void *gm)
{
	sim_gm_migrate(gm);
}

/* The leaf table, and what stands above it. */
static void exchange_tables(void *gm)
{
	sim_gm_exchange(gm, LEAF, 0, guest_mode->entry_bytes, guest_entry(DATA + 4));
	sim_gm_exchange(gm, directory(), 0, guest_mode->entry_bytes, guest_entry(LEAF2));
}

static void read_only_and_back(void *gm)
{
	sim_gm_slot_flags(gm, 0, VMMU_SLOT_READONLY);
	sim_gm_slot_flags(gm, 0, 0);
}

/* Page 0 and a leaf table lie in the slot that is to go. */
static void slot_1_used(struct sim_gm *gm)
{
	guest_set(gm, 0, SLOT1 + 8, 0, guest_entry(DATA));
	guest_set(gm, 0, SLOT1 + 8, 1, guest_entry(SLOT1));
	guest_set(gm, 0, LEAF, 0, guest_entry(SLOT1));
	all_used(gm);
}

static void use_slot_1(void *gm)
{
	guest_set(gm, 1, directory(), 0, guest_entry(SLOT1 + 8));
	sim_gm_invlpg(gm, 1, guest_page(0));
	guest_read(gm, 1, guest_page(0));
	guest_write(gm, 1, guest_page(1));
}

static void delete_slot_1(void *gm)
{
	sim_gm_slot_delete(gm, 1);
}

static void move_slot_1(void *gm)
{
	sim_gm_slot_move(gm, 1, 5000);
	sim_gm_slot_move(gm, 1, SLOT1);
}

static void release_by_1(void *arg)
{
	struct sim_gm *gm = arg;

	vmmu_guest_release(gm->vcpu[1].engine, vmmu_gpa_of(LEAF * 4096ull));
	guest_set(gm, 1, LEAF, 0, guest_entry(DATA + 2));
	vmmu_guest_release(gm->vcpu[1].engine, vmmu_gpa_of(LEAF * 4096ull));
	guest_read(gm, 1, guest_page(0));
}

static void device_writes_by_1(void *gm)
{
	sim_gm_host_write(gm, 1, LEAF * 4096ull, guest_mode->entry_bytes, guest_entry(DATA + 3));
	guest_read(gm, 1, guest_page(0));
}

/* As many tables as there may be: the next ones must make room. */
static void tables_exhausted(struct sim_gm *gm)
{
	for (unsigned i = 2; i < 60; i++) {
		unsigned table = MORE + i;

		sim_gm_host_write(gm, 0, table * 4096ull, guest_mode->entry_bytes, guest_entry(DATA));
		sim_gm_host_write(gm, 0, directory() * 4096ull + i * guest_mode->entry_bytes,
		                  guest_mode->entry_bytes, guest_entry(table));
		guest_read(gm, 0, i * guest_mode->span);
	}
	all_used(gm);
}

static void more_tables_0(void *gm)
{
	guest_read(gm, 0, 3 * guest_mode->span);
	guest_read(gm, 0, 4 * guest_mode->span);
	guest_write(gm, 0, guest_page(1));
}

static void more_tables_1(void *gm)
{
	guest_set(gm, 1, LEAF, 0, guest_entry(DATA + 1));
	guest_read(gm, 1, 5 * guest_mode->span);
	sim_gm_invlpg(gm, 1, guest_page(0));
	guest_write(gm, 1, guest_page(0));
}

/* ---- afterwards --------------------------------------------------------------------------------- */

static void all_use_all(struct sim_gm *gm)
{
	for (unsigned n = 0; n < gm->vcpus; n++) {
		for (unsigned i = 0; i < 4; i++)
			guest_read(gm, n, guest_page(i));
		guest_write(gm, n, guest_page(0));
		guest_set(gm, n, LEAF, 0, guest_entry(DATA + n));
		guest_read(gm, n, guest_page(0));
	}
}

static void last_log(struct sim_gm *gm)
{
	sim_gm_log(gm, 0);
	all_use_all(gm);
}

/* ---- the list -------------------------------------------------------------------------------------- */

static const struct shadow_scenario scenarios[] = {
	{"same-table-missing", 3, 0, NULL, {use_0, use_1, use_2}, all_use_all},
	{"first-use-and-write", 2, 0, tables_writable, {use_0, remap_by_1}, all_use_all},
	{"first-use-by-two-and-write", 3, 0, tables_writable, {use_0, remap_by_1, use_2}, all_use_all},
	{"remap-and-use", 2, 0, all_used, {use_0, remap_by_1}, all_use_all},
	{"unmap-map-and-use", 2, 0, all_used, {use_0, unmap_and_map_by_1}, all_use_all},
	{"two-write-one-table", 2, 0, all_used, {remap_other_by_0, remap_by_1}, all_use_all},
	{"write-many-and-use", 3, 0, all_used, {use_0, write_many_by_1, use_2}, all_use_all},
	{"copy-on-write", 2, 0, read_only_page, {users_of_0, copy_on_write_by_1}, all_use_all},
	{"write-protect", 2, 0, all_used, {use_0, write_protect_by_1}, all_use_all},
	{"kernel-ignores-protection", 2, 0, read_only_page, {users_of_0, kernel_ignores_protection}, NULL},
	{"dirty-bit", 2, 0, clean_page, {read_then_write_0, use_1}, all_use_all},
	{"bits-cleared", 2, 0, all_used, {read_then_write_0, clean_again_by_1}, all_use_all},
	{"two-handlers", 2, 0, handlers_known, {handler_by_0, handler_by_1}, all_use_all},
	{"handler-and-use", 3, 0, handlers_known, {use_0, handler_by_1, use_2}, all_use_all},
	{"handler-of-many", 2, 0, handlers_known, {handler_by_0, handler_of_many_by_1}, all_use_all},
	{"handler-and-other-leaf-table", 2, 0, handlers_known, {handler_by_0, other_leaf_by_1}, all_use_all},
	{"handler-and-host", 2, 0, handlers_known, {handler_by_0, use_1, migrate}, all_use_all},
	{"handler-and-log", 2, 0, logged_handlers, {handler_by_0, use_1, fetch_logs}, last_log},
	{"other-leaf-table", 2, 0, all_used, {use_0, other_leaf_by_1}, all_use_all},
	{"table-becomes-data", 2, 0, all_used, {use_0, leaf_becomes_data}, all_use_all},
	{"large-page", 2, 0, all_used, {use_0, large_page_by_1}, all_use_all},
	{"switch-and-write-root", 2, 0, all_used, {switch_roots_0, write_root_by_1}, all_use_all},
	{"switch-among-many", 2, 0, many_roots, {switch_roots_0, remap_by_1}, all_use_all},
	{"write-without-paging", 2, 0, all_used, {use_0, no_paging_by_1}, all_use_all},
	{"host-takes-frames", 2, 0, all_used, {use_0, remap_by_1, migrate}, all_use_all},
	{"host-takes-tables", 2, 0, all_used, {use_0, remap_by_1, exchange_tables}, all_use_all},
	{"first-use-and-host", 2, 0, NULL, {use_0, use_1, migrate}, all_use_all},
	{"log", 2, 0, logged, {use_0, remap_by_1, fetch_logs}, last_log},
	{"log-on-off", 2, 0, all_used, {use_0, use_1, log_on_and_off}, all_use_all},
	{"read-only-and-back", 2, 0, all_used, {use_0, remap_by_1, read_only_and_back}, all_use_all},
	{"slot-deleted", 2, 0, slot_1_used, {use_0, use_slot_1, delete_slot_1}, NULL},
	{"slot-moved", 2, 0, slot_1_used, {use_0, use_slot_1, move_slot_1}, NULL},
	{"release-and-use", 2, 0, all_used, {use_0, release_by_1}, all_use_all},
	{"device-writes", 2, 0, all_used, {use_0, device_writes_by_1}, all_use_all},
	{"reclaim", 2, 64, tables_exhausted, {more_tables_0, more_tables_1}, all_use_all},
};

/* ---- as cases for the explorer ----------------------------------------------------------------------- */

struct shadow_run {
	const struct shadow_scenario *scenario;
	const struct guest_mode *mode;
};

static const struct shadow_run *running;
static bool is_stuck;

static void *begin(const void *arg)
{
	const struct shadow_run *run = arg;
	struct sim_gm_config config = {
		.seed = 1,
		.vcpus = run->scenario->vcpus,
		.ram_pages = 256,
		.table_frames = run->scenario->max_tables ? 128 : 64,
		.max_shadow_tables = run->scenario->max_tables,
		.la57 = run->mode->levels == 5,
		.look_percent = 30,
		.lateness = SIM_GM_CACHED_LATE,
		.pause = explore_point,
		.wait = explore_wait,
	};
	struct sim_gm *gm;

	running = run;
	is_stuck = false;
	guest_mode = run->mode;
	gm = sim_gm_new(&config);
	guest_begin(gm);
	if (run->scenario->before)
		run->scenario->before(gm);
	return gm;
}

static bool end(void *world)
{
	struct sim_gm *gm = world;

	/* Its actors rest in the midst of calls: there is no way to take it apart. */
	if (is_stuck)
		return false;
	if (running->scenario->after && !gm->failed)
		running->scenario->after(gm);
	return sim_gm_end(gm);
}

static void stuck(void *world)
{
	is_stuck = true;
	sim_gm_fail(world, "no actor gets any further");
}

bool shadow_case(unsigned n, struct schedule_case *out)
{
	static struct shadow_run run; /* one case at a time */

	if (n / guest_mode_count >= sizeof(scenarios) / sizeof(scenarios[0]))
		return false;
	run = (struct shadow_run){&scenarios[n / guest_mode_count], &guest_modes[n % guest_mode_count]};
	*out = (struct schedule_case){
		.scenario = run.scenario->name,
		.mode = run.mode->name,
		.kind = SCHEDULE_SHADOW,
		.job = {.begin = begin, .end = end, .stuck = stuck, .arg = &run},
	};
	while (out->job.actors < EXPLORE_ACTORS && run.scenario->actor[out->job.actors]) {
		out->job.actor[out->job.actors] = run.scenario->actor[out->job.actors];
		out->job.actors++;
	}
	return true;
}
