/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hardware breakpoints on addresses that the visor executes and touches. They are the
 * guest's: the visor must never meet one, nor be stopped by one that it does meet. The
 * machine tests name the addresses: code=X+Y+Z are instructions of the visor's on the
 * way of an exit, stack=X is where its stack ends, frames=X its image.
 */
#include "guest.h"

#define STACK_BYTES 2048u
#define FRAMES 768u
enum { EXECUTE = 0,
       WRITE = 1,
       READ_WRITE = 3 };

/* Breakpoint 0, of this type; 8 bytes long where it is on data. */
static uint64_t control_word(unsigned type)
{
	return 1u << 10 | 2u | (uint64_t)type << 16 | (type == EXECUTE ? 0 : 2ull << 18);
}

static void exits(void)
{
	(void)cpuid(0, 0);
	(void)read_msr(0xc0000080);
	out8(0x80, 0);
	*(volatile uint32_t *)at(APIC_BASE + 0x20);
}

static void try(uint64_t address, unsigned type)
{
	uint64_t none = 1u << 10;

	__asm__ volatile("mov %0, %%dr0; mov %1, %%dr7"
	                 :
	                 : "r"(address), "r"(control_word(type))
	                 : "memory");
	exits();
	__asm__ volatile("mov %0, %%dr7"
	                 :
	                 : "r"(none)
	                 : "memory");
	check(true, "never: the guest goes on");
}

static const char *next_number(const char *text, uint64_t *value)
{
	*value = 0;
	for (text += 2 * (text[0] == '0' && text[1] == 'x'); *text && *text != '+' && *text != ' '; text++)
		*value = *value * 16 + (uint64_t)(*text <= '9' ? *text - '0' : *text - 'a' + 10);
	return *text == '+' ? text + 1 : NULL;
}

static void let_it_be(struct frame *f)
{
	f->rflags |= 1u << 16; /* the guest's own code may lie at such an address */
}

/* Pages behind the visor's image: among them are those that VMRUN itself reads and writes, and page tables. */
static void try_frames(uint64_t first)
{
	static const unsigned places[] = {0, 8, 0x3f9, 0x578};

	for (uint64_t page = first; page < first + FRAMES * PAGE; page += PAGE) {
		for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++)
			try(page + places[i], READ_WRITE);
	}
}

void test_breakpoints(void)
{
	const char *code = option("code");
	uint64_t address, end = 0;

	if (!code) {
		skip("breakpoints: nobody says where the visor's code is");
		return;
	}
	on_interrupt(VECTOR_DB, let_it_be);
	while (code) {
		code = next_number(code, &address);
		try(address, EXECUTE);
		try(address & ~7ull, READ_WRITE);
	}
	if (option("stack"))
		next_number(option("stack"), &end);
	for (address = end - STACK_BYTES; address < end; address += 8) {
		try(address, WRITE);
		try(address, READ_WRITE);
	}
	if (option("frames")) {
		next_number(option("frames"), &address);
		try_frames(address);
	}
	on_interrupt(VECTOR_DB, NULL);
}
