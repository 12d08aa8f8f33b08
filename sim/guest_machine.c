/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest_internal.h"
#include "guest_machine.h"
#include "random.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Across 4 GiB: what CR3 names outside long mode lies below, all else above. */
#define LOW_FRAMES 128u
#define TABLES_AT ((1ull << 32) - LOW_FRAMES * 4096ull)
#define TABLE_FRAMES 4096u
#define FIRST_PFN 0x100000u
#define CHANGES_KEPT 200000u
#define NOTHING (~0u) /* no change */
#define NOBODY (~0u)  /* a management call: every vCPU runs on */

void sim_gm_fail(struct sim_gm *gm, const char *format, ...)
{
	va_list args;

	if (__atomic_exchange_n(&gm->failed, true, __ATOMIC_ACQ_REL))
		return;
	va_start(args, format);
	vsnprintf(gm->failure, sizeof(gm->failure), format, args);
	va_end(args);
	if (!gm->silent)
		fprintf(stderr, "FOUND after %lu accesses: %s\n", gm->accesses, gm->failure);
}

bool sim_gm_is_refused(struct sim_gm *gm, enum vmmu_status status)
{
	return status == VMMU_ERR_NO_MEMORY && gm->tables.failed;
}

/* ---- guest memory ----------------------------------------------------------------- */

static bool is_at(const struct sim_gm_slot *slot, uint64_t base, uint64_t gfn, uint64_t *ram_page)
{
	uint64_t first = base >> 12;

	*ram_page = slot->info.backing + (gfn - first);
	return gfn >= first && gfn - first < slot->info.bytes >> 12;
}

struct sim_gm_slot *sim_gm_slot_at(struct sim_gm *gm, uint64_t gfn, uint64_t *ram_page)
{
	for (unsigned i = 0; i < SIM_GM_SLOTS; i++) {
		struct sim_gm_slot *slot = &gm->slot[i];

		if (slot->presence != SIM_GM_ABSENT && is_at(slot, slot->info.base.v, gfn, ram_page))
			return slot;
		if (slot->presence == SIM_GM_CHANGING && is_at(slot, slot->moving_to, gfn, ram_page))
			return slot;
	}
	return NULL;
}

bool sim_gm_may_write(const struct sim_gm_slot *slot)
{
	return !(slot->info.flags & slot->flags_before & VMMU_SLOT_READONLY);
}

/* Memory that is there for sure: what the host reads and writes itself. */
static struct sim_gm_slot *sure_slot_at(struct sim_gm *gm, uint64_t gfn, uint64_t *ram_page)
{
	struct sim_gm_slot *slot = sim_gm_slot_at(gm, gfn, ram_page);

	return slot && slot->presence == SIM_GM_PRESENT ? slot : NULL;
}

static bool read_ram(struct sim_gm *gm, uint64_t gpa, unsigned size, uint64_t *value)
{
	uint64_t ram_page;

	*value = 0;
	if (!sure_slot_at(gm, gpa >> 12, &ram_page))
		return false;
	memcpy(value, gm->ram + ram_page * 4096 + (gpa & 4095), size);
	return true;
}

bool sim_gm_read(struct sim_gm *gm, uint64_t gpa, unsigned size, uint64_t *value)
{
	bool there;

	sim_gm_lock(gm);
	there = read_ram(gm, gpa, size, value);
	sim_gm_unlock(gm);
	return there;
}

/* Nobody needs to know what was, once all CPUs have forgotten it. */
static void shorten_history(struct sim_gm *gm)
{
	if (gm->history.changes < CHANGES_KEPT || !sim_history_clear(&gm->history))
		return;
	for (unsigned i = 0; i < gm->vcpus; i++) {
		sim_gm_forget_all(gm, i);
		gm->vcpu[i].log.events = 0;
		sim_invalidated(&gm->vcpu[i].log, gm->history.clock, SIM_FORGETS_ALL, 0, 0);
	}
}

/* A store of up to 8 bytes may change two words of 8. Returns the changes' names. */
static void store(struct sim_gm *gm, uint64_t page, unsigned offset, unsigned size, uint64_t value,
                  bool complete, uint32_t change[2])
{
	unsigned first = offset / 8, last = (offset + size - 1) / 8;
	uint64_t old[2];

	memcpy(old, gm->ram + page * 4096 + first * 8, (last - first + 1) * 8);
	memcpy(gm->ram + page * 4096 + offset, &value, size);
	for (unsigned i = 0; i <= last - first; i++)
		change[i] = sim_history_stored(&gm->history, page, first + i, old[i], complete);
	if (first == last)
		change[1] = NOTHING;
	gm->written[page] = gm->history.clock;
}

void sim_gm_store(struct sim_gm *gm, uint64_t page, unsigned offset, unsigned size, uint64_t value)
{
	uint32_t change[2];

	shorten_history(gm);
	store(gm, page, offset, size, value, true, change);
}

/*
 * The engine marks the page dirty some time after the store, but before its call is
 * over. With others about, nobody here knows which round of the log that is.
 */
static void note_later(struct sim_gm *gm, uint64_t page)
{
	if (gm->host.relax)
		gm->written[page] = SIM_HISTORY_OPEN;
}

/*
 * An emulated store lasts until the engine knows of it: so long a CPU may still
 * meet what followed from the old words.
 */
void sim_gm_host_write(struct sim_gm *gm, unsigned vcpu, uint64_t gpa, unsigned size, uint64_t value)
{
	uint32_t change[2];
	uint64_t page;
	bool there;

	sim_gm_lock(gm);
	there = sure_slot_at(gm, gpa >> 12, &page);
	if (there)
		store(gm, page, gpa & 4095, size, value, false, change);
	if (there)
		note_later(gm, page);
	sim_gm_unlock(gm);
	if (!there)
		return;
	gm->busy = vcpu;
	vmmu_guest_written(gm->vcpu[vcpu].engine, vmmu_gpa_of(gpa), size);
	sim_gm_lock(gm);
	for (unsigned i = 0; i < 2 && change[i] != NOTHING; i++)
		sim_history_complete(&gm->history, change[i]);
	shorten_history(gm);
	sim_gm_unlock(gm);
}

/* ---- host callbacks ------------------------------------------------------------------ */

static void *object_alloc(void *ctx, size_t size)
{
	return sim_memory_object_alloc(&((struct sim_gm *)ctx)->tables, size);
}

static void object_free(void *ctx, void *object, size_t size)
{
	sim_memory_object_free(&((struct sim_gm *)ctx)->tables, object, size);
}

static bool table_alloc(void *ctx, vmmu_hpa *out)
{
	return sim_memory_table_alloc(&((struct sim_gm *)ctx)->tables, out);
}

static bool table_alloc_low(void *ctx, vmmu_hpa *out)
{
	return sim_memory_table_alloc_low(&((struct sim_gm *)ctx)->tables, out);
}

static void table_free(void *ctx, vmmu_hpa frame)
{
	struct sim_gm *gm = ctx;

	sim_gm_lock(gm);
	for (unsigned i = 0; i < gm->vcpus; i++)
		if (sim_gm_reaches(gm, i, frame.v))
			sim_gm_fail(gm, "table %#lx is freed while vCPU %u can reach it", frame.v, i);
	sim_gm_unlock(gm);
	sim_memory_table_free(&gm->tables, frame);
}

static void others_run(struct sim_gm *gm)
{
	if (gm->meanwhile)
		gm->meanwhile(gm->meanwhile_arg, gm->busy);
	if (gm->pause)
		gm->pause();
}

/* Frames of pages that are still shared stand so far behind the others. */
enum { SHARED_FRAMES = 1 << 17 };

static void copy_on_write(struct sim_gm *gm, uint64_t page, unsigned access, struct vmmu_backing *out)
{
	uint64_t run = 1ull << gm->order, first = page & ~(run - 1);

	gm->copy[page].made |= access == VMMU_W;
	if (gm->copy[page].made) {
		out->order = 0;
		return;
	}
	out->pfn.v += SHARED_FRAMES;
	out->rights &= ~VMMU_W;
	for (uint64_t i = first; i < first + run && i < gm->ram_pages; i++)
		if (gm->copy[i].made)
			out->order = 0;
}

bool sim_gm_is_frame_of(const struct sim_gm *gm, uint64_t pfn, uint64_t page)
{
	if (pfn == gm->first_pfn + page)
		return !gm->copy || gm->copy[page].made;
	return gm->copy && pfn == gm->first_pfn + SHARED_FRAMES + page && !gm->copy[page].written;
}

static enum vmmu_backing_result backing(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
                                        unsigned access, struct vmmu_backing *out)
{
	struct sim_gm *gm = ctx;

	sim_gm_lock(gm);
	*out = (struct vmmu_backing){
		.pfn = {gm->first_pfn + slot->backing + gfn.v - (slot->base.v >> 12)},
		.order = (uint8_t)gm->order,
		.rights = VMMU_RWX,
		.memtype = VMMU_MEMTYPE_WB,
	};
	if (gm->copy)
		copy_on_write(gm, slot->backing + gfn.v - (slot->base.v >> 12), access, out);
	sim_gm_unlock(gm);
	others_run(gm); /* the answer may be old when it comes */
	return VMMU_BACKING_OK;
}

static void flush(void *ctx, const struct vmmu_flush *what)
{
	struct sim_gm *gm = ctx;

	__atomic_fetch_add(&gm->flushes, 1, __ATOMIC_RELAXED);
	if (!what->all)
		sim_gm_fail(gm, "a flush names gfns, but TLBs know gvas only");
	if (gm->meanwhile) {
		gm->flushing = true;
		others_run(gm);
		gm->flushing = false;
	}
	for (unsigned i = 0; i < gm->vcpus; i++) {
		if (gm->pause)
			gm->pause();
		sim_gm_lock(gm);
		sim_gm_forget_all(gm, i);
		sim_gm_unlock(gm);
	}
}

static enum vmmu_guest_read guest_read(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	struct sim_gm *gm = ctx;

	/* One thread alone asks for it. */
	if (gm->busy_one_in && !sim_random_below(&gm->busy_random, gm->busy_one_in))
		return VMMU_GUEST_READ_BUSY;
	return sim_gm_read(ctx, gpa.v, size, value) ? VMMU_GUEST_READ_OK : VMMU_GUEST_READ_NONE;
}

static const void *guest_page(void *ctx, vmmu_gpa gpa)
{
	struct sim_gm *gm = ctx;
	const void *at = NULL;
	uint64_t page;

	sim_gm_lock(gm);
	if (sure_slot_at(gm, gpa.v >> 12, &page))
		at = gm->ram + page * 4096;
	sim_gm_unlock(gm);
	return at;
}

static enum vmmu_guest_swap swap(struct sim_gm *gm, uint64_t gpa, unsigned size, uint64_t expected,
                                 uint64_t value)
{
	uint64_t now, page;

	if (!read_ram(gm, gpa, size, &now)) {
		if (!gm->host.relax) /* with others about, a slot may have gone since it was read */
			sim_gm_fail(gm, "A or D is to be set where there is no memory");
		return VMMU_GUEST_CHANGED;
	}
	if (now != expected)
		return VMMU_GUEST_CHANGED;
	if (sure_slot_at(gm, gpa >> 12, &page)->info.flags & VMMU_SLOT_READONLY)
		return VMMU_GUEST_READ_ONLY;
	sim_gm_store(gm, page, gpa & 4095, size, value);
	note_later(gm, page);
	return VMMU_GUEST_SWAPPED;
}

static enum vmmu_guest_swap guest_cmpxchg(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t expected,
                                          uint64_t value)
{
	struct sim_gm *gm = ctx;
	enum vmmu_guest_swap result;

	sim_gm_lock(gm);
	result = swap(gm, gpa.v, size, expected, value);
	sim_gm_unlock(gm);
	return result;
}

static uint64_t now(void *ctx)
{
	return __atomic_add_fetch(&((struct sim_gm *)ctx)->clock, 1, __ATOMIC_RELAXED);
}

static void trace_full(void *ctx, struct vmmu_trace_ring *ring)
{
	sim_trace_drain(&((struct sim_gm *)ctx)->trace, ring);
}

static void relax(void *ctx)
{
	struct sim_gm *gm = ctx;

	if (gm->wait)
		gm->wait();
	else
		sched_yield();
}

/* An entry has just been written: CPUs look around, wherever they have been. */
static void look_around(struct sim_gm *gm)
{
	for (unsigned n = 0; n < gm->vcpus; n++) {
		struct sim_gm_vcpu *v = &gm->vcpu[n];
		unsigned places = v->places < SIM_GM_PLACES ? v->places : SIM_GM_PLACES;

		if (places && !v->switching && sim_random_below(&gm->random, 100) < gm->look_percent)
			sim_gm_look(gm, n, v->place[sim_random_below(&gm->random, places)]);
	}
}

static void point(void *ctx, unsigned where, vmmu_hpa table, unsigned index)
{
	struct sim_gm *gm = ctx;

	(void)table;
	(void)index;
	if (where == VMMU_POINT_ENTRY_AFTER) {
		gm->entries++;
		if (!gm->failed)
			look_around(gm);
	}
	if (gm->pause)
		gm->pause();
}

static bool owns_frame(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, vmmu_pfn pfn)
{
	struct sim_gm *gm = ctx;

	return sim_gm_is_frame_of(gm, pfn.v, slot->backing + gfn.v - (slot->base.v >> 12));
}

/* ---- the machine ------------------------------------------------------------------------ */

static void init_host(struct sim_gm *gm)
{
	uintptr_t base = gm->tables.config.base;

	gm->host = (struct vmmu_host){
		.object_alloc = object_alloc,
		.object_free = object_free,
		.table_alloc = table_alloc,
		.table_alloc_low = table_alloc_low,
		.table_free = table_free,
		.table_read_base = (uintptr_t)gm->tables.read_view - base,
		.table_write_base = (uintptr_t)gm->tables.write_view - base,
		.backing = backing,
		.flush = flush,
		.guest_read = guest_read,
		.guest_cmpxchg = guest_cmpxchg,
		.time = now,
		.trace_full = trace_full,
		.relax = gm->threads || gm->wait ? relax : NULL,
		.point = gm->threads ? NULL : point,
		.owns_frame = owns_frame,
	};
}

static void init_ring(struct vmmu_trace_ring *ring)
{
	ring->size = 256;
	ring->records = calloc(ring->size, sizeof(*ring->records));
	if (!ring->records)
		abort();
}

/* False: memory ran out, as planned; there is nothing to use. */
static bool make_vcpus(struct sim_gm *gm, unsigned vcpus)
{
	for (unsigned i = 0; i < vcpus; i++) {
		struct sim_gm_vcpu *v = &gm->vcpu[i];
		enum vmmu_status status;

		init_ring(&v->ring);
		status = vmmu_vcpu_create(gm->vm, (uint16_t)i, &v->ring, &v->engine);
		if (sim_gm_is_refused(gm, status))
			return false;
		if (status != VMMU_OK)
			abort();
		gm->vcpus = i + 1;
		v->cache.random = gm->random + i;
		v->paging.cpu = (struct vmmu_guest_cpu){.maxphyaddr = 40, .pse36 = true, .page_1g = true};
		sim_gm_set_paging(gm, i, &v->paging);
	}
	return true;
}

struct sim_gm *sim_gm_new(const struct sim_gm_config *config)
{
	struct sim_gm *gm = calloc(1, sizeof(*gm));
	struct sim_memory_config memory = {
		.base = TABLES_AT,
		.seed = config->seed,
		.low_frames = LOW_FRAMES,
		.frames = LOW_FRAMES + (config->table_frames ? config->table_frames : TABLE_FRAMES)};
	struct vmmu_config vm = {
		.mode = VMMU_MODE_SHADOW,
		.cpu = {
			.maxphyaddr = SIM_GM_PHYSICAL_BITS,
			.page_2m = true,
			.page_1g = true,
			.ad = true,
			.nx = true,
			.levels5 = config->la57,
		},
		.max_shadow_tables = config->max_shadow_tables,
		.id = 1,
	};

	if (!gm || !sim_memory_init(&gm->tables, &memory))
		abort();
	gm->ram_pages = config->ram_pages;
	gm->ram = calloc(gm->ram_pages, 4096);
	gm->written = calloc(gm->ram_pages, sizeof(*gm->written));
	gm->order = config->order;
	if (config->copy_on_write && !(gm->copy = calloc(gm->ram_pages, sizeof(*gm->copy))))
		abort();
	gm->first_pfn = FIRST_PFN;
	gm->random = config->seed;
	if (!gm->ram || !gm->written)
		abort();
	gm->threads = config->threads;
	gm->lateness = config->lateness;
	gm->tagged = config->tagged;
	gm->look_percent = config->look_percent;
	gm->busy_one_in = config->busy_one_in;
	gm->busy_random = ~config->seed;
	gm->pause = config->pause;
	gm->wait = config->wait;
	pthread_mutex_init(&gm->lock, NULL);
	sim_history_init(&gm->history, gm->ram_pages);
	init_host(gm);
	if (config->seed % 2 && !config->threads)
		gm->host.guest_page = guest_page; /* it may be left out */
	sim_trace_init(&gm->trace);
	init_ring(&gm->ring);
	vm.ring = &gm->ring;
	vm.host = &gm->host;
	vm.host_ctx = gm;
	gm->tables.plan = config->fail;
	enum vmmu_status status = vmmu_vm_create(&vm, &gm->vm);

	if (status == VMMU_OK) {
		vmmu_trace_enable(gm->vm, true);
		gm->usable = make_vcpus(gm, config->vcpus);
	} else if (!sim_gm_is_refused(gm, status)) {
		abort();
	}
	return gm;
}

static void drain(struct sim_gm *gm)
{
	sim_trace_drain(&gm->trace, &gm->ring);
	for (unsigned i = 0; i < gm->vcpus; i++)
		sim_trace_drain(&gm->trace, &gm->vcpu[i].ring);
}

/* How many entries of table frame f are not zero; each must be as the trace has it. */
static size_t compare_frame(struct sim_gm *gm, const struct sim_replay *replay, unsigned f)
{
	size_t count = 0;

	for (unsigned i = 0; i < 512; i++) {
		uint64_t hpa = TABLES_AT + f * 4096ull + i * 8, value;

		sim_memory_load(&gm->tables, hpa, &value);
		count += value != 0;
		if (value && value != sim_replay_get(replay, hpa))
			sim_gm_fail(gm, "entry at %#lx is %#lx; by the trace it is %#lx", hpa, value,
			            sim_replay_get(replay, hpa));
	}
	return count;
}

/* Replaying the trace from empty tables must give the tables as they are. */
static void check_provenance(struct sim_gm *gm)
{
	struct sim_replay replay;
	char error[256];
	size_t count = 0;

	drain(gm);
	if (!sim_trace_replay(&gm->trace, &replay, error, sizeof(error)))
		sim_gm_fail(gm, "trace: %s", error);
	for (unsigned f = 0; f < gm->tables.config.frames && !gm->failed; f++)
		if (gm->tables.frame[f].in_use)
			count += compare_frame(gm, &replay, f);
	if (!gm->failed && count != sim_replay_nonzero(&replay))
		sim_gm_fail(gm, "%zu entries are not zero; by the trace %zu", count,
		            sim_replay_nonzero(&replay));
	sim_replay_fini(&replay);
	if (!sim_trace_consistent(&gm->trace, error, sizeof(error)))
		sim_gm_fail(gm, "trace: %s", error);
}

/* Now that all is at rest, every write must come to light. */
static void check_logs(struct sim_gm *gm)
{
	for (unsigned n = 0; n < SIM_GM_SLOTS && !gm->failed; n++) {
		const struct vmmu_slot_info *info = &gm->slot[n].info;

		if (gm->slot[n].presence != SIM_GM_PRESENT || !(info->flags & VMMU_SLOT_LOG_DIRTY))
			continue;
		for (uint64_t i = 0; i < info->bytes >> 12; i++)
			if (gm->written[info->backing + i])
				gm->written[info->backing + i] = 1;
		sim_gm_log(gm, n);
	}
}

bool sim_gm_end(struct sim_gm *gm)
{
	bool good;

	check_logs(gm);
	if (gm->vm) {
		sim_gm_audit(gm);
		check_provenance(gm);
	}
	for (unsigned i = 0; i < gm->vcpus; i++) {
		gm->vcpu[i].places = 0;
		gm->vcpu[i].root.table.v = 0;
		memset(gm->vcpu[i].pdpte, 0, sizeof(gm->vcpu[i].pdpte));
		vmmu_vcpu_destroy(gm->vcpu[i].engine);
	}
	if (gm->vm)
		sim_gm_audit(gm);
	if (gm->vm && vmmu_vm_destroy(gm->vm) != VMMU_OK)
		sim_gm_fail(gm, "the VM cannot be destroyed");
	if (gm->tables.in_use || gm->tables.objects)
		sim_gm_fail(gm, "%u table frames and %u objects were never given back", gm->tables.in_use,
		            gm->tables.objects);
	if (gm->tables.error)
		sim_gm_fail(gm, "%s", gm->tables.error);
	good = !gm->failed;
	sim_trace_fini(&gm->trace);
	for (unsigned i = 0; i < SIM_GM_VCPUS; i++) {
		free(gm->vcpu[i].ring.records);
		free(gm->vcpu[i].log.event);
	}
	sim_history_fini(&gm->history);
	pthread_mutex_destroy(&gm->lock);
	free(gm->ring.records);
	sim_memory_fini(&gm->tables);
	free(gm->ram);
	free(gm->written);
	free(gm->copy);
	free(gm);
	return good;
}

/* ---- slots ------------------------------------------------------------------------------- */

/* From here on until the call is done nobody knows for sure. */
static void begin_change(struct sim_gm *gm, unsigned n, const struct sim_gm_slot *slot)
{
	sim_gm_lock(gm);
	gm->slot[n] = *slot;
	gm->slots_changed = SIM_HISTORY_OPEN;
	gm->busy = NOBODY;
	sim_gm_unlock(gm);
}

static void end_change(struct sim_gm *gm, unsigned n, enum sim_gm_presence presence)
{
	struct sim_gm_slot *slot = &gm->slot[n];

	sim_gm_lock(gm);
	slot->presence = presence;
	slot->info.base.v = slot->moving_to;
	slot->flags_before = slot->info.flags;
	gm->slots_changed = ++gm->history.clock;
	sim_gm_unlock(gm);
}

void sim_gm_slot_create(struct sim_gm *gm, unsigned n, uint64_t gfn, uint64_t pages, uint64_t ram_page,
                        uint32_t flags)
{
	struct sim_gm_slot slot = {
		.presence = SIM_GM_CHANGING,
		.info = {
			.id = n,
			.flags = flags,
			.base = {gfn << 12},
			.bytes = pages << 12,
			.backing = ram_page,
		},
		.moving_to = gfn << 12,
		.flags_before = flags,
	};

	begin_change(gm, n, &slot);
	memset(gm->written + ram_page, 0, pages * sizeof(*gm->written));
	SIM_GM_MUST(gm, "slot create", vmmu_slot_create(gm->vm, &slot.info));
	end_change(gm, n, SIM_GM_PRESENT);
}

void sim_gm_slot_delete(struct sim_gm *gm, unsigned n)
{
	struct sim_gm_slot slot = gm->slot[n];

	slot.presence = SIM_GM_CHANGING; /* from the call on nobody may read its tables */
	begin_change(gm, n, &slot);
	SIM_GM_MUST(gm, "slot delete", vmmu_slot_delete(gm->vm, n));
	end_change(gm, n, SIM_GM_ABSENT);
}

static void clear_written(struct sim_gm *gm, const struct vmmu_slot_info *info)
{
	sim_gm_lock(gm);
	memset(gm->written + info->backing, 0, (info->bytes >> 12) * sizeof(*gm->written));
	sim_gm_unlock(gm);
}

void sim_gm_slot_flags(struct sim_gm *gm, unsigned n, uint32_t flags)
{
	struct sim_gm_slot slot = gm->slot[n];

	slot.info.flags = flags;
	begin_change(gm, n, &slot);
	SIM_GM_MUST(gm, "slot flags", vmmu_slot_set_flags(gm->vm, n, flags));
	/* Until the log was on, and that flushed, writes went on unlogged. */
	if (flags & ~slot.flags_before & VMMU_SLOT_LOG_DIRTY)
		clear_written(gm, &slot.info);
	end_change(gm, n, SIM_GM_PRESENT);
}

void sim_gm_slot_move(struct sim_gm *gm, unsigned n, uint64_t gfn)
{
	struct sim_gm_slot slot = gm->slot[n];

	slot.presence = SIM_GM_CHANGING;
	slot.moving_to = gfn << 12;
	begin_change(gm, n, &slot);
	SIM_GM_MUST(gm, "slot move", vmmu_slot_move(gm->vm, n, vmmu_gpa_of(gfn << 12)));
	end_change(gm, n, SIM_GM_PRESENT);
}

/* A page written before the call must be in the log; one written during it, in this or the next. */
static void compare_log(struct sim_gm *gm, unsigned n, const uint64_t *bitmap, uint64_t begin)
{
	const struct vmmu_slot_info *info = &gm->slot[n].info;

	for (uint64_t i = 0; i < info->bytes >> 12; i++) {
		uint64_t *written = &gm->written[info->backing + i];

		if (bitmap[i / 64] >> i % 64 & 1)
			*written = 0;
		else if (*written && *written <= begin)
			sim_gm_fail(gm, "page %lu of slot %u was written; the log does not say so", i, n);
	}
}

void sim_gm_log(struct sim_gm *gm, unsigned n)
{
	uint64_t words = ((gm->slot[n].info.bytes >> 12) + 63) / 64;
	uint64_t *bitmap = calloc(words, sizeof(*bitmap)), begin;

	sim_gm_lock(gm);
	begin = gm->history.clock;
	gm->busy = NOBODY;
	sim_gm_unlock(gm);
	SIM_GM_MUST(gm, "dirty log", vmmu_dirty_log(gm->vm, n, bitmap, words));
	sim_gm_lock(gm);
	compare_log(gm, n, bitmap, begin);
	sim_gm_unlock(gm);
	free(bitmap);
}

void sim_gm_migrate(struct sim_gm *gm)
{
	gm->busy = NOBODY;
	for (unsigned i = 0; i < SIM_GM_SLOTS; i++)
		if (gm->slot[i].presence == SIM_GM_PRESENT)
			SIM_GM_MUST(gm, "invalidate", vmmu_invalidate_begin(gm->vm, gm->slot[i].info.base, gm->slot[i].info.bytes));
	sim_gm_lock(gm);
	gm->first_pfn += 1u << 18;
	if (gm->first_pfn >> 30)
		gm->first_pfn = FIRST_PFN;
	sim_gm_unlock(gm);
	for (unsigned i = 0; i < SIM_GM_SLOTS; i++)
		if (gm->slot[i].presence == SIM_GM_PRESENT)
			vmmu_invalidate_end(gm->vm, gm->slot[i].info.base, gm->slot[i].info.bytes);
}

void sim_gm_exchange(struct sim_gm *gm, uint64_t gfn, unsigned offset, unsigned size, uint64_t value)
{
	uint64_t page;

	gm->busy = NOBODY;
	SIM_GM_MUST(gm, "invalidate", vmmu_invalidate_begin(gm->vm, vmmu_gpa_of(gfn << 12), 4096));
	gm->exchanging = true;
	others_run(gm);
	sim_gm_lock(gm);
	if (sure_slot_at(gm, gfn, &page)) {
		uint64_t written = gm->written[page];

		sim_gm_store(gm, page, offset, size, value);
		gm->written[page] = written; /* what the host does with its own pages is not logged */
	}
	sim_gm_unlock(gm);
	others_run(gm);
	gm->exchanging = false;
	if (vmmu_invalidate_end(gm->vm, vmmu_gpa_of(gfn << 12), 4096) != VMMU_OK)
		sim_gm_fail(gm, "an invalidation has no end");
}

/* ---- audit ----------------------------------------------------------------------------------- */

static void audit_line(void *arg, const char *rule, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	sim_gm_fail(arg, "audit: %s (level %u, index %u of %#lx, entry %#lx, gfn %#lx)", rule,
	            step->level, step->index, step->table.v, step->entry, gfn.v);
}

void sim_gm_audit(struct sim_gm *gm)
{
	gm->busy = NOBODY;
	vmmu_audit(gm->vm, audit_line, gm);
}
