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
	garbage_set_up(&(const struct garbage_format){.kept = 0xf7f, .rights = 7, .leaf = 0x80});
	for (uint64_t i = 0; i < rounds; i++)
		try_one();
	apic_write(APIC_LVT_TIMER, APIC_MASKED);
	print("nested-svm-hostile: %u invalid, %u nested page faults, %u interrupts, %u exceptions, %u shutdowns, %u others; %u ticks\n", seen[0], seen[1], seen[2],
	      seen[3], seen[4], seen[5], ticks);
	check(seen[0] && seen[1] && seen[4], "some ends did not come up");
	l2_turn_off();
}
