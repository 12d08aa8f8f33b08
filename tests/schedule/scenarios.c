/* SPDX-License-Identifier: BSD-2-Clause */
#include "scenarios.h"

#define K 0x1000ull
#define M 0x100000ull

/* One result of several that the moment may bring about; anything else is a finding. */
#define MAY(result) (1u << (result))

static void access(struct sim *sim, unsigned vcpu, uint64_t gpa, unsigned rights, unsigned may)
{
	enum vmmu_fault_result result = sim_access(sim, vcpu, gpa, rights);

	if (!(may & MAY(result)))
		sim_fail(sim, 0, "access %#x of vCPU %u to %#lx ends with %s", rights, vcpu, gpa,
		         result ? vmmu_fault_result_name(result) : "success");
}

static void write_to(struct sim *sim, unsigned vcpu, uint64_t gpa)
{
	access(sim, vcpu, gpa, VMMU_W, MAY(SIM_OK));
}

static void read_from(struct sim *sim, unsigned vcpu, uint64_t gpa)
{
	access(sim, vcpu, gpa, VMMU_R, MAY(SIM_OK));
}

static void must(struct sim *sim, enum vmmu_status status)
{
	if (status != VMMU_OK)
		sim_fail(sim, 0, "a management call ends with \"%s\"", vmmu_status_name(status));
}

static uint64_t backing(struct sim *sim, uint64_t base, struct sim_backing_config config)
{
	config.pages = config.pages ? config.pages : 16 * M / K;
	return sim_backing_new(sim, base, &config);
}

static void slot(struct sim *sim, uint64_t base, uint64_t bytes, uint32_t flags,
                 struct sim_backing_config config)
{
	must(sim, sim_slot_create(sim, 0, base, bytes, flags, backing(sim, base, config)));
}

static void small_pages(struct sim *sim)
{
	slot(sim, 0, 4 * M, 0, (struct sim_backing_config){.order = 0});
}

static void large_pages(struct sim *sim)
{
	slot(sim, 0, 4 * M, 0, (struct sim_backing_config){.order = 9});
}

/* ---- several vCPUs build -------------------------------------------------------- */

static void write_page_0(void *sim)
{
	write_to(sim, 0, 0);
}

static void read_page_0(void *sim)
{
	read_from(sim, 1, 0);
}

static void write_page_1(void *sim)
{
	write_to(sim, 1, K);
}

static void write_next_block(void *sim)
{
	write_to(sim, 2, 2 * M);
}

static void write_large_0(void *sim)
{
	write_to(sim, 0, 0);
	write_to(sim, 0, 2 * M);
}

static void execute_large_0(void *sim)
{
	access(sim, 1, 2 * M + K, VMMU_X, MAY(SIM_OK));
	read_from(sim, 1, K);
}

/* ---- slot deleted, moved --------------------------------------------------------- */

static void logged(struct sim *sim)
{
	slot(sim, 0, 4 * M, VMMU_SLOT_LOG_DIRTY, (struct sim_backing_config){.order = 0});
}

/* Pages 0 and 1 have been written in a round of the log that is over: they only lack W. */
static void logged_and_fetched(struct sim *sim)
{
	logged(sim);
	write_to(sim, 0, 0);
	write_to(sim, 1, K);
	read_from(sim, 0, 2 * K);
	must(sim, sim_dirty_log(sim, 0, NULL));
}

static void two_pages_mapped(struct sim *sim)
{
	small_pages(sim);
	write_to(sim, 0, 0);
	read_from(sim, 1, 0);
	read_from(sim, 1, K);
}

static void use_0_while_it_lasts(void *sim)
{
	access(sim, 0, 0, VMMU_W, MAY(SIM_OK) | MAY(VMMU_FAULT_EMULATE_MMIO));
	access(sim, 0, 2 * M, VMMU_W, MAY(SIM_OK) | MAY(VMMU_FAULT_EMULATE_MMIO));
}

static void use_1_while_it_lasts(void *sim)
{
	access(sim, 1, K, VMMU_W, MAY(SIM_OK) | MAY(VMMU_FAULT_EMULATE_MMIO));
	access(sim, 1, 0, VMMU_R, MAY(SIM_OK) | MAY(VMMU_FAULT_EMULATE_MMIO));
}

static void look_at_0_while_it_lasts(void *sim)
{
	access(sim, 1, 0, VMMU_R, MAY(SIM_OK) | MAY(VMMU_FAULT_EMULATE_MMIO));
}

static void delete_slot(void *sim)
{
	must(sim, sim_slot_delete(sim, 0));
}

static void delete_and_create(void *arg)
{
	struct sim *sim = arg;

	must(sim, sim_slot_delete(sim, 0));
	slot(sim, 0, 4 * M, 0, (struct sim_backing_config){.order = 9});
}

static void all_is_mmio(struct sim *sim)
{
	access(sim, 0, 0, VMMU_W, MAY(VMMU_FAULT_EMULATE_MMIO));
	access(sim, 1, K, VMMU_R, MAY(VMMU_FAULT_EMULATE_MMIO));
}

static void move_slot(void *sim)
{
	must(sim, sim_slot_move(sim, 0, 8 * M));
}

static void use_old_and_new(void *sim)
{
	access(sim, 1, K, VMMU_W, MAY(SIM_OK) | MAY(VMMU_FAULT_EMULATE_MMIO));
	access(sim, 1, 8 * M + K, VMMU_W, MAY(SIM_OK) | MAY(VMMU_FAULT_EMULATE_MMIO));
}

static void only_new_is_memory(struct sim *sim)
{
	access(sim, 0, 0, VMMU_W, MAY(VMMU_FAULT_EMULATE_MMIO));
	write_to(sim, 1, 8 * M);
}

/* ---- the host takes frames back --------------------------------------------------- */

static void copy_on_write(struct sim *sim)
{
	slot(sim, 0, 4 * M, 0, (struct sim_backing_config){.order = 0, .copy_on_write = true});
	read_from(sim, 0, 0);
	read_from(sim, 1, 0);
	read_from(sim, 1, K);
}

/* All three remember the shared frame. */
static void copy_on_write_by_three(struct sim *sim)
{
	copy_on_write(sim);
	read_from(sim, 2, 0);
}

/* Nothing is mapped yet; both readers may have asked before the writer, and map after it. */
static void copy_on_write_untouched(struct sim *sim)
{
	slot(sim, 0, 4 * M, 0, (struct sim_backing_config){.order = 0, .copy_on_write = true});
}

static void read_0_by_1(void *sim)
{
	read_from(sim, 1, 0);
}

static void read_0_back(struct sim *sim)
{
	read_from(sim, 0, 0);
	read_from(sim, 1, 0);
}

static void large_copy_on_write(struct sim *sim)
{
	slot(sim, 0, 4 * M, 0, (struct sim_backing_config){.order = 9, .copy_on_write = true});
	read_from(sim, 0, 0);
	read_from(sim, 1, K);
}

static void read_0_and_1(void *sim)
{
	read_from(sim, 1, 0);
	read_from(sim, 1, K);
	read_from(sim, 1, 0);
}

static void write_0_by_1(void *sim)
{
	write_to(sim, 1, 0);
}

static void read_0_by_2(void *sim)
{
	read_from(sim, 2, 0);
	read_from(sim, 2, 0);
}

static void take_page_0(void *sim)
{
	must(sim, sim_swap_out(sim, 0, K));
}

static void take_everything(void *sim)
{
	must(sim, sim_swap_out(sim, 0, 4 * M));
}

static void demand(struct sim *sim)
{
	slot(sim, 0, 4 * M, 0, (struct sim_backing_config){.order = 9, .demand = true});
	write_to(sim, 0, 0);
}

/* ---- dirty log ---------------------------------------------------------------------- */

static void fetch_log_twice(void *sim)
{
	must(sim, sim_dirty_log(sim, 0, NULL));
	must(sim, sim_dirty_log(sim, 0, NULL));
}

static void fetch_log(void *sim)
{
	must(sim, sim_dirty_log(sim, 0, NULL));
}

static void write_0_twice(void *sim)
{
	write_to(sim, 0, 0);
	write_to(sim, 0, 0);
}

static void execute_then_write_0(void *sim)
{
	access(sim, 1, 0, VMMU_X, MAY(SIM_OK));
	write_to(sim, 1, 0);
}

static void last_fetch(struct sim *sim)
{
	must(sim, sim_dirty_log(sim, 0, NULL));
}

/* A 2 MiB leaf that the log has protected: the first writers must split it. */
static void large_then_logged(struct sim *sim)
{
	large_pages(sim);
	write_to(sim, 0, 0);
	read_from(sim, 1, K);
	must(sim, sim_slot_set_flags(sim, 0, VMMU_SLOT_LOG_DIRTY));
}

static void writes_in_both_blocks(void *sim)
{
	write_to(sim, 1, K);
	write_to(sim, 1, 2 * M);
}

static void log_off_and_on(void *sim)
{
	must(sim, sim_slot_set_flags(sim, 0, 0));
	must(sim, sim_slot_set_flags(sim, 0, VMMU_SLOT_LOG_DIRTY));
}

static void read_only_and_back(void *sim)
{
	must(sim, sim_slot_set_flags(sim, 0, VMMU_SLOT_READONLY));
	must(sim, sim_slot_set_flags(sim, 0, 0));
}

static void write_if_allowed(void *sim)
{
	access(sim, 0, 0, VMMU_W, MAY(SIM_OK) | MAY(VMMU_FAULT_READ_ONLY));
	access(sim, 0, K, VMMU_W, MAY(SIM_OK) | MAY(VMMU_FAULT_READ_ONLY));
}

static void write_if_allowed_1(void *sim)
{
	access(sim, 1, K, VMMU_W, MAY(SIM_OK) | MAY(VMMU_FAULT_READ_ONLY));
	read_from(sim, 1, 0);
}

/* ---- MMIO ------------------------------------------------------------------------------ */

static void nothing_there(struct sim *sim)
{
	slot(sim, 32 * M, 2 * M, 0, (struct sim_backing_config){.order = 0});
	access(sim, 0, K, VMMU_R, MAY(VMMU_FAULT_EMULATE_MMIO));
}

static void create_slot_1(void *arg)
{
	struct sim *sim = arg;

	must(sim, sim_slot_create(sim, 1, 0, 4 * M, 0,
	                          backing(sim, 0, (struct sim_backing_config){.order = 9})));
}

static void slot_1_is_memory(struct sim *sim)
{
	write_to(sim, 0, 0);
	write_to(sim, 1, K);
	write_to(sim, 1, 2 * M + K);
}

/* ---- caps ------------------------------------------------------------------------------ */

static void restrict_block_0(void *sim)
{
	must(sim, sim_restrict(sim, 0, 2 * M, VMMU_LEVEL_4K));
}

static void restrict_and_lift(void *sim)
{
	must(sim, sim_restrict(sim, 0, 2 * M, VMMU_LEVEL_4K));
	must(sim, sim_restrict(sim, 0, 2 * M, VMMU_LEVEL_1G));
}

/* ---- vCPUs come and go ----------------------------------------------------------------- */

static void work_and_leave(void *arg)
{
	struct sim *sim = arg;

	access(sim, 1, K, VMMU_W, MAY(SIM_OK) | MAY(VMMU_FAULT_EMULATE_MMIO));
	vmmu_vcpu_destroy(sim->vcpu[1].engine);
	sim->vcpu[1].engine = NULL;
}

static void count_finding(void *arg, const char *rule, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	(void)step;
	sim_fail(arg, 0, "vmmu_audit in between: %s (gfn %#lx)", rule, gfn.v);
}

static void ignore_entry(void *arg, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	(void)step;
	(void)gfn;
	++*(uint64_t *)arg;
}

/* Looks that need not hold still for anybody: a second management thread. */
static void look_around(void *arg)
{
	struct sim *sim = arg;
	struct vmmu_stats stats;
	struct vmmu_path path;
	uint64_t entries = 0;

	if (!sim->config.threads)
		vmmu_audit(sim->vm, count_finding, sim);
	vmmu_path_of(sim->vm, vmmu_gpa_of(K), &path);
	if (!path.steps)
		sim_fail(sim, 0, "vmmu_path_of finds no step");
	vmmu_stats_read(sim->vm, &stats);
	vmmu_dump(sim->vm, ignore_entry, &entries);
}

static void emulator_writes(void *arg)
{
	sim_mark_dirty(arg, 1, 2 * K);
	write_to(arg, 1, K);
}

/* ---- the list ----------------------------------------------------------------------------- */

const struct scenario scenarios[] = {
	{"same-gfn", 2, NULL, small_pages, {write_page_0, read_page_0}, NULL},
	{"same-table-missing", 2, NULL, small_pages, {write_page_0, write_page_1}, NULL},
	{"three-paths", 3, NULL, small_pages, {write_page_0, write_page_1, write_next_block}, NULL},
	{"same-large-page", 2, NULL, large_pages, {write_large_0, execute_large_0}, NULL},
	{"fault-delete", 2, NULL, two_pages_mapped, {use_0_while_it_lasts, use_1_while_it_lasts, delete_slot}, all_is_mmio},
	{"fault-delete-create", 2, NULL, two_pages_mapped, {use_0_while_it_lasts, use_1_while_it_lasts, delete_and_create}, slot_1_is_memory},
	{"logged-write-delete", 2, NULL, logged_and_fetched, {use_1_while_it_lasts, delete_slot}, all_is_mmio},
	{"fault-move", 2, NULL, two_pages_mapped, {use_0_while_it_lasts, use_old_and_new, move_slot}, only_new_is_memory},
	{"logged-write-move", 2, NULL, logged_and_fetched, {use_old_and_new, move_slot}, only_new_is_memory},
	{"fault-invalidate", 2, NULL, demand, {write_0_twice, write_page_1, take_everything}, NULL},
	{"copy-on-write-invalidate", 2, NULL, copy_on_write, {write_page_0, read_0_and_1, take_page_0}, NULL},
	{"copy-on-write-two-writers", 3, NULL, copy_on_write_by_three, {write_page_0, write_0_by_1, read_0_by_2}, NULL},
	{"copy-on-write-two-readers", 3, NULL, copy_on_write_untouched, {write_page_0, read_0_by_1, read_0_by_2}, read_0_back},
	{"large-copy-on-write", 2, NULL, large_copy_on_write, {write_page_0, read_0_and_1, take_page_0}, NULL},
	{"copy-on-write-delete", 2, NULL, copy_on_write, {use_0_while_it_lasts, delete_slot, look_at_0_while_it_lasts}, all_is_mmio},
	{"copy-on-write-move", 2, NULL, copy_on_write, {use_0_while_it_lasts, move_slot, look_at_0_while_it_lasts}, only_new_is_memory},
	{"writers-log", 2, NULL, logged_and_fetched, {write_0_twice, write_page_1, fetch_log_twice}, last_fetch},
	{"execute-narrows-log", 2, NULL, logged, {write_0_twice, execute_then_write_0, fetch_log}, last_fetch},
	{"emulated-write-log", 2, NULL, logged_and_fetched, {emulator_writes, fetch_log}, last_fetch},
	{"split", 2, NULL, large_then_logged, {write_page_0, writes_in_both_blocks}, last_fetch},
	{"split-log", 2, NULL, large_then_logged, {write_page_0, writes_in_both_blocks, fetch_log}, last_fetch},
	{"log-off-on", 2, NULL, logged_and_fetched, {write_page_0, log_off_and_on}, last_fetch},
	{"read-only-and-back", 2, NULL, two_pages_mapped, {write_if_allowed, write_if_allowed_1, read_only_and_back}, NULL},
	{"mmio-create", 2, NULL, nothing_there, {use_0_while_it_lasts, use_1_while_it_lasts, create_slot_1}, slot_1_is_memory},
	{"fault-restrict", 2, NULL, large_pages, {write_page_0, write_page_1, restrict_block_0}, NULL},
	{"fault-restrict-lift", 2, NULL, demand, {write_0_twice, restrict_and_lift}, NULL},
	{"vcpu-leaves", 2, NULL, small_pages, {use_0_while_it_lasts, work_and_leave, delete_slot}, NULL},
	{"looks", 2, NULL, two_pages_mapped, {use_0_while_it_lasts, look_around, delete_slot}, all_is_mmio},
};
const unsigned scenario_count = sizeof(scenarios) / sizeof(scenarios[0]);
