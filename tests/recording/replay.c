/* SPDX-License-Identifier: BSD-2-Clause */
/*
 *   replay [--times N] RECORDING...
 *
 * Give an engine the recorded faults again, with the frames that backed them,
 * and compare each answer, each leaf and the counts at the end with what was
 * recorded. The host here does next to nothing, so that a profiler sees the
 * engine: `--times` for the benchmark.
 */
#include "recording.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FRAMES (1u << 14)

struct host {
	uint8_t *memory; /* frames for tables, at hpa 0 */
	uint32_t next;
	uint32_t free[FRAMES];
	uint32_t frees;
	long objects, frames;
	struct vmmu_backing backing; /* of the fault under way */
};

static void *object_alloc(void *ctx, size_t size)
{
	struct host *h = ctx;
	size_t whole = (size + 63) & ~(size_t)63;
	void *object = aligned_alloc(64, whole);

	if (object)
		memset(object, 0, whole);
	h->objects += object != NULL;
	return object;
}

static void object_free(void *ctx, void *object, size_t size)
{
	struct host *h = ctx;

	(void)size;
	h->objects--;
	free(object);
}

static bool table_alloc(void *ctx, vmmu_hpa *out)
{
	struct host *h = ctx;
	uint32_t frame;

	if (!h->frees && h->next == FRAMES)
		return false;
	frame = h->frees ? h->free[--h->frees] : h->next++;
	memset(h->memory + (size_t)frame * VMMU_PAGE_SIZE, 0, VMMU_PAGE_SIZE);
	h->frames++;
	out->v = (uint64_t)frame * VMMU_PAGE_SIZE;
	return true;
}

static void table_free(void *ctx, vmmu_hpa frame)
{
	struct host *h = ctx;

	h->frames--;
	h->free[h->frees++] = (uint32_t)(frame.v / VMMU_PAGE_SIZE);
}

static enum vmmu_backing_result backing(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
                                        unsigned access, struct vmmu_backing *out)
{
	struct host *h = ctx;

	(void)slot;
	(void)gfn;
	(void)access;
	*out = h->backing;
	return VMMU_BACKING_OK;
}

static void flush(void *ctx, const struct vmmu_flush *flush)
{
	(void)ctx;
	(void)flush;
}

struct player {
	const struct recording *r;
	const char *path;
	struct host *host;
	struct vmmu_vm *vm;
	struct vmmu_vcpu *vcpu;
	unsigned findings;
};

static void __attribute__((format(printf, 2, 3))) found(struct player *p, const char *format, ...)
{
	va_list args;

	if (p->findings++ > 10)
		return;
	fprintf(stderr, "%s: ", p->path);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

/* What the host must have answered for this leaf to come out. */
static struct vmmu_backing backing_for(const struct player *p, const struct recording_event *e,
                                       const struct recording_kind *k)
{
	struct vmmu_decoder decoder = {(enum vmmu_mode)p->r->mode, (uint8_t)p->r->levels,
	                               recording_cpu(p->r)};
	struct vmmu_entry_info info;

	if (!recording_has_leaf(k))
		return (struct vmmu_backing){.rights = VMMU_RWX, .memtype = VMMU_MEMTYPE_WB};
	vmmu_entry_decode(&decoder, k->level, k->entry, &info);
	return (struct vmmu_backing){
		.pfn = {e->pfn},
		.order = (uint8_t)(9 * (k->level - 1)),
		.rights = info.rights | (info.host_writable ? VMMU_W : 0),
		.memtype = info.memtype,
		.ignore_pat = info.ignore_pat,
	};
}

static uint64_t entry_for(const struct recording_event *e, const struct recording_kind *k)
{
	uint64_t inside = vmmu_level_pages(k->level ? k->level : 1) - 1;

	return recording_has_leaf(k) ? k->entry | (e->pfn & ~inside) << VMMU_PAGE_SHIFT : k->entry;
}

static void play_fault(struct player *p, const struct recording_event *e, size_t at)
{
	const struct recording_kind *k = &p->r->kind[e->kind];
	struct vmmu_fault fault = {.gpa = {e->gfn << VMMU_PAGE_SHIFT}, .access = k->access};
	enum vmmu_fault_result result;

	p->host->backing = backing_for(p, e, k);
	result = vmmu_fault(p->vcpu, &fault);
	if (result != k->result || fault.level != k->level || fault.entry != entry_for(e, k))
		found(p, "event %zu, gfn %#lx access %#x: %s level %u entry %#lx; recorded %s %u %#lx", at,
		      e->gfn, k->access, vmmu_fault_result_name(result), fault.level, fault.entry,
		      vmmu_fault_result_name((enum vmmu_fault_result)k->result), k->level, entry_for(e, k));
}

static void play_slot(struct player *p, const struct recording_event *e, size_t at)
{
	struct vmmu_slot_info info = {
		.id = e->id,
		.flags = e->flags,
		.base = {e->gfn << VMMU_PAGE_SHIFT},
		.bytes = e->pages << VMMU_PAGE_SHIFT,
	};
	enum vmmu_status status = VMMU_ERR_INVALID;

	if (e->cause == VMMU_CAUSE_SLOT_CREATE)
		status = vmmu_slot_create(p->vm, &info);
	else if (e->cause == VMMU_CAUSE_SLOT_DELETE)
		status = vmmu_slot_delete(p->vm, e->id);
	else if (e->cause == VMMU_CAUSE_SLOT_MOVE)
		status = vmmu_slot_move(p->vm, e->id, info.base);
	else if (e->cause == VMMU_CAUSE_SLOT_FLAGS)
		status = vmmu_slot_set_flags(p->vm, e->id, e->flags);
	if (status != VMMU_OK)
		found(p, "event %zu, slot %u: %s", at, e->id, vmmu_status_name(status));
}

static void compare_counts(struct player *p)
{
	const struct recording *r = p->r;
	struct vmmu_stats s;

	vmmu_stats_read(p->vm, &s);
	for (unsigned c = 0; c < VMMU_CAUSE_COUNT; c++)
		for (unsigned level = 1; level <= VMMU_LEVEL_MAX; level++)
			if (s.entries[c][level] != r->entries[c][level])
				found(p, "%lu entries of level %u by %s; recorded %lu", s.entries[c][level], level,
				      vmmu_cause_name(c), r->entries[c][level]);
	/* The root is as old as the VM, older than a recording. */
	for (unsigned level = 1; level < r->levels; level++)
		if (s.tables_allocated[level] != r->tables[level])
			found(p, "%lu tables of level %u; recorded %lu", s.tables_allocated[level], level,
			      r->tables[level]);
	if (vmmu_audit(p->vm, NULL, NULL))
		found(p, "vmmu_audit finds the tables wrong");
}

static void play(struct player *p)
{
	struct vmmu_host table = {
		.object_alloc = object_alloc,
		.object_free = object_free,
		.table_alloc = table_alloc,
		.table_free = table_free,
		.table_read_base = (uintptr_t)p->host->memory,
		.table_write_base = (uintptr_t)p->host->memory,
		.backing = backing,
		.flush = flush,
	};
	struct vmmu_config config = {
		.host = &table,
		.host_ctx = p->host,
		.mode = (enum vmmu_mode)p->r->mode,
		.cpu = recording_cpu(p->r),
		.levels = (uint8_t)p->r->levels,
		.no_mmio_cache = !p->r->mmio,
	};

	if (vmmu_vm_create(&config, &p->vm) != VMMU_OK ||
	    vmmu_vcpu_create(p->vm, 0, NULL, &p->vcpu) != VMMU_OK) {
		found(p, "the VM could not be made");
		return;
	}
	for (size_t i = 0; i < p->r->events; i++) {
		if (p->r->event[i].slot)
			play_slot(p, &p->r->event[i], i);
		else
			play_fault(p, &p->r->event[i], i);
	}
	compare_counts(p);
	vmmu_vcpu_destroy(p->vcpu);
	if (vmmu_vm_destroy(p->vm) != VMMU_OK || p->host->objects || p->host->frames)
		found(p, "%ld objects and %ld tables outlive the VM", p->host->objects, p->host->frames);
}

static bool play_file(const char *path, unsigned long times)
{
	struct recording r;
	const char *error;
	struct player p = {.r = &r, .path = path};
	size_t faults = 0;

	if (!recording_read(&r, path, &error)) {
		fprintf(stderr, "%s %s\n", path, error);
		recording_free(&r);
		return false;
	}
	p.host = calloc(1, sizeof(*p.host));
	p.host->memory = mmap(NULL, (size_t)FRAMES * VMMU_PAGE_SIZE, PROT_READ | PROT_WRITE,
	                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p.host->memory == MAP_FAILED)
		abort();
	for (size_t i = 0; i < r.events; i++)
		faults += !r.event[i].slot;
	for (unsigned long i = 0; i < times && !p.findings; i++)
		play(&p);
	printf("%s %s (%s): %zu faults\n", p.findings ? "FAIL" : "ok  ", path, r.machine, faults);
	munmap(p.host->memory, (size_t)FRAMES * VMMU_PAGE_SIZE);
	free(p.host);
	recording_free(&r);
	return !p.findings;
}

int main(int argc, char **argv)
{
	unsigned long times = 1;
	unsigned passed = 0, failed = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--times") && i + 1 < argc)
			times = strtoul(argv[++i], NULL, 0);
		else if (play_file(argv[i], times))
			passed++;
		else
			failed++;
	}
	printf("%u passed, %u failed, 0 skipped\n", passed, failed);
	return failed || !passed;
}
