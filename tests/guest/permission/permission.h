/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The permission guest: what the CPU that it runs on makes of every combination
 * of permission bits, held against sim/guest_model.c.
 *
 * A space is one paging mode and two neighbouring levels of it. In it, every
 * setting of the control registers is combined with every pair of entries in
 * these two levels and with every kind of access. For each of these
 * combinations the CPU's answer is taken: whether the access faults, error code,
 * CR2, what it found or left in memory, and both entries afterwards.
 *
 * All C is 32-bit code; in long mode it runs in compatibility mode, and only the
 * accesses themselves and the exception handlers are 64-bit code.
 */
#ifndef PERMISSION_H
#define PERMISSION_H

#include "../guest.h"
#include "sim/guest_model.h"

#include "layout.h"

/* ---- spaces (spaces.c) -------------------------------------------------------- */

enum mode { MODE_32BIT, MODE_PAE, MODE_4LEVEL, MODE_5LEVEL };

struct space {
	const char *name;
	enum mode mode;
	unsigned upper;       /* level of the upper of the two entries; 1 = page table */
	bool keys;            /* CR4.PKE set, and four keys */
};
extern const struct space spaces[];
extern const unsigned space_count;

/* Settings that are part of a combination. */
enum {
	CONTROL_WP = 1 << 0, CONTROL_SMEP = 1 << 1, CONTROL_SMAP = 1 << 2, CONTROL_NXE = 1 << 3,
	CONTROL_PSE = 1 << 4, CONTROLS = 1 << 5,
};
/* Those that mean something in the space's mode. */
unsigned space_controls(const struct space *space);
/* Of these, what CPUID offers here. */
unsigned offered_controls(const struct space *space);
/* NULL: this CPU has what the space needs; else what it lacks. */
const char *space_lacks(const struct space *space);

/* Pairs of entries: bits 7:0 are the upper's, 15:8 the lower's, as entry_for spreads them. */
enum {
	BIT_P = 1 << 0, BIT_W = 1 << 1, BIT_U = 1 << 2, BIT_A = 1 << 3, BIT_D = 1 << 4, BIT_PS = 1 << 5,
	BIT_NX = 1 << 6, BIT_RESERVED = 1 << 7,
};
/*
 * All pairs that differ in something which can be seen; returns their number.
 * What stands behind an entry that ends the walk cannot be seen: there two
 * entries stand for all.
 */
unsigned space_pairs(const struct space *space, bool pse, uint16_t pairs[1 << 16]);

/* ---- the CPU (processor.c) ------------------------------------------------------- */

/* Where the accesses go: through the entries under test. */
uint64_t test_linear(enum mode mode);
/* The page that a 4 KiB entry under test maps, and the one that a larger one does. */
#define SMALL_TARGET 0xd05000u
#define LARGE_TARGET 0xc03000u
#define LOW_BYTES    0x1000000u /* mapped one to one */

/* Descriptor tables. Once. */
void processor_setup(void);
void load_system_segments32(void); /* LDT and TSS (attempt.S) */
void load_system_segments64(void);
/* Make the space's tables and turn paging on with them. */
void paging_on(const struct space *space);
void paging_off(void);
void set_controls(const struct space *space, unsigned controls);
/* The registers in the model's words. */
void describe_processor(struct sim_guest_cpu *cpu);
/* The entry of `level` on the way to test_linear. */
uint64_t test_entry_gpa(unsigned level);
/* What an entry of `level` on this way points to: the next table, or a page. */
uint64_t test_entry_address(const struct space *space, unsigned level, bool leaf);
enum { ENTRY_A = 1 << 5, ENTRY_PS = 1 << 7 };
unsigned entry_bytes(const struct space *space);
#define PKRU_VALUE (1u << 18 | 2u << 26 | 3u << 30)

static inline volatile void *pointer_to(uint64_t gpa) { return (volatile void *)(uintptr_t)gpa; }
uint64_t entry_read(const struct space *space, uint64_t gpa);
void entry_store(const struct space *space, uint64_t gpa, uint64_t value);

/* ---- accesses (access.c) ------------------------------------------------------------ */

struct attempt {           /* offsets: layout.h */
	uint64_t linear;
	uint64_t flags;
	uint32_t operand;
	uint32_t code;
	uint32_t user;
};

struct outcome {
	uint32_t vector;
	uint32_t operand;
	uint64_t error;
	uint64_t cr2;
	uint64_t pc;
};

struct answer {
	uint32_t vector;       /* VECTOR_PF or VECTOR_DONE */
	uint32_t error;
	uint64_t cr2;
	uint64_t upper, lower; /* the entries afterwards */
	bool right_page;       /* the access reached the page it should, and nothing else changed */
	/* The model's only: A, if the walk went on from this entry, or if it has PS in a PDPTE. */
	uint64_t passed_upper, passed_lower;
};

/* One pair of entries under one setting of the control registers. */
struct stage {
	const struct space *space;
	struct sim_guest_cpu cpu;
	uint64_t upper_gpa, lower_gpa;
	uint64_t upper, lower;
};

extern const unsigned access_count;
const char *access_name(unsigned access);
/* Fill the pages that are mapped. */
void fill_targets(void);
/* The entries are as in `stage` before, and again afterwards. */
void make_access(const struct stage *stage, unsigned access, struct answer *answer);
/*
 * The model's. `as_explicit`: as if the instruction's first access, or the one
 * after it, were no implicit one, but the supervisor's own.
 */
enum { FIRST_EXPLICIT = 1, THEN_EXPLICIT = 2 };
void expect_answer(const struct stage *stage, unsigned access, unsigned as_explicit, struct answer *answer);
bool is_implicit_with_ac(unsigned access);

#endif
