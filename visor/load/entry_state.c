/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a guest's first instruction finds the CPU: the descriptor table, flat
 * segments, and for 64-bit images page tables that map 4 GiB one to one. The
 * tables are the guest's own data, written into its memory.
 */
#include "visor/load/bytes.h"
#include "visor/load/loader.h"

/* Access rights as in cpu/state.h; descriptors hold them in bits 55:40. */
#define ACCESS_CODE32 0xc09b /* execute/read, accessed, present, 32-bit, limit in pages */
#define ACCESS_CODE64 0xa09b
#define ACCESS_DATA 0xc093 /* read/write, accessed, present, 32-bit, limit in pages */
#define ACCESS_TSS 0x008b  /* busy 32-bit TSS, which also stands for the 64-bit one */

#define GDT_ENTRIES 4
#define RFLAGS_FIXED 0x2

/* Guest paging structures (SDM vol. 3, tables 5-15 to 5-17). */
#define ENTRY_PRESENT 0x1ull
#define ENTRY_WRITABLE 0x2ull
#define ENTRY_PAGE 0x80ull
#define PAGE 4096u
#define ENTRIES 512u
#define MAPPED_GIB 4u
#define STACK_BYTES 0x4000u

static uint64_t flat_descriptor(uint32_t access)
{
	/* limit FFFFFh pages, base 0 */
	return 0x000f00000000ffffull | (uint64_t)(access & 0xf0ff) << 40;
}

static struct x86_segment flat_segment(uint16_t selector, uint32_t access)
{
	return (struct x86_segment){.selector = selector, .access = access, .limit = 0xffffffff};
}

static bool write_gdt(struct loader *l, uint16_t code, uint32_t code_access)
{
	struct x86_cpu_state *cpu = &l->result->cpu;
	uint8_t gdt[GDT_ENTRIES * 8] = {0};
	uint64_t at;

	if (!find_room(l, 0x1000, sizeof(gdt), 16, &at))
		return refuse(l, "kernel leaves no room for a descriptor table in guest memory");
	put64(gdt + code, flat_descriptor(code_access));
	put64(gdt + code + 8, flat_descriptor(ACCESS_DATA));
	cpu->gdtr = (struct x86_table_register){.limit = sizeof(gdt) - 1, .base = at};
	return put(l, at, gdt, sizeof(gdt));
}

static bool flat_state(struct loader *l, uint64_t entry, uint16_t code, uint32_t code_access)
{
	struct x86_cpu_state *cpu = &l->result->cpu;

	l->result->entry = entry;
	cpu->rip = entry;
	cpu->rflags = RFLAGS_FIXED;
	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		cpu->segment[i] = flat_segment(code + 8, ACCESS_DATA);
	cpu->segment[X86_CS] = flat_segment(code, code_access);
	cpu->tr = (struct x86_segment){.access = ACCESS_TSS, .limit = 0x67};
	cpu->ldtr = (struct x86_segment){.access = X86_ACCESS_UNUSABLE};
	return write_gdt(l, code, code_access);
}

bool enter_protected_mode(struct loader *l, uint64_t entry, uint16_t code)
{
	l->result->cpu.cr0 = X86_CR0_PE | X86_CR0_ET;
	return flat_state(l, entry, code, ACCESS_CODE32);
}

/* One PML4, one PDPT and a page directory per GiB, one behind the other. */
static bool write_identity_map(struct loader *l, uint64_t *root)
{
	uint8_t table[PAGE];
	uint64_t at;

	if (!find_room(l, 0x1000, (2 + MAPPED_GIB) * PAGE, PAGE, &at))
		return refuse(l, "kernel leaves no room for page tables in guest memory");
	*root = at;
	for (unsigned i = 0; i < PAGE; i++)
		table[i] = 0;
	put64(table, (at + PAGE) | ENTRY_PRESENT | ENTRY_WRITABLE);
	if (!put(l, at, table, PAGE))
		return false;
	for (unsigned i = 0; i < MAPPED_GIB; i++)
		put64(table + 8 * i, (at + (2 + i) * PAGE) | ENTRY_PRESENT | ENTRY_WRITABLE);
	if (!put(l, at + PAGE, table, PAGE))
		return false;
	for (unsigned gib = 0; gib < MAPPED_GIB; gib++) {
		for (unsigned i = 0; i < ENTRIES; i++)
			put64(table + 8 * i, (uint64_t)gib << 30 | (uint64_t)i << 21 | ENTRY_PRESENT |
			                             ENTRY_WRITABLE | ENTRY_PAGE);
		if (!put(l, at + (2 + gib) * PAGE, table, PAGE))
			return false;
	}
	return true;
}

bool enter_long_mode(struct loader *l, uint64_t entry, uint16_t code)
{
	struct x86_cpu_state *cpu = &l->result->cpu;
	uint64_t stack;

	if (!write_identity_map(l, &cpu->cr3))
		return false;
	if (!find_room(l, 0x1000, STACK_BYTES, 16, &stack))
		return refuse(l, "kernel leaves no room for a stack in guest memory");
	cpu->cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_PG;
	cpu->cr4 = X86_CR4_PAE;
	cpu->efer = X86_EFER_LME | X86_EFER_LMA;
	cpu->gpr[X86_RSP] = stack + STACK_BYTES - 8; /* as after a CALL: ABI alignment */
	return flat_state(l, entry, code, ACCESS_CODE64);
}
