/* SPDX-License-Identifier: BSD-2-Clause */
/* The host of the nested machine: L1's memory, slots, callbacks. */
#include "nested_internal.h"
#include "nested_machine.h"
#include "random.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define TABLE_FRAMES 4096u
#define TABLES_AT ((1ull << SIM_NM_PHYSICAL_BITS) - TABLE_FRAMES * 4096ull)
#define FIRST_PFN 0x1000000u
#define MIGRATION 0x1000000u /* frames never overlap: stale ones cannot look right */
#define LAST_PFN 0x300000000ull

void sim_nm_fail(struct sim_nm *nm, const char *format, ...)
{
	va_list args;

	if (nm->failed)
		return;
	nm->failed = true;
	va_start(args, format);
	vsnprintf(nm->failure, sizeof(nm->failure), format, args);
	va_end(args);
	if (!nm->silent)
		fprintf(stderr, "FOUND after %lu accesses (seed %lu): %s\n", nm->accesses, nm->config.seed, nm->failure);
}

struct vmmu_cpu sim_nm_cpu_of(const struct sim_nm_config *config)
{
	return (struct vmmu_cpu){
		.maxphyaddr = SIM_NM_PHYSICAL_BITS,
		.page_2m = true,
		.page_1g = !config->no_1g,
		.exec_only = config->mode == VMMU_MODE_EPT && !config->no_exec_only,
		.ad = !config->no_ad,
		.nx = true,
		.levels5 = config->levels5,
	};
}

void sim_nm_pause(struct sim_nm *nm)
{
	struct sim_nm_vcpu *at = nm->at;

	if (nm->config.pause)
		nm->config.pause();
	nm->at = at;
}

/* ---- L1's memory -------------------------------------------------------------------- */

struct sim_nm_slot *sim_nm_slot_at(struct sim_nm *nm, uint64_t gfn)
{
	for (unsigned i = 0; i < SIM_NM_SLOTS; i++) {
		struct sim_nm_slot *slot = &nm->slot[i];
		uint64_t first = slot->info.base.v >> 12;

		if (slot->present && gfn >= first && gfn - first < slot->info.bytes >> 12)
			return slot;
	}
	return NULL;
}

uint64_t sim_nm_frame(const struct sim_nm *nm, uint64_t gfn)
{
	return nm->first_pfn + nm->config.skew + gfn;
}

uint8_t sim_nm_memtype(const struct sim_nm *nm, uint64_t gfn, bool *ignore_pat)
{
	static const uint8_t types[] = {VMMU_MEMTYPE_UC, VMMU_MEMTYPE_WC, VMMU_MEMTYPE_WT, VMMU_MEMTYPE_WP, VMMU_MEMTYPE_WB};
	uint64_t block = gfn >> 9;

	*ignore_pat = nm->config.memtype_mixed ? block % 7 == 3 : nm->config.ignore_pat;
	return nm->config.memtype_mixed ? types[block % 5] : nm->config.memtype;
}

uint64_t sim_nm_word(const struct sim_nm *nm, uint64_t gpa)
{
	uint64_t value;

	memcpy(&value, nm->ram + gpa, 8);
	return value;
}

bool sim_nm_store(struct sim_nm *nm, uint64_t gpa, unsigned size, uint64_t value)
{
	bool is_table = nm->is_table[gpa >> 12];

	memcpy(nm->ram + gpa, &value, size);
	nm->logged[gpa >> 12] = true;
	nm->changes += is_table;
	return is_table;
}

static struct sim_nm_pending *pend(struct sim_nm *nm, uint64_t gpa)
{
	for (unsigned i = 0; i < SIM_NM_PENDING; i++)
		if (!nm->pending[i].used) {
			nm->pending[i] = (struct sim_nm_pending){.used = true, .gpa = gpa & ~7ull, .before = sim_nm_word(nm, gpa & ~7ull)};
			return &nm->pending[i];
		}
	/* One that has been told long ago. */
	for (unsigned i = 0; i < SIM_NM_PENDING; i++)
		if (nm->pending[i].late) {
			nm->pending[i].used = false;
			return pend(nm, gpa);
		}
	abort();
}

void sim_nm_host_write(struct sim_nm *nm, uint64_t gpa, unsigned size, uint64_t value)
{
	struct sim_nm_pending *pending;
	struct sim_nm_vcpu *at = nm->at;

	if (!sim_nm_slot_at(nm, gpa >> 12))
		return;
	pending = pend(nm, gpa);
	sim_nm_store(nm, gpa, size, value);
	sim_nm_pause(nm);
	at->outside = true;
	vmmu_guest_written(at->vcpu, vmmu_gpa_of(gpa), size);
	at->outside = false;
	nm->at = at;
	nm->changes++;
	pending->used = pending->late = nm->config.pause;
	sim_nm_check_all(nm);
}

void sim_nm_store_late(struct sim_nm *nm, uint64_t gpa, uint64_t value)
{
	if (nm->config.pause && nm->is_table[gpa >> 12])
		pend(nm, gpa)->late = true;
	if (sim_nm_store(nm, gpa, 8, value))
		sim_nm_check_all(nm);
	else
		sim_nm_check_current(nm);
}

void sim_nm_refuse(struct sim_nm *nm, unsigned nth, bool all)
{
	nm->tables.plan = (struct sim_fail_plan){.at = {nth ? nm->tables.attempts + nth : 0}, .from_first_on = all};
}

/* ---- host callbacks ------------------------------------------------------------------ */

static void *object_alloc(void *ctx, size_t size)
{
	return sim_memory_object_alloc(&((struct sim_nm *)ctx)->tables, size);
}

static void object_free(void *ctx, void *object, size_t size)
{
	sim_memory_object_free(&((struct sim_nm *)ctx)->tables, object, size);
}

static bool table_alloc(void *ctx, vmmu_hpa *out)
{
	return sim_memory_table_alloc(&((struct sim_nm *)ctx)->tables, out);
}

static void check_forgotten(struct sim_nm *nm, const struct sim_nm_space *space, uint64_t table)
{
	for (unsigned i = 0; space->pointer && i < SIM_TLB_TABLES; i++)
		if (space->tlb.table[i].valid && space->tlb.table[i].table == table)
			sim_nm_fail(nm, "table %#lx is freed while a CPU remembers it for L%u", table, space->is_l2 + 1);
}

static void table_free(void *ctx, vmmu_hpa frame)
{
	struct sim_nm *nm = ctx;

	for (unsigned n = 0; n < nm->vcpus; n++)
		for (unsigned s = 0; s < SIM_NM_SPACES; s++)
			check_forgotten(nm, &nm->cpu[n].space[s], frame.v);
	sim_memory_table_free(&nm->tables, frame);
}

static bool is_busy(struct sim_nm *nm, uint64_t gfn)
{
	if (!nm->busy_for || gfn != nm->busy_gfn)
		return false;
	nm->busy_for--;
	return true;
}

/* Now and then the next questions about a page have no answer. */
void sim_nm_make_busy(struct sim_nm *nm, uint64_t gfn)
{
	if (sim_random_below(&nm->random, 100) >= nm->config.busy_percent)
		return;
	nm->busy_gfn = gfn;
	nm->busy_for = 1 + (unsigned)sim_random_below(&nm->random, 8);
}

static unsigned run_order(struct sim_nm *nm)
{
	unsigned order = nm->config.order == SIM_NM_ORDER_MIXED ? (unsigned)sim_random_below(&nm->random, 14) : nm->config.order;

	if (nm->config.memtype_mixed && order > 9)
		order = 9;
	/* A run is aligned alike on both sides. */
	while (nm->config.skew & ((1ull << order) - 1))
		order--;
	return order;
}

static enum vmmu_backing_result backing(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, unsigned access,
                                        struct vmmu_backing *out)
{
	struct sim_nm *nm = ctx;

	(void)slot;
	(void)access;
	sim_nm_pause(nm);
	*out = (struct vmmu_backing){
		.pfn = {sim_nm_frame(nm, gfn.v)},
		.order = (uint8_t)run_order(nm),
		.rights = VMMU_RWX,
	};
	out->memtype = sim_nm_memtype(nm, gfn.v, &out->ignore_pat);
	sim_nm_pause(nm);
	return is_busy(nm, gfn.v) ? VMMU_BACKING_RETRY : VMMU_BACKING_OK;
}

/* A range is one of L1's gfns: what L2 has of it has other addresses. */
static void flush(void *ctx, const struct vmmu_flush *what)
{
	struct sim_nm *nm = ctx;

	sim_nm_pause(nm);
	nm->flushes++;
	for (unsigned n = 0; n < nm->vcpus; n++)
		for (unsigned s = 0; s < SIM_NM_SPACES; s++) {
			struct sim_nm_space *space = &nm->cpu[n].space[s];

			if (what->all)
				sim_tlb_flush(&space->tlb, 0, ~0ull, true);
			else if (!space->is_l2)
				sim_tlb_flush(&space->tlb, what->start.v, what->pages, what->tables_freed);
		}
	sim_nm_pause(nm);
}

static enum vmmu_guest_read read_ram(struct sim_nm *nm, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	*value = 0;
	if (!sim_nm_slot_at(nm, gpa.v >> 12))
		return VMMU_GUEST_READ_NONE;
	memcpy(value, nm->ram + gpa.v, size);
	return VMMU_GUEST_READ_OK;
}

static enum vmmu_guest_read guest_read(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	struct sim_nm *nm = ctx;

	sim_nm_pause(nm);
	if (nm->taking)
		sim_nm_fail(nm, "%#lx is read while the host takes it back", gpa.v);
	if (is_busy(nm, gpa.v >> 12))
		return VMMU_GUEST_READ_BUSY;
	return read_ram(nm, gpa, size, value);
}

static enum vmmu_guest_swap guest_cmpxchg(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t expected, uint64_t value)
{
	struct sim_nm *nm = ctx;
	uint64_t now;

	sim_nm_pause(nm);
	if (nm->taking)
		sim_nm_fail(nm, "%#lx is stored to while the host takes it back", gpa.v);
	if (is_busy(nm, gpa.v >> 12))
		return VMMU_GUEST_SWAP_BUSY;
	if (read_ram(nm, gpa, size, &now) != VMMU_GUEST_READ_OK || now != expected)
		return VMMU_GUEST_CHANGED;
	if (sim_nm_slot_at(nm, gpa.v >> 12)->info.flags & VMMU_SLOT_READONLY)
		return VMMU_GUEST_READ_ONLY;
	sim_nm_store(nm, gpa.v, size, value);
	return VMMU_GUEST_SWAPPED;
}

static uint64_t now(void *ctx)
{
	return ++((struct sim_nm *)ctx)->clock;
}

static void trace_full(void *ctx, struct vmmu_trace_ring *ring)
{
	sim_trace_drain(&((struct sim_nm *)ctx)->trace, ring);
}

static bool owns_frame(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, vmmu_pfn pfn)
{
	(void)slot;
	return pfn.v == sim_nm_frame(ctx, gfn.v);
}

static void relax(void *ctx)
{
	struct sim_nm *nm = ctx;
	struct sim_nm_vcpu *at = nm->at;

	nm->config.wait();
	nm->at = at;
}

static void point(void *ctx, unsigned point, vmmu_hpa table, unsigned index)
{
	struct sim_nm *nm = ctx;

	(void)table;
	(void)index;
	sim_nm_pause(nm);
	if (point == VMMU_POINT_ENTRY_AFTER)
		sim_nm_look_around(nm);
}

/* ---- the machine ----------------------------------------------------------------------- */

static void ring_init(struct vmmu_trace_ring *ring)
{
	ring->size = 256;
	ring->records = calloc(ring->size, sizeof(*ring->records));
	if (!ring->records)
		abort();
}

static void *map_ram(uint64_t pages)
{
	/* A page more: a 4-byte entry is read with the 4 bytes behind it. */
	void *ram = mmap(NULL, (pages + 1) << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (ram == MAP_FAILED)
		abort();
	return ram;
}

static void add_vcpu(struct sim_nm *nm, unsigned n)
{
	struct sim_nm_vcpu *cpu = &nm->cpu[n];

	cpu->number = n;
	ring_init(&cpu->ring);
	if (vmmu_vcpu_create(nm->vm, (uint16_t)n, &cpu->ring, &cpu->vcpu) != VMMU_OK)
		abort();
	for (unsigned s = 0; s < SIM_NM_SPACES; s++)
		sim_tlb_init(&cpu->space[s].tlb, nm->config.seed + n * SIM_NM_SPACES + s, 10);
	cpu->on = &cpu->space[0];
}

struct sim_nm *sim_nm_new(const struct sim_nm_config *config)
{
	struct sim_nm *nm = calloc(1, sizeof(*nm));
	struct sim_memory_config memory = {.base = TABLES_AT, .seed = config->seed, .frames = TABLE_FRAMES};
	struct vmmu_config vm = {
		.mode = config->mode,
		.cpu = sim_nm_cpu_of(config),
		.max_shadow_tables = config->max_shadow_tables,
		.nested = true,
		.id = 1,
	};
	uintptr_t base = TABLES_AT;

	if (!nm || !sim_memory_init(&nm->tables, &memory))
		abort();
	nm->config = *config;
	nm->random = config->seed * 77 + 5;
	nm->ram = map_ram(config->ram_pages);
	nm->logged = calloc(config->ram_pages, sizeof(*nm->logged));
	nm->is_table = calloc(config->ram_pages, sizeof(*nm->is_table));
	if (!nm->logged || !nm->is_table)
		abort();
	nm->first_pfn = FIRST_PFN;
	nm->host = (struct vmmu_host){
		.object_alloc = object_alloc,
		.object_free = object_free,
		.table_alloc = table_alloc,
		.table_free = table_free,
		.table_read_base = (uintptr_t)nm->tables.read_view - base,
		.table_write_base = (uintptr_t)nm->tables.write_view - base,
		.backing = backing,
		.flush = flush,
		.guest_read = guest_read,
		.guest_cmpxchg = guest_cmpxchg,
		.time = now,
		.trace_full = trace_full,
		.owns_frame = owns_frame,
		.point = point,
		.relax = config->wait ? relax : NULL,
	};
	sim_trace_init(&nm->trace);
	ring_init(&nm->ring);
	vm.ring = &nm->ring;
	vm.host = &nm->host;
	vm.host_ctx = nm;
	if (vmmu_vm_create(&vm, &nm->vm) != VMMU_OK)
		abort();
	vmmu_trace_enable(nm->vm, true);
	nm->vcpus = config->vcpus ? config->vcpus : 1;
	for (unsigned n = 0; n < nm->vcpus; n++)
		add_vcpu(nm, n);
	for (unsigned n = nm->vcpus; n-- > 0;) {
		sim_nm_by(nm, n);
		sim_nm_enter(nm, NULL);
	}
	return nm;
}

static void audit_line(void *arg, const char *rule, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	sim_nm_fail(arg, "audit: %s (level %u, index %u of %#lx, entry %#lx, gfn %#lx)", rule, step->level, step->index,
	            step->table.v, step->entry, gfn.v);
}

void sim_nm_audit(struct sim_nm *nm)
{
	vmmu_audit(nm->vm, audit_line, nm);
}

/* Replaying the trace from empty tables must give the tables as they are. */
static void check_provenance(struct sim_nm *nm)
{
	struct sim_replay replay;
	char error[256];
	size_t count = 0;

	sim_trace_drain(&nm->trace, &nm->ring);
	for (unsigned n = 0; n < nm->vcpus; n++)
		sim_trace_drain(&nm->trace, &nm->cpu[n].ring);
	if (!sim_trace_replay(&nm->trace, &replay, error, sizeof(error))) {
		sim_nm_fail(nm, "trace: %s", error);
		return;
	}
	for (unsigned f = 0; f < TABLE_FRAMES; f++)
		for (unsigned i = 0; nm->tables.frame[f].in_use && i < 512; i++) {
			uint64_t hpa = TABLES_AT + f * 4096ull + i * 8, value;

			sim_memory_load(&nm->tables, hpa, &value);
			count += value != 0;
			if (value && value != sim_replay_get(&replay, hpa))
				sim_nm_fail(nm, "entry at %#lx is %#lx; by the trace %#lx", hpa, value,
				            sim_replay_get(&replay, hpa));
		}
	if (count != sim_replay_nonzero(&replay))
		sim_nm_fail(nm, "%zu entries, by the trace %zu", count, sim_replay_nonzero(&replay));
	sim_replay_fini(&replay);
}

bool sim_nm_end(struct sim_nm *nm)
{
	bool good;

	sim_nm_refuse(nm, 0, false);
	if (!nm->failed)
		sim_nm_audit(nm);
	if (!nm->failed)
		check_provenance(nm);
	for (unsigned n = 0; n < nm->vcpus; n++)
		vmmu_vcpu_destroy(nm->cpu[n].vcpu);
	if (vmmu_vm_destroy(nm->vm) != VMMU_OK)
		sim_nm_fail(nm, "the VM cannot be destroyed");
	if (nm->tables.objects || nm->tables.in_use)
		sim_nm_fail(nm, "%u objects and %u frames are left", nm->tables.objects, nm->tables.in_use);
	if (nm->tables.error)
		sim_nm_fail(nm, "%s", nm->tables.error);
	good = !nm->failed;
	sim_trace_fini(&nm->trace);
	sim_memory_fini(&nm->tables);
	free(nm->ring.records);
	for (unsigned n = 0; n < nm->vcpus; n++)
		free(nm->cpu[n].ring.records);
	free(nm->logged);
	free(nm->is_table);
	munmap(nm->ram, (nm->config.ram_pages + 1) << 12);
	free(nm);
	return good;
}

/* ---- what the host does ------------------------------------------------------------------------ */

void sim_nm_slot_create(struct sim_nm *nm, unsigned n, uint64_t gfn, uint64_t pages, uint32_t flags)
{
	nm->slot[n].info = (struct vmmu_slot_info){.id = n, .base = {gfn << 12}, .bytes = pages << 12, .flags = flags};
	if (vmmu_slot_create(nm->vm, &nm->slot[n].info) != VMMU_OK)
		sim_nm_fail(nm, "slot %u is refused", n);
	nm->slot[n].present = true;
	nm->changes++;
}

void sim_nm_slot_delete(struct sim_nm *nm, unsigned n)
{
	nm->slot[n].going = true;
	if (vmmu_slot_delete(nm->vm, n) != VMMU_OK)
		sim_nm_fail(nm, "slot %u cannot be deleted", n);
	nm->slot[n].present = nm->slot[n].going = false;
	nm->changes++;
	sim_nm_check_all(nm);
}

void sim_nm_slot_flags(struct sim_nm *nm, unsigned n, uint32_t flags)
{
	struct vmmu_slot_info *info = &nm->slot[n].info;

	if (flags & ~info->flags & VMMU_SLOT_LOG_DIRTY)
		memset(nm->logged + (info->base.v >> 12), 0, info->bytes >> 12);
	if (vmmu_slot_set_flags(nm->vm, n, flags) != VMMU_OK)
		sim_nm_fail(nm, "flags of slot %u are refused", n);
	info->flags = flags;
	nm->changes++;
	sim_nm_check_all(nm);
}

void sim_nm_log(struct sim_nm *nm, unsigned n)
{
	const struct vmmu_slot_info *info = &nm->slot[n].info;
	size_t words = ((info->bytes >> 12) + 63) / 64;
	uint64_t *bitmap = calloc(words, 8), first = info->base.v >> 12;
	bool *before = calloc(info->bytes >> 12, sizeof(*before));

	memcpy(before, nm->logged + first, info->bytes >> 12);
	memset(nm->logged + first, 0, info->bytes >> 12);
	if (!bitmap || vmmu_dirty_log(nm->vm, n, bitmap, words) != VMMU_OK)
		sim_nm_fail(nm, "the log of slot %u is refused", n);
	for (uint64_t i = 0; bitmap && i < info->bytes >> 12; i++) {
		if (before[i] && !(bitmap[i / 64] >> i % 64 & 1))
			sim_nm_fail(nm, "gfn %#lx was written and is not in the log", first + i);
		/* What another has written meanwhile is in this round, or in the next. */
		nm->logged[first + i] &= !(bitmap[i / 64] >> i % 64 & 1);
	}
	free(before);
	free(bitmap);
	sim_nm_check_all(nm);
}

void sim_nm_take(struct sim_nm *nm)
{
	if (vmmu_invalidate_begin(nm->vm, vmmu_gpa_of(0), nm->config.ram_pages << 12) != VMMU_OK)
		sim_nm_fail(nm, "invalidation is refused");
	nm->taking = true;
	nm->first_pfn += MIGRATION;
	if (nm->first_pfn > LAST_PFN)
		nm->first_pfn = FIRST_PFN;
	nm->changes++;
	sim_nm_check_all(nm);
}

void sim_nm_give(struct sim_nm *nm)
{
	nm->taking = false;
	if (vmmu_invalidate_end(nm->vm, vmmu_gpa_of(0), nm->config.ram_pages << 12) != VMMU_OK)
		sim_nm_fail(nm, "invalidation has no end");
	sim_nm_check_all(nm);
}

void sim_nm_migrate(struct sim_nm *nm)
{
	struct sim_nm_vcpu *at = nm->at;

	sim_nm_take(nm);
	for (unsigned n = 0; n < nm->vcpus && !nm->config.pause; n++) {
		sim_nm_by(nm, n);
		sim_nm_try_meanwhile(nm);
	}
	nm->at = at;
	sim_nm_pause(nm);
	sim_nm_give(nm);
}
