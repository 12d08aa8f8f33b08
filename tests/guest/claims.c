/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What docs/tour.md and `make claims` show, small enough to follow by hand: one page
 * mapped at two addresses by two address spaces, and loads of CR3 and INVLPGs whose
 * number is known. The lines it prints say where to look in the trace.
 */
#include "space.h"

enum { SPACES = 2,
       SWITCHES = 1000,
       INVALIDATIONS = 1000 };

static uint64_t address_in_space(unsigned i)
{
	return paging->window + (i + 1) * 16 * PAGE;
}

/* Two "processes" share a frame, each at an address of its own. */
static void share_a_page(uint64_t root[SPACES], uint64_t frame)
{
	for (unsigned i = 0; i < SPACES; i++) {
		root[i] = space_new();
		space_map(root[i], address_in_space(i), frame | ENTRY_P | ENTRY_W, 1);
		write_cr3(root[i]);
		check_shows(address_in_space(i), frame, "at its address in this space");
		word_at(address_in_space(i))[1] = i;
		print("claims: space %u maps page 0x%llx at 0x%llx\n", i, (unsigned long long)frame,
		      (unsigned long long)address_in_space(i));
	}
}

static void switch_and_invalidate(const uint64_t root[SPACES])
{
	for (unsigned i = 0; i < SWITCHES; i++)
		write_cr3(root[i % SPACES]);
	for (unsigned i = 0; i < INVALIDATIONS; i++)
		invalidate_page(address_in_space((SWITCHES - 1) % SPACES));
	print("claims: executed %u loads of CR3 and %u INVLPG\n", SWITCHES, INVALIDATIONS);
}

/* A mapping that the guest changes as an operating system does: clear, INVLPG, set. */
static void change_a_mapping(uint64_t root, uint64_t frame)
{
	uint64_t linear = address_in_space(0), other = frame_tagged();
	uint64_t table = space_table(root, linear, 1);

	write_cr3(root);
	check_shows(linear, frame, "before the change");
	entry_write(table, index_of(linear, 1), 0);
	invalidate_page(linear);
	entry_write(table, index_of(linear, 1), other | ENTRY_P | ENTRY_W);
	check_shows(linear, other, "after it");
	print("claims: 0x%llx now shows page 0x%llx\n", (unsigned long long)linear, (unsigned long long)other);
}

static void claims(void)
{
	uint64_t home = read_cr3(), frame = frame_tagged(), root[SPACES];

	share_a_page(root, frame);
	switch_and_invalidate(root);
	change_a_mapping(root[0], frame);
	write_cr3(home);
}

void test_claims(void)
{
	in_each_mode(claims);
}
