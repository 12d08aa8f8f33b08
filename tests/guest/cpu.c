/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptor tables, exceptions and interrupts of the 64-bit guest. */
#include "guest.h"

/* ---- Descriptor tables (SDM vol. 3, 6.14.1, 7.2.3, 8.7) ------------------------- */

struct gate {
	uint16_t offset0, selector;
	uint8_t ist, type;
	uint16_t offset16;
	uint32_t offset32, reserved;
};

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7]; /* ist[0] is IST1 */
	uint64_t reserved2;
	uint16_t reserved3, io_map;
} __attribute__((packed));

struct table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

enum {
	SELECTOR_DATA = 0x10,
	SELECTOR_CODE64 = 0x18,
	SELECTOR_TSS = 0x20, /* two entries */
	SELECTOR_USER_DATA = 0x33,
	SELECTOR_USER_CODE = 0x3b, /* as in user_entry.S */
	GDT_BYTES = 0x30,
	GDT_USER_BYTES = 0x40, /* the descriptors for CPL 3 are there only while they are used */
};

/* Each on a page of its own, so that one can go away without another. */
static _Alignas(4096) struct gate first_idt[256];
static _Alignas(4096) uint64_t first_gdt[512] = {
	0,
	0x00cf9b000000ffff,
	0x00cf93000000ffff,
	0x00af9b000000ffff,
	[SELECTOR_USER_DATA / 8] = 0x00cff3000000ffff,
	[SELECTOR_USER_CODE / 8] = 0x00affb000000ffff,
};
static _Alignas(4096) struct tss first_tss;

static struct gate *idt = first_idt;
static uint64_t *gdt = first_gdt;
static struct tss *tss = &first_tss;

static interrupt_fn handlers[256];
struct trap last_trap;

extern const char interrupt_entries[];
extern const char run_guarded_caught[];
extern uint64_t guarded_stack;

static void load_idt(void)
{
	struct table_register r = {sizeof(first_idt) - 1, (uintptr_t)idt};

	__asm__ volatile("lidt %0"
	                 :
	                 : "m"(r));
}

static void load_gdt(unsigned bytes)
{
	struct table_register r = {(uint16_t)(bytes - 1), (uintptr_t)gdt};

	__asm__ volatile("lgdt %0"
	                 :
	                 : "m"(r));
}

static void load_tss(void)
{
	uint64_t base = (uintptr_t)tss;

	/* Type 9: available 64-bit TSS. LTR makes it busy, so it is written anew each time. */
	gdt[SELECTOR_TSS / 8] = (sizeof(*tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 |
	                        (base >> 24 & 0xff) << 56;
	gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
	__asm__ volatile("ltr %w0"
	                 :
	                 : "r"(SELECTOR_TSS));
}

static void set_gate(unsigned vector)
{
	uint64_t entry = (uintptr_t)interrupt_entries + 16 * vector;

	idt[vector] = (struct gate){
		.offset0 = (uint16_t)entry, .selector = SELECTOR_CODE64, .type = 0x8e, .offset16 = (uint16_t)(entry >> 16), .offset32 = (uint32_t)(entry >> 32)};
}

void interrupts_setup(void)
{
	for (unsigned v = 0; v < 256; v++)
		set_gate(v);
	load_idt();
	load_gdt(GDT_BYTES);
	load_tss();
}

void on_interrupt(unsigned vector, interrupt_fn handler)
{
	handlers[vector] = handler;
}

void interrupt_stack(unsigned vector, uint64_t top)
{
	tss->ist[0] = top;
	idt[vector].ist = top ? 1 : 0;
}

void move_table(enum descriptor_table which, uint64_t page)
{
	void *to = (void *)(uintptr_t)page;

	switch (which) {
	case TABLE_IDT:
		idt = memcpy(to, idt, sizeof(first_idt));
		load_idt();
		break;
	case TABLE_GDT:
		gdt = memcpy(to, gdt, sizeof(first_gdt));
		load_gdt(GDT_BYTES);
		load_tss();
		break;
	case TABLE_TSS:
		tss = memcpy(to, tss, sizeof(*tss));
		load_tss();
		break;
	}
}

/* ---- Arrivals ---------------------------------------------------------------------- */

static uint64_t read_cr2(void)
{
	uint64_t v;

	__asm__ volatile("mov %%cr2, %0"
	                 : "=r"(v));
	return v;
}

static _Noreturn void report_unexpected(const struct frame *f)
{
	print("FAIL exception %lu, error 0x%lx, rip 0x%lx, cr2 0x%lx, rflags 0x%lx\n", f->vector,
	      f->error, f->rip, read_cr2(), f->rflags);
	print("  rax %16lx rbx %16lx rcx %16lx rdx %16lx\n", f->rax, f->rbx, f->rcx, f->rdx);
	print("  rsi %16lx rdi %16lx rbp %16lx rsp %16lx\n", f->rsi, f->rdi, f->rbp, f->rsp);
	guest_exit(GUEST_EXCEPTION);
}

void interrupt_arrived(struct frame *f);
void interrupt_arrived(struct frame *f)
{
	if (handlers[f->vector]) {
		handlers[f->vector](f);
		return;
	}
	if (f->vector >= 32 || !guarded_stack)
		report_unexpected(f);
	last_trap = (struct trap){f->vector, f->error, f->rip, read_cr2()};
	f->rip = (uintptr_t)run_guarded_caught;
}

/* ---- CPL 3 ------------------------------------------------------------------------- */

void user_interrupt_stack(uintptr_t top)
{
	tss->rsp[0] = top;
	load_gdt(top ? GDT_USER_BYTES : GDT_BYTES);
}
