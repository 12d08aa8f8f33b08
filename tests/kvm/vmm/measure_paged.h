/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest does to its own page tables, timed: an address space is switched, a #PF is
 * delivered, a handler makes the missing entry, or changes it for a write. Both sides of
 * `make compare` run this, on tables, IDT and GDT that are made here and left again
 * afterwards. Included once in a program. One vCPU at a time; the low gigabyte is mapped
 * to itself, and interrupts are off.
 */
#ifndef TESTS_KVM_MEASURE_PAGED_H
#define TESTS_KVM_MEASURE_PAGED_H

#include "measure.h"

#define PAGED_AT 0x40000000ul /* guest-virtual: one page table's worth of pages */
enum { PAGED_PAGES = 512,
       PAGED_PF = 14 };

/* SDM vol. 3, tables 4-15 to 4-20: present, writable, accessed, dirty, page size. */
enum { PAGED_TABLE = 0x23,
       PAGED_PAGE = 0x63,
       PAGED_READ_ONLY = 0x21,
       PAGED_LARGE = 0xe3 };

struct paged_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

/* SDM vol. 3, figure 6-8 "64-Bit IDT Gate Descriptors". */
struct paged_gate {
	uint16_t low, selector, type, middle;
	uint32_t high, zero;
};

static struct {
	uint64_t root[2][512], directory[2][512], window[2][512], table[2][512], low[512];
	uint64_t gdt[32];
	struct paged_gate idt[PAGED_PF + 1];
} __attribute__((aligned(4096))) paged;

/* The address spaces of ORDER_SWITCH. */
static uint64_t paged_roots[2];

/* For the handlers: what makes of an address its entry's place, and its entry. */
uint64_t paged_entry_at, paged_entry_is;

void paged_skips(void);
void paged_makes(void);
void paged_changes(void);

/* The entry of CR2's page becomes what it is to be. */
#define PAGED_WRITES_ENTRY \
	"	push	%rax\n" \
	"	push	%rcx\n" \
	"	mov	%cr2, %rax\n" \
	"	mov	%rax, %rcx\n" \
	"	shr	$12, %rcx\n" \
	"	shl	$3, %rcx\n" \
	"	add	paged_entry_at(%rip), %rcx\n" \
	"	add	paged_entry_is(%rip), %rax\n" \
	"	mov	%rax, (%rcx)\n"
#define PAGED_RETURNS \
	"	pop	%rcx\n" \
	"	pop	%rax\n" \
	"	add	$8, %rsp\n" \
	"	iretq\n"

/* With the error code on the stack. The second and third return to the access. */
__asm__(
	"	.text\n"
	"	.globl paged_skips, paged_makes, paged_changes\n"
	"paged_skips:\n"
	"	add	$8, %rsp\n"
	"	addq	$3, (%rsp)\n"
	"	iretq\n"
	"paged_makes:\n" PAGED_WRITES_ENTRY
		PAGED_RETURNS
	"paged_changes:\n" PAGED_WRITES_ENTRY
	"	mov	%cr2, %rax\n"
	"	invlpg	(%rax)\n" PAGED_RETURNS);

/* Two address spaces, which lead to PAGED_PAGES of `frames` and to the same number behind them. */
static inline void paged_tables(uint64_t order, uint64_t frames)
{
	for (uint64_t i = 0; i < 512; i++)
		paged.low[i] = i << 21 | PAGED_LARGE;
	for (unsigned space = 0; space < 2; space++) {
		uint64_t first = frames + space * PAGED_PAGES * 4096ul;

		paged.root[space][0] = (uint64_t)paged.directory[space] | PAGED_TABLE;
		paged.directory[space][0] = (uint64_t)paged.low | PAGED_TABLE;
		paged.directory[space][1] = (uint64_t)paged.window[space] | PAGED_TABLE;
		paged.window[space][0] = (uint64_t)paged.table[space] | PAGED_TABLE;
		for (uint64_t i = 0; i < PAGED_PAGES; i++)
			paged.table[space][i] = order == ORDER_SWITCH ? (first + i * 4096) | PAGED_PAGE
			                        : order == ORDER_COPY ? (first + i * 4096) | PAGED_READ_ONLY
			                                              : 0;
	}
	/* The handler's page is that of the other space. */
	paged_entry_at = (uint64_t)paged.table[0] - (PAGED_AT >> 9);
	paged_entry_is = frames + PAGED_PAGES * 4096ul - PAGED_AT + PAGED_PAGE;
}

/* The segments as they are, and one gate. */
static inline void paged_descriptors(uint64_t order)
{
	uint64_t at = (uint64_t)(order == ORDER_DELIVER ? paged_skips : order == ORDER_DEMAND ? paged_makes
	                                                                                      : paged_changes);
	uint16_t code, stack;

	__asm__("mov %%cs, %0\n\tmov %%ss, %1"
	        : "=r"(code), "=r"(stack));
	paged.gdt[code / 8 % 32] = 0x00af9b000000ffff;
	paged.gdt[stack / 8 % 32] = 0x00cf93000000ffff;
	paged.idt[PAGED_PF] = (struct paged_gate){(uint16_t)at, code, 0x8e00, (uint16_t)(at >> 16), (uint32_t)(at >> 32), 0};
}

/* Never inlined, as measure() is not: the same code for every order. */
static __attribute__((noinline, noclone)) void measure_paged_accesses(uint64_t order, uint64_t count, volatile uint32_t *results)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t begin = measure_now();

		if (order == ORDER_SWITCH)
			__asm__ volatile("mov %0, %%cr3"
			                 :
			                 : "r"(paged_roots[~i & 1])
			                 : "memory");
		else
			__asm__ volatile(".byte 0xc6, 0x00, 0x01" /* movb $1, (%rax): paged_skips knows its length */
			                 :
			                 : "a"(PAGED_AT + i * 4096)
			                 : "memory");
		results[i] = (uint32_t)(measure_now() - begin);
	}
}

/* `frames`: guest-physical, mapped to themselves; 2 * PAGED_PAGES pages. At most PAGED_PAGES accesses. */
static inline void measure_paged(uint64_t order, uint64_t frames, uint64_t count, volatile uint32_t *results)
{
	struct paged_pointer gdt, idt, own_gdt = {sizeof(paged.gdt) - 1, (uint64_t)paged.gdt};
	struct paged_pointer own_idt = {sizeof(paged.idt) - 1, (uint64_t)paged.idt};
	uint64_t cr0, cr3;

	/* So that nothing is missing below the guest's own tables. */
	for (uint64_t i = 0; i < 2 * PAGED_PAGES; i++)
		*(volatile uint64_t *)(frames + i * 4096) = i;
	paged_tables(order, frames);
	paged_descriptors(order);
	paged_roots[0] = (uint64_t)paged.root[0];
	paged_roots[1] = (uint64_t)paged.root[1];
	__asm__ volatile("sgdt %0\n\tsidt %1\n\tmov %%cr3, %2\n\tmov %%cr0, %3"
	                 : "=m"(gdt), "=m"(idt), "=r"(cr3), "=r"(cr0));
	__asm__ volatile("lgdt %0\n\tlidt %1\n\tmov %2, %%cr3\n\tmov %3, %%cr0" /* CR0.WP */
	                 :
	                 : "m"(own_gdt), "m"(own_idt), "r"(paged_roots[0]), "r"(cr0 | 1ul << 16)
	                 : "memory");
	measure_paged_accesses(order, count, results);
	__asm__ volatile("mov %2, %%cr3\n\tlgdt %0\n\tlidt %1\n\tmov %3, %%cr0"
	                 :
	                 : "m"(gdt), "m"(idt), "r"(cr3), "r"(cr0)
	                 : "memory");
}

#endif
