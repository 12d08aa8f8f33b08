/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest format that no register chooses: EPT, as a nested hypervisor writes it.
 * The walker must need nothing but the descriptor: present by any of three bits, a
 * right to read of its own, accessed and dirty bits elsewhere, addresses of 48
 * bits that are cut off and not canonical.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "format/guest.h"

#define BIT(n) (1ull << (n))
#define R BIT(0)
#define W BIT(1)
#define X BIT(2)
#define ACCESSED BIT(8)
#define DIRTY BIT(9)

enum { FRAMES = 8,
       TOP = 1,
       LEVEL_3,
       LEVEL_2,
       LEVEL_1 };

static uint64_t memory[FRAMES][512];

/* SDM vol. 3, 29.3.2 "EPT Translation Mechanism", tables 29-1 to 29-6. */
static const struct vmmu_guest_format ept = {
	.name = "EPT",
	.levels = 4,
	.entry_bytes = 8,
	.index_bits = 9,
	.address_bits = 48,
	.present = R | W | X,
	VMMU_GUEST_GRANT(R, W, 0, X),
	.accessed = ACCESSED,
	.dirty = DIRTY,
	.huge = BIT(7),
	.root = 0x000ffffffffff000ull,
	.address = 0x000ffffffffff000ull,
	.huge_level_max = VMMU_LEVEL_1G,
};

static enum vmmu_guest_read guest_read(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	(void)ctx;
	assert_int_equal(size, 8);
	if (gpa.v >= sizeof(memory))
		return VMMU_GUEST_READ_NONE;
	memcpy(value, (char *)memory + gpa.v, size);
	return VMMU_GUEST_READ_OK;
}

static enum vmmu_guest_swap guest_cmpxchg(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t expected, uint64_t value)
{
	uint64_t now;

	(void)size;
	if (guest_read(ctx, gpa, 8, &now) != VMMU_GUEST_READ_OK || now != expected)
		return VMMU_GUEST_CHANGED;
	memcpy((char *)memory + gpa.v, &value, 8);
	return VMMU_GUEST_SWAPPED;
}

static const struct vmmu_host host = {.guest_read = guest_read, .guest_cmpxchg = guest_cmpxchg};

/* What the walker reads of a mode, for this format; accesses are judged by R, W and X alone. */
static struct vmmu_guest_mode mode_of_ept(void)
{
	struct vmmu_guest_mode mode = {
		.registers = {.cr3 = TOP << 12, .cpu = {.maxphyaddr = 46, .page_1g = true}},
		.format = &ept,
		.levels = ept.levels,
		.huge_level_max = VMMU_LEVEL_1G,
		.address = ept.address & (BIT(46) - 1)};

	for (unsigned access = 0; access < 16; access++) {
		unsigned needed = access & 1 ? VMMU_PAGE_WRITE : access & 4 ? VMMU_PAGE_EXEC
		                                                            : VMMU_PAGE_READ;

		for (unsigned page = 0; page <= VMMU_PAGE_ALL; page++)
			if (!(page & needed))
				mode.refused[access] |= (uint16_t)(1u << page);
	}
	return mode;
}

static uint64_t address(unsigned i4, unsigned i3, unsigned i2, unsigned i1, unsigned offset)
{
	return (uint64_t)i4 << 39 | (uint64_t)i3 << 30 | i2 << 21 | i1 << 12 | offset;
}

static int setup(void **state)
{
	(void)state;
	memset(memory, 0, sizeof(memory));
	memory[TOP][3] = LEVEL_3 << 12 | R | W | X;
	memory[LEVEL_3][4] = LEVEL_2 << 12 | R | W | X;
	memory[LEVEL_2][5] = LEVEL_1 << 12 | R | W | X;
	return 0;
}

static enum vmmu_guest_result walk(uint64_t gva, unsigned access, struct vmmu_guest_walk *out)
{
	struct vmmu_guest_mode mode = mode_of_ept();

	return vmmu_guest_walk(&host, NULL, &mode, vmmu_gva_of(gva), access, out);
}

static void every_right_is_a_bit(void **state)
{
	static const unsigned wanted[] = {VMMU_R, VMMU_W, VMMU_X};
	struct vmmu_guest_walk out;

	(void)state;
	for (uint64_t rights = 0; rights < 8; rights++) {
		for (unsigned i = 0; i < 3; i++) {
			memory[LEVEL_1][6] = 0x55000 | rights;
			enum vmmu_guest_result result = walk(address(3, 4, 5, 6, 0x123), wanted[i], &out);

			assert_int_equal(result, rights & BIT(i) ? VMMU_GUEST_OK : VMMU_GUEST_FAULT);
			if (result == VMMU_GUEST_OK)
				assert_int_equal(out.gpa.v, 0x55123);
			/* A refused access, like one where nothing is, leaves no mark. */
			assert_int_equal(memory[LEVEL_1][6],
			                 0x55000 | rights | (result != VMMU_GUEST_OK ? 0 : ACCESSED) |
			                         (result == VMMU_GUEST_OK && i == 1 ? DIRTY : 0));
		}
	}
}

static void high_addresses_are_not_cut_off(void **state)
{
	struct vmmu_guest_walk out;

	(void)state;
	memory[TOP][511] = LEVEL_3 << 12 | R;
	memory[LEVEL_3][511] = 0x40000000ull | R | BIT(7);
	assert_int_equal(walk(address(511, 511, 1, 2, 3), VMMU_R, &out), VMMU_GUEST_OK);
	assert_int_equal(out.gpa.v, 0x40000000ull | 1 << 21 | 2 << 12 | 3);
	assert_int_equal(out.level, VMMU_LEVEL_1G);
	/* Bits beyond the format's are. */
	assert_int_equal(walk(address(511, 511, 1, 2, 3) | BIT(60), VMMU_R, &out), VMMU_GUEST_OK);
	assert_int_equal(walk(address(511, 510, 1, 2, 3), VMMU_R, &out), VMMU_GUEST_FAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(every_right_is_a_bit, setup),
		cmocka_unit_test_setup(high_addresses_are_not_cut_off, setup),
	};

	return cmocka_run_group_tests_name("formats", tests, NULL, NULL);
}
