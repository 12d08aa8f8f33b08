/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest_machine.h"
#include "random.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLES_AT 0xc0000000u      /* below 4 GiB: CR3 has 32 bits outside long mode */
#define TABLE_FRAMES 4096u
#define FIRST_PFN 0x100000u
#define PHYSICAL_BITS 46
#define MANY 24
#define NOBODY (~0u)               /* a management call: every vCPU runs on */

void sim_gm_fail(struct sim_gm *gm, const char *format, ...)
{
	va_list args;

	if (gm->failed)
		return;
	gm->failed = true;
	va_start(args, format);
	vsnprintf(gm->failure, sizeof(gm->failure), format, args);
	va_end(args);
	fprintf(stderr, "FOUND after %lu accesses: %s\n", gm->accesses, gm->failure);
}

/* ---- calls ------------------------------------------------------------------------ */

static bool is_refused(struct sim_gm *gm, enum vmmu_status status)
{
	return status == VMMU_ERR_NO_MEMORY && gm->tables.failed;
}

/* A call whose refusal for lack of memory must leave it possible. */
#define EXPECT(gm, what, call) \
	do { \
		enum vmmu_status status_ = (call); \
		for (unsigned i_ = 0; i_ < 2 && is_refused(gm, status_); i_++) \
			status_ = (call); \
		expect(gm, what, status_); \
	} while (0)

static void expect(struct sim_gm *gm, const char *what, enum vmmu_status status)
{
	if (status != VMMU_OK)
		sim_gm_fail(gm, "%s: %s", what, vmmu_status_name(status));
}

/* ---- guest memory ----------------------------------------------------------------- */

static struct sim_gm_slot *slot_at(struct sim_gm *gm, uint64_t gfn)
{
	for (unsigned i = 0; i < SIM_GM_SLOTS; i++) {
		struct sim_gm_slot *slot = &gm->slot[i];
		uint64_t first = slot->info.base.v >> 12;

		if (slot->used && gfn >= first && gfn - first < slot->info.bytes >> 12)
			return slot;
	}
	return NULL;
}

/* Page of RAM behind gfn, or -1. */
static int64_t ram_page_of(struct sim_gm *gm, uint64_t gfn)
{
	struct sim_gm_slot *slot = slot_at(gm, gfn);

	return slot ? (int64_t)(slot->info.backing + gfn - (slot->info.base.v >> 12)) : -1;
}

bool sim_gm_read(struct sim_gm *gm, uint64_t gpa, unsigned size, uint64_t *value)
{
	int64_t page = ram_page_of(gm, gpa >> 12);

	*value = 0;
	if (page < 0)
		return false;
	memcpy(value, gm->ram + page * 4096 + (gpa & 4095), size);
	return true;
}

static void store(struct sim_gm *gm, int64_t page, uint64_t offset, unsigned size, uint64_t value)
{
	memcpy(gm->ram + page * 4096 + offset, &value, size);
	gm->written[page] = 1;
}

void sim_gm_host_write(struct sim_gm *gm, unsigned vcpu, uint64_t gpa, unsigned size, uint64_t value)
{
	int64_t page = ram_page_of(gm, gpa >> 12);

	if (page < 0)
		return;
	store(gm, page, gpa & 4095, size, value);
	gm->busy = vcpu;
	vmmu_guest_written(gm->vcpu[vcpu].engine, vmmu_gpa_of(gpa), size);
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

static void table_free(void *ctx, vmmu_hpa frame)
{
	struct sim_gm *gm = ctx;

	for (unsigned i = 0; i < gm->vcpus; i++)
		if (gm->vcpu[i].root.table.v == frame.v)
			sim_gm_fail(gm, "the root of vCPU %u is freed while it may run on it", i);
	sim_memory_table_free(&gm->tables, frame);
}

static void others_run(struct sim_gm *gm)
{
	if (gm->meanwhile)
		gm->meanwhile(gm->meanwhile_arg, gm->busy);
}

static enum vmmu_backing_result backing(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
                                        unsigned access, struct vmmu_backing *out)
{
	struct sim_gm *gm = ctx;

	(void)access;
	others_run(gm);
	*out = (struct vmmu_backing){
		.pfn = {gm->first_pfn + slot->backing + gfn.v - (slot->base.v >> 12)},
		.order = (uint8_t)gm->order,
		.rights = VMMU_RWX,
		.memtype = VMMU_MEMTYPE_WB,
	};
	return VMMU_BACKING_OK;
}

static void flush(void *ctx, const struct vmmu_flush *what)
{
	struct sim_gm *gm = ctx;

	gm->flushes++;
	gm->flushing = true;
	others_run(gm);
	gm->flushing = false;
	if (!what->all)
		sim_gm_fail(gm, "a flush names gfns, but TLBs know gvas only");
	for (unsigned i = 0; i < gm->vcpus; i++)
		memset(gm->vcpu[i].tlb, 0, sizeof(gm->vcpu[i].tlb));
}

static bool guest_read(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	return sim_gm_read(ctx, gpa.v, size, value);
}

static enum vmmu_guest_swap guest_cmpxchg(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t expected,
                                          uint64_t value)
{
	struct sim_gm *gm = ctx;
	struct sim_gm_slot *slot = slot_at(gm, gpa.v >> 12);
	uint64_t now;

	if (!sim_gm_read(gm, gpa.v, size, &now))
		sim_gm_fail(gm, "A or D is to be set where there is no memory");
	if (now != expected)
		return VMMU_GUEST_CHANGED;
	if (slot->info.flags & VMMU_SLOT_READONLY)
		return VMMU_GUEST_READ_ONLY;
	store(gm, ram_page_of(gm, gpa.v >> 12), gpa.v & 4095, size, value);
	return VMMU_GUEST_SWAPPED;
}

static uint64_t now(void *ctx)
{
	return ++((struct sim_gm *)ctx)->clock;
}

static void trace_full(void *ctx, struct vmmu_trace_ring *ring)
{
	sim_trace_drain(&((struct sim_gm *)ctx)->trace, ring);
}

static void point(void *ctx, unsigned where, vmmu_hpa table, unsigned index)
{
	struct sim_gm *gm = ctx;

	(void)table;
	(void)index;
	gm->entries += where == VMMU_POINT_ENTRY_AFTER;
}

static bool owns_frame(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, vmmu_pfn pfn)
{
	struct sim_gm *gm = ctx;

	return pfn.v == gm->first_pfn + slot->backing + gfn.v - (slot->base.v >> 12);
}

/* ---- the machine ------------------------------------------------------------------------ */

static void init_host(struct sim_gm *gm)
{
	uintptr_t base = gm->tables.config.base;

	gm->host = (struct vmmu_host){
		.object_alloc = object_alloc,
		.object_free = object_free,
		.table_alloc = table_alloc,
		.table_free = table_free,
		.table_read_base = (uintptr_t)gm->tables.read_view - base,
		.table_write_base = (uintptr_t)gm->tables.write_view - base,
		.backing = backing,
		.flush = flush,
		.guest_read = guest_read,
		.guest_cmpxchg = guest_cmpxchg,
		.time = now,
		.trace_full = trace_full,
		.point = point,
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
		if (is_refused(gm, status))
			return false;
		if (status != VMMU_OK)
			abort();
		gm->vcpus = i + 1;
		v->paging.cpu = (struct vmmu_guest_cpu){.maxphyaddr = 40, .pse36 = true, .page_1g = true};
		sim_gm_set_paging(gm, i, &v->paging);
	}
	return true;
}

struct sim_gm *sim_gm_new(const struct sim_gm_config *config)
{
	struct sim_gm *gm = calloc(1, sizeof(*gm));
	struct sim_memory_config memory = {
		.base = TABLES_AT, .frames = TABLE_FRAMES, .seed = config->seed};
	struct vmmu_config vm = {
		.mode = VMMU_MODE_SHADOW,
		.cpu = {.maxphyaddr = PHYSICAL_BITS, .page_2m = true, .page_1g = true, .ad = true,
		        .nx = true, .levels5 = config->la57},
		.max_shadow_tables = config->max_shadow_tables,
		.id = 1,
	};

	if (!gm || !sim_memory_init(&gm->tables, &memory))
		abort();
	gm->ram_pages = config->ram_pages;
	gm->ram = calloc(gm->ram_pages, 4096);
	gm->written = calloc(gm->ram_pages, 1);
	gm->order = config->order;
	gm->first_pfn = FIRST_PFN;
	gm->random = config->seed;
	if (!gm->ram || !gm->written)
		abort();
	init_host(gm);
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
	} else if (!is_refused(gm, status)) {
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

/* Replaying the trace from empty tables must give the tables as they are. */
static void check_provenance(struct sim_gm *gm)
{
	struct sim_replay replay;
	char error[256];

	drain(gm);
	if (!sim_trace_replay(&gm->trace, &replay, error, sizeof(error)))
		sim_gm_fail(gm, "trace: %s", error);
	for (unsigned f = 0; f < TABLE_FRAMES && !gm->failed; f++)
		for (unsigned i = 0; gm->tables.frame[f].in_use && i < 512; i++) {
			uint64_t hpa = TABLES_AT + f * 4096ull + i * 8, value;

			sim_memory_load(&gm->tables, hpa, &value);
			if (value != sim_replay_get(&replay, hpa))
				sim_gm_fail(gm, "entry at %#lx is %#lx; by the trace it is %#lx", hpa, value,
				            sim_replay_get(&replay, hpa));
		}
	sim_replay_fini(&replay);
	if (!sim_trace_consistent(&gm->trace, error, sizeof(error)))
		sim_gm_fail(gm, "trace: %s", error);
}

bool sim_gm_end(struct sim_gm *gm)
{
	bool good;

	if (gm->vm) {
		sim_gm_audit(gm);
		check_provenance(gm);
	}
	for (unsigned i = 0; i < gm->vcpus; i++) {
		gm->vcpu[i].root.table.v = 0;
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
	for (unsigned i = 0; i < SIM_GM_VCPUS; i++)
		free(gm->vcpu[i].ring.records);
	free(gm->ring.records);
	sim_memory_fini(&gm->tables);
	free(gm->ram);
	free(gm->written);
	free(gm);
	return good;
}

/* ---- slots ------------------------------------------------------------------------------- */

void sim_gm_slot_create(struct sim_gm *gm, unsigned n, uint64_t gfn, uint64_t pages, uint64_t ram_page,
                        uint32_t flags)
{
	gm->slot[n] = (struct sim_gm_slot){
		.info = {.id = n, .flags = flags, .base = {gfn << 12}, .bytes = pages << 12,
		         .backing = ram_page}};
	gm->busy = NOBODY;
	EXPECT(gm, "slot create", vmmu_slot_create(gm->vm, &gm->slot[n].info));
	gm->slot[n].used = true;
	memset(gm->written + ram_page, 0, pages);
}

void sim_gm_slot_delete(struct sim_gm *gm, unsigned n)
{
	gm->slot[n].used = false; /* from the call on nobody may count on it, nor read its tables */
	gm->busy = NOBODY;
	EXPECT(gm, "slot delete", vmmu_slot_delete(gm->vm, n));
}

void sim_gm_slot_flags(struct sim_gm *gm, unsigned n, uint32_t flags)
{
	bool logged = gm->slot[n].info.flags & VMMU_SLOT_LOG_DIRTY;

	gm->busy = NOBODY;
	EXPECT(gm, "slot flags", vmmu_slot_set_flags(gm->vm, n, flags));
	gm->slot[n].info.flags = flags;
	if (!logged && (flags & VMMU_SLOT_LOG_DIRTY))
		memset(gm->written + gm->slot[n].info.backing, 0, gm->slot[n].info.bytes >> 12);
}

void sim_gm_slot_move(struct sim_gm *gm, unsigned n, uint64_t gfn)
{
	gm->slot[n].used = false;
	gm->busy = NOBODY;
	EXPECT(gm, "slot move", vmmu_slot_move(gm->vm, n, vmmu_gpa_of(gfn << 12)));
	gm->slot[n].info.base.v = gfn << 12;
	gm->slot[n].used = true;
}

void sim_gm_log(struct sim_gm *gm, unsigned n)
{
	const struct vmmu_slot_info *info = &gm->slot[n].info;
	uint64_t pages = info->bytes >> 12, words = (pages + 63) / 64;
	uint64_t *bitmap = calloc(words, sizeof(*bitmap));

	gm->busy = NOBODY;
	EXPECT(gm, "dirty log", vmmu_dirty_log(gm->vm, n, bitmap, words));
	for (uint64_t i = 0; i < pages; i++)
		if (gm->written[info->backing + i] && !(bitmap[i / 64] >> i % 64 & 1))
			sim_gm_fail(gm, "page %lu of slot %u was written; the log does not say so", i, n);
	memset(gm->written + info->backing, 0, pages);
	free(bitmap);
}

void sim_gm_migrate(struct sim_gm *gm)
{
	gm->busy = NOBODY;
	for (unsigned i = 0; i < SIM_GM_SLOTS; i++)
		if (gm->slot[i].used)
			EXPECT(gm, "invalidate", vmmu_invalidate_begin(gm->vm, gm->slot[i].info.base,
			                                               gm->slot[i].info.bytes));
	gm->first_pfn += 1u << 18;
	if (gm->first_pfn >> 30)
		gm->first_pfn = FIRST_PFN;
	for (unsigned i = 0; i < SIM_GM_SLOTS; i++)
		if (gm->slot[i].used)
			vmmu_invalidate_end(gm->vm, gm->slot[i].info.base, gm->slot[i].info.bytes);
}

/* ---- a CPU --------------------------------------------------------------------------------- */

void sim_gm_set_paging(struct sim_gm *gm, unsigned n, const struct vmmu_paging *paging)
{
	struct sim_gm_vcpu *v = &gm->vcpu[n];

	gm->busy = n;
	v->paging = *paging;
	EXPECT(gm, "set paging", vmmu_vcpu_set_paging(v->engine, paging));
	EXPECT(gm, "load", vmmu_vcpu_load(v->engine, &v->root));
	memset(v->tlb, 0, sizeof(v->tlb));
}

static struct sim_guest_cpu model_of(const struct vmmu_paging *p)
{
	struct sim_guest_cpu cpu = {
		.pg = p->cr0 >> 31 & 1,
		.wp = p->cr0 >> 16 & 1,
		.pse = p->cr4 >> 4 & 1,
		.pae = p->cr4 >> 5 & 1,
		.la57 = p->cr4 >> 12 & 1,
		.smep = p->cr4 >> 20 & 1,
		.smap = p->cr4 >> 21 & 1,
		.pke = p->cr4 >> 22 & 1,
		.lma = p->efer >> 10 & 1,
		.nxe = p->efer >> 11 & 1,
		.cr3 = p->cr3,
		.pkru = p->pkru,
		.maxphyaddr = p->cpu.maxphyaddr,
		.pse36 = p->cpu.pse36,
		.page_1g = p->cpu.page_1g,
		.amd = p->cpu.bit8_reserved,
	};

	memcpy(cpu.pdpte, p->pdpte, sizeof(cpu.pdpte));
	return cpu;
}

static bool load_guest(void *ctx, uint64_t gpa, unsigned size, uint64_t *value)
{
	return sim_gm_read(ctx, gpa, size, value);
}

static bool load_table(void *ctx, uint64_t hpa, unsigned size, uint64_t *value)
{
	(void)size;
	return sim_memory_load(&((struct sim_gm *)ctx)->tables, hpa, value);
}

/* The registers that the host enters with: as <vmmu/vmmu.h> tells it. */
static struct sim_guest_cpu hardware_of(struct sim_gm *gm, const struct sim_gm_vcpu *v)
{
	struct sim_guest_cpu cpu = model_of(&v->paging);
	bool lma = cpu.pg && cpu.lma;

	cpu.pg = cpu.wp = cpu.pae = cpu.nxe = true;
	cpu.lma = lma;
	cpu.cr3 = v->root.pointer;
	cpu.maxphyaddr = PHYSICAL_BITS;
	cpu.page_1g = true;
	if (!model_of(&v->paging).pg)
		cpu.smep = cpu.smap = cpu.pke = false;
	for (unsigned i = 0; !lma && i < 4; i++) {
		sim_memory_load(&gm->tables, v->root.pointer + 8 * i, &cpu.pdpte[i]);
		if ((cpu.pdpte[i] & 1) && (cpu.pdpte[i] & 0xfff00000000001e6))
			sim_gm_fail(gm, "VM entry would refuse PDPTE %u, %#lx", i, cpu.pdpte[i]);
	}
	if (!lma && v->root.pointer >> 32)
		sim_gm_fail(gm, "a PAE root lies above 4 GiB");
	return cpu;
}

/* May the CPU use what it remembers, without a look at the tables? Asked only where it is plain. */
static bool remembers(const struct sim_gm_vcpu *v, const struct sim_gm_tlb *t, uint64_t gva,
                      const struct sim_guest_access *access)
{
	if (!t->valid || t->page != gva >> 12 || t->how.user != access->user || v->paging.cr4 >> 22 & 1)
		return false;
	return access->write ? t->how.writable && t->dirty : !access->fetch || t->how.exec;
}

/* Through the tables, or what the TLB still has. False: #PF with *code. */
static bool translate(struct sim_gm *gm, struct sim_gm_vcpu *v, uint64_t gva,
                      const struct sim_guest_access *access, uint64_t *pfn, uint32_t *code)
{
	struct sim_guest_cpu cpu = hardware_of(gm, v);
	struct sim_gm_tlb *t = &v->tlb[(gva >> 12) * 7 % SIM_GM_TLB];
	struct sim_guest_result result;

	if (remembers(v, t, gva, access) && (gm->flushing || sim_random_below(&gm->random, 2))) {
		*pfn = t->pfn;
		return true;
	}
	sim_guest_translate(&cpu, load_table, gm, gva, access, &result);
	if (result.end == SIM_GUEST_BUS)
		sim_gm_fail(gm, "the walk for %#lx meets memory that is no table", gva);
	if (result.end == SIM_GUEST_DONE && result.marks)
		sim_gm_fail(gm, "the CPU would store to the engine's tables at %#lx", gva);
	if (result.end != SIM_GUEST_DONE) {
		t->valid = false; /* a fault drops what was remembered */
		*code = result.code;
		return false;
	}
	*pfn = result.gpa >> 12;
	*t = (struct sim_gm_tlb){.valid = true, .page = gva >> 12, .pfn = *pfn, .how = result,
	                         .dirty = access->write || result.writable};
	return true;
}

/* ---- an access, judged ------------------------------------------------------------------------ */

struct judged {
	struct sim_gm *gm;
	unsigned n;
	uint64_t gva;
	const struct sim_guest_access *access;
	unsigned size;
	uint64_t value;
	struct sim_guest_result truth;
};

static void ask_truth(struct judged *j)
{
	struct sim_guest_cpu cpu = model_of(&j->gm->vcpu[j->n].paging);

	sim_guest_translate(&cpu, load_guest, j->gm, j->gva, j->access, &j->truth);
}

static void describe(struct judged *j, const char *what, uint64_t engine, uint64_t truth)
{
	const struct vmmu_paging *p = &j->gm->vcpu[j->n].paging;

	sim_gm_fail(j->gm, "vCPU %u gva %#lx %s%s%s%s: %s: %#lx, by the guest's tables %#lx "
	            "(cr0 %#lx cr3 %#lx cr4 %#lx efer %#lx pkru %#x)", j->n, j->gva,
	            j->access->user ? "user " : "", j->access->write ? "write" : "",
	            j->access->fetch ? "fetch" : "", j->access->ac ? " ac" : "", what, engine, truth,
	            p->cr0, p->cr3, p->cr4, p->efer, p->pkru);
}

/* Are all marks only in memory that the guest cannot write? There they are lost. */
static bool marks_are_lost(struct judged *j)
{
	for (unsigned i = 0; i < j->truth.marks; i++) {
		struct sim_gm_slot *slot = slot_at(j->gm, j->truth.mark[i].gpa >> 12);

		if (slot && !(slot->info.flags & VMMU_SLOT_READONLY))
			return false;
	}
	return true;
}

static void went_through(struct judged *j, uint64_t pfn)
{
	struct sim_gm *gm = j->gm;
	struct sim_gm_slot *slot;
	int64_t page;

	ask_truth(j);
	if (j->truth.end != SIM_GUEST_DONE) {
		describe(j, "went through, but the guest forbids it with code", 0, j->truth.code);
		return;
	}
	slot = slot_at(gm, j->truth.gpa >> 12);
	page = ram_page_of(gm, j->truth.gpa >> 12);
	if (page < 0 || pfn != gm->first_pfn + (uint64_t)page)
		describe(j, "reached the wrong frame", pfn, gm->first_pfn + (uint64_t)page);
	else if (!marks_are_lost(j))
		describe(j, "went through without setting bits", 0, j->truth.mark[0].bits);
	else if (j->access->write && (slot->info.flags & VMMU_SLOT_READONLY))
		describe(j, "wrote a read-only slot", pfn, 0);
	else if (j->access->write)
		store(gm, page, j->truth.gpa & 4095, j->size, j->value);
}

static void judge_injected(struct judged *j, const struct vmmu_fault *f)
{
	ask_truth(j);
	j->gm->injected++;
	if (j->truth.end != SIM_GUEST_PF && j->truth.end != SIM_GUEST_BUS)
		describe(j, "a #PF for an access that the guest allows, code", f->error_code, 0);
	else if (f->error_code != j->truth.code)
		describe(j, "the wrong error code", f->error_code, j->truth.code);
}

/* MMIO, ROM, or a table: the engine says who the access is for, and the host makes it. */
static void judge_emulated(struct judged *j, enum vmmu_fault_result result, const struct vmmu_fault *f)
{
	struct sim_gm_slot *slot;

	ask_truth(j);
	j->gm->emulated++;
	if (j->truth.end != SIM_GUEST_DONE || f->gpa.v != j->truth.gpa) {
		describe(j, "to be emulated at", f->gpa.v, j->truth.gpa);
		return;
	}
	slot = slot_at(j->gm, j->truth.gpa >> 12);
	if (result == VMMU_FAULT_EMULATE_MMIO && slot)
		describe(j, "memory taken for a device", f->gpa.v, slot->info.id);
	if (result == VMMU_FAULT_READ_ONLY && !(slot && (slot->info.flags & VMMU_SLOT_READONLY)))
		describe(j, "taken for read-only", f->gpa.v, 0);
	if (result == VMMU_FAULT_WRITE_TABLE) {
		if (!j->access->write || !slot)
			describe(j, "taken for a write to a table", f->gpa.v, 0);
		sim_gm_host_write(j->gm, j->n, f->gpa.v, j->size, j->value);
	}
}

/*
 * During a flush what a TLB remembers may be older than the tables, the guest's
 * too: the access goes where it led before.
 */
static void went_by_memory(struct judged *j, uint64_t pfn)
{
	struct sim_gm *gm = j->gm;

	if (j->access->write && pfn - gm->first_pfn < gm->ram_pages)
		store(gm, (int64_t)(pfn - gm->first_pfn), j->gva & 4095, j->size, j->value);
}

void sim_gm_try(struct sim_gm *gm, unsigned vcpu, uint64_t gva, const struct sim_guest_access *access,
                unsigned size, uint64_t value)
{
	struct judged j = {gm, vcpu, gva, access, size, value, {.end = SIM_GUEST_DONE}};
	uint32_t code;
	uint64_t pfn;

	ask_truth(&j);
	if (j.truth.end == SIM_GUEST_GP || !translate(gm, &gm->vcpu[vcpu], gva, access, &pfn, &code))
		return;
	if (gm->flushing)
		went_by_memory(&j, pfn);
	else
		went_through(&j, pfn);
}

static bool exit_to_engine(struct judged *j, uint32_t code)
{
	struct sim_gm_vcpu *v = &j->gm->vcpu[j->n];
	bool user = j->access->user;
	struct vmmu_fault f = vmmu_fault_from_pf(code, vmmu_gva_of(j->gva), user ? 3 : 0,
	                                         j->access->ac ? 1u << 18 : 0, 0x1000);
	enum vmmu_fault_result result;

	j->gm->exits++;
	j->gm->busy = j->n;
	result = vmmu_fault(v->engine, &f);
	switch (result) {
	case VMMU_FAULT_FIXED:
	case VMMU_FAULT_SPURIOUS:
	case VMMU_FAULT_RETRY:
		return false;
	case VMMU_FAULT_INJECT_PF:
		judge_injected(j, &f);
		return true;
	case VMMU_FAULT_EMULATE_MMIO:
	case VMMU_FAULT_READ_ONLY:
	case VMMU_FAULT_WRITE_TABLE:
		judge_emulated(j, result, &f);
		return true;
	case VMMU_FAULT_BEYOND:
		ask_truth(j);
		if (j->truth.end != SIM_GUEST_DONE || slot_at(j->gm, j->truth.gpa >> 12))
			describe(j, "taken for an address beyond all memory", f.gpa.v, j->truth.gpa);
		return true;
	case VMMU_FAULT_NO_MEMORY:
		if (!j->gm->tables.failed)
			describe(j, "out of memory, with memory left", 0, 0);
		return false; /* once more: memory is back */
	default:
		describe(j, vmmu_fault_result_name(result), f.gpa.v, 0);
		return true;
	}
}

void sim_gm_access(struct sim_gm *gm, unsigned vcpu, uint64_t gva,
                   const struct sim_guest_access *access, unsigned size, uint64_t value)
{
	struct judged j = {gm, vcpu, gva, access, size, value, {.end = SIM_GUEST_DONE}};

	gm->accesses++;
	ask_truth(&j);
	if (j.truth.end == SIM_GUEST_GP)
		return; /* the CPU itself refuses it */
	for (unsigned exits = 0; exits < MANY && !gm->failed; exits++) {
		uint32_t code = 0;
		uint64_t pfn;

		if (translate(gm, &gm->vcpu[vcpu], gva, access, &pfn, &code)) {
			went_through(&j, pfn);
			return;
		}
		if (exit_to_engine(&j, code))
			return;
	}
	if (!gm->failed)
		describe(&j, "no progress after exits:", MANY, 0);
}

static void audit_line(void *arg, const char *rule, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	sim_gm_fail(arg, "audit: %s (level %u, index %u of %#lx, entry %#lx, gfn %#lx)", rule,
	            step->level, step->index, step->table.v, step->entry, gfn.v);
}

void sim_gm_audit(struct sim_gm *gm)
{
	vmmu_audit(gm->vm, audit_line, gm);
}
