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

/* ---- what each phase of the trace holds (`vmmu trace --phase`) ---- */

enum { PHASE_SHARE = 1,
       PHASE_SWITCH,
       PHASE_CHANGE,
       PHASE_INVLPG,
       PHASE_FORK };

static void end_phase(uint8_t number)
{
	out8(TEST_PHASE_PORT, number);
}

/* One page is taken from under a mapping that was in use: clear the entry, INVLPG, and touch it no more. */
static void invalidate_one(uint64_t root)
{
	uint64_t linear = address_in_space(0), table = space_table(root, linear, 1);

	end_phase(0);
	entry_write(table, index_of(linear, 1), 0);
	invalidate_page(linear);
	end_phase(PHASE_INVLPG);
}

/*
 * What fork does to page tables: the child gets a copy of the parent's, both lose the
 * right to write, and the first write of either is a #PF that brings a copy of the page.
 */
static void fork_once(uint64_t parent, uint64_t child, uint64_t linear)
{
	uint64_t frame = frame_tagged(), copy = frame_tagged();
	uint64_t table = space_table(parent, linear, 1), childs = space_table(child, linear, 1);
	unsigned index = index_of(linear, 1);

	write_cr3(parent);
	entry_write(table, index, frame | ENTRY_P | ENTRY_W);
	word_at(linear)[1] = 1;
	end_phase(0);
	entry_write(childs, index, frame | ENTRY_P);
	entry_write(table, index, frame | ENTRY_P);
	invalidate_page(linear);
	write_cr3(child);
	check(!try_store(linear + 4, 2), "the child writes a page that it shares");
	entry_write(childs, index, copy | ENTRY_P | ENTRY_W);
	invalidate_page(linear);
	check(try_store(linear + 4, 2), "the child cannot write its copy");
	end_phase(PHASE_FORK);
	write_cr3(parent);
	check_equal(word_at(linear)[1], 1, "what the parent has");
}

static void claims(void)
{
	uint64_t home = read_cr3(), frame = frame_tagged(), root[SPACES];

	share_a_page(root, frame);
	end_phase(PHASE_SHARE);
	switch_and_invalidate(root);
	end_phase(PHASE_SWITCH);
	change_a_mapping(root[0], frame);
	end_phase(PHASE_CHANGE);
	invalidate_one(root[0]);
	fork_once(root[0], root[1], paging->window + 48 * PAGE);
	write_cr3(home);
}

void test_claims(void)
{
	in_each_mode(claims);
}
