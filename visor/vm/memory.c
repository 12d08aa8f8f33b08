/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/memory.h"

#include "visor/cpu/x86.h"
#include "visor/host/frame.h"
#include "visor/lib/string.h"
#include "visor/vm/vm.h"

#define CHUNK_PAGES 512u /* 2 MiB */
#define PAGES_1G (1ull << FRAME_ORDER_1G)

/*
 * One per 2 MiB of guest memory: nothing yet (0); a run of frames, its order in
 * the low bits (FRAME_ORDER_2M to _1G, then this is the chunk's part of it);
 * or a page of 512 frame addresses, for a chunk that is only partly the region's, or
 * for want of a run. Each of these has the order of its own run in the low bits.
 */
typedef uint64_t chunk;
#define CHUNK_ORDER 0x1full

/* Of the runs in a part of a chunk: RAM below 640 KiB is one. */
#define SMALL_ORDER 4u
#define SMALL_PAGES (1u << SMALL_ORDER)

struct region {
	struct region *next;
	uint32_t id;
	uint64_t base_page;  /* gfn it begins at now */
	uint32_t flags;      /* of its slot */
	uint64_t first_page; /* gfn it began at when it was made */
	uint64_t pages;
	uint64_t skew; /* first_page's place in its 2 MiB: chunks are aligned as gfns are */
	uint64_t chunk_count;
	chunk chunks[];
};

static size_t region_bytes(uint64_t chunk_count)
{
	return sizeof(struct region) + chunk_count * sizeof(chunk);
}

static struct region *region_of(const struct vmmu_slot_info *slot)
{
	return (struct region *)(uintptr_t)slot->backing;
}

/* ---- finding frames -------------------------------------------------------- */

/* Does the naturally aligned run of 2^order gfns around chunk `n` lie in the region? */
static bool run_fits(const struct region *r, uint64_t n, unsigned order)
{
	uint64_t run = 1ull << order;
	uint64_t gfn = (r->first_page - r->skew + n * CHUNK_PAGES) & ~(run - 1);

	return gfn >= r->first_page && gfn + run <= r->first_page + r->pages;
}

/* Back the run around chunk n with contiguous frames. False: none, or a part has others already. */
static bool make_run(struct vm *vm, struct region *r, uint64_t n, unsigned order)
{
	uint64_t chunks = 1ull << (order - FRAME_ORDER_2M), first, frame;

	if (!run_fits(r, n, order))
		return false;
	first = ((r->first_page - r->skew + n * CHUNK_PAGES) & ~((1ull << order) - 1)) -
	        (r->first_page - r->skew);
	first /= CHUNK_PAGES;
	for (uint64_t i = 0; i < chunks; i++) {
		if (r->chunks[first + i])
			return false;
	}
	frame = frame_alloc(order, FRAME_GUEST, true);
	if (!frame)
		return false;
	for (uint64_t i = 0; i < chunks; i++)
		r->chunks[first + i] = (frame + i * CHUNK_PAGES * VMMU_PAGE_SIZE) | order;
	vm->frames += 1ull << order;
	return true;
}

/*
 * Does the engine map more than one page of 4 KiB from a run? Shadow tables are filled from it with
 * as many as a fault may need soon, and so are other tables with fault-around.
 */
static bool wants_small_runs(const struct vm *vm)
{
	return vm->options->fault_around || vm->vcpu.backend->mode == VMMU_MODE_SHADOW;
}

/* Or a large page of it? */
static bool wants_runs(const struct vm *vm)
{
	return vm->options->max_level >= VMMU_LEVEL_2M || wants_small_runs(vm);
}

static bool make_chunk(struct vm *vm, struct region *r, uint64_t n)
{
	if (wants_runs(vm) && make_run(vm, r, n, FRAME_ORDER_2M))
		return true;
	r->chunks[n] = frame_alloc(FRAME_ORDER_4K, FRAME_VISOR, true);
	return r->chunks[n];
}

/*
 * Where page `at` of the region's chunks lives: the frame's address, and the
 * order of its run in the low bits. 0 = it has no frame yet.
 */
static inline uint64_t frame_at(const struct region *r, uint64_t at)
{
	chunk c = r->chunks[at / CHUNK_PAGES];

	if (c & CHUNK_ORDER)
		return c + at % CHUNK_PAGES * VMMU_PAGE_SIZE;
	return likely(c) ? ((const uint64_t *)(uintptr_t)c)[at % CHUNK_PAGES] : 0;
}

/* Back the small run around page `at` with contiguous frames; false as make_run. `page`: its chunk's frame addresses. */
static bool make_small_run(struct vm *vm, const struct region *r, uint64_t *page, uint64_t at)
{
	uint64_t first = at & ~(uint64_t)(SMALL_PAGES - 1), frame;

	if (first < r->skew || first + SMALL_PAGES > r->skew + r->pages)
		return false;
	page += first % CHUNK_PAGES;
	for (unsigned i = 0; i < SMALL_PAGES; i++) {
		if (page[i])
			return false;
	}
	frame = frame_alloc(SMALL_ORDER, FRAME_GUEST, true);
	for (unsigned i = 0; frame && i < SMALL_PAGES; i++)
		page[i] = (frame + i * VMMU_PAGE_SIZE) | SMALL_ORDER;
	vm->frames += frame ? SMALL_PAGES : 0;
	return frame;
}

/* Find a frame for a page that has none; as frame_at. 0: there is no memory. */
static __attribute__((noinline)) uint64_t make_frame(struct vm *vm, struct region *r, uint64_t at)
{
	uint64_t n = at / CHUNK_PAGES, *page;

	if (!r->chunks[n] && !make_chunk(vm, r, n))
		return 0;
	if (!(r->chunks[n] & CHUNK_ORDER)) {
		page = (uint64_t *)(uintptr_t)r->chunks[n];
		if (!wants_small_runs(vm) || !make_small_run(vm, r, page, at)) {
			page[at % CHUNK_PAGES] = frame_alloc(FRAME_ORDER_4K, FRAME_GUEST, true);
			vm->frames += page[at % CHUNK_PAGES] != 0;
		}
	}
	return frame_at(r, at);
}

/* Page `index` of the region, counted from its start; as frame_at, 0 also past its end. */
static inline uint64_t page_frame(struct vm *vm, struct region *r, uint64_t index)
{
	uint64_t at = index + r->skew, frame;

	if (unlikely(index >= r->pages))
		return 0;
	frame = frame_at(r, at);
	return likely(frame) ? frame : make_frame(vm, r, at);
}

static uint64_t page_index(const struct vmmu_slot_info *slot, vmmu_gfn gfn)
{
	return gfn.v - (slot->base.v >> VMMU_PAGE_SHIFT);
}

/* A slot that was moved may lie otherwise in its 2 MiB than its frames do in theirs. */
static inline unsigned shared_order(uint64_t gfn, uint64_t pfn, unsigned order)
{
	uint64_t apart = (gfn ^ pfn) & ((1ull << order) - 1);

	return unlikely(apart) ? (unsigned)__builtin_ctzll(apart) : order;
}

enum vmmu_backing_result memory_backing(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
                                        unsigned access, struct vmmu_backing *out)
{
	uint64_t frame = page_frame(ctx, region_of(slot), page_index(slot, gfn));

	(void)access;
	if (unlikely(!frame))
		return VMMU_BACKING_NO_MEMORY;
	out->pfn.v = frame >> VMMU_PAGE_SHIFT;
	out->order = (uint8_t)shared_order(gfn.v, out->pfn.v, frame & CHUNK_ORDER);
	out->rights = VMMU_RWX;
	out->memtype = VMMU_MEMTYPE_WB;
	out->ignore_pat = true; /* no device is passed through: all guest memory is RAM */
	return VMMU_BACKING_OK;
}

bool memory_owns(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, vmmu_pfn pfn)
{
	const struct region *r = region_of(slot);
	uint64_t index = page_index(slot, gfn);
	uint64_t frame = index < r->pages ? frame_at(r, index + r->skew) : 0;

	(void)ctx;
	return frame && frame >> VMMU_PAGE_SHIFT == pfn.v && frame_use_of(frame) == FRAME_GUEST;
}

/* ---- regions ---------------------------------------------------------------- */

static void free_chunk(struct vm *vm, struct region *r, uint64_t n)
{
	chunk c = r->chunks[n];
	unsigned order = c & CHUNK_ORDER;
	uint64_t *pages = (uint64_t *)(uintptr_t)c;

	if (order) {
		uint64_t frame = c & ~CHUNK_ORDER;

		/* The whole run goes with its first chunk. */
		if (frame % (VMMU_PAGE_SIZE << order) == 0) {
			frame_free(frame, order);
			vm->frames -= 1ull << order;
		}
		return;
	}
	for (unsigned i = 0; c && i < CHUNK_PAGES; i += 1u << order) {
		order = pages[i] & CHUNK_ORDER;
		if (pages[i]) {
			frame_free(pages[i] & ~CHUNK_ORDER, order);
			vm->frames -= 1ull << order;
		}
	}
	if (c)
		frame_free(c, FRAME_ORDER_4K);
}

static void free_region(struct vm *vm, struct region *r)
{
	for (uint64_t n = 0; n < r->chunk_count; n++)
		free_chunk(vm, r, n);
	object_free(r, region_bytes(r->chunk_count));
}

/*
 * Frames for pages of 1 GiB are found when the slot is made: to clear as much takes a
 * tenth of a second and more, too long for an exit. What cannot be had so comes in
 * smaller ones.
 */
static void make_large_runs(struct vm *vm, struct region *r)
{
	for (uint64_t n = 0; vm->options->max_level >= VMMU_LEVEL_1G && n < r->chunk_count; n++) {
		if (!r->chunks[n])
			make_run(vm, r, n, FRAME_ORDER_1G);
	}
}

enum vmmu_status memory_add(struct vm *vm, uint32_t id, uint32_t flags, uint64_t base, uint64_t bytes)
{
	uint64_t first = base / VMMU_PAGE_SIZE, pages = bytes / VMMU_PAGE_SIZE, skew = first % CHUNK_PAGES;
	uint64_t chunks = (skew + pages + CHUNK_PAGES - 1) / CHUNK_PAGES;
	struct vmmu_slot_info slot = {.id = id, .flags = flags, .base = {base}, .bytes = bytes};
	struct region *r = NULL;
	enum vmmu_status status;

	/* A size that no machine has: let the engine name what is wrong with the range. */
	if (pages <= 1ull << 40)
		r = object_alloc(region_bytes(chunks));
	if (r)
		*r = (struct region){
			.id = id,
			.flags = flags,
			.base_page = first,
			.first_page = first,
			.pages = pages,
			.skew = skew,
			.chunk_count = chunks,
		};
	slot.backing = (uintptr_t)r;
	status = vmmu_slot_create(vm->mmu, &slot);
	if (status == VMMU_OK && !r) {
		vmmu_slot_delete(vm->mmu, id);
		return VMMU_ERR_NO_MEMORY;
	}
	if (status != VMMU_OK) {
		if (r)
			object_free(r, region_bytes(chunks));
		return status;
	}
	r->next = vm->regions;
	vm->regions = r;
	vm->slot_changes++;
	make_large_runs(vm, r);
	return VMMU_OK;
}

enum vmmu_status memory_remove(struct vm *vm, uint32_t id)
{
	enum vmmu_status status = vmmu_slot_delete(vm->mmu, id);

	if (status != VMMU_OK)
		return status;
	vm->slot_changes++;
	for (struct region **link = &vm->regions; *link; link = &(*link)->next) {
		struct region *r = *link;

		if (r->id == id) {
			*link = r->next;
			free_region(vm, r);
			break;
		}
	}
	return VMMU_OK;
}

static struct region *region_named(struct vm *vm, uint32_t id)
{
	struct region *r = vm->regions;

	while (r && r->id != id)
		r = r->next;
	return r;
}

enum vmmu_status memory_move(struct vm *vm, uint32_t id, uint64_t base)
{
	enum vmmu_status status = vmmu_slot_move(vm->mmu, id, vmmu_gpa_of(base));

	if (status == VMMU_OK) {
		region_named(vm, id)->base_page = base / VMMU_PAGE_SIZE;
		vm->slot_changes++;
	}
	return status;
}

enum vmmu_status memory_set_flags(struct vm *vm, uint32_t id, uint32_t flags)
{
	enum vmmu_status status = vmmu_slot_set_flags(vm->mmu, id, flags);

	if (status == VMMU_OK)
		region_named(vm, id)->flags = flags;
	return status;
}

/* Of all memory, as long runs as there are: the engine asks once for all pages of a run. */
static void make_longest_runs(struct vm *vm, struct region *r)
{
	for (unsigned order = FRAME_ORDER_1G; order >= FRAME_ORDER_2M; order--) {
		for (uint64_t n = 0; n < r->chunk_count; n++) {
			if (!r->chunks[n])
				make_run(vm, r, n, order);
		}
	}
}

bool memory_fill(struct vm *vm)
{
	for (struct region *r = vm->regions; r; r = r->next) {
		make_longest_runs(vm, r);
		for (uint64_t i = 0; i < r->pages; i++) {
			if (!page_frame(vm, r, i))
				return false;
		}
	}
	return true;
}

void memory_free_all(struct vm *vm)
{
	while (vm->regions) {
		struct region *r = vm->regions;

		vm->regions = r->next;
		free_region(vm, r);
	}
}

uint64_t memory_frames(const struct vm *vm)
{
	return vm->frames;
}

/* ---- copying ---------------------------------------------------------------- */

static inline bool covers(const struct region *r, uint64_t gfn)
{
	return gfn - r->base_page < r->pages;
}

/* The one that is looked for is the first from now on: mostly it is RAM, and looked for again. */
static __attribute__((noinline)) struct region *region_to_front(struct vm *vm, uint64_t gfn)
{
	struct region **link = &vm->regions, *r;

	while (*link && !covers(*link, gfn))
		link = &(*link)->next;
	r = *link;
	if (r) {
		*link = r->next;
		r->next = vm->regions;
		vm->regions = r;
	}
	return r;
}

/* The region that covers gpa now; NULL = none. */
static inline struct region *region_at(struct vm *vm, uint64_t gpa)
{
	struct region *r = vm->regions;
	uint64_t gfn = gpa / VMMU_PAGE_SIZE;

	return likely(r && covers(r, gfn)) ? r : region_to_front(vm, gfn);
}

/* Where the visor finds the region's RAM at gpa; NULL = there is no frame for it. */
static uint8_t *frame_pointer(struct vm *vm, struct region *r, uint64_t gpa)
{
	uint64_t frame = page_frame(vm, r, gpa / VMMU_PAGE_SIZE - r->base_page);

	return frame ? (uint8_t *)(uintptr_t)(frame & ~CHUNK_ORDER) + gpa % VMMU_PAGE_SIZE : NULL;
}

/* The same for any gpa; NULL = no memory there, or not for this access. */
static uint8_t *host_pointer(struct vm *vm, uint64_t gpa, bool write)
{
	struct region *r = region_at(vm, gpa);

	return r && !(write && r->flags & VMMU_SLOT_READONLY) ? frame_pointer(vm, r, gpa) : NULL;
}

static size_t rest_of_page(uint64_t gpa, size_t n)
{
	size_t rest = VMMU_PAGE_SIZE - gpa % VMMU_PAGE_SIZE;

	return n < rest ? n : rest;
}

bool memory_load(struct vm *vm, uint64_t gpa, unsigned size, uint64_t *value)
{
	const uint8_t *from = host_pointer(vm, gpa, false);

	if (!from)
		return false;
	switch (size) {
	case 1: *value = *from; break;
	case 2: *value = *(const uint16_t *)from; break;
	case 4: *value = *(const uint32_t *)from; break;
	default: *value = *(const uint64_t *)from; break;
	}
	return true;
}

bool memory_read(struct vm *vm, uint64_t gpa, void *to, size_t n)
{
	uint8_t *t = to;

	while (n) {
		size_t part = rest_of_page(gpa, n);
		const uint8_t *from = host_pointer(vm, gpa, false);

		if (!from)
			return false;
		memcpy(t, from, part);
		t += part;
		gpa += part;
		n -= part;
	}
	return true;
}

bool memory_write(struct vm *vm, uint64_t gpa, const void *from, size_t n)
{
	const uint8_t *f = from;

	while (n) {
		size_t part = rest_of_page(gpa, n);
		uint8_t *to = host_pointer(vm, gpa, true);

		if (!to)
			return false;
		memcpy(to, f, part);
		vmmu_guest_written(vm->vcpu.mmu, vmmu_gpa_of(gpa), part);
		f += part;
		gpa += part;
		n -= part;
	}
	return true;
}

void *memory_page(struct vm *vm, uint64_t gpa, bool write)
{
	return host_pointer(vm, gpa & ~(uint64_t)(VMMU_PAGE_SIZE - 1), write);
}

bool memory_covers(struct vm *vm, uint64_t gpa)
{
	return region_at(vm, gpa);
}

/* ---- for walks of the guest's own page tables --------------------------------- */

enum vmmu_guest_read memory_guest_read(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	const void *from = host_pointer(ctx, gpa.v, false);

	if (!from)
		return VMMU_GUEST_READ_NONE;
	switch (size) {
	case 1:
		*value = __atomic_load_n((const uint8_t *)from, __ATOMIC_RELAXED);
		return VMMU_GUEST_READ_OK;
	case 2:
		*value = __atomic_load_n((const uint16_t *)from, __ATOMIC_RELAXED);
		return VMMU_GUEST_READ_OK;
	case 4:
		*value = __atomic_load_n((const uint32_t *)from, __ATOMIC_RELAXED);
		return VMMU_GUEST_READ_OK;
	default:
		*value = __atomic_load_n((const uint64_t *)from, __ATOMIC_RELAXED);
		return VMMU_GUEST_READ_OK;
	}
}

const void *memory_guest_page(void *ctx, vmmu_gpa gpa)
{
	return host_pointer(ctx, gpa.v & ~(uint64_t)(VMMU_PAGE_SIZE - 1), false);
}

enum vmmu_guest_swap memory_guest_cmpxchg(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t expected,
                                          uint64_t value)
{
	void *at = host_pointer(ctx, gpa.v, true);
	uint32_t expected_low = (uint32_t)expected;
	bool swapped;

	if (!at)
		return VMMU_GUEST_READ_ONLY;
	if (size == 4)
		swapped = __atomic_compare_exchange_n((uint32_t *)at, &expected_low, (uint32_t)value, false,
		                                      __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	else
		swapped = __atomic_compare_exchange_n((uint64_t *)at, &expected, value, false, __ATOMIC_SEQ_CST,
		                                      __ATOMIC_RELAXED);
	return swapped ? VMMU_GUEST_SWAPPED : VMMU_GUEST_CHANGED;
}
