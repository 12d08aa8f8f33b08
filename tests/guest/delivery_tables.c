/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events whose handler has its stack in a page table, in a read-only slot, or
 * where nothing is. On shadow tables the CPU may not write the first, and no
 * machine the others: the visor delivers the event in its place.
 */
#include "events.h"
#include "space.h"

#define UNBACKED UINT64_C(0xd8000000)
#define SLOT 900u
#define SLOT_BASE UINT64_C(0xc8000000)

/* The pushed words end here in their page: as entries of a table they lead where nobody goes. */
#define TOP_WORD 320

/*
 * bool land(void (*raise)(void))
 *
 * True: the event that `raise` makes came to landing, which uses no stack of its
 * own but goes back to where land was called.
 */
bool land(void (*raise)(void));
extern const char landing[];
extern uint64_t landed_rsp;
__asm__("	.text\n"
        "land:	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "	sub $8, %rsp; mov %rsp, home_rsp(%rip)\n"
        "	call *%rdi\n"
        "	xor %eax, %eax\n"
        "1:	add $8, %rsp; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "	ret\n"
        "landing: mov %rsp, landed_rsp(%rip); mov home_rsp(%rip), %rsp\n"
        "	mov $0x10, %eax; mov %eax, %ss\n" /* QEMU clears it with every switch by IST */
        "	mov $1, %eax; jmp 1b\n"
        "	.data\n"
        "	.balign 8\n"
        "home_rsp: .quad 0\n"
        "landed_rsp: .quad 0\n"
        "	.text\n");

struct table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

/* The gate of `vector`: two words. */
static uint64_t *gate_of(unsigned vector)
{
	struct table_register idtr;

	__asm__ volatile("sidt %0"
	                 : "=m"(idtr));
	return (uint64_t *)(uintptr_t)(idtr.base + 16 * vector);
}

static void point_gate(uint64_t *gate, uint64_t to)
{
	gate[0] = (gate[0] & 0x0000ffffffff0000) | (to & 0xffff) | (to & 0xffff0000) << 32;
	gate[1] = to >> 32;
}

static bool has_error_code(const struct event *e)
{
	return e->vector == VECTOR_GP || e->vector == VECTOR_PF;
}

static void check_frame(const struct event *e, const char *where, const uint64_t *pushed)
{
	if (has_error_code(e))
		check(*pushed++ == e->error, "%s, stack in %s: error code 0x%lx", e->name, where, pushed[-1]);
	if (e->exact_return)
		check(pushed[0] == return_address + e->skipped, "%s, stack in %s: return address 0x%lx, not 0x%lx",
		      e->name, where, pushed[0], return_address + e->skipped);
	check(pushed[1] == 0x18 && pushed[4] == 0x10, "%s, stack in %s: CS 0x%lx, SS 0x%lx", e->name, where, pushed[1],
	      pushed[4]);
	check((pushed[2] & ~UINT64_C(0x10ad7)) == 0, "%s, stack in %s: RFLAGS 0x%lx", e->name, where, pushed[2]);
}

static void end_of_interrupt(const struct event *e)
{
	if (e->vector == VECTOR_APIC) {
		apic_write(APIC_EOI, 0);
	} else if (e->vector == VECTOR_PIC) {
		pic_end(0);
		pic_setup(0xffff);
	}
}

/* Raise each event with its handler's stack at gpa. `is_kept`: what is written there can be read again. */
static void deliver_to(const char *where, uint64_t linear, uint64_t gpa, bool is_kept)
{
	uint64_t top = linear + 8 * TOP_WORD;

	deliveries = 0;
	for (unsigned i = 0; i < EVENTS; i++) {
		const struct event *e = &events[i];
		uint64_t *gate = gate_of(e->vector), gate_before[2] = {gate[0], gate[1]};
		unsigned words = has_error_code(e) ? 6 : 5;
		bool landed;

		interrupt_stack(e->vector, top);
		point_gate(gate, (uintptr_t)landing);
		landed = land(e->raise);
		memcpy(gate, gate_before, sizeof(gate_before));
		interrupt_stack(e->vector, 0);
		check(landed, "%s, stack in %s: not delivered", e->name, where);
		if (!landed)
			continue;
		end_of_interrupt(e);
		check(landed_rsp == top - 8 * words, "%s, stack in %s: RSP 0x%lx in the handler, not 0x%lx", e->name,
		      where, landed_rsp, top - 8 * words);
		if (is_kept)
			check_frame(e, where, (const uint64_t *)(uintptr_t)(gpa + 8 * (TOP_WORD - words)));
	}
}

static void map_stack(uint64_t linear, uint64_t gpa)
{
	space_map(read_cr3(), linear, gpa | ENTRY_P | ENTRY_W, 1);
	invalidate_page(linear);
}

static void stacks_in_tables(void)
{
	uint64_t linear = paging->window + 16 * PAGE, root = read_cr3(), other = space_new();
	uint64_t leaf = space_table(root, linear, 1), directory = space_table(root, linear, 2);
	uint64_t others_leaf = space_table(other, linear, 1);

	map_stack(linear, root);
	deliver_to("the root table", linear, root, true);
	map_stack(linear, directory);
	deliver_to("a directory on its own path", linear, directory, true);
	map_stack(linear, leaf);
	deliver_to("the table that maps it", linear, leaf, true);
	map_stack(linear, others_leaf);
	deliver_to("a table of another space", linear, others_leaf, true);
}

static void stacks_past_ram(void)
{
	uint64_t linear = paging->window + 16 * PAGE;

	if (!device_present()) {
		skip("delivery-tables: stacks where no RAM is, the machine's devices are there");
		return;
	}
	map_stack(linear, UNBACKED);
	deliver_to("nothing", linear, 0, false);
	device_ok("create slot", TEST_SLOT_CREATE, SLOT, 1, SLOT_BASE, 2 * MIB);
	map_stack(linear, SLOT_BASE);
	deliver_to("a read-only slot", linear, 0, false);
	device_ok("delete slot", TEST_SLOT_DELETE, SLOT, 0, 0, 0);
}

static void stacks(void)
{
	stacks_in_tables();
	stacks_past_ram();
}

void test_delivery_tables(void)
{
	apic_enable();
	pic_setup(0xffff);
	in_each_mode(stacks);
}
