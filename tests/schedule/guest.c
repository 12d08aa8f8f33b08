/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest.h"

#define K 4096ull
#define PRESENT 1u

const struct guest_mode guest_modes[] = {
	{"32-bit", 2, 4, 1ull << 22},
	{"pae", 3, 8, 1ull << 21},
	{"4-level", 4, 8, 1ull << 21},
	{"5-level", 5, 8, 1ull << 21},
};
const unsigned guest_mode_count = sizeof(guest_modes) / sizeof(guest_modes[0]);
const struct guest_mode *guest_mode;

uint64_t guest_entry(unsigned frame)
{
	return frame * K | PRESENT | GUEST_WRITE | GUEST_USER | GUEST_ACCESSED | GUEST_DIRTY;
}

uint64_t guest_entry_with(unsigned frame, unsigned remove)
{
	return guest_entry(frame) & ~(uint64_t)remove;
}

uint64_t guest_page(unsigned i)
{
	return i * K;
}

uint64_t guest_view(unsigned table, unsigned index)
{
	return guest_mode->span + table * K + index * guest_mode->entry_bytes;
}

/* ---- the tables ------------------------------------------------------------------------ */

/* As a loader writes them: nothing is shadowed yet. */
static void fill(struct sim_gm *gm, unsigned table, unsigned index, uint64_t entry)
{
	sim_gm_host_write(gm, 0, table * K + index * guest_mode->entry_bytes, guest_mode->entry_bytes, entry);
}

/* The tables above the directory, `top` first. */
static void fill_above(struct sim_gm *gm, unsigned top)
{
	switch (guest_mode->levels) {
	case 2:
		fill(gm, top, 0, guest_entry(LEAF)); /* the top is the directory */
		fill(gm, top, 1, guest_entry(VIEW));
		return;
	case 3:
		fill(gm, top, 0, DIRECTORY * K | PRESENT);
		return;
	case 4:
		fill(gm, top, 0, guest_entry(MIDDLE));
		break;
	default:
		fill(gm, top, 0, guest_entry(UPPER));
		fill(gm, UPPER, 0, guest_entry(MIDDLE));
		break;
	}
	fill(gm, MIDDLE, 0, guest_entry(DIRECTORY));
}

static struct vmmu_paging registers(struct sim_gm *gm, unsigned vcpu, unsigned top)
{
	struct vmmu_paging p = gm->vcpu[vcpu].paging;
	bool wide = guest_mode->levels >= 4;

	p.cr0 = 1u << 31 | 1u << 16 | 1;
	p.cr3 = top * K;
	p.cr4 = 1u << 4 | (guest_mode->levels > 2 ? 1u << 5 : 0) | (guest_mode->levels == 5 ? 1u << 12 : 0);
	p.efer = (wide ? 1u << 8 | 1u << 10 : 0) | 1u << 11;
	if (guest_mode->levels == 3)
		vmmu_guest_load_pdptes(&gm->host, gm, &p.cpu, p.cr3, p.pdpte);
	return p;
}

void guest_begin(struct sim_gm *gm)
{
	sim_gm_slot_create(gm, 0, 0, SLOT1, 0, 0);
	sim_gm_slot_create(gm, 1, SLOT1, FRAMES - SLOT1, SLOT1, 0);
	sim_gm_slot_create(gm, 2, FRAMES, gm->ram_pages - FRAMES, FRAMES, 0);
	for (unsigned i = 0; i < GUEST_LEAF_PAGES; i++) {
		fill(gm, LEAF, i, guest_entry(DATA + i));
		fill(gm, LEAF2, i, guest_entry(DATA + 8 + i));
	}
	for (unsigned i = 0; i < FRAMES; i++)
		fill(gm, VIEW, i, guest_entry(i));
	fill(gm, DIRECTORY, 0, guest_entry(LEAF));
	fill(gm, DIRECTORY, 1, guest_entry(VIEW));
	fill_above(gm, TOP);
	fill_above(gm, TOP2);
	for (unsigned n = 0; n < gm->vcpus; n++)
		guest_switch(gm, n, TOP);
}

/* ---- vCPUs ------------------------------------------------------------------------------- */

static void access(struct sim_gm *gm, unsigned vcpu, uint64_t gva, bool write, bool user)
{
	struct sim_guest_access a = {.write = write, .user = user};

	sim_gm_access(gm, vcpu, gva, &a, 4, 0x1000 * vcpu + 8);
}

void guest_read(struct sim_gm *gm, unsigned vcpu, uint64_t gva)
{
	access(gm, vcpu, gva, false, false);
}

void guest_write(struct sim_gm *gm, unsigned vcpu, uint64_t gva)
{
	access(gm, vcpu, gva, true, false);
}

void guest_user_read(struct sim_gm *gm, unsigned vcpu, uint64_t gva)
{
	access(gm, vcpu, gva, false, true);
}

void guest_user_write(struct sim_gm *gm, unsigned vcpu, uint64_t gva)
{
	access(gm, vcpu, gva, true, true);
}

void guest_set(struct sim_gm *gm, unsigned vcpu, unsigned table, unsigned index, uint64_t entry)
{
	const struct sim_guest_access write = {.write = true};

	sim_gm_access(gm, vcpu, guest_view(table, index), &write, guest_mode->entry_bytes, entry);
}

void guest_switch(struct sim_gm *gm, unsigned vcpu, unsigned top)
{
	struct vmmu_paging p = registers(gm, vcpu, top);

	sim_gm_set_paging(gm, vcpu, &p);
}

void guest_write_protect(struct sim_gm *gm, unsigned vcpu, bool on)
{
	struct vmmu_paging p = gm->vcpu[vcpu].paging;

	p.cr0 = on ? p.cr0 | 1u << 16 : p.cr0 & ~(1ull << 16);
	sim_gm_set_paging(gm, vcpu, &p);
}
