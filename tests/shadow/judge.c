/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Does the machine of the shadow tests notice what an engine could do wrong? Here
 * it lags behind, flushes nothing or is never told, each as much as a CPU could
 * bear and then once more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "guest_internal.h"
#include "guest_machine.h"

enum { ROOT = 16,
       PDPT,
       DIRECTORY,
       TABLE,
       OTHER_TABLE,
       DATA = 64 };

#define FULL 0x67u
#define K 4096ull
#define KEEP true

static const struct sim_guest_access read_ = {.write = false}, write_ = {.write = true};

static void set(struct sim_gm *gm, unsigned table, unsigned index, uint64_t entry)
{
	sim_gm_host_write(gm, 0, table * K + index * 8, 8, entry);
}

/* A 4-level guest that has read page 0 and uses PCID 1. `may_be_late`: as for an engine that lags. */
static struct sim_gm *machine(bool may_be_late)
{
	struct sim_gm_config config = {
		.seed = 5,
		.vcpus = 1,
		.ram_pages = 512,
		.lateness = may_be_late ? SIM_GM_ALL_LATE : SIM_GM_NEVER_LATE,
	};
	struct sim_gm *gm = sim_gm_new(&config);
	struct vmmu_paging p = gm->vcpu[0].paging;

	gm->silent = true;
	sim_gm_slot_create(gm, 0, 0, 256, 0, 0);
	sim_gm_slot_create(gm, 1, 256, 256, 256, 0);
	set(gm, ROOT, 0, PDPT * K | FULL);
	set(gm, PDPT, 0, DIRECTORY * K | FULL);
	set(gm, DIRECTORY, 0, TABLE * K | FULL);
	set(gm, TABLE, 0, DATA * K | FULL);
	set(gm, TABLE, 1, 300 * K | FULL);
	p.cr0 = 1u << 31 | 1u << 16 | 1;
	p.cr4 = 0xa0 | 1u << 17;
	p.efer = 1u << 8 | 1u << 10 | 1u << 11;
	p.cr3 = ROOT * K | 1;
	sim_gm_set_paging(gm, 0, &p);
	sim_gm_access(gm, 0, 0, &read_, 8, 0);
	assert_false(gm->failed);
	return gm;
}

/* A store to a guest table that the engine has let through and not noticed. */
static void unnoticed(struct sim_gm *gm, unsigned table, unsigned index, uint64_t entry)
{
	sim_gm_lock(gm);
	sim_gm_store(gm, table, index * 8, 8, entry);
	sim_gm_unlock(gm);
}

static void read_page(struct sim_gm *gm, uint64_t gva)
{
	for (unsigned i = 0; i < 8; i++) /* now from a TLB, now through the tables */
		sim_gm_access(gm, 0, gva, &read_, 8, 0);
}

static void expect_late(struct sim_gm *gm)
{
	uint64_t late = gm->late;

	read_page(gm, 0);
	assert_false(gm->failed);
	assert_true(gm->late > late);
}

static void end_with(struct sim_gm *gm, const char *finding)
{
	assert_true(gm->failed);
	if (!strstr(gm->failure, finding))
		fail_msg("expected \"%s\", found \"%s\"", finding, gm->failure);
	sim_gm_end(gm);
}

#define TOO_LATE "no table of the guest has allowed in time"

static void lagging_until_invlpg(void **state)
{
	struct sim_gm *gm = machine(true);

	(void)state;
	unnoticed(gm, TABLE, 0, (DATA + 1) * K | FULL);
	expect_late(gm);
	sim_gm_invlpg(gm, 0, 5 * K); /* of another page */
	expect_late(gm);
	sim_gm_invlpg(gm, 0, 8);
	read_page(gm, 0);
	end_with(gm, TOO_LATE);
}

static void lagging_is_told_where_it_is_not_allowed(void **state)
{
	struct sim_gm *gm = machine(false);

	(void)state;
	unnoticed(gm, TABLE, 0, (DATA + 1) * K | FULL);
	read_page(gm, 0);
	end_with(gm, "behind the guest's tables");
}

static enum sim_gm_verdict verdict(struct sim_gm *gm, unsigned ram_page)
{
	return sim_gm_judge_frame(gm, 0, 0, &read_, gm->first_pfn + ram_page);
}

/* What leads to a page is remembered for a shorter time than the page. */
static void lagging_directory(void **state)
{
	struct sim_gm *gm = machine(true);

	(void)state;
	unnoticed(gm, OTHER_TABLE, 0, (DATA + 1) * K | FULL);
	unnoticed(gm, DIRECTORY, 0, OTHER_TABLE * K | FULL);
	assert_int_equal(verdict(gm, DATA + 1), SIM_GM_RIGHT);
	assert_int_equal(verdict(gm, DATA), SIM_GM_LATE);
	/* Through the old directory to what its table says now: while it may be remembered. */
	unnoticed(gm, TABLE, 0, (DATA + 2) * K | FULL);
	assert_int_equal(verdict(gm, DATA + 2), SIM_GM_LATE);
	sim_gm_invlpg(gm, 0, K); /* of another page: ends what leads here, but not the translation */
	unnoticed(gm, TABLE, 0, (DATA + 3) * K | FULL);
	assert_int_equal(verdict(gm, DATA), SIM_GM_LATE);
	assert_int_equal(verdict(gm, DATA + 2), SIM_GM_LATE);
	assert_int_equal(verdict(gm, DATA + 3), SIM_GM_WRONG);
	sim_gm_invlpg(gm, 0, 0);
	assert_int_equal(verdict(gm, DATA), SIM_GM_WRONG);
	assert_int_equal(verdict(gm, DATA + 1), SIM_GM_RIGHT);
	sim_gm_end(gm);
}

static void lagging_over_cr3_loads(void **state)
{
	struct sim_gm *gm = machine(true);

	(void)state;
	unnoticed(gm, TABLE, 0, 0);
	sim_gm_load_cr3(gm, 0, ROOT * K | 2, KEEP);
	sim_gm_load_cr3(gm, 0, ROOT * K | 1, KEEP);
	expect_late(gm);
	sim_gm_load_cr3(gm, 0, ROOT * K | 1, !KEEP);
	read_page(gm, 0);
	end_with(gm, TOO_LATE);
}

static void lagging_over_invpcid(void **state)
{
	for (unsigned type = 0; type < 4; type++) {
		struct sim_gm *gm = machine(true);

		(void)state;
		unnoticed(gm, TABLE, 0, 0);
		sim_gm_invpcid(gm, 0, 0, 1, 8 * K); /* another address */
		sim_gm_invpcid(gm, 0, 0, 2, 0);     /* another PCID */
		sim_gm_invpcid(gm, 0, 1, 2, 0);
		expect_late(gm);
		sim_gm_invpcid(gm, 0, type, 1, 0);
		read_page(gm, 0);
		end_with(gm, TOO_LATE);
	}
}

static void lagging_over_control_registers(void **state)
{
	const uint64_t changes[] = {1u << 7, 1u << 20}; /* PGE; SMEP set */

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct sim_gm *gm = machine(true);
		struct vmmu_paging p = gm->vcpu[0].paging;

		unnoticed(gm, TABLE, 0, 0);
		p.cr4 ^= changes[i];
		p.cr3 |= 1ull << 63;
		sim_gm_set_paging(gm, 0, &p);
		read_page(gm, 0);
		end_with(gm, TOO_LATE);
	}
}

/* ---- flushes ---------------------------------------------------------------------- */

static void flush_nothing(void *ctx, const struct vmmu_flush *what)
{
	(void)ctx;
	(void)what;
}

static void a_write_without_flush(void **state)
{
	struct sim_gm *gm = machine(false);

	(void)state;
	gm->host.flush = flush_nothing;
	set(gm, TABLE, 0, (DATA + 1) * K | FULL);
	read_page(gm, 0);
	end_with(gm, "behind the guest's tables");
}

static void a_slot_deleted_without_flush(void **state)
{
	struct sim_gm *gm = machine(true);

	(void)state;
	read_page(gm, K);
	gm->host.flush = flush_nothing;
	sim_gm_slot_delete(gm, 1);
	read_page(gm, K);
	end_with(gm, TOO_LATE);
}

static void frames_taken_without_flush(void **state)
{
	struct sim_gm *gm = machine(true);

	(void)state;
	gm->host.flush = flush_nothing;
	vmmu_invalidate_begin(gm->vm, vmmu_gpa_of(DATA * K), K);
	gm->first_pfn += 1u << 18;
	read_page(gm, 0);
	vmmu_invalidate_end(gm->vm, vmmu_gpa_of(DATA * K), K);
	end_with(gm, TOO_LATE);
}

static void a_table_freed_without_flush(void **state)
{
	struct sim_gm *gm = machine(true);

	(void)state;
	gm->host.flush = flush_nothing;
	sim_gm_slot_create(gm, 2, 600, 1, 100, 0);
	set(gm, DIRECTORY, 0, 600 * K | FULL);
	sim_gm_host_write(gm, 0, 600 * K, 8, DATA * K | FULL);
	read_page(gm, 0);
	sim_gm_slot_delete(gm, 2);
	end_with(gm, "is freed while vCPU 0 can reach it");
}

/* ---- entries, at every instant --------------------------------------------------------- */

/* An entry that lets the CPU do more than the guest does is seen by looking at it. */
static void rights_too_wide(void **state)
{
	struct sim_gm *gm = machine(true);

	(void)state;
	unnoticed(gm, TABLE, 0, DATA * K | (FULL & ~6u)); /* read-only, the supervisor's */
	sim_gm_invlpg(gm, 0, 0);
	for (unsigned i = 0; i < 4; i++)
		sim_gm_look(gm, 0, 0);
	end_with(gm, TOO_LATE);
}

static void a_write_that_the_log_misses(void **state)
{
	struct sim_gm *gm = machine(false);

	(void)state;
	sim_gm_access(gm, 0, 0, &write_, 8, 1);
	sim_gm_slot_flags(gm, 0, VMMU_SLOT_LOG_DIRTY);
	gm->host.flush = flush_nothing;
	sim_gm_access(gm, 0, 0, &write_, 8, 1);
	sim_gm_log(gm, 0);
	assert_false(gm->failed);
	for (unsigned i = 0; i < 8; i++) /* the TLB still has W */
		sim_gm_try(gm, 0, 0, &write_, 8, 2);
	sim_gm_log(gm, 0);
	end_with(gm, "the log does not say so");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lagging_until_invlpg),
		cmocka_unit_test(lagging_is_told_where_it_is_not_allowed),
		cmocka_unit_test(lagging_directory),
		cmocka_unit_test(lagging_over_cr3_loads),
		cmocka_unit_test(lagging_over_invpcid),
		cmocka_unit_test(lagging_over_control_registers),
		cmocka_unit_test(a_write_without_flush),
		cmocka_unit_test(a_slot_deleted_without_flush),
		cmocka_unit_test(frames_taken_without_flush),
		cmocka_unit_test(a_table_freed_without_flush),
		cmocka_unit_test(rights_too_wide),
		cmocka_unit_test(a_write_that_the_log_misses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
