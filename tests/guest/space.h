/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Address spaces in each of the guest's paging modes: what the stress tests are
 * written over. The 64-bit guest has 4-level and 5-level paging, the 32-bit guest
 * 32-bit and PAE paging; a test runs once in each mode that its guest and machine
 * have.
 *
 * Every space maps the guest's own image and RAM where they are ("home"), so that
 * CR3 can be loaded at any time, and physical memory is read and written at its
 * own address. Linear addresses from paging->window on, as far as one entry of
 * the top table reaches, are the tests' own.
 */
#ifndef GUEST_SPACE_H
#define GUEST_SPACE_H

#include "guest.h"

enum entry_bits {
	ENTRY_P = 1 << 0,
	ENTRY_W = 1 << 1,
	ENTRY_U = 1 << 2,
	ENTRY_A = 1 << 5,
	ENTRY_D = 1 << 6,
	ENTRY_LARGE = 1 << 7,
	ENTRY_G = 1 << 8,
};
#define ENTRY_NX (UINT64_C(1) << 63)

struct paging {
	const char *name;
	unsigned levels, entry_bytes, index_bits;
	uint64_t window;
};
extern const struct paging *paging; /* the mode that is on */

/* Run `test` in each mode, in an address space of its own, with all frames free. */
void in_each_mode(void (*test)(void));
#ifndef __x86_64__
/* The 32-bit guest, step by step: how many modes there are; select one; its home; on and off. */
unsigned paging_modes(void);
void paging_select(unsigned mode);
void home_make(void);
void paging_turn_on(uint64_t root);
void paging_turn_off(void);
#endif

/* ---- Frames: physical memory from a pool that each mode starts with afresh ---- */

void frames_start(void);                                  /* all are free again */
uint64_t frame_take(void);                                /* 4 KiB of zeros */
uint64_t frames_take(unsigned count, uint64_t alignment); /* contiguous; contents are left */
struct range frames_left(void);
void frames_give_back(uint64_t first); /* all that were taken from this one on */
/* A frame with its tag in its first and last word; what a mapping of it must show. */
uint64_t frame_tagged(void);
void frame_set_tag(uint64_t gpa);
uint32_t tag_of(uint64_t gpa);

/* ---- Entries and tables: `table` is where it is reached, at its gpa or mapped elsewhere ---- */

unsigned level_shift(unsigned level); /* log2 of the bytes that an entry covers */
unsigned table_entries(unsigned level);
unsigned index_of(uint64_t linear, unsigned level);
unsigned large_level(void); /* highest level whose entries may map a page */
uint64_t entry_read(uint64_t table, unsigned index);
void entry_write(uint64_t table, unsigned index, uint64_t value);
/* What makes an entry of `level` reference the table at gpa with all rights. */
uint64_t link_to(uint64_t gpa, unsigned level);
uint64_t address_in(uint64_t entry);

uint64_t space_new(void); /* a root: home and nothing else */
/* The table that holds the entry of `level` for linear; those on the way are made. */
uint64_t space_table(uint64_t root, uint64_t linear, unsigned level);
void space_map(uint64_t root, uint64_t linear, uint64_t entry, unsigned level);

/* ---- Registers ---- */

static inline uintptr_t read_cr0(void)
{
	uintptr_t v;
	__asm__ volatile("mov %%cr0, %0"
	                 : "=r"(v));
	return v;
}
static inline void write_cr0(uintptr_t v) { __asm__ volatile("mov %0, %%cr0"
	                                                     :
	                                                     : "r"(v)
	                                                     : "memory"); }
static inline uint64_t read_cr3(void)
{
	uintptr_t v;
	__asm__ volatile("mov %%cr3, %0"
	                 : "=r"(v));
	return v;
}
static inline void write_cr3(uint64_t v) { __asm__ volatile("mov %0, %%cr3"
	                                                    :
	                                                    : "r"((uintptr_t)v)
	                                                    : "memory"); }
static inline uintptr_t read_cr4(void)
{
	uintptr_t v;
	__asm__ volatile("mov %%cr4, %0"
	                 : "=r"(v));
	return v;
}
static inline void write_cr4(uintptr_t v) { __asm__ volatile("mov %0, %%cr4"
	                                                     :
	                                                     : "r"(v)
	                                                     : "memory"); }
static inline void invalidate_page(uint64_t linear)
{
	__asm__ volatile("invlpg (%0)"
	                 :
	                 : "r"((uintptr_t)linear)
	                 : "memory");
}

enum {
	CR0_WP = 1 << 16,
	CR0_PG = 1 << 31,
	CR4_PSE = 1 << 4,
	CR4_PAE = 1 << 5,
	CR4_PGE = 1 << 7,
	CR4_LA57 = 1 << 12,
	CR4_SMEP = 1 << 20,
	CR4_SMAP = 1 << 21,
	MSR_EFER = (int)0xc0000080,
	EFER_NXE = 1 << 11,
};

/* ---- Accesses ---- */

static inline volatile uint32_t *word_at(uint64_t linear) { return (volatile uint32_t *)(uintptr_t)linear; }

/* False: #PF at this address, last_trap has it. Any other exception, or address, is a failed check. */
bool try_load(uint64_t linear, uint32_t *value);
bool try_store(uint64_t linear, uint32_t value);
/* Call the code there (a RET). */
bool try_call(uint64_t linear);

/* The page at linear is the tagged frame gpa, or faults if gpa is 0. */
void check_shows(uint64_t linear, uint64_t gpa, const char *when);
/* It is one of the two: what holds between a change of an entry and its invalidation. */
void check_shows_either(uint64_t linear, uint64_t old_gpa, uint64_t new_gpa, const char *when);

/* Rounds that a test makes: its own number times what the word load= says, in percent. */
unsigned rounds(unsigned usual);

#endif
