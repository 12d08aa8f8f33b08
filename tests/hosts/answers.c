/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What host.backing may say, and when: answers that are late, that differ from one
 * question to the next, that are larger than they are aligned, and that cannot be.
 */
#include "host.h"

MODES;

#define PAGE 5ull
#define PAGES 512ull

/* ---- copy on write ------------------------------------------------------------------- */

/*
 * Each page is a frame shared by all until somebody is to write it, and a frame of its
 * own from then on. The shared frames are one run of 2 MiB, which is told.
 */
enum { SHARED = 0x400000,
       OWN = 0x900001 };

struct copies {
	_Atomic bool made[PAGES];
	_Atomic bool any; /* the run is one no more */
	uint8_t order;
};

static enum vmmu_backing_result copy_on_write(struct host *host, const struct vmmu_slot_info *slot,
                                              uint64_t gfn, unsigned access, struct vmmu_backing *out)
{
	struct copies *copies = host->arg;
	uint64_t page = gfn % PAGES;

	(void)slot;
	if (access & VMMU_W)
		copies->any = copies->made[page] = true;
	*out = (struct vmmu_backing){.memtype = VMMU_MEMTYPE_WB};
	if (copies->made[page]) {
		out->pfn.v = OWN + 2 * gfn;
		out->rights = VMMU_RWX;
	} else {
		out->pfn.v = SHARED + gfn;
		out->order = copies->any ? 0 : copies->order;
		out->rights = VMMU_R | VMMU_X;
	}
	host_dawdle();
	return VMMU_BACKING_OK;
}

static struct host *copying(void **state, unsigned vcpus, struct copies *copies)
{
	struct host *host = host_with(mode_of(state), vcpus, PAGES);

	host->backing = copy_on_write;
	host->arg = copies;
	assert_ok(host_slot(host, 0, 0, PAGES * K, 0));
	if (mode_of(state) == VMMU_MODE_SHADOW)
		host_start_paging(host);
	return host;
}

/* Nobody may reach the shared frame any more: what was written is in the other. */
static void assert_copied(struct host *host, uint64_t address)
{
	for (unsigned i = 0; i < host->vcpus; i++) {
		uint64_t frame = host_frame_of(host, i, address, NULL);

		if (frame)
			assert_int_equal(frame, OWN + 2 * PAGE);
	}
	assert_true(host_touch(host, 0, address, VMMU_R) <= VMMU_FAULT_SPURIOUS);
	assert_int_equal(host_frame_of(host, 0, address, NULL), OWN + 2 * PAGE);
}

/* Both have asked before the writer; each answer that arrives late finds what the one before it has left. */
static void late_readers_do_not_undo_a_copy(void **state)
{
	for (unsigned order = 0; order <= 9; order += 9) {
		struct copies copies = {.order = (uint8_t)order};
		struct host *host = copying(state, 3, &copies);
		struct host_late reader[2];

		for (unsigned i = 0; i < 2; i++)
			host_late_begin(&reader[i], host, i, PAGE * K, VMMU_R);
		assert_result(host_touch(host, 2, PAGE * K, VMMU_W), VMMU_FAULT_FIXED);
		assert_int_equal(host_frame_of(host, 2, PAGE * K, NULL), OWN + 2 * PAGE);
		for (unsigned i = 0; i < 2; i++) {
			host_late_end(&reader[i]);
			assert_int_equal(host_frame_of(host, 2, PAGE * K, NULL), OWN + 2 * PAGE);
		}
		assert_copied(host, PAGE * K);
		host_end(host);
	}
}

/* One of them maps the shared frame before the writer comes. */
static void a_copy_takes_the_place_of_what_readers_have(void **state)
{
	for (unsigned order = 0; order <= 9; order += 9) {
		struct copies copies = {.order = (uint8_t)order};
		struct host *host = copying(state, 3, &copies);
		struct host_late reader;
		unsigned rights;

		host_late_begin(&reader, host, 1, PAGE * K, VMMU_R);
		assert_result(host_touch(host, 0, PAGE * K, VMMU_R), VMMU_FAULT_FIXED);
		assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), SHARED + PAGE);
		/* The rights fault and its next try, as a guest makes them. */
		for (unsigned i = 0; i < 2; i++)
			host_touch(host, 2, PAGE * K, VMMU_W | VMMU_ACCESS_PRESENT);
		assert_int_equal(host_frame_of(host, 2, PAGE * K, &rights), OWN + 2 * PAGE);
		assert_true(rights & VMMU_W);
		host_late_end(&reader);
		assert_copied(host, PAGE * K);
		host_end(host);
	}
}

/* The writer may come by a call that does not say what stands there: a prefault. */
static void a_prefault_gets_its_copy(void **state)
{
	struct copies copies = {.order = 9};
	struct host *host = host_with(mode_of(state), 1, PAGES);
	enum vmmu_fault_result result = VMMU_FAULT_RETRY;
	uint64_t done;

	host->backing = copy_on_write;
	host->arg = &copies;
	assert_ok(host_slot(host, 0, 0, PAGES * K, 0));
	assert_result(host_touch(host, 0, PAGE * K, VMMU_R), VMMU_FAULT_FIXED);
	for (unsigned i = 0; i < 8 && result == VMMU_FAULT_RETRY; i++)
		result = vmmu_prefault(host->vcpu[0], vmmu_gpa_of(PAGE * K), K, VMMU_W, &done);
	assert_result(result, VMMU_FAULT_FIXED);
	assert_int_equal(done, K);
	assert_copied(host, PAGE * K);
	host_end(host);
}

/* ---- the slot goes while the host answers ----------------------------------------------- */

static void delete_slot(struct host *host)
{
	assert_ok(vmmu_slot_delete(host->vm, 0));
}

static enum vmmu_backing_result answer_of_a_slot_that_goes(struct host *host, const struct vmmu_slot_info *slot,
                                                           uint64_t gfn, unsigned access, struct vmmu_backing *out)
{
	(void)access;
	host_plain_answer(slot, gfn, out);
	out->order = 9;
	host->backing = NULL;
	host_elsewhere(host, delete_slot);
	return VMMU_BACKING_OK;
}

static void a_slot_that_is_gone_is_not_looked_into(void **state)
{
	for (unsigned restricted = 0; restricted < 2; restricted++) {
		for (unsigned access = VMMU_R; access <= VMMU_W; access++) {
			struct host *host = host_with(mode_of(state), 1, PAGES);
			uint64_t done = 1;

			assert_ok(host_slot(host, 0, 0, 2 * PAGES * K, 0));
			if (restricted)
				assert_ok(vmmu_range_restrict(host->vm, vmmu_gpa_of(0), K, VMMU_LEVEL_4K));
			host->backing = answer_of_a_slot_that_goes;
			assert_result(vmmu_prefault(host->vcpu[0], vmmu_gpa_of(PAGE * K), 600 * K, access, &done), VMMU_FAULT_RETRY);
			assert_int_equal(done, 0);
			assert_ok(host_slot(host, 0, 0, 2 * PAGES * K, 0));
			host->backing = answer_of_a_slot_that_goes;
			assert_result(host_fault(host, 0, PAGE * K, access), VMMU_FAULT_RETRY);
			host_end(host);
		}
	}
}

/* ---- a copy while the host's own call flushes --------------------------------------------- */

static enum vmmu_fault_result written_meanwhile;

static void write_page(struct host *host)
{
	written_meanwhile = host_fault(host, 1, PAGE * K, VMMU_W);
}

static void write_page_elsewhere(struct host *host)
{
	host->on_flush = NULL;
	host_elsewhere(host, write_page);
}

static void take_the_cap_off(struct host *host)
{
	assert_ok(vmmu_range_restrict(host->vm, vmmu_gpa_of(0), K, VMMU_LEVEL_1G));
}

static void put_a_cap_on(struct host *host)
{
	assert_ok(vmmu_range_restrict(host->vm, vmmu_gpa_of(0), K, VMMU_LEVEL_4K));
}

static void take_a_neighbour(struct host *host)
{
	assert_ok(vmmu_invalidate_begin(host->vm, vmmu_gpa_of((PAGE + 1) * K), K));
	assert_ok(vmmu_invalidate_end(host->vm, vmmu_gpa_of((PAGE + 1) * K), K));
}

static void end_the_log(struct host *host)
{
	assert_ok(vmmu_slot_set_flags(host->vm, 0, 0));
}

/*
 * The shared frame is unmapped for whatever reason, and another CPU still has it until the flush is
 * done. Whoever writes meanwhile must wait: the other would read what was there before.
 */
static void a_copy_waits_for_the_flush_of_a_call(void **state)
{
	static const struct {
		void (*call)(struct host *host);
		uint8_t order;
		bool capped;
		uint32_t flags;
	} calls[] = {
		{take_the_cap_off, 0, true, 0},
		{put_a_cap_on, 9, false, 0},
		{take_a_neighbour, 9, false, 0},
		{end_the_log, 0, false, VMMU_SLOT_LOG_DIRTY},
	};

	for (unsigned i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		struct copies copies = {.order = calls[i].order};
		struct host *host = host_with(mode_of(state), 2, PAGES);

		host->backing = copy_on_write;
		host->arg = &copies;
		assert_ok(host_slot(host, 0, 0, PAGES * K, calls[i].flags));
		if (calls[i].capped)
			put_a_cap_on(host);
		assert_result(host_touch(host, 0, PAGE * K, VMMU_R), VMMU_FAULT_FIXED);
		assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), SHARED + PAGE);
		host->on_flush = write_page_elsewhere;
		calls[i].call(host);
		assert_null(host->on_flush);
		assert_result(written_meanwhile, VMMU_FAULT_RETRY);
		assert_result(host_touch(host, 1, PAGE * K, VMMU_W), VMMU_FAULT_FIXED);
		assert_copied(host, PAGE * K);
		host_end(host);
	}
}

/* A copy is made, and all that is asked after that has no answer for now. */
struct copy_then {
	struct copies copies;
	enum vmmu_backing_result then;
	unsigned writes;
};

static enum vmmu_backing_result copied_and_gone(struct host *host, const struct vmmu_slot_info *slot,
                                                uint64_t gfn, unsigned access, struct vmmu_backing *out)
{
	struct copy_then *copy = host->arg;
	enum vmmu_backing_result result = copy_on_write(host, slot, gfn, access, out);

	return copy->writes && copy->then ? copy->then : (copy->writes += access & VMMU_W ? 1 : 0, result);
}

/* Once a write was answered with another frame, the one from before is not for use, whatever comes next. */
static void a_copy_is_not_undone_by_what_is_said_next(void **state)
{
	static const enum vmmu_backing_result then[] = {VMMU_BACKING_RETRY, VMMU_BACKING_NO_MEMORY, VMMU_BACKING_DENIED};

	for (unsigned way = 0; way < 2; way++) {
		for (unsigned i = 0; i < sizeof(then) / sizeof(*then); i++) {
			struct copy_then copy = {.then = then[i]};
			struct host *host = host_with(mode_of(state), 1, PAGES);
			uint64_t frame;

			host->backing = copied_and_gone;
			host->arg = &copy;
			assert_ok(host_slot(host, 0, 0, PAGES * K, 0));
			assert_result(host_touch(host, 0, PAGE * K, VMMU_R), VMMU_FAULT_FIXED);
			/* Neither says that anything stands there: a prefault, and a fault that another vCPU was faster than. */
			if (way == 0)
				vmmu_prefault(host->vcpu[0], vmmu_gpa_of(PAGE * K), K, VMMU_W, NULL);
			else
				host_touch(host, 0, PAGE * K, VMMU_W);
			assert_true(copy.writes);
			frame = host_frame_of(host, 0, PAGE * K, NULL);
			if (frame)
				assert_int_equal(frame, OWN + 2 * PAGE);
			copy.then = VMMU_BACKING_OK;
			assert_copied(host, PAGE * K);
			host_end(host);
		}
	}
}

/*
 * A management call removes what it finds after it has said that answers are stale:
 * an answer between the two is no newer than what is removed.
 */
struct between {
	struct copies copies;
	struct host_late reader;
	bool armed;
};

static void ask_and_write(struct host *host)
{
	struct between *between = host->arg;

	host_late_begin(&between->reader, host, 0, PAGE * K, VMMU_R);
	assert_result(host_touch(host, 1, PAGE * K, VMMU_W), VMMU_FAULT_FIXED);
}

static void when_the_gate_opens(struct host *host, unsigned point)
{
	struct between *between = host->arg;

	if (point != VMMU_POINT_GATE_OPEN || !between->armed)
		return;
	between->armed = false;
	host_elsewhere(host, ask_and_write);
}

static enum vmmu_status restrict_it(struct host *host)
{
	return vmmu_range_restrict(host->vm, vmmu_gpa_of(0), PAGES * K, VMMU_LEVEL_1G);
}

static enum vmmu_status stop_the_log(struct host *host)
{
	return vmmu_slot_set_flags(host->vm, 0, 0);
}

static void an_answer_during_a_call_is_no_newer_than_what_it_removes(void **state)
{
	enum vmmu_status (*const call[])(struct host *) = {restrict_it, stop_the_log};

	for (unsigned i = 0; i < 2; i++) {
		struct between between = {.armed = false};
		struct host *host = copying(state, 2, &between.copies);

		host->arg = &between;
		assert_ok(vmmu_slot_set_flags(host->vm, 0, VMMU_SLOT_LOG_DIRTY));
		host->on_point = when_the_gate_opens;
		between.armed = true;
		assert_ok(call[i](host));
		host->on_point = NULL;
		host_late_end(&between.reader);
		assert_copied(host, PAGE * K);
		host_end(host);
	}
}

/* ---- shadow: a frame for a gfn, whatever the way to it -------------------------------- */

/* Page ALIAS of the guest's address space is memory page PAGE, too. */
enum { ALIAS = 100,
       FAR_ALIAS = 400,
       NEIGHBOUR = 7 };

static struct host *aliasing(void **state, unsigned vcpus, struct copies *copies)
{
	struct host *host = copying(state, vcpus, copies);

	host_set(host, G_TABLE, ALIAS, PAGE * K | GFULL | GD);
	host_set(host, G_TABLE, FAR_ALIAS, PAGE * K | GFULL | GD);
	return host;
}

static void aliases_have_one_frame(void **state)
{
	for (unsigned order = 0; order <= 9; order += 9) {
		struct copies copies = {.order = (uint8_t)order};
		struct host *host = aliasing(state, 2, &copies);

		assert_result(host_touch(host, 0, PAGE * K, VMMU_R), VMMU_FAULT_FIXED);
		host_touch(host, 0, FAR_ALIAS * K, VMMU_R);
		assert_int_equal(host_frame_of(host, 0, FAR_ALIAS * K, NULL), SHARED + PAGE);
		/* Through one alias it is written: none may lead to the old frame. */
		for (unsigned i = 0; i < 2; i++)
			host_touch(host, 1, ALIAS * K, VMMU_W | VMMU_ACCESS_PRESENT);
		assert_int_equal(host_frame_of(host, 1, ALIAS * K, NULL), OWN + 2 * PAGE);
		assert_copied(host, FAR_ALIAS * K);
		assert_copied(host, PAGE * K);
		host_end(host);
	}
}

/* What the host has said of a run must not come back by itself for a page that has left it. */
static void a_noted_run_ends_where_a_copy_begins(void **state)
{
	struct copies copies = {.order = 9};
	struct host *host = aliasing(state, 2, &copies);

	assert_result(host_touch(host, 0, NEIGHBOUR * K, VMMU_R), VMMU_FAULT_FIXED);
	for (unsigned i = 0; i < 2; i++)
		host_touch(host, 1, PAGE * K, VMMU_W | VMMU_ACCESS_PRESENT);
	assert_int_equal(host_frame_of(host, 1, PAGE * K, NULL), OWN + 2 * PAGE);
	/* Entries that were empty are filled in passing, and when tables are written or linked again. */
	host_touch(host, 0, (FAR_ALIAS + 1) * K, VMMU_R);
	assert_copied(host, FAR_ALIAS * K);
	host_set(host, G_TABLE, ALIAS, PAGE * K | GFULL | GD);
	vmmu_guest_written(host->vcpu[0], vmmu_gpa_of(G_TABLE * K), K);
	host_touch(host, 0, (ALIAS + 1) * K, VMMU_R);
	assert_copied(host, ALIAS * K);
	host_end(host);
}

/* Two pages of a run get other frames. The one that is touched must not bring the old frame of the other. */
static void a_run_does_not_outlive_an_invalidation(void **state)
{
	struct copies copies = {.order = 9};
	struct host *host = aliasing(state, 1, &copies);

	assert_result(host_touch(host, 0, PAGE * K, VMMU_R), VMMU_FAULT_FIXED);
	assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), SHARED + PAGE);
	assert_ok(vmmu_invalidate_begin(host->vm, vmmu_gpa_of(PAGE * K), 2 * K));
	copies.any = copies.made[PAGE] = copies.made[PAGE + 1] = true;
	assert_ok(vmmu_invalidate_end(host->vm, vmmu_gpa_of(PAGE * K), 2 * K));
	assert_result(host_touch(host, 0, (PAGE + 1) * K, VMMU_R), VMMU_FAULT_FIXED);
	assert_copied(host, PAGE * K);
	host_end(host);
}

/* A late answer for one page of a run says something of its neighbours, too. */
static void a_late_run_does_not_undo_a_neighbours_copy(void **state)
{
	struct copies copies = {.order = 9};
	struct host *host = aliasing(state, 3, &copies);
	struct host_late reader;

	host_late_begin(&reader, host, 0, NEIGHBOUR * K, VMMU_R);
	for (unsigned i = 0; i < 2; i++)
		host_touch(host, 1, ALIAS * K, VMMU_W | VMMU_ACCESS_PRESENT);
	assert_int_equal(host_frame_of(host, 1, ALIAS * K, NULL), OWN + 2 * PAGE);
	host_late_end(&reader);
	host_touch(host, 0, NEIGHBOUR * K, VMMU_R);
	host_touch(host, 2, (FAR_ALIAS + 1) * K, VMMU_R);
	assert_copied(host, PAGE * K);
	assert_copied(host, FAR_ALIAS * K);
	host_end(host);
}

/* The guest drops the entry through which it was written; the late answer finds nothing to differ from. */
static void a_copy_is_remembered_when_nothing_maps_it(void **state)
{
	struct copies copies = {.order = 0};
	struct host *host = aliasing(state, 2, &copies);
	struct host_late reader;

	host_late_begin(&reader, host, 0, PAGE * K, VMMU_R);
	assert_result(host_touch(host, 1, ALIAS * K, VMMU_W), VMMU_FAULT_FIXED);
	host_set(host, G_TABLE, ALIAS, 0);
	vmmu_guest_written(host->vcpu[1], vmmu_gpa_of(G_TABLE * K + ALIAS * 8), 8);
	assert_int_equal(host_frame_of(host, 1, ALIAS * K, NULL), 0);
	host_late_end(&reader);
	assert_copied(host, PAGE * K);
	host_end(host);
}

/* The same page for a vCPU that runs without paging: the VM's direct map. */
static void the_direct_map_has_the_same_frame(void **state)
{
	struct copies copies = {.order = 9};
	struct host *host = host_with(mode_of(state), 2, PAGES);
	struct vmmu_paging off = {.cr0 = 1, .cpu = {.maxphyaddr = 46, .pse36 = true, .page_1g = true}};

	host->backing = copy_on_write;
	host->arg = &copies;
	assert_ok(host_slot(host, 0, 0, PAGES * K, 0));
	host_start_paging(host);
	assert_ok(vmmu_vcpu_set_paging(host->vcpu[1], &off));
	assert_result(host_touch(host, 1, PAGE * K, VMMU_R), VMMU_FAULT_FIXED);
	for (unsigned i = 0; i < 2; i++)
		host_touch(host, 0, PAGE * K, VMMU_W | VMMU_ACCESS_PRESENT);
	assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), OWN + 2 * PAGE);
	host_touch(host, 1, PAGE * K, VMMU_R);
	assert_int_equal(host_frame_of(host, 1, PAGE * K, NULL), OWN + 2 * PAGE);
	host_end(host);
}

/* Another slot in the same 2 MiB goes, and what is remembered of that block must not go with it. */
static void the_direct_map_is_remembered(void **state)
{
	struct copies copies = {.order = 0};
	struct host *host = host_with(mode_of(state), 2, PAGES);
	struct vmmu_paging off = {.cr0 = 1, .cpu = {.maxphyaddr = 46, .pse36 = true, .page_1g = true}};

	host->backing = copy_on_write;
	host->arg = &copies;
	assert_ok(host_slot(host, 0, 0, PAGES / 2 * K, 0));
	assert_ok(host_slot(host, 1, PAGES / 2 * K, PAGES / 2 * K, 0));
	host_start_paging(host);
	assert_ok(vmmu_vcpu_set_paging(host->vcpu[1], &off));
	assert_result(host_touch(host, 1, PAGE * K, VMMU_R), VMMU_FAULT_FIXED);
	assert_ok(vmmu_slot_delete(host->vm, 1));
	for (unsigned i = 0; i < 2; i++)
		host_touch(host, 0, PAGE * K, VMMU_W);
	assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), OWN + 2 * PAGE);
	/* A CPU that can read the page does not ask. */
	assert_int_equal(host_frame_of(host, 1, PAGE * K, NULL), 0);
	host_touch(host, 1, PAGE * K, VMMU_R);
	assert_int_equal(host_frame_of(host, 1, PAGE * K, NULL), OWN + 2 * PAGE);
	host_end(host);
}

/* ---- runs out of step ------------------------------------------------------------------- */

/*
 * The host says how large its own page is: 2 MiB, although the gfns stand elsewhere in
 * theirs. Pages up to 255 are the end of one such page, those from 256 on of another.
 */
static uint64_t skew_at = 256;

static uint64_t skewed_frame(uint64_t gfn)
{
	return gfn < skew_at ? 0x100000 + 512 - skew_at + gfn : 0x700000 + gfn - skew_at;
}

static enum vmmu_backing_result skewed(struct host *host, const struct vmmu_slot_info *slot,
                                       uint64_t gfn, unsigned access, struct vmmu_backing *out)
{
	(void)slot;
	(void)access;
	*out = (struct vmmu_backing){
		.pfn = {skewed_frame(gfn)},
		.order = *(uint8_t *)host->arg,
		.rights = VMMU_RWX,
		.memtype = VMMU_MEMTYPE_WB,
	};
	return VMMU_BACKING_OK;
}

static bool owns_skewed(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, vmmu_pfn pfn)
{
	(void)ctx;
	(void)slot;
	return skewed_frame(gfn.v) == pfn.v;
}

static void a_run_out_of_step_gives_only_what_is_in_step(void **state)
{
	static const uint8_t orders[] = {1, 9, 10, 18, 63, 64, 255};

	for (unsigned o = 0; o < sizeof(orders); o++) {
		struct host *host = host_with(mode_of(state), 1, PAGES);
		uint8_t order = orders[o];

		host->backing = skewed;
		host->arg = &order;
		host->calls.owns_frame = owns_skewed;
		assert_ok(host_slot(host, 0, 0, PAGES * K, 0));
		if (mode_of(state) == VMMU_MODE_SHADOW)
			host_start_paging(host);
		for (uint64_t page = 250; page < 262; page++)
			host_touch(host, 0, page * K, VMMU_W);
		for (uint64_t page = 0; page < PAGES; page++) {
			uint64_t frame = host_frame_of(host, 0, page * K, NULL);

			if (frame)
				assert_int_equal(frame, skewed_frame(page));
		}
		assert_int_equal(host_frame_of(host, 0, 261 * K, NULL), skewed_frame(261));
		host_end(host);
	}
}

/* The same for pages that are mapped together, wherever among them the one host page ends. */
static void a_prefault_maps_only_what_is_in_step(void **state)
{
	for (skew_at = 240; skew_at < 272; skew_at++)
		for (unsigned order = 1; order <= 18; order += order < 9 ? 1 : 9) {
			struct host *host = host_with(mode_of(state), 1, PAGES);
			uint8_t said = (uint8_t)order;
			uint64_t done;

			host->backing = skewed;
			host->arg = &said;
			host->calls.owns_frame = owns_skewed;
			assert_ok(host_slot(host, 0, 0, PAGES * K, 0));
			assert_result(vmmu_prefault(host->vcpu[0], vmmu_gpa_of(203 * K), 100 * K, VMMU_W, &done),
			              VMMU_FAULT_FIXED);
			assert_int_equal(done, 100 * K);
			for (uint64_t page = 203; page < 303; page++)
				assert_int_equal(host_frame_of(host, 0, page * K, NULL), skewed_frame(page));
			host_end(host);
		}
	skew_at = 256;
}

/* ---- answers that cannot be --------------------------------------------------------------- */

struct answer {
	enum vmmu_backing_result result;
	struct vmmu_backing backing;
};

static enum vmmu_backing_result give(struct host *host, const struct vmmu_slot_info *slot, uint64_t gfn,
                                     unsigned access, struct vmmu_backing *out)
{
	struct answer *answer = host->arg;

	(void)slot;
	(void)gfn;
	(void)access;
	*out = answer->backing;
	return answer->result;
}

static void answers_that_cannot_be_are_refused(void **state)
{
	const struct vmmu_backing good = {.pfn = {0x5000}, .rights = VMMU_RWX, .memtype = VMMU_MEMTYPE_WB};
	struct answer bad[16];
	unsigned count = 0;

	/* Frames past the CPU's MAXPHYADDR of 46 bits, among them such as would set other bits. */
	for (unsigned bit = 34; bit < 64; bit += 5) {
		bad[count].result = VMMU_BACKING_OK;
		bad[count].backing = good;
		bad[count++].backing.pfn.v |= 1ull << bit;
	}
	/* Memory types that are none (SDM vol. 3, table 12-8), and numbers beyond them. */
	static const uint8_t types[] = {2, 3, 7, 8, 0x86, 255};
	for (unsigned i = 0; i < sizeof(types); i++) {
		bad[count].result = VMMU_BACKING_OK;
		bad[count].backing = good;
		bad[count++].backing.memtype = types[i];
	}
	/* Rights that are none. */
	bad[count].result = VMMU_BACKING_OK;
	bad[count].backing = good;
	bad[count++].backing.rights = 8 | VMMU_RWX;
	/* A result that is none. */
	bad[count++] = (struct answer){(enum vmmu_backing_result)77, good};

	struct host *host = host_with(mode_of(state), 1, PAGES);

	host->backing = give;
	assert_ok(host_slot(host, 0, 0, PAGES * K, 0));
	if (mode_of(state) == VMMU_MODE_SHADOW)
		host_start_paging(host);
	for (unsigned i = 0; i < count; i++) {
		struct vmmu_fault fault;

		host->arg = &bad[i];
		assert_result(host_fault_at(host, 0, PAGE * K, VMMU_W, &fault), VMMU_FAULT_BAD_BACKING);
		assert_int_equal(fault.entry, 0);
		assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), 0);
		assert_int_equal(host_audit(host), 0);
	}
	/* And the VM goes on. */
	struct answer fine = {VMMU_BACKING_OK, good};

	host->arg = &fine;
	assert_result(host_touch(host, 0, PAGE * K, VMMU_W), VMMU_FAULT_FIXED);
	assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), 0x5000);
	host_end(host);
}

/* A fault that maps nothing names no entry, whatever stands there. */
static void a_refusal_names_no_entry(void **state)
{
	struct host *host = host_with(mode_of(state), 1, 0);
	struct answer answer = {VMMU_BACKING_OK, {.pfn = {0x5000}, .rights = VMMU_R, .memtype = VMMU_MEMTYPE_WB}};
	struct vmmu_fault fault;

	host->backing = give;
	host->arg = &answer;
	assert_ok(host_slot(host, 0, 0, PAGES * K, 0));
	assert_ok(host_slot(host, 1, G, PAGES * K, VMMU_SLOT_READONLY));
	for (uint64_t base = 0; base <= G; base += G) {
		assert_result(host_fault(host, 0, base, VMMU_R), VMMU_FAULT_FIXED);
		assert_result(host_fault_at(host, 0, base, VMMU_W | VMMU_ACCESS_PRESENT, &fault),
		              base ? VMMU_FAULT_READ_ONLY : VMMU_FAULT_DENIED);
		assert_int_equal(fault.entry, 0);
		assert_int_equal(fault.level, 0);
	}
	host_end(host);
}

/* The last frame that the CPU can name is a frame like any other. */
static void the_last_frame_is_given(void **state)
{
	struct answer last = {VMMU_BACKING_OK, {.pfn = {(1ull << 34) - 1}, .rights = VMMU_R, .memtype = VMMU_MEMTYPE_UC}};
	struct host *host = host_with(mode_of(state), 1, 0);

	host->backing = give;
	host->arg = &last;
	assert_ok(host_slot(host, 0, 0, PAGES * K, 0));
	assert_result(host_fault(host, 0, PAGE * K, VMMU_R), VMMU_FAULT_FIXED);
	assert_int_equal(host_frame_of(host, 0, PAGE * K, NULL), (1ull << 34) - 1);
	host_end(host);
}

/* A frame for tables that cannot be one counts as none, and is given back. */
static vmmu_hpa bad_table;

static bool give_bad_table(void *ctx, vmmu_hpa *out)
{
	struct host *host = ctx;

	host->tables_live++;
	*out = bad_table;
	return true;
}

static void take_bad_table(void *ctx, vmmu_hpa frame)
{
	struct host *host = ctx;

	if (frame.v != bad_table.v) {
		host_table_free(ctx, frame);
		return;
	}
	host->tables_live--;
}

static void table_frames_that_cannot_be_are_refused(void **state)
{
	static const uint64_t frames[] = {HOST_TABLES_AT + 8, 1ull << 46, 1ull << 63, ~0ull};
	struct host *host = host_with(mode_of(state), 1, 0);

	assert_ok(host_slot(host, 0, 0, PAGES * K, 0));
	host->calls.table_alloc = give_bad_table;
	host->calls.table_free = take_bad_table;
	for (unsigned i = 0; i < sizeof(frames) / sizeof(*frames); i++) {
		bad_table.v = frames[i];
		assert_result(host_fault(host, 0, PAGE * K, VMMU_W), VMMU_FAULT_NO_MEMORY);
	}
	host->calls.table_alloc = host_table_alloc;
	assert_result(host_fault(host, 0, PAGE * K, VMMU_W), VMMU_FAULT_FIXED);
	host_end(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL(late_readers_do_not_undo_a_copy),
		ALL(a_copy_is_not_undone_by_what_is_said_next),
		ALL(a_copy_takes_the_place_of_what_readers_have),
		ALL(a_prefault_gets_its_copy),
		DIRECT(a_slot_that_is_gone_is_not_looked_into),
		DIRECT(a_copy_waits_for_the_flush_of_a_call),
		ALL(an_answer_during_a_call_is_no_newer_than_what_it_removes),
		SHADOW(aliases_have_one_frame),
		SHADOW(a_noted_run_ends_where_a_copy_begins),
		SHADOW(a_run_does_not_outlive_an_invalidation),
		SHADOW(a_late_run_does_not_undo_a_neighbours_copy),
		SHADOW(a_copy_is_remembered_when_nothing_maps_it),
		SHADOW(the_direct_map_has_the_same_frame),
		SHADOW(the_direct_map_is_remembered),
		ALL(a_run_out_of_step_gives_only_what_is_in_step),
		DIRECT(a_prefault_maps_only_what_is_in_step),
		ALL(answers_that_cannot_be_are_refused),
		DIRECT(a_refusal_names_no_entry),
		ALL(the_last_frame_is_given),
		ALL(table_frames_that_cannot_be_are_refused),
	};

	cmocka_set_test_filter(getenv("ONLY"));
	return cmocka_run_group_tests_name("answers", tests, NULL, NULL);
}
