/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the README's example leaves to its reader: the callbacks, and names like
 * PHYS_WINDOW. C and C++; tests/embed/languages puts the example behind it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmmu/exit.h>
#include <vmmu/guest.h>
#include <vmmu/host.h>
#include <vmmu/trace.h>
#include <vmmu/types.h>
#include <vmmu/version.h>
#include <vmmu/vmmu.h>

enum { FRAMES = 64,
       RESUME = 1,
       EMULATE,
       STOP };

static unsigned char memory[FRAMES][VMMU_PAGE_SIZE] __attribute__((aligned(4096)));
static unsigned frames_used, flushes;

#define PHYS_WINDOW ((uintptr_t)memory)
static void *my_vm;
static const uint64_t my_handle = 0x10000000;

static inline void *my_alloc(void *ctx, size_t size)
{
	void *object = aligned_alloc(64, (size + 63) & ~(size_t)63);

	(void)ctx;
	return object ? memset(object, 0, size) : NULL;
}

static inline void my_free(void *ctx, void *object, size_t size)
{
	(void)ctx;
	(void)size;
	free(object);
}

static inline bool my_frame(void *ctx, vmmu_hpa *out)
{
	(void)ctx;
	*out = vmmu_hpa_of((uint64_t)frames_used * VMMU_PAGE_SIZE);
	return frames_used++ < FRAMES;
}

static inline void my_frame_free(void *ctx, vmmu_hpa frame)
{
	(void)ctx;
	(void)frame;
}

static inline enum vmmu_backing_result my_backing(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
                                                  unsigned access, struct vmmu_backing *out)
{
	(void)ctx;
	(void)access;
	out->pfn = vmmu_pfn_of((slot->backing >> VMMU_PAGE_SHIFT) + gfn.v);
	out->order = 9;
	out->rights = VMMU_RWX;
	out->memtype = VMMU_MEMTYPE_WB;
	return VMMU_BACKING_OK;
}

static inline void my_flush(void *ctx, const struct vmmu_flush *what)
{
	(void)ctx;
	(void)what;
	flushes++;
}

static inline int emulate(uint64_t gpa)
{
	(void)gpa;
	return EMULATE;
}

static inline int stop(struct vmmu_vm *vm)
{
	(void)vm;
	return STOP;
}

static inline int expect(const char *what, int got, int wanted)
{
	if (got == wanted)
		return 0;
	fprintf(stderr, "%s: %d instead of %d\n", what, got, wanted);
	return 1;
}
