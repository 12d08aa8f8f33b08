/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's memory: frames that are found when they are first touched.
 *
 * Each memory slot of the engine has a region here, which knows the frame of
 * every page that has one. Guest-physical addresses and frames are unrelated.
 */
#ifndef VISOR_VM_MEMORY_H
#define VISOR_VM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmu/vmmu.h>

struct vm;
struct region;

/* Make a slot with memory of its own. */
enum vmmu_status memory_add(struct vm *vm, uint32_t id, uint32_t flags, uint64_t base, uint64_t bytes);
/* Take the slot away and free its frames. */
enum vmmu_status memory_remove(struct vm *vm, uint32_t id);

/* The same slot with its memory elsewhere, or with other flags. */
enum vmmu_status memory_move(struct vm *vm, uint32_t id, uint64_t base);
enum vmmu_status memory_set_flags(struct vm *vm, uint32_t id, uint32_t flags);

/* Give every page of every slot its frame now. False: not enough memory. */
bool memory_fill(struct vm *vm);
/* Free what memory_add made; the engine's slots must be gone or never asked again. */
void memory_free_all(struct vm *vm);
/* 4 KiB frames that guest pages have. */
uint64_t memory_frames(const struct vm *vm);

/* Callbacks for struct vmmu_host; ctx is the VM. */
enum vmmu_backing_result memory_backing(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
                                        unsigned access, struct vmmu_backing *out);
enum vmmu_guest_read memory_guest_read(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value);
const void *memory_guest_page(void *ctx, vmmu_gpa gpa);
enum vmmu_guest_swap memory_guest_cmpxchg(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t expected,
                                          uint64_t value);
bool memory_owns(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, vmmu_pfn pfn);

/*
 * Copy to or from guest RAM. False: part of the range is no memory, or cannot
 * be had. A write to a read-only slot is refused.
 */
bool memory_read(struct vm *vm, uint64_t gpa, void *to, size_t n);
bool memory_write(struct vm *vm, uint64_t gpa, const void *from, size_t n);

/* One access of 1, 2, 4 or 8 bytes that lies in one page. False: there is no memory. */
bool memory_load(struct vm *vm, uint64_t gpa, unsigned size, uint64_t *value);

/* The bytes of the page of RAM at gpa. NULL: there is none, or not for writing. */
void *memory_page(struct vm *vm, uint64_t gpa, bool write);

/* Is there RAM at gpa? */
bool memory_covers(struct vm *vm, uint64_t gpa);

#endif
