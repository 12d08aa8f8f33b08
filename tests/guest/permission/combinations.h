/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All combinations of permission bits: what the permission guest tries on the
 * CPU that it runs on, and tests/shadow/permission.c on the simulated machine.
 *
 * A space is one paging mode and two neighbouring levels of it. In it, every
 * setting of the control registers is combined with every pair of entries in
 * these two levels and with every kind of access. All else on the way to the
 * linear address that is accessed grants everything.
 */
#ifndef PERMISSION_COMBINATIONS_H
#define PERMISSION_COMBINATIONS_H

#include "sim/guest_model.h"

/* ---- spaces ------------------------------------------------------------------- */

enum mode { MODE_32BIT,
	    MODE_PAE,
	    MODE_4LEVEL,
	    MODE_5LEVEL };

struct space {
	const char *name;
	enum mode mode;
	unsigned upper; /* level of the upper of the two entries; 1 = page table */
	bool keys;      /* CR4.PKE set, and a key for each of four rights */
};
extern const struct space spaces[];
extern const unsigned space_count;

unsigned top_level(enum mode mode);
unsigned entry_bytes(enum mode mode);
unsigned index_bits(enum mode mode);
/* Of the entry for `linear` in its table of `level`. */
unsigned entry_index(enum mode mode, uint64_t linear, unsigned level);
/* The page that is accessed. */
uint64_t test_linear(enum mode mode);
/* The page of RAM that a 4 KiB entry under test maps, and the one that it is in a larger page. */
#define SMALL_TARGET 0xd05000u
#define LARGE_TARGET 0xc03000u

/* ---- control registers ---------------------------------------------------------- */

enum {
	CONTROL_WP = 1 << 0,
	CONTROL_SMEP = 1 << 1,
	CONTROL_SMAP = 1 << 2,
	CONTROL_NXE = 1 << 3,
	CONTROL_PSE = 1 << 4,
	CONTROLS = 1 << 5,
};
/* Those that mean something in the space's mode. */
unsigned space_controls(const struct space *space);

/* Four keys: all is allowed, no access, no writing, neither. */
#define PKRU_VALUE (1u << 18 | 2u << 26 | 3u << 30)
extern const unsigned keys[4];

/* ---- pairs of entries ------------------------------------------------------------- */

/* Bits 7:0 of a pair are the upper entry's, 15:8 the lower's. */
enum {
	BIT_P = 1 << 0,
	BIT_W = 1 << 1,
	BIT_U = 1 << 2,
	BIT_A = 1 << 3,
	BIT_D = 1 << 4,
	BIT_PS = 1 << 5,
	BIT_NX = 1 << 6,
	BIT_RESERVED = 1 << 7,
};
enum { ENTRY_A = 1 << 5,
       ENTRY_PS = 1 << 7 };

/*
 * All pairs that differ in something which can be seen; returns their number.
 * What stands behind an entry that ends the walk cannot be seen: there two
 * entries stand for all.
 */
unsigned space_pairs(const struct space *space, bool pse, uint16_t pairs[1 << 16]);

/* Does the pair map a page, with A and D set so that no access changes it? */
bool is_settled(const struct space *space, uint16_t pair, bool pse);

/*
 * The entry of `level` with these bits: a leaf, or one that names `table`.
 * `number` decides which of the reserved bits is set.
 */
uint64_t entry_for(const struct space *space, unsigned level, unsigned bits, bool pse, uint32_t number,
                   uint64_t table);
/* Does the pair map a page larger than 4 KiB, if anything? */
bool maps_large(const struct space *space, uint64_t upper, uint64_t lower, bool pse);

/* ---- accesses ------------------------------------------------------------------------ */

struct access_kind {
	const char *name;
	uint32_t at;                         /* in the page */
	struct sim_guest_access first, then; /* `then`: a second access of the same instruction, if it writes */
};
extern const struct access_kind access_kinds[];
extern const unsigned access_count;

/*
 * In each page: INT 80h for fetches, a word to read, one to write, and two
 * descriptors of a writable data segment with DPL 3: the CPU has to set the
 * accessed bit of the second when it loads it.
 */
enum { AT_CODE = 0,
       AT_READ = 8,
       AT_WRITE = 16,
       AT_DESCRIPTOR = 24,
       AT_FRESH = 32 };

#endif
