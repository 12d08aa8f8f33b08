/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The permission guest: what the CPU that it runs on makes of every combination
 * of permission bits, held against sim/guest_model.c.
 *
 * For each combination (combinations.h) the CPU's answer is taken: whether the
 * access faults, error code, CR2, what it found or left in memory, and both
 * entries afterwards.
 *
 * All C is 32-bit code; in long mode it runs in compatibility mode, and only the
 * accesses themselves and the exception handlers are 64-bit code.
 */
#ifndef PERMISSION_H
#define PERMISSION_H

#include "../guest.h"

#include "combinations.h"
#include "layout.h"

/* ---- what this CPU offers (features.c) ------------------------------------------- */

/* Of space_controls, what CPUID offers here. */
unsigned offered_controls(const struct space *space);
/* NULL: this CPU has what the space needs; else what it lacks. */
const char *space_lacks(const struct space *space);

/* ---- the CPU (processor.c) ------------------------------------------------------- */

#define LOW_BYTES 0x1000000u /* mapped one to one */

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
/* What set_controls changes there, but for PSE. */
void describe_controls(struct sim_guest_cpu *cpu, unsigned controls);
/* The entry of `level` on the way to test_linear. */
uint64_t test_entry_gpa(unsigned level);
/* The table that holds it. */
uint64_t test_table(unsigned level);

static inline volatile void *pointer_to(uint64_t gpa) { return (volatile void *)(uintptr_t)gpa; }
uint64_t entry_read(const struct space *space, uint64_t gpa);
void entry_store(const struct space *space, uint64_t gpa, uint64_t value);

/* ---- accesses (access.c) ------------------------------------------------------------ */

struct attempt { /* offsets: layout.h */
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
	uint32_t vector; /* VECTOR_PF or VECTOR_DONE */
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

/* Fill the pages that are mapped. */
void fill_targets(void);
/* The entries are as in `stage` before, and again afterwards. */
void make_access(const struct stage *stage, unsigned access, struct answer *answer);
/*
 * The model's. `as_explicit`: as if the instruction's first access, or the one
 * after it, were no implicit one, but the supervisor's own.
 */
enum { FIRST_EXPLICIT = 1,
       THEN_EXPLICIT = 2 };
void expect_answer(const struct stage *stage, unsigned access, unsigned as_explicit, struct answer *answer);
bool is_implicit_with_ac(unsigned access);
bool is_same_answer(const struct answer *a, const struct answer *b);

/* ---- known deviations of emulated CPUs (deviations.c) --------------------------------- */

enum deviation { TCG_RESERVED,
	         TCG_ACCESSED,
	         BOCHS_IMPLICIT,
	         DEVIATIONS };
/* Allow those in a list of words, with commas between them. False: one of them is unknown. */
bool allow_deviations(const char *list);
/* In words, for the report. */
const char *deviation_text(enum deviation which);
/* Make of `got` what hardware answers, where it deviates as allowed, and count it. */
void excuse(const struct stage *stage, unsigned access, struct answer *got, const struct answer *want,
            uint64_t counts[DEVIATIONS]);

#endif
