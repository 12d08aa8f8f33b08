/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small guest under shadow paging, the same for all of its modes: what the
 * shadow scenarios are made of. Two leaf tables hang below one directory:
 *
 *   0 ...         LEAF:  page i maps frame DATA + i
 *   span ...      VIEW:  page i maps frame i: all of the guest's tables, for the
 *                 guest to write; so that a store to one goes where a CPU's would
 */
#ifndef TESTS_SCHEDULE_GUEST_H
#define TESTS_SCHEDULE_GUEST_H

#include "guest_machine.h"

/* Frames. Those of slot 1 may go. */
enum { TOP = 16,
       UPPER,
       MIDDLE,
       DIRECTORY,
       LEAF,
       VIEW,
       LEAF2,
       TOP2,
       DATA = 32,
       SLOT1 = 48,
       FRAMES = 64,
       MORE = 128 /* leaf tables, for want of room */ };
enum { GUEST_LEAF_PAGES = 8 };

struct guest_mode {
	const char *name;
	unsigned levels;
	unsigned entry_bytes;
	uint64_t span; /* bytes that a leaf table maps */
};
extern const struct guest_mode guest_modes[];
extern const unsigned guest_mode_count;

/* The mode of the run under way. */
extern const struct guest_mode *guest_mode;

/* An entry that names frame: present, writable, user's, accessed; and dirty. */
uint64_t guest_entry(unsigned frame);
uint64_t guest_entry_with(unsigned frame, unsigned remove);
enum { GUEST_WRITE = 2,
       GUEST_USER = 4,
       GUEST_ACCESSED = 0x20,
       GUEST_DIRTY = 0x40,
       GUEST_LARGE = 0x80 };

/* Fill the tables and let every vCPU run on them. */
void guest_begin(struct sim_gm *gm);

/* Where entry `index` of a table lies for the guest itself. */
uint64_t guest_view(unsigned table, unsigned index);
/* Page i of LEAF. */
uint64_t guest_page(unsigned i);

/* ---- what a vCPU does; accesses are the supervisor's unless they say otherwise ---- */

void guest_read(struct sim_gm *gm, unsigned vcpu, uint64_t gva);
void guest_write(struct sim_gm *gm, unsigned vcpu, uint64_t gva);
void guest_user_read(struct sim_gm *gm, unsigned vcpu, uint64_t gva);
void guest_user_write(struct sim_gm *gm, unsigned vcpu, uint64_t gva);
/* A store to a table, as the guest's CPU makes it. */
void guest_set(struct sim_gm *gm, unsigned vcpu, unsigned table, unsigned index, uint64_t entry);
/* Run on another top table, or on the first one again. */
void guest_switch(struct sim_gm *gm, unsigned vcpu, unsigned top);
/* With CR0.WP set or clear. */
void guest_write_protect(struct sim_gm *gm, unsigned vcpu, bool on);

#endif
