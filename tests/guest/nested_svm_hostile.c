/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hypervisor (L1) that gives its CPU what no hypervisor would: control blocks with random
 * fields, tables of random words, addresses where nothing is. Whatever becomes of L2, L1 must get its
 * CPU back. Under the visor only: an emulator need not survive it.
 */
#include "nested_garbage.h"
#include "nested_svm.h"

#define MSR_EFER 0xc0000080
#define MSR_VM_HSAVE_PA 0xc0010117
#define MSR_VM_CR 0xc0010114
#define EFER_SVME (1u << 12)
#define CONTROL_BYTES 0x0d0u
#define SAVE_BEGIN 0x400u
#define SAVE_END 0x670u
#define VECTOR 0x61
#define TICKS 20000u /* of the APIC's timer: L2 runs no longer */
#define PERIOD 300000u

static uint64_t *empty;

static void mutate(void)
{
	uint8_t *bytes = (uint8_t *)l2_vmcb;
	unsigned count = 1 + random_pick(6);

	for (unsigned i = 0; i < count; i++) {
		bool control = random_pick(2);
		unsigned at = control ? random_pick(CONTROL_BYTES / 4) * 4 : SAVE_BEGIN + random_pick((SAVE_END - SAVE_BEGIN) / 4) * 4;
		uint64_t value = garbage_value();

		memcpy(bytes + at, &value, random_pick(2) ? 4 : 8);
	}
}

/* What keeps L1 whole whatever L2 does: it reaches the victims alone, no port, no register, and not for long. */
static void confine(void)
{
	l2_vmcb->intercept1 |= INTERCEPT_INTR | INTERCEPT_IO | INTERCEPT_MSR | INTERCEPT_SHUTDOWN;
	l2_vmcb->intercept2 |= 0xffff;
	l2_vmcb->virtual_interrupt |= VIRTUAL_INTERRUPT_MASKING;
	l2_vmcb->nested_control = NESTED_PAGING;
	l2_vmcb->nested_cr3 = random_pick(3) ? (uintptr_t)garbage : random_pick(2) ? (uintptr_t)empty
	                                                                           : physical_end() - PAGE;
	l2_vmcb->nested_cr3 |= random_pick(4) ? 0 : random_pick(4096);
}

static volatile unsigned ticks;

static void tick(struct frame *f)
{
	(void)f;
	ticks++;
	apic_write(APIC_EOI, 0);
}

static unsigned seen[6]; /* VMEXIT_INVALID, NPF, INTR, exceptions, SHUTDOWN, others */

static void count_exit(void)
{
	uint32_t exit_code = (uint32_t)l2_vmcb->exit_code;

	if (exit_code == UINT32_MAX)
		seen[0]++;
	else if (exit_code == SVM_EXIT_NPF)
		seen[1]++;
	else if (exit_code == SVM_EXIT_INTR)
		seen[2]++;
	else if (exit_code >= SVM_EXIT_EXCEPTION && exit_code < SVM_EXIT_EXCEPTION + 32)
		seen[3]++;
	else if (exit_code == SVM_EXIT_SHUTDOWN)
		seen[4]++;
	else
		seen[5]++;
}

static void try_one(void)
{
	static const uint8_t loop[] = {0x48, 0x8b, 0x03, 0x48, 0x89, 0x03, 0xff, 0xc0, 0xeb, 0xf6};

	if (random_pick(8) == 0)
		garbage_fill();
	l2_prepare(loop, sizeof(loop));
	l2_registers.rbx = garbage_value();
	mutate();
	confine();
	memset(l2_io_map, 0xff, 3 * PAGE);
	memset(l2_msr_map, 0xff, 2 * PAGE);
	apic_write(APIC_INITIAL_COUNT, TICKS);
	interrupts_on();
	l2_run();
	interrupts_off();
	apic_write(APIC_INITIAL_COUNT, 0);
	count_exit();
	check(true, "L1 goes on");
}

/* ---- any code in L2 ------------------------------------------------------------------ */

#define HOLE 0xf0000000ull /* where nothing is */
#define EVENT_VALID (1ull << 31)
#define EVENT_ERROR (1ull << 11)
#define LEAF 0xe7ull

static uint64_t *everything;

/* L1's tables: whatever the address, it is among the victims, or where nothing is, or not mapped. */
static void map_everything(void)
{
	uint64_t *pointers = l2_pages(1), *directory = l2_pages(1);

	everything = l2_pages(1);
	for (unsigned i = 0; i < 512; i++) {
		everything[i] = (uintptr_t)pointers | 7;
		pointers[i] = (uintptr_t)directory | 7;
		directory[i] = i % 16 == 5 ? HOLE | LEAF : i % 16 == 9 ? 0
		                                                       : victims | LEAF;
	}
}

/* Instructions that exit, change modes, or begin a delivery; random bytes follow each. */
static void write_code(uint64_t at)
{
	static const uint16_t opcodes[] = {0x00f4, 0x010f, 0x010f, 0x000f, 0x200f, 0x220f, 0x210f, 0x230f, 0xa20f, 0x300f, 0x320f, 0x310f, 0x060f,
	                                   0x080f, 0x090f, 0xc78f, 0x00cd, 0x00cc, 0x00ce, 0x00cf, 0x009a, 0x00ea, 0x00ff, 0x00e4, 0x006c, 0x00ee,
	                                   0x050f, 0x070f, 0x340f, 0x350f, 0xae0f, 0x00a1, 0x00a3, 0x008b, 0x0089, 0x008e, 0x000f, 0x00f0, 0x009d,
	                                   0x00fb, 0x00fa, 0x0048, 0x0066, 0x0067, 0xc70f, 0x330f, 0xaa0f, 0x00f1};
	uint8_t *to = (uint8_t *)(uintptr_t)at;

	for (unsigned i = 0; i < 96;) {
		uint16_t opcode = opcodes[random_pick(sizeof(opcodes) / sizeof(opcodes[0]))];

		to[i++] = (uint8_t)opcode;
		if (opcode >> 8)
			to[i++] = (uint8_t)(opcode >> 8);
		for (unsigned n = random_pick(4); n; n--)
			to[i++] = (uint8_t)random_next();
	}
}

/* Real mode, protected mode without paging, and the long mode that it began in, with tables among the victims. */
static void choose_mode(void)
{
	unsigned mode = random_pick(4);

	if (mode == 3) {
		l2_vmcb->cr3 = victims + (random_next() & 0x1ff000);
		return;
	}
	l2_vmcb->cr0 = (l2_vmcb->cr0 & ~(1ull << 31 | 1)) | (mode != 0);
	l2_vmcb->efer &= ~(5ull << 8);
	l2_vmcb->cs.attributes = mode == 2 ? 0xc9b : 0x09b;
	l2_vmcb->cs.limit = l2_vmcb->ds.limit = l2_vmcb->ss.limit = mode == 2 ? UINT32_MAX : 0xffff;
	l2_vmcb->cs.base = mode == 0 ? random_pick(65536) * 16u : 0;
}

static void choose_event(void)
{
	if (random_pick(2))
		l2_vmcb->event_injection = EVENT_VALID | random_pick(5) << 8 | random_pick(random_pick(2) ? 32 : 256) |
		                           (random_pick(2) ? EVENT_ERROR | random_next() << 32 : 0);
	l2_vmcb->idtr.base = random_pick(4) ? random_pick(2 * MIB) : garbage_value();
	l2_vmcb->idtr.limit = random_pick(3) ? 0xffff : random_pick(0x200);
	l2_vmcb->gdtr.base = random_pick(2 * MIB);
	l2_vmcb->gdtr.limit = 0xffff;
}

static void try_code(void)
{
	static const uint8_t nothing[] = {0xf4};
	uint64_t maps[] = {(uintptr_t)l2_io_map, (uintptr_t)l2_msr_map, APIC_BASE, physical_end() - 4 * PAGE, victims, HOLE, (uintptr_t)everything,
	                   (uintptr_t)l2_vmcb};

	l2_prepare(nothing, sizeof(nothing));
	for (unsigned i = 0; i < 16; i++)
		store(victims + 8 * random_pick(2 * MIB / 8), random_next());
	choose_mode();
	choose_event();
	l2_vmcb->rip = random_pick(65536 - 256);
	l2_vmcb->rsp = random_pick(65536);
	write_code(victims + ((l2_vmcb->cs.base + l2_vmcb->rip) & (2 * MIB - 1)));
	l2_vmcb->rflags = 2 | (random_next() & 0x254fd5);
	l2_vmcb->cpl = random_pick(4) ? 0 : 3;
	l2_vmcb->exceptions = random_pick(2) ? 0 : (uint32_t)random_next();
	l2_vmcb->intercept1 = INTERCEPT_INTR | INTERCEPT_SHUTDOWN | INTERCEPT_IO | INTERCEPT_MSR | (random_pick(2) ? 0 : (uint32_t)random_next());
	l2_vmcb->intercept2 = INTERCEPT_VMRUN | (random_pick(2) ? 0 : (uint32_t)random_next() & 0x7fff);
	l2_vmcb->cr_read = (uint16_t)(random_pick(2) ? 0 : random_next());
	l2_vmcb->cr_write = (uint16_t)(random_pick(2) ? 0 : random_next());
	l2_vmcb->virtual_interrupt = VIRTUAL_INTERRUPT_MASKING | (random_pick(4) ? 0 : random_next() & 0xff011f01ff);
	l2_vmcb->tsc_offset = random_pick(2) ? 0 : garbage_value();
	l2_vmcb->tlb_control = (uint8_t[]){0, 1, 3, 7}[random_pick(4)];
	l2_vmcb->asid = 1 + random_pick(3);
	l2_vmcb->nested_control = NESTED_PAGING;
	l2_vmcb->nested_cr3 = (uintptr_t)everything;
	memset(l2_io_map, 0xff, 3 * PAGE);
	memset(l2_msr_map, 0xff, 2 * PAGE);
	/* Maps that let L2 have nothing: L1's own, those that cannot be read, and pages of which no bit is of a register that matters. */
	l2_vmcb->io_bitmap = maps[random_pick(2) ? 0 : 3];
	l2_vmcb->msr_bitmap = maps[random_pick(2) ? 1 : 2 + random_pick(4)];
	l2_registers = (struct l2_registers){garbage_value(), garbage_value(), garbage_value(), garbage_value()};
	__asm__ volatile("invlpga %%rax, %%ecx"
	                 :
	                 : "a"(garbage_value()), "c"((uint32_t)garbage_value())
	                 : "memory");
	apic_write(APIC_INITIAL_COUNT, PERIOD); /* again and again: L2 may halt */
	interrupts_on();
	l2_run();
	interrupts_off();
	apic_write(APIC_INITIAL_COUNT, 0);
	count_exit();
	check(true, "L1 goes on");
}

static void do_locked_cpuid(void *unused)
{
	(void)unused;
	__asm__ volatile(".byte 0xf0, 0x0f, 0xa2" ::
	                         : "eax", "ebx", "ecx", "edx");
}

/* LOCK where there can be none: QEMU exits for the instruction, which the decoder does not know. */
static void check_locked(void)
{
	static const uint8_t halt[] = {0xf0, 0xf4};

	check_equal((unsigned)vector_of(do_locked_cpuid, NULL), VECTOR_UD, "LOCK CPUID");
	l2_prepare(halt, sizeof(halt));
	l2_vmcb->exceptions = 1u << VECTOR_UD;
	l2_run();
	check_equal((uint32_t)l2_vmcb->exit_code, SVM_EXIT_EXCEPTION + VECTOR_UD, "exit of LOCK HLT in L2");
}

/* The control block is a table of L2's, and every exit writes into it. */
static void check_block_is_table(void)
{
	static const uint8_t read[] = {0x48, 0x8b, 0x03};
	struct vmcb *block = l2_vmcb;

	for (unsigned i = 0; i < 64; i++) {
		l2_vmcb = block;
		l2_prepare(read, sizeof(read));
		l2_vmcb->nested_control = NESTED_PAGING;
		l2_vmcb->nested_cr3 = i % 2 ? (uintptr_t)everything : (uintptr_t)garbage;
		l2_registers.rbx = garbage_value();
		memcpy((void *)(l2_vmcb->nested_cr3), block, 0x400);
		memcpy((uint8_t *)(l2_vmcb->nested_cr3) + 0x400, (uint8_t *)block + 0x400, 0x400);
		l2_vmcb = (struct vmcb *)(uintptr_t)block->nested_cr3;
		l2_run();
		check(l2_vmcb->exit_code != 0 || l2_vmcb->rip, "an exit into a control block that is a table");
	}
	l2_vmcb = block;
}

/* L1 turns SVM off with everything as L2 has left it, and on again. */
static void check_off_and_on(void)
{
	static const uint8_t call[] = {0x0f, 0x01, 0xd9};

	for (unsigned i = 0; i < 3; i++) {
		l2_turn_off();
		write_msr(MSR_EFER, read_msr(MSR_EFER) | EFER_SVME);
		l2_prepare(call, sizeof(call));
		l2_vmcb->tlb_control = 0;
		l2_run();
		check_equal((uint32_t)l2_vmcb->exit_code, SVM_EXIT_VMMCALL, "exit of L2 after SVM was off");
	}
}

static void do_vmrun(void *address)
{
	__asm__ volatile("vmrun %%rax"
	                 :
	                 : "a"(address)
	                 : "memory");
}

static void do_vmsave(void *address)
{
	__asm__ volatile("vmsave %%rax"
	                 :
	                 : "a"(address)
	                 : "memory");
}

static void write_hsave(void *value)
{
	write_msr(MSR_VM_HSAVE_PA, (uintptr_t)value);
}

static void write_vm_cr(void *value)
{
	write_msr(MSR_VM_CR, (uintptr_t)value);
}

/* Addresses that are no page of RAM. */
static void check_addresses(void)
{
	static const char *const what[] = {"VMRUN", "VMSAVE"};
	void (*const instruction[])(void *) = {do_vmrun, do_vmsave};
	const uint64_t bad[] = {APIC_BASE, physical_end(), physical_end() - PAGE, ALL_ONES << 12, (uintptr_t)l2_vmcb + 16, ram_end()};

	for (unsigned i = 0; i < 2; i++)
		for (unsigned j = 0; j < sizeof(bad) / sizeof(bad[0]); j++)
			check(vector_of(instruction[i], (void *)(uintptr_t)bad[j]) == VECTOR_GP, "%s of 0x%lx raises no #GP", what[i], bad[j]);
	check_equal(vector_of(write_hsave, (void *)8), VECTOR_GP, "VM_HSAVE_PA inside a page");
	check_equal(vector_of(write_hsave, (void *)(uintptr_t)physical_end()), VECTOR_GP, "VM_HSAVE_PA beyond physical memory");
	check_equal(vector_of(write_vm_cr, (void *)(1ull << 4)), VECTOR_GP, "VM_CR.SVMDIS while EFER.SVME is set");
	check_equal(vector_of(write_vm_cr, (void *)(1ull << 5)), VECTOR_GP, "a reserved bit of VM_CR");
}

/* Bitmaps where nothing is refuse everything. */
static void check_bitmaps(void)
{
	static const uint8_t out[] = {0xe6, 0x80};

	l2_prepare(out, sizeof(out));
	l2_vmcb->intercept1 |= INTERCEPT_IO;
	l2_vmcb->io_bitmap = physical_end() - 4 * PAGE;
	l2_run();
	check_equal((uint32_t)l2_vmcb->exit_code, SVM_EXIT_IO, "exit of OUT with no permission map to read");
}

/* L2 writes its own control block, which L1 has mapped for it: the copy counts. */
static void check_copy(void)
{
	static const uint8_t bytes[] = {0x48, 0xc7, 0x03, 0, 0, 0, 0, 0x0f, 0x01, 0xd9}; /* movq $0, (%rbx); vmmcall */

	l2_prepare(bytes, sizeof(bytes));
	l2_registers.rbx = (uintptr_t)&l2_vmcb->intercept2; /* no intercept is left there */
	l2_run();
	check_equal((uint32_t)l2_vmcb->exit_code, SVM_EXIT_VMMCALL, "exit of L2 that has cleared its intercepts in memory");
}

void test_nested_svm_hostile(void)
{
	uint64_t rounds = option_number("rounds", 3000);

	if (!l2_setup()) {
		skip("nested-svm-hostile: the CPU has no SVM");
		return;
	}
	empty = l2_pages(1);
	write_msr(MSR_EFER, read_msr(MSR_EFER) | EFER_SVME);
	write_msr(MSR_VM_HSAVE_PA, (uintptr_t)l2_pages(1));
	apic_enable();
	on_interrupt(VECTOR, tick);
	apic_write(APIC_DIVIDE, 0xb);
	apic_write(APIC_LVT_TIMER, VECTOR);
	check_addresses();
	check_bitmaps();
	check_copy();
	check_locked();
	garbage_set_up(&(const struct garbage_format){.kept = 0xf7f, .rights = 7, .leaf = 0x80});
	for (uint64_t i = 0; i < rounds; i++)
		try_one();
	map_everything();
	apic_write(APIC_LVT_TIMER, APIC_PERIODIC | VECTOR);
	for (uint64_t i = 0; i < rounds; i++)
		try_code();
	apic_write(APIC_LVT_TIMER, VECTOR);
	check_off_and_on();
	check_block_is_table();
	apic_write(APIC_LVT_TIMER, APIC_MASKED);
	print("nested-svm-hostile: %u invalid, %u nested page faults, %u interrupts, %u exceptions, %u shutdowns, %u others; %u ticks\n", seen[0], seen[1], seen[2],
	      seen[3], seen[4], seen[5], ticks);
	check(seen[0] && seen[1] && seen[4], "some ends did not come up");
	l2_turn_off();
}
