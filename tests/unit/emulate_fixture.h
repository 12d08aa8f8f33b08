/* SPDX-License-Identifier: BSD-2-Clause */
/* A small guest memory with a device page, and CPUs in each mode. */
#ifndef TESTS_UNIT_EMULATE_FIXTURE_H
#define TESTS_UNIT_EMULATE_FIXTURE_H

#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"
#include "visor/emulate/emulate.h"

#define RAM_BYTES 0x100000u
#define DEVICE_BASE 0xfec00000u
#define DEVICE_BYTES 0x1000u
#define MAX_ACCESSES 32

struct access {
	bool write;
	uint64_t gpa, value;
	unsigned size;
};

/* RAM at 0, a device that remembers who touched it, nothing elsewhere. */
struct bus {
	uint8_t ram[RAM_BYTES];
	uint64_t device_value; /* what it reads as, low bytes first */
	struct access access[MAX_ACCESSES];
	unsigned accesses;
	unsigned stored; /* times the walk told of accessed and dirty bits */
	struct vmmu_host host;
	struct vmmu_guest_mode mode;
};

static inline bool is_device(uint64_t gpa)
{
	return gpa - DEVICE_BASE < DEVICE_BYTES;
}

static inline void note(struct bus *b, bool write, uint64_t gpa, unsigned size, uint64_t value)
{
	if (b->accesses < MAX_ACCESSES)
		b->access[b->accesses] = (struct access){write, gpa, value, size};
	b->accesses++;
}

static inline bool bus_read(void *ctx, uint64_t gpa, unsigned size, uint64_t *value)
{
	struct bus *b = ctx;

	assert_true(gpa % 4096 + size <= 4096);
	*value = 0;
	if (is_device(gpa)) {
		*value = size == 8 ? b->device_value : b->device_value & ((1ull << 8 * size) - 1);
		note(b, false, gpa, size, *value);
		return true;
	}
	if (gpa >= RAM_BYTES)
		return false;
	memcpy(value, b->ram + gpa, size);
	return true;
}

static inline bool bus_write(void *ctx, uint64_t gpa, unsigned size, uint64_t value)
{
	struct bus *b = ctx;

	assert_true(gpa % 4096 + size <= 4096);
	if (is_device(gpa)) {
		note(b, true, gpa, size, value);
		return true;
	}
	if (gpa >= RAM_BYTES)
		return false;
	memcpy(b->ram + gpa, &value, size);
	return true;
}

static inline enum vmmu_guest_read bus_guest_read(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	struct bus *b = ctx;

	*value = 0;
	if (gpa.v >= RAM_BYTES)
		return VMMU_GUEST_READ_NONE;
	memcpy(value, b->ram + gpa.v, size);
	return VMMU_GUEST_READ_OK;
}

static inline enum vmmu_guest_swap bus_guest_cmpxchg(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t expected,
                                                     uint64_t value)
{
	struct bus *b = ctx;

	if (memcmp(b->ram + gpa.v, &expected, size) != 0)
		return VMMU_GUEST_CHANGED;
	memcpy(b->ram + gpa.v, &value, size);
	return VMMU_GUEST_SWAPPED;
}

static inline void bus_stored(void *ctx, uint64_t gpa)
{
	(void)gpa;
	((struct bus *)ctx)->stored++;
}

static inline struct bus *bus_new(struct guest_memory *memory)
{
	struct bus *b = calloc(1, sizeof(*b));

	b->host = (struct vmmu_host){.guest_read = bus_guest_read, .guest_cmpxchg = bus_guest_cmpxchg};
	*memory = (struct guest_memory){
		.read = bus_read,
		.write = bus_write,
		.ctx = b,
		.host = &b->host,
		.stored = bus_stored,
		.cpu = {.maxphyaddr = 52, .pse36 = true, .page_1g = true},
		.mode = &b->mode,
	};
	return b;
}

static inline void set64(struct bus *b, uint64_t gpa, uint64_t value)
{
	memcpy(b->ram + gpa, &value, 8);
}

static inline void set32(struct bus *b, uint64_t gpa, uint32_t value)
{
	memcpy(b->ram + gpa, &value, 4);
}

static inline void flat_segments(struct x86_cpu_state *cpu, uint32_t code, uint32_t data, uint32_t limit)
{
	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		cpu->segment[i] = (struct x86_segment){.access = data, .limit = limit};
	cpu->segment[X86_CS].access = code;
}

/* Paging off. */
static inline struct x86_cpu_state cpu_real_mode(void)
{
	struct x86_cpu_state cpu = {.rflags = 2};

	flat_segments(&cpu, 0x9b, 0x93, 0xffff);
	return cpu;
}

static inline struct x86_cpu_state cpu_32bit(void)
{
	struct x86_cpu_state cpu = {.rflags = 2, .cr0 = X86_CR0_PE};

	flat_segments(&cpu, 0xc09b, 0xc093, 0xffffffff);
	return cpu;
}

/* Paging on; the caller sets CR3. */
static inline struct x86_cpu_state cpu_64bit(void)
{
	struct x86_cpu_state cpu = {
		.rflags = 2,
		.cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_WP,
		.cr4 = X86_CR4_PAE,
		.efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE,
	};

	flat_segments(&cpu, 0xa09b, 0xc093, 0xffffffff);
	return cpu;
}

#endif
