/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hypervisor (L1) in 32-bit code: its tables for its guests (L2) are in the format of its own
 * paging mode (APM vol. 2, 15.25.3). L1 has 32-bit paging with and without large pages, and PAE
 * with and without NX; L2 has no paging, 32-bit paging, PAE, and long mode. It runs on the bare
 * machine and under the visor, and each answer printed must be the same on both.
 */
#include "space.h"

#include "visor/svm/vmcb.h"

#define MSR_VM_HSAVE_PA 0xc0010117
#define EFER_SVME (1u << 12)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define CODE32 0x08
#define DATA 0x10
#define FLAG_IF (1u << 9)
#define INVALID 0xffffffffu
#define EVENT_VALID (1ull << 31)
#define EVENT_ERROR (1ull << 11)
enum { TYPE_INTR = 0,
       TYPE_EXCEPTION = 3 };
#define VECTOR 0x61
#define STACK_BYTES 4096
#define MSR_PAT_RESET 0x0007040600070406

/* L2's page under test, linear and physical: in 2 MiB, 4 MiB and 1 GiB that have nothing else. */
#define WINDOW UINT64_C(0x80000000)

/* How L1 runs. */
static const struct l1_mode {
	const char *name;
	unsigned paging; /* of space.c: 32-bit, PAE */
	bool large, nx;
} l1_modes[] = {
	{"32-bit", 0, false, false},
	{"32-bit with PSE", 0, true, false},
	{"PAE", 1, true, false},
	{"PAE with NX", 1, true, true},
};
static const struct l1_mode *l1;

enum l2_mode { FLAT,
	       TWO_LEVELS,
	       PAE,
	       LONG,
	       L2_MODES };
static const char *const l2_names[] = {"flat", "32-bit", "PAE", "long"};

enum access { READ,
	      WRITE,
	      FETCH,
	      ACCESSES };
static const char *const access_names[] = {"read", "write", "fetch"};

static struct vmcb *vmcb, *other;
static uint8_t *code, *stack, *handlers;
static uint64_t *idt64;
static uint32_t *page;
static uint64_t nested_root, l2_root[L2_MODES], window_pt;
static uint32_t l2_ebx;

static uint32_t place(const volatile void *p)
{
	return (uintptr_t)p;
}

static void run(void)
{
	__asm__ volatile("push %%ebp\n\t"
	                 "clgi\n\t"
	                 "vmrun %%eax\n\t"
	                 "stgi\n\t"
	                 "pop %%ebp"
	                 : "+b"(l2_ebx)
	                 : "a"(vmcb)
	                 : "ecx", "edx", "esi", "edi", "memory", "cc");
}

/* ---- tables -------------------------------------------------------------------------------- */

#define ALL (ENTRY_P | ENTRY_W | ENTRY_U)

/* L1's for L2: memory and the local APIC's page as they are, and the window. */
static void make_nested(void)
{
	uint64_t step = l1->large ? 1ull << level_shift(2) : PAGE;

	nested_root = frame_take();
	for (uint64_t at = 0; at < ram_end(); at += step)
		space_map(nested_root, at, at | ALL | (l1->large ? ENTRY_LARGE : 0), l1->large ? 2 : 1);
	space_map(nested_root, APIC_BASE, APIC_BASE | ALL, 1);
	space_map(nested_root, WINDOW, place(page) | ALL, 1);
	window_pt = space_table(nested_root, WINDOW, 1);
}

static uint64_t frames_of_zeros(unsigned count)
{
	uint64_t at = frames_take(count, PAGE);

	memset((void *)(uintptr_t)at, 0, count * PAGE);
	return at;
}

static void put64(uint64_t table, unsigned index, uint64_t value)
{
	((uint64_t *)(uintptr_t)table)[index] = value;
}

/* L2's: 4 GiB as they are. */
static void make_l2(void)
{
	uint64_t directories = frames_of_zeros(4), pointers = frames_of_zeros(1);

	l2_root[TWO_LEVELS] = frames_of_zeros(1);
	l2_root[PAE] = frames_of_zeros(1);
	l2_root[LONG] = frames_of_zeros(1);
	for (uint32_t i = 0; i < 1024; i++)
		*word_at(l2_root[TWO_LEVELS] + 4 * i) = i << 22 | ALL | ENTRY_LARGE;
	for (unsigned i = 0; i < 2048; i++)
		put64(directories, i, (uint64_t)i << 21 | ALL | ENTRY_LARGE);
	for (unsigned i = 0; i < 4; i++) {
		put64(l2_root[PAE], i, (directories + i * PAGE) | ENTRY_P);
		put64(pointers, i, (directories + i * PAGE) | ALL);
	}
	put64(l2_root[LONG], 0, pointers | ALL);
}

/* ---- L2 ---------------------------------------------------------------------------------------- */

static struct vmcb_segment segment(uint16_t selector, uint16_t attributes)
{
	return (struct vmcb_segment){.selector = selector, .attributes = attributes, .limit = UINT32_MAX};
}

static void prepare(enum l2_mode mode, const void *bytes, unsigned n)
{
	uint64_t cr4 = read_cr4() & ~(uintptr_t)(CR4_PAE | CR4_PSE);

	memset(vmcb, 0, sizeof(*vmcb));
	memcpy(code, bytes, n);
	vmcb->intercept1 = INTERCEPT_SHUTDOWN;
	vmcb->intercept2 = INTERCEPT_VMRUN | INTERCEPT_VMMCALL;
	vmcb->asid = 1;
	vmcb->tlb_control = TLB_FLUSH_ALL;
	vmcb->es = vmcb->ds = vmcb->ss = segment(DATA, 0xc93);
	vmcb->cs = segment(CODE32, mode == LONG ? 0xa9b : 0xc9b);
	vmcb->idtr.base = place(idt64);
	vmcb->idtr.limit = 4095;
	vmcb->gdtr.base = place(other) + 2048; /* the test's own: the descriptor of CODE32 in L2's mode */
	vmcb->gdtr.limit = 0x17;
	vmcb->efer = EFER_SVME | (mode == LONG ? EFER_LME | EFER_LMA : 0);
	vmcb->cr0 = (read_cr0() & ~(uintptr_t)CR0_PG) | (mode == FLAT ? 0 : (uint32_t)CR0_PG);
	vmcb->cr3 = l2_root[mode];
	vmcb->cr4 = cr4 | (mode == TWO_LEVELS ? CR4_PSE : mode == FLAT ? 0
	                                                               : CR4_PAE);
	vmcb->dr6 = 0xffff0ff0;
	vmcb->dr7 = 0x400;
	vmcb->rflags = 2;
	vmcb->rip = place(code);
	vmcb->rsp = place(stack) + STACK_BYTES - 64;
	vmcb->pat = MSR_PAT_RESET;
	vmcb->nested_control = NESTED_PAGING;
	vmcb->nested_cr3 = nested_root;
	((uint64_t *)(uintptr_t)vmcb->gdtr.base)[1] = mode == LONG ? 0x00af9b000000ffff : 0x00cf9b000000ffff;
	((uint64_t *)(uintptr_t)vmcb->gdtr.base)[2] = 0x00cf93000000ffff;
}

#define PREPARE(mode, ...) \
	do { \
		static const uint8_t bytes_[] = {__VA_ARGS__}; \
		prepare(mode, bytes_, sizeof(bytes_)); \
	} while (0)
#define VMMCALL 0x0f, 0x01, 0xd9
#define WIDEN 0x89, 0xdb /* mov %ebx, %ebx: in long mode the upper half is cleared */
#define WIDEN_BYTES 2

static void prepare_access(enum l2_mode mode, enum access access, uint32_t address)
{
	switch (access) {
	case READ: PREPARE(mode, WIDEN, 0x8b, 0x03, VMMCALL); break;
	case WRITE: PREPARE(mode, WIDEN, 0x89, 0x03, VMMCALL); break;
	default: PREPARE(mode, WIDEN, 0xff, 0xe3); break;
	}
	vmcb->rax = 0x5555;
	l2_ebx = address;
}

static void print_exit(enum l2_mode mode, const char *what)
{
	bool npf = (uint32_t)vmcb->exit_code == SVM_EXIT_NPF;

	print("nested: L1 %s, L2 %s, %s, exit 0x%x 0x%lx 0x%lx\n", l1->name, l2_names[mode], what, (uint32_t)vmcb->exit_code,
	      npf ? vmcb->exit_info1 : 0, npf ? vmcb->exit_info2 : 0);
}

/* ---- checks ------------------------------------------------------------------------------------- */

static void check_calls(enum l2_mode mode)
{
	PREPARE(mode, 0xb8, 0x34, 0x12, 0, 0, 0xff, 0xc3, VMMCALL); /* mov $1234h, %eax; inc %ebx */
	l2_ebx = 7;
	run();
	print_exit(mode, "VMMCALL");
	check_equal((uint32_t)vmcb->exit_code, SVM_EXIT_VMMCALL, "exit of VMMCALL");
	check_equal(vmcb->rip, place(code) + 7, "RIP of VMMCALL");
	check_equal(vmcb->rax, 0x1234, "L2's RAX");
	check_equal(l2_ebx, 8, "L2's EBX");
	PREPARE(mode, 0x31, 0xc0, 0x0f, 0xa2, VMMCALL); /* cpuid, which the visor carries out */
	run();
	check_equal((uint32_t)vmcb->exit_code, SVM_EXIT_VMMCALL, "exit behind CPUID");
	check_equal(l2_ebx, cpuid(0, 0).b, "EBX of leaf 0 in L2");
	PREPARE(mode, 0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, VMMCALL); /* cr3 as it is */
	run();
	check_equal((uint32_t)vmcb->exit_code, SVM_EXIT_VMMCALL, "exit behind a load of CR3");
	PREPARE(mode, 0x0f, 0x20, 0xe0, 0x0f, 0xba, 0xf8, 7, 0x0f, 0x22, 0xe0, VMMCALL); /* cr4 with PGE the other way round */
	run();
	print_exit(mode, "CR4.PGE changed");
	check_equal((uint32_t)vmcb->exit_code, SVM_EXIT_VMMCALL, "exit behind a load of CR4");
}

/* What the visor must emulate lies behind L1's tables and L2's. */
static void check_device(enum l2_mode mode)
{
	prepare_access(mode, READ, APIC_BASE + APIC_VERSION);
	run();
	print_exit(mode, "APIC read");
	check_equal((uint32_t)vmcb->exit_code, SVM_EXIT_VMMCALL, "exit behind a read of the local APIC");
	check_equal((uint32_t)vmcb->rax, apic_read(APIC_VERSION), "the local APIC's version in L2");
	prepare_access(mode, WRITE, APIC_BASE + APIC_TPR);
	vmcb->rax = 0x20;
	run();
	check_equal((uint32_t)vmcb->exit_code, SVM_EXIT_VMMCALL, "exit behind a write of the local APIC");
	check_equal(apic_read(APIC_TPR), 0x20, "the task priority that L2 has written");
	apic_write(APIC_TPR, 0);
}

static bool allowed(uint64_t entry, enum access access, uint64_t *error)
{
	bool present = entry & ENTRY_P, bad = present && entry & ENTRY_NX && !l1->nx;
	unsigned rights = (access == WRITE ? ENTRY_W : 0) | ENTRY_P | ENTRY_U;

	/* APM vol. 2, 15.25.6 and 8.4.2: P, W, U, RSV; of a fetch only where NX is on. */
	*error = 1ull << 32 | (present ? 1 : 0) | (access == WRITE ? 2 : 0) | 4 | (bad ? 8 : 0) |
	         (access == FETCH && l1->nx ? 16 : 0);
	return !bad && (entry & rights) == rights && !(access == FETCH && entry & ENTRY_NX);
}

static void try_entry(enum l2_mode mode, uint64_t entry, enum access access)
{
	uint64_t error;

	if (access == FETCH)
		memcpy(page, (uint8_t[]){VMMCALL}, 3);
	prepare_access(mode, access, (uint32_t)WINDOW);
	run();
	if (allowed(entry, access, &error)) {
		check_equal((uint32_t)vmcb->exit_code, SVM_EXIT_VMMCALL, "exit of an access that L1's tables allow");
		check_equal(vmcb->rip, access == FETCH ? WINDOW : place(code) + WIDEN_BYTES + 2, "RIP after it");
		if (access == WRITE)
			check_equal(*page, 0x5555, "what it has written");
	} else {
		check((uint32_t)vmcb->exit_code == SVM_EXIT_NPF && vmcb->exit_info1 == error && vmcb->exit_info2 == WINDOW,
		      "%s, %s, entry 0x%lx, %s: exit 0x%lx, EXITINFO1 0x%lx instead of 0x%lx, EXITINFO2 0x%lx", l1->name, l2_names[mode],
		      entry & (ALL | ENTRY_NX), access_names[access], (uint64_t)(uint32_t)vmcb->exit_code, vmcb->exit_info1, error,
		      vmcb->exit_info2);
	}
	print("nested: L1 %s, L2 %s, entry 0x%lx %s, exit 0x%x 0x%lx\n", l1->name, l2_names[mode], entry & (ALL | ENTRY_NX), access_names[access],
	      (uint32_t)vmcb->exit_code, (uint32_t)vmcb->exit_code == SVM_EXIT_NPF ? vmcb->exit_info1 : 0);
}

/* Bare QEMU tells of a reserved bit with P clear (APM vol. 2, 8.4.2: P is set whenever the entry's is). */
static unsigned combinations_to_try(void)
{
	return l1->nx || (l1->paging && device_present()) ? 16 : 8;
}

static void check_rights(enum l2_mode mode)
{
	unsigned index = index_of(WINDOW, 1), combinations = combinations_to_try();
	uint64_t directory = space_table(nested_root, WINDOW, 2);

	for (unsigned bits = 0; bits < combinations; bits++) {
		uint64_t entry = (bits & 7) | (bits & 8 ? ENTRY_NX : 0);

		for (enum access access = READ; access < ACCESSES; access++) {
			entry_write(window_pt, index, place(page) | entry);
			try_entry(mode, entry, access);
		}
		entry_write(window_pt, index, place(page) | ALL);
		for (enum access access = READ; access < ACCESSES; access++) {
			entry_write(directory, index_of(WINDOW, 2), window_pt | entry);
			try_entry(mode, entry, access);
		}
		entry_write(directory, index_of(WINDOW, 2), window_pt | ALL);
	}
}

/* PAE's top entries are neither written nor refused for rights; with a reserved bit they lead nowhere. */
static void check_pointers(enum l2_mode mode)
{
	unsigned index = index_of(WINDOW, 3);
	uint64_t right = entry_read(nested_root, index);

	entry_write(nested_root, index, right & ~(uint64_t)ENTRY_P);
	prepare_access(mode, READ, (uint32_t)WINDOW);
	run();
	print_exit(mode, "a top entry that is not present");
	check_equal((uint32_t)vmcb->exit_code, SVM_EXIT_NPF, "exit by a top entry that is not present");
	if (device_present()) { /* bare QEMU passes it over (APM vol. 2, 5.2.3) */
		entry_write(nested_root, index, right | ENTRY_W);
		prepare_access(mode, READ, (uint32_t)WINDOW);
		run();
		check((uint32_t)vmcb->exit_code == SVM_EXIT_NPF && vmcb->exit_info1 == 0x10000000d,
		      "a top entry with a reserved bit: exit 0x%lx 0x%lx", vmcb->exit_code, vmcb->exit_info1);
	}
	entry_write(nested_root, index, right);
	prepare_access(mode, READ, (uint32_t)WINDOW);
	run();
	print_exit(mode, "a top entry as it was");
	check_equal((uint32_t)vmcb->exit_code, SVM_EXIT_VMMCALL, "exit with the top entry put right");
}

/* L1 maps another page there, and takes it away. */
static void check_changes(enum l2_mode mode)
{
	unsigned index = index_of(WINDOW, 1);

	*page = 0x2468;
	*word_at(place(other)) = 0x1357;
	prepare_access(mode, READ, (uint32_t)WINDOW);
	run();
	check_equal(vmcb->rax, 0x2468, "what L2 reads");
	entry_write(window_pt, index, place(other) | ALL);
	prepare_access(mode, READ, (uint32_t)WINDOW);
	run();
	check_equal(vmcb->rax, 0x1357, "what L2 reads where L1 has put another page");
	entry_write(window_pt, index, 0);
	prepare_access(mode, READ, (uint32_t)WINDOW);
	run();
	check_equal((uint32_t)vmcb->exit_code, SVM_EXIT_NPF, "exit where L1 has taken the page away");
	entry_write(window_pt, index, place(page) | ALL);
}

/* L2's tables where L1 has nothing. */
static void check_walk(enum l2_mode mode)
{
	prepare_access(mode, READ, 0x1000);
	vmcb->cr3 = WINDOW + PAGE;
	run();
	print_exit(mode, "tables where nothing is");
	check((uint32_t)vmcb->exit_code == SVM_EXIT_NPF && vmcb->exit_info1 >> 32 == 2 && vmcb->exit_info2 >> 12 == (WINDOW + PAGE) >> 12,
	      "tables where nothing is: exit 0x%lx 0x%lx 0x%lx", vmcb->exit_code, vmcb->exit_info1, vmcb->exit_info2);
}

/* ---- events --------------------------------------------------------------------------------------- */

/* L2's handlers: VMMCALL in each. */
static void set_gates(enum l2_mode mode)
{
	memset(idt64, 0, PAGE);
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t at = place(handlers) + 16 * i;
		uint64_t gate = (at & 0xffff) | (uint64_t)CODE32 << 16 | 0x8e00ull << 32 | (uint64_t)(at >> 16) << 48;

		idt64[mode == LONG ? 2 * i : i] = gate;
		memcpy(handlers + 16 * i, (uint8_t[]){VMMCALL}, 3);
	}
}

static void expect_handler(enum l2_mode mode, unsigned vector, uint32_t from, bool has_error, const char *what)
{
	unsigned word = mode == LONG ? 2 : 1;

	run();
	print_exit(mode, what);
	check((uint32_t)vmcb->exit_code == SVM_EXIT_VMMCALL && vmcb->rip == place(handlers) + 16 * vector, "%s, %s, %s: exit 0x%lx at 0x%lx", l1->name,
	      l2_names[mode], what, (uint64_t)(uint32_t)vmcb->exit_code, vmcb->rip);
	check_equal(*word_at(vmcb->rsp + (has_error ? 4 * word : 0)), from, what);
}

static volatile unsigned taken;

static void take(struct frame *f)
{
	(void)f;
	taken++;
	apic_write(APIC_EOI, 0);
}

static void check_events(enum l2_mode mode)
{
	set_gates(mode);
	PREPARE(mode, 0x90, VMMCALL);
	vmcb->event_injection = EVENT_VALID | TYPE_INTR << 8 | VECTOR;
	expect_handler(mode, VECTOR, place(code), false, "an interrupt injected");
	PREPARE(mode, 0x90, VMMCALL);
	vmcb->event_injection = EVENT_VALID | TYPE_EXCEPTION << 8 | VECTOR_GP | EVENT_ERROR | 0x1234ull << 32;
	expect_handler(mode, VECTOR_GP, place(code), true, "an exception injected");
	check_equal(*word_at(vmcb->rsp), 0x1234, "its error code");
	PREPARE(mode, 0x0f, 0x0b);
	expect_handler(mode, VECTOR_UD, place(code), false, "UD2");
	PREPARE(mode, 0xcd, VECTOR);
	expect_handler(mode, VECTOR, place(code) + 2, false, "INT n");
	PREPARE(mode, 0x0f, 0x0b);
	vmcb->idtr.limit = 0;
	run();
	print_exit(mode, "a triple fault");
	check_equal((uint32_t)vmcb->exit_code, SVM_EXIT_SHUTDOWN, "exit of a triple fault");
	/* L1's own interrupt. */
	PREPARE(mode, 0x90, VMMCALL);
	vmcb->intercept1 |= INTERCEPT_INTR;
	vmcb->virtual_interrupt = VIRTUAL_INTERRUPT_MASKING;
	taken = 0;
	__asm__ volatile("clgi");
	interrupts_on();
	apic_write(APIC_ICR, APIC_SELF | VECTOR);
	run();
	interrupts_off();
	check_equal((uint32_t)vmcb->exit_code, SVM_EXIT_INTR, "exit by an interrupt for L1");
	check_equal(taken, 1, "interrupts that L1 has taken behind it");
}

/* ---- instructions of L1 ------------------------------------------------------------------------------- */

static void do_vmload(void *address)
{
	__asm__ volatile("vmload %%eax"
	                 :
	                 : "a"(address)
	                 : "memory");
}

static void do_vmsave(void *address)
{
	__asm__ volatile("vmsave %%eax"
	                 :
	                 : "a"(address)
	                 : "memory");
}

static void check_instructions(void)
{
	enum { MSR_LSTAR = (int)0xc0000082 };
	uint64_t old = read_msr(MSR_LSTAR);

	memset(other, 0, sizeof(*other));
	write_msr(MSR_LSTAR, 0x123456789a);
	do_vmsave(other);
	check_equal(other->lstar, 0x123456789a, "LSTAR that VMSAVE has stored");
	other->lstar = 0xabcdef;
	do_vmload(other);
	check_equal(read_msr(MSR_LSTAR), 0xabcdef, "LSTAR that VMLOAD has loaded");
	write_msr(MSR_LSTAR, old);
	check_equal((unsigned)vector_of(do_vmload, (uint8_t *)other + 8), VECTOR_GP, "VMLOAD of an address inside a page");
	__asm__ volatile("invlpga %%eax, %%ecx"
	                 :
	                 : "a"((uint32_t)WINDOW), "c"(1)
	                 : "memory");
	/* The upper half of RAX is not read here (APM vol. 3, VMRUN). Nested paging needs L1's own (15.25.3). */
	PREPARE(FLAT, VMMCALL);
	vmcb->nested_control = 0;
	vmcb->cr3 = 0;
	run();
	print_exit(FLAT, "no nested paging");
	check_equal((uint32_t)vmcb->exit_code, SVM_EXIT_VMMCALL, "exit of L2 without nested paging");
}

/* The page that L1's top entries lie in is taken back for a while: VMRUN waits for it, and loses nothing. */
static void check_busy(void)
{
	enum { EXITS = 40 };

	if (!device_present() || !l1->paging)
		return;
	*page = 0x2468;
	prepare_access(PAE, READ, (uint32_t)WINDOW);
	taken = 0;
	interrupts_on();
	__asm__ volatile("clgi" ::
	                         : "memory");
	apic_write(APIC_ICR, APIC_SELF | VECTOR);
	device_ok("the tables' page is taken back", TEST_INVALIDATE, nested_root & ~(PAGE - 1), PAGE, EXITS, 0);
	run();
	interrupts_off();
	check_equal((uint32_t)vmcb->exit_code, SVM_EXIT_VMMCALL, "exit of L2 whose tables' page is taken back meanwhile");
	check_equal(vmcb->rax, 0x2468, "what L2 has read");
	check_equal(taken, 1, "interrupts that have waited for it");
	audit("behind an entry that had to wait");
}

/* ---- the test ------------------------------------------------------------------------------------------ */

static void in_l2_mode(enum l2_mode mode)
{
	check_calls(mode);
	check_device(mode);
	check_rights(mode);
	if (paging->levels == 3)
		check_pointers(mode);
	check_changes(mode);
	if (mode != FLAT)
		check_walk(mode);
	check_events(mode);
}

/* Bare QEMU's nested paging in the format of 32-bit paging translates nothing: L2 is in L1's memory. */
static bool is_translated(void)
{
	unsigned index = index_of(WINDOW, 1);
	bool refused;

	entry_write(window_pt, index, 0);
	prepare_access(FLAT, READ, (uint32_t)WINDOW);
	run();
	refused = (uint32_t)vmcb->exit_code == SVM_EXIT_NPF;
	entry_write(window_pt, index, place(page) | ALL);
	return refused || device_present();
}

static void in_l2_modes(void)
{
	if (!is_translated()) {
		skip("nested-svm-legacy: L1 in %s, this machine has no nested paging then", l1->name);
		return;
	}
	for (enum l2_mode l2 = FLAT; l2 < L2_MODES; l2++)
		in_l2_mode(l2);
}

static void in_l1_mode(const struct l1_mode *mode)
{
	uint64_t root;

	l1 = mode;
	paging_select(mode->paging);
	frames_start();
	home_make();
	vmcb = (struct vmcb *)(uintptr_t)frame_take();
	other = (struct vmcb *)(uintptr_t)frame_take();
	code = (uint8_t *)(uintptr_t)frame_take();
	stack = (uint8_t *)(uintptr_t)frame_take();
	handlers = (uint8_t *)(uintptr_t)frame_take();
	idt64 = (uint64_t *)(uintptr_t)frame_take();
	page = (uint32_t *)(uintptr_t)frame_take();
	write_msr(MSR_VM_HSAVE_PA, frame_take());
	make_nested();
	make_l2();
	write_msr(MSR_EFER, (read_msr(MSR_EFER) & ~(uint64_t)EFER_NXE) | EFER_SVME | (mode->nx ? EFER_NXE : 0));
	root = space_new();
	space_map(root, APIC_BASE, APIC_BASE | ENTRY_P | ENTRY_W, 1);
	paging_turn_on(root);
	if (!mode->large)
		write_cr4(read_cr4() & ~(uintptr_t)CR4_PSE);
	in_l2_modes();
	check_instructions();
	check_busy();
	paging_turn_off();
	PREPARE(FLAT, VMMCALL);
	run();
	if (device_present()) /* bare QEMU does not look */
		check_equal((uint32_t)vmcb->exit_code, INVALID, "exit of VMRUN with nested paging from an L1 without paging");
}

void test_nested_svm_legacy(void)
{
	if (!(cpuid(0x80000001, 0).c & 1u << 2)) {
		skip("nested-svm-legacy: the CPU has no SVM");
		return;
	}
	pic_setup(0xffff);
	apic_enable();
	on_interrupt(VECTOR, take);
	for (unsigned i = 0; i < sizeof(l1_modes) / sizeof(l1_modes[0]); i++)
		in_l1_mode(&l1_modes[i]);
	write_msr(MSR_EFER, read_msr(MSR_EFER) & ~(uint64_t)(EFER_SVME | EFER_NXE));
}
