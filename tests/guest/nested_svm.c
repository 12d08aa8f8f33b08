/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hypervisor of a few lines (L1): guests of a few instructions (L2) by SVM, with and without nested
 * paging. It runs on the bare machine and under the visor (`vmmu run --nested`); each answer is printed
 * where a model would only say the same again, and must be the same on both.
 * What is checked: APM vol. 2, 15.5 to 15.25.
 */
#include "nested_svm.h"

#include "nested_stores.h"

#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_VM_CR 0xc0010114
#define MSR_VM_HSAVE_PA 0xc0010117
#define EFER_SVME (1u << 12)
#define EFER_NXE (1u << 11)
#define FLAG_IF (1u << 9)

#define CODE64 0x18
#define DATA 0x10

#define INVALID 0xffffffffu
#define EVENT_VALID (1ull << 31)
#define EVENT_ERROR (1ull << 11)
enum { TYPE_INTR = 0,
       TYPE_NMI = 2,
       TYPE_EXCEPTION = 3,
       TYPE_SOFTWARE = 4 };

#define VECTOR 0x61         /* of interrupts here */
#define WINDOW (1ull << 39) /* L2's page under test: linear and, in L2, physical address in a GiB that has nothing else */

struct vmcb *l2_vmcb;
uint8_t *l2_io_map, *l2_msr_map, *l2_code, *l2_stack;
struct l2_registers l2_registers;
static struct vmcb *other;
static uint64_t *nested_pml4, *nested_pdpt, *nested_pd, *nested_far, *nested_far_pd, *nested_pt, *page;
static uint64_t *idt;

static uint64_t physical(const volatile void *p)
{
	return (uintptr_t)p;
}

void l2_run(void)
{
	__asm__ volatile("push %%rbp\n\t"
	                 "clgi\n\t"
	                 "vmrun %%rax\n\t"
	                 "stgi\n\t"
	                 "pop %%rbp"
	                 : "+b"(l2_registers.rbx), "+c"(l2_registers.rcx), "+d"(l2_registers.rdx), "+S"(l2_registers.rsi)
	                 : "a"(l2_vmcb)
	                 : "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
}

static struct vmcb_segment segment(uint16_t selector, uint16_t attributes)
{
	return (struct vmcb_segment){.selector = selector, .attributes = attributes, .limit = UINT32_MAX};
}

#define STACK_BYTES 4096

/* L2 as it begins: 64-bit code at CPL 0 on L1's own page tables. */
void l2_prepare(const void *bytes, unsigned n)
{
	uint64_t cr0, cr3, cr4;
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) gdtr;

	__asm__ volatile("mov %%cr0, %0; mov %%cr3, %1; mov %%cr4, %2"
	                 : "=r"(cr0), "=r"(cr3), "=r"(cr4));
	__asm__ volatile("sgdt %0"
	                 : "=m"(gdtr));
	memset(l2_vmcb, 0, sizeof(*l2_vmcb));
	memset(&l2_registers, 0, sizeof(l2_registers));
	memcpy(l2_code, bytes, n);
	l2_vmcb->intercept1 = INTERCEPT_SHUTDOWN;
	l2_vmcb->intercept2 = INTERCEPT_VMRUN | INTERCEPT_VMMCALL;
	l2_vmcb->io_bitmap = physical(l2_io_map);
	l2_vmcb->msr_bitmap = physical(l2_msr_map);
	l2_vmcb->asid = 1;
	l2_vmcb->tlb_control = TLB_FLUSH_ALL;
	l2_vmcb->es = l2_vmcb->ds = l2_vmcb->ss = segment(DATA, 0xc93);
	l2_vmcb->cs = segment(CODE64, 0xa9b);
	l2_vmcb->gdtr.base = gdtr.base;
	l2_vmcb->gdtr.limit = gdtr.limit;
	l2_vmcb->idtr.base = physical(idt);
	l2_vmcb->idtr.limit = 4095;
	l2_vmcb->efer = read_msr(MSR_EFER);
	l2_vmcb->cr0 = cr0;
	l2_vmcb->cr3 = cr3;
	l2_vmcb->cr4 = cr4;
	l2_vmcb->dr6 = 0xffff0ff0;
	l2_vmcb->dr7 = 0x400;
	l2_vmcb->rflags = 2;
	l2_vmcb->rip = physical(l2_code);
	l2_vmcb->rsp = physical(l2_stack) + STACK_BYTES - 64;
	l2_vmcb->pat = 0x0007040600070406;
}

#define PREPARE(...) \
	do { \
		static const uint8_t bytes_[] = {__VA_ARGS__}; \
		l2_prepare(bytes_, sizeof(bytes_)); \
	} while (0)
#define VMMCALL 0x0f, 0x01, 0xd9

static void expect_exit(uint64_t exit_code, uint64_t at, const char *what)
{
	l2_run();
	check((uint32_t)l2_vmcb->exit_code == exit_code && l2_vmcb->rip == physical(l2_code) + at, "%s: exit 0x%lx at +0x%lx instead of 0x%lx at +0x%lx",
	      what, (uint64_t)(uint32_t)l2_vmcb->exit_code, l2_vmcb->rip - physical(l2_code), exit_code, at);
}

/* ---- without it, and its registers -------------------------------------------------- */

static void do_vmrun(void *unused)
{
	(void)unused;
	__asm__ volatile("vmrun %%rax"
	                 :
	                 : "a"(l2_vmcb)
	                 : "memory");
}

static void do_vmload(void *address)
{
	__asm__ volatile("vmload %%rax"
	                 :
	                 : "a"(address)
	                 : "memory");
}

static void write_hsave(void *value)
{
	write_msr(MSR_VM_HSAVE_PA, (uintptr_t)value);
}

static void check_switch(uint64_t hsave)
{
	check_equal(vector_of(do_vmrun, NULL), VECTOR_UD, "VMRUN without EFER.SVME");
	check_equal(vector_of(do_vmload, NULL), VECTOR_UD, "VMLOAD without EFER.SVME");
	write_msr(MSR_EFER, read_msr(MSR_EFER) | EFER_SVME | EFER_NXE);
	check(read_msr(MSR_EFER) & EFER_SVME, "EFER.SVME stays clear");
	check_equal(read_msr(MSR_VM_CR) & (1u << 4), 0, "VM_CR.SVMDIS");
	check_equal(vector_of(write_hsave, (void *)(uintptr_t)hsave), -1, "VM_HSAVE_PA written");
	check_equal(read_msr(MSR_VM_HSAVE_PA), hsave, "VM_HSAVE_PA");
}

/* ---- instructions ----------------------------------------------------------------------- */

static void check_intercepts(void)
{
	PREPARE(VMMCALL);
	expect_exit(SVM_EXIT_VMMCALL, 0, "VMMCALL");

	PREPARE(0x48, 0xc7, 0xc0, 0x34, 0x12, 0, 0, 0x48, 0xff, 0xc3, 0x0f, 0xa2); /* mov $1234h, %rax; inc %rbx; cpuid */
	l2_vmcb->intercept1 |= INTERCEPT_CPUID;
	l2_registers.rbx = 7;
	expect_exit(SVM_EXIT_CPUID, 10, "CPUID, intercepted");
	check_equal(l2_vmcb->rax, 0x1234, "L2's RAX");
	check_equal(l2_registers.rbx, 8, "L2's RBX");

	PREPARE(0x31, 0xc0, 0x0f, 0xa2, VMMCALL); /* xor %eax, %eax; cpuid */
	expect_exit(SVM_EXIT_VMMCALL, 4, "CPUID, not intercepted");
	check_equal(l2_registers.rbx, cpuid(0, 0).b, "EBX of leaf 0 in L2");

	PREPARE(0xf4);
	l2_vmcb->intercept1 |= INTERCEPT_HLT;
	expect_exit(SVM_EXIT_HLT, 0, "HLT");

	PREPARE(0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, VMMCALL); /* mov %cr3, %rax; mov %rax, %cr3 */
	l2_vmcb->cr_write = 1u << 3;
	expect_exit(SVM_EXIT_CR_WRITE + 3, 3, "MOV to CR3");
	l2_vmcb->cr_write = 0;
	expect_exit(SVM_EXIT_VMMCALL, 6, "MOV to CR3, not intercepted");

	PREPARE(0x0f, 0x20, 0xc0, 0x0f, 0x22, 0xc0, 0x48, 0x83, 0xe0, 0xfd, 0x0f, 0x22, 0xc0, /* cr0 as it is, then without MP ... */
	        0x48, 0x0f, 0xba, 0xf0, 0x05, 0x0f, 0x22, 0xc0, VMMCALL);                     /* btr $5 (NE) */
	l2_vmcb->cr0 |= 1u << 5;
	l2_vmcb->intercept1 |= INTERCEPT_CR0_SELECTIVE;
	expect_exit(SVM_EXIT_CR0_SELECTIVE, 18, "MOV to CR0 that changes NE");
	check_equal(l2_vmcb->cr0 & 0x22, 0x20, "CR0.MP and NE before it");
	l2_vmcb->intercept1 &= ~(uint32_t)INTERCEPT_CR0_SELECTIVE;
	expect_exit(SVM_EXIT_VMMCALL, 21, "the same, not intercepted");
	check_equal(l2_vmcb->cr0 & 0x22, 0, "CR0.MP and NE");

	PREPARE(0x0f, 0x0b); /* ud2 */
	l2_vmcb->exceptions = 1u << VECTOR_UD;
	expect_exit(SVM_EXIT_EXCEPTION + VECTOR_UD, 0, "#UD");

	PREPARE(0x0f, 0x01, 0xd8); /* vmrun in L2 */
	expect_exit(SVM_EXIT_VMRUN, 0, "VMRUN of L2's");
}

static void check_ports_and_msrs(void)
{
	PREPARE(0xe6, 0x80, 0xe4, 0x71, VMMCALL); /* out %al, $80h; in $71h, %al */
	l2_vmcb->intercept1 |= INTERCEPT_IO;
	memset(l2_io_map, 0, 3 * PAGE);
	l2_io_map[0x71 / 8] = 1u << (0x71 % 8);
	expect_exit(SVM_EXIT_IO, 2, "IN, of an intercepted port");
	check_equal(l2_vmcb->exit_info1 & 0xffff007f, 0x71u << 16 | 0x10 | 1, "EXITINFO1 of IN");
	check_equal(l2_vmcb->exit_info2, physical(l2_code) + 4, "EXITINFO2 of IN");
	l2_io_map[0x71 / 8] = 0;
	l2_vmcb->rip = physical(l2_code);
	expect_exit(SVM_EXIT_VMMCALL, 4, "IN and OUT of ports that are not intercepted");

	PREPARE(0xb9, 0x81, 0, 0, 0xc0, 0x0f, 0x32, 0x0f, 0x30, VMMCALL); /* mov $STAR, %ecx; rdmsr; wrmsr */
	l2_vmcb->intercept1 |= INTERCEPT_MSR;
	memset(l2_msr_map, 0, 2 * PAGE);
	l2_msr_map[0x800 + (MSR_STAR & 0x1fff) / 4] = 2u << (MSR_STAR & 3) * 2; /* writes */
	expect_exit(SVM_EXIT_MSR, 7, "WRMSR of STAR, whose writes are intercepted");
	check_equal(l2_vmcb->exit_info1, 1, "EXITINFO1 of WRMSR");
	memset(l2_msr_map, 0, 2 * PAGE);
	l2_vmcb->rip = physical(l2_code);
	expect_exit(SVM_EXIT_VMMCALL, 9, "the same, not intercepted");

	PREPARE(0xb9, 0x80, 0, 0, 0xc0, 0x0f, 0x32, VMMCALL); /* rdmsr of EFER */
	l2_vmcb->intercept1 |= INTERCEPT_MSR;
	expect_exit(SVM_EXIT_VMMCALL, 7, "RDMSR of EFER");
	check_equal((uint32_t)l2_vmcb->rax, (uint32_t)l2_vmcb->efer, "EFER as L2 reads it");
}

/* ---- VMLOAD, VMSAVE, the TSC, the state that VMRUN loads ---------------------------- */

static void check_load_and_save(void)
{
	uint64_t old = read_msr(MSR_LSTAR);
	uint64_t tsc, seen;

	memset(other, 0, sizeof(*other));
	write_msr(MSR_LSTAR, 0x123456789a);
	__asm__ volatile("vmsave %%rax"
	                 :
	                 : "a"(other)
	                 : "memory");
	check_equal(other->lstar, 0x123456789a, "LSTAR that VMSAVE has stored");
	check_equal(other->rip, 0, "what VMSAVE leaves alone");
	other->lstar = 0xabcdef;
	do_vmload(other);
	check_equal(read_msr(MSR_LSTAR), 0xabcdef, "LSTAR that VMLOAD has loaded");
	write_msr(MSR_LSTAR, old);
	check_equal(vector_of(do_vmload, (void *)((uintptr_t)other + 8)), VECTOR_GP, "VMLOAD of an address inside a page");

	PREPARE(0x0f, 0x31, VMMCALL); /* rdtsc */
	l2_vmcb->tsc_offset = 1ull << 50;
	tsc = rdtsc();
	expect_exit(SVM_EXIT_VMMCALL, 2, "RDTSC");
	seen = (uint32_t)l2_vmcb->rax | l2_registers.rdx << 32;
	check(seen - tsc >= 1ull << 50 && seen - tsc < (1ull << 50) + (1ull << 40), "L2's TSC: 0x%lx beyond L1's", seen - tsc);
}

/* ---- consistency checks -------------------------------------------------------------------- */

static void expect_invalid(const char *what)
{
	l2_run();
	check((uint32_t)l2_vmcb->exit_code == INVALID, "%s: exit 0x%lx instead of VMEXIT_INVALID", what, l2_vmcb->exit_code);
}

static void check_consistency(void)
{
	PREPARE(VMMCALL);
	l2_vmcb->asid = 0;
	expect_invalid("ASID 0");
	PREPARE(VMMCALL);
	l2_vmcb->intercept2 = INTERCEPT_VMMCALL;
	expect_invalid("no intercept of VMRUN");
	PREPARE(VMMCALL);
	l2_vmcb->efer &= ~(uint64_t)EFER_SVME;
	expect_invalid("EFER.SVME clear");
	PREPARE(VMMCALL);
	l2_vmcb->cr0 = (l2_vmcb->cr0 & ~(1ull << 30)) | 1u << 29;
	expect_invalid("CR0.NW without CD");
	PREPARE(VMMCALL);
	l2_vmcb->cr0 |= 1ull << 32;
	expect_invalid("CR0, upper half");
	PREPARE(VMMCALL);
	l2_vmcb->dr6 |= 1ull << 32;
	expect_invalid("DR6, upper half");
	PREPARE(VMMCALL);
	l2_vmcb->dr7 |= 1ull << 32;
	expect_invalid("DR7, upper half");
	PREPARE(VMMCALL);
	l2_vmcb->cr4 &= ~(1ull << 5);
	expect_invalid("long mode without CR4.PAE");
	PREPARE(VMMCALL);
	l2_vmcb->msr_bitmap = physical_end() - PAGE;
	expect_invalid("an MSR map beyond physical memory");
	PREPARE(VMMCALL);
	expect_exit(SVM_EXIT_VMMCALL, 0, "VMMCALL, after all that");
}

/* ---- events --------------------------------------------------------------------------------- */

/* L2's handlers: VMMCALL in each, 16 bytes apart, at handlers. */
static uint8_t *handlers;

static void set_gates(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t at = physical(handlers) + 16 * i;

		idt[2 * i] = (at & 0xffff) | CODE64 << 16 | 0x8e00ull << 32 | (at >> 16 & 0xffff) << 48;
		idt[2 * i + 1] = at >> 32;
		memcpy(handlers + 16 * i, (uint8_t[]){VMMCALL}, 3);
	}
}

static void expect_handler(unsigned vector, uint64_t from, const char *what)
{
	const uint64_t *frame;

	l2_run();
	check((uint32_t)l2_vmcb->exit_code == SVM_EXIT_VMMCALL && l2_vmcb->rip == physical(handlers) + 16 * vector, "%s: exit 0x%lx at 0x%lx", what,
	      (uint64_t)(uint32_t)l2_vmcb->exit_code, l2_vmcb->rip - physical(handlers));
	frame = (const uint64_t *)(uintptr_t)l2_vmcb->rsp;
	check_equal(frame[vector == VECTOR_GP], from, what);
}

static void inject(unsigned type, unsigned vector, uint64_t more)
{
	l2_vmcb->event_injection = EVENT_VALID | type << 8 | vector | more;
}

static void check_injection(void)
{
	PREPARE(0x90, VMMCALL);
	inject(TYPE_INTR, VECTOR, 0);
	expect_handler(VECTOR, physical(l2_code), "an interrupt injected");
	check_equal(l2_vmcb->event_injection & EVENT_VALID, 0, "EVENTINJ.V afterwards");
	PREPARE(0x90, VMMCALL);
	inject(TYPE_EXCEPTION, VECTOR_GP, EVENT_ERROR | 0x1234ull << 32);
	expect_handler(VECTOR_GP, physical(l2_code), "#GP injected");
	check_equal(*(uint64_t *)(uintptr_t)l2_vmcb->rsp, 0x1234, "its error code");
	PREPARE(0x90, VMMCALL);
	inject(TYPE_NMI, 2, 0);
	expect_handler(2, physical(l2_code), "NMI injected");
	PREPARE(0x90, VMMCALL);
	inject(TYPE_SOFTWARE, VECTOR, 0);
	expect_handler(VECTOR, physical(l2_code), "INT n injected");
	PREPARE(0x90, VMMCALL);
	inject(TYPE_EXCEPTION, VECTOR_BP, 0);
	expect_handler(VECTOR_BP, physical(l2_code), "#BP injected");
	PREPARE(0x0f, 0x0b);
	expect_handler(VECTOR_UD, physical(l2_code), "#UD, not intercepted");
	PREPARE(0xcd, VECTOR);
	expect_handler(VECTOR, physical(l2_code) + 2, "INT n of L2's own");
	PREPARE(0x0f, 0x0b);
	l2_vmcb->idtr.limit = 0;
	expect_exit(SVM_EXIT_SHUTDOWN, 0, "a triple fault");
}

#define V_IRQ(vector) (VIRTUAL_INTERRUPT_REQUEST | VIRTUAL_INTERRUPT_IGNORE_TPR | (uint64_t)(vector) << 32)

static void check_virtual_interrupts(void)
{
	PREPARE(0x90, VMMCALL);
	l2_vmcb->virtual_interrupt = V_IRQ(VECTOR) | VIRTUAL_INTERRUPT_MASKING;
	expect_exit(SVM_EXIT_VMMCALL, 1, "a virtual interrupt while L2 has them off");
	check(l2_vmcb->virtual_interrupt & VIRTUAL_INTERRUPT_REQUEST, "V_IRQ that was not taken is gone");
	PREPARE(0x90, VMMCALL);
	l2_vmcb->virtual_interrupt = V_IRQ(VECTOR) | VIRTUAL_INTERRUPT_MASKING;
	l2_vmcb->rflags |= FLAG_IF;
	expect_handler(VECTOR, physical(l2_code), "a virtual interrupt");
	check(!(l2_vmcb->virtual_interrupt & VIRTUAL_INTERRUPT_REQUEST), "V_IRQ that was taken is still there");
	PREPARE(0x90, 0xfb, 0x90, 0x90, VMMCALL); /* nop; sti; nop; nop */
	l2_vmcb->virtual_interrupt = V_IRQ(VECTOR) | VIRTUAL_INTERRUPT_MASKING;
	expect_handler(VECTOR, physical(l2_code) + 3, "a virtual interrupt behind STI");
	PREPARE(0x90, 0xfb, 0x90, 0x90, VMMCALL);
	l2_vmcb->virtual_interrupt = V_IRQ(VECTOR) | VIRTUAL_INTERRUPT_MASKING;
	l2_vmcb->intercept1 |= INTERCEPT_VINTR;
	expect_exit(SVM_EXIT_VINTR, 3, "a virtual interrupt, intercepted");
}

static volatile unsigned taken;

static void take(struct frame *f)
{
	(void)f;
	taken++;
	apic_write(APIC_EOI, 0);
}

/* L1's own interrupts while L2 runs; GIF holds them from CLGI to STGI. */
static void check_interrupts(void)
{
	apic_enable();
	on_interrupt(VECTOR, take);

	taken = 0;
	__asm__ volatile("clgi");
	interrupts_on();
	apic_write(APIC_ICR, APIC_SELF | VECTOR);
	for (unsigned i = 0; i < 4; i++)
		(void)cpuid(0, 0);
	check_equal(taken, 0, "interrupts taken while GIF is clear");
	__asm__ volatile("stgi; nop" ::
	                         : "memory");
	check_equal(taken, 1, "interrupts taken behind STGI");
	interrupts_off();

	/* L1 has them on, at VMRUN: L2's own flag does not count. */
	PREPARE(0x90, 0x90, VMMCALL);
	l2_vmcb->intercept1 |= INTERCEPT_INTR;
	l2_vmcb->virtual_interrupt = VIRTUAL_INTERRUPT_MASKING;
	__asm__ volatile("clgi");
	interrupts_on();
	apic_write(APIC_ICR, APIC_SELF | VECTOR);
	taken = 0;
	expect_exit(SVM_EXIT_INTR, 0, "an interrupt for L1");
	interrupts_off();
	check_equal(taken, 1, "interrupts taken behind STGI after that");

	/* With an event injected at the same time: that one first. */
	PREPARE(0x90, 0x90, VMMCALL);
	l2_vmcb->intercept1 |= INTERCEPT_INTR;
	l2_vmcb->virtual_interrupt = VIRTUAL_INTERRUPT_MASKING;
	inject(TYPE_SOFTWARE, VECTOR, 0);
	__asm__ volatile("clgi");
	interrupts_on();
	apic_write(APIC_ICR, APIC_SELF | VECTOR);
	taken = 0;
	l2_run();
	interrupts_off();
	check_equal((uint32_t)l2_vmcb->exit_code, SVM_EXIT_INTR, "exit by an interrupt for L1 with one injected");
	check_equal(l2_vmcb->rip, physical(handlers) + 16 * VECTOR, "where L2 is then");
	check_equal(taken, 1, "interrupts taken behind STGI after that, too");
}

/* ---- nested paging ------------------------------------------------------------------------ */

#define P 1ull
#define W 2ull
#define U 4ull
#define A (1ull << 5)
#define PS (1ull << 7)
#define NX (1ull << 63)

/* L2's physical memory is L1's, in 2 MiB pages, and one page more at WINDOW. */
static void make_tables(void)
{
	memset(nested_pml4, 0, PAGE);
	memset(nested_pdpt, 0, PAGE);
	memset(nested_far, 0, PAGE);
	memset(nested_far_pd, 0, PAGE);
	memset(nested_pt, 0, PAGE);
	nested_pml4[0] = physical(nested_pdpt) | P | W | U;
	nested_pml4[WINDOW >> 39] = physical(nested_far) | P | W | U;
	nested_pdpt[0] = physical(nested_pd) | P | W | U;
	for (unsigned i = 0; i < 512; i++)
		nested_pd[i] = (uint64_t)i << 21 | P | W | U | PS;
	nested_far[0] = physical(nested_far_pd) | P | W | U;
	nested_far_pd[0] = physical(nested_pt) | P | W | U;
	nested_pt[0] = physical(page) | P | W | U;
}

static void use_tables(void)
{
	l2_vmcb->nested_control = NESTED_PAGING;
	l2_vmcb->nested_cr3 = physical(nested_pml4);
}

/* L2's own tables: what L1's tables have at linear WINDOW is there in L2, too. */
static uint64_t *own_pml4, *own_pdpt, *own_pd, *own_pt, *own_low;

static void make_own_tables(void)
{
	memset(own_pml4, 0, PAGE);
	memset(own_pdpt, 0, PAGE);
	memset(own_pd, 0, PAGE);
	memset(own_pt, 0, PAGE);
	memset(own_low, 0, PAGE);
	own_pml4[0] = physical(own_low) | P | W | U;
	own_low[0] = P | W | U | PS; /* 1 GiB */
	own_pml4[WINDOW >> 39] = physical(own_pdpt) | P | W | U;
	own_pdpt[0] = physical(own_pd) | P | W | U;
	own_pd[0] = physical(own_pt) | P | W | U;
	own_pt[0] = WINDOW | P | W | U;
}

enum access { READ,
	      WRITE,
	      FETCH,
	      ACCESSES };
static const char *const access_names[] = {"read", "write", "fetch"};

static void prepare_access(enum access access)
{
	if (access == READ)
		PREPARE(0x48, 0x8b, 0x03, VMMCALL); /* mov (%rbx), %rax */
	else if (access == WRITE)
		PREPARE(0x48, 0x89, 0x03, VMMCALL); /* mov %rax, (%rbx) */
	else
		PREPARE(0xff, 0xe3); /* jmp *%rbx */
	use_tables();
	l2_vmcb->cr3 = physical(own_pml4);
	l2_vmcb->rax = 0x5555;
	l2_registers.rbx = WINDOW;
}

/* What L1 is told, as the manual has it (15.25.6): every access is a user's. */
static bool allowed(uint64_t entry, enum access access, uint64_t *error)
{
	bool fetches = access == FETCH;

	*error = (entry & P ? 1 : 0) | (access == WRITE ? 2 : 0) | 4 | (fetches ? 0x10 : 0) | 1ull << 32;
	return entry & P && entry & U && !(access == WRITE && !(entry & W)) && !(fetches && entry & NX);
}

static void try_entry(uint64_t *where, uint64_t address, uint64_t entry, enum access access, const char *level)
{
	uint64_t error, flags = entry & (P | W | U | NX);

	prepare_access(access);
	memcpy(page, (uint8_t[]){VMMCALL, 0, 0, 0, 0, 0x77}, 9);
	*where = address | entry;
	l2_run();
	if (allowed(entry, access, &error)) {
		check_equal((uint32_t)l2_vmcb->exit_code, SVM_EXIT_VMMCALL, "exit of an access that L1's tables allow");
		check_equal(l2_vmcb->rip, access == FETCH ? WINDOW : physical(l2_code) + 3, "RIP after it");
		if (access == WRITE)
			check_equal(*page, 0x5555, "what it has written");
	} else {
		check((uint32_t)l2_vmcb->exit_code == SVM_EXIT_NPF && l2_vmcb->exit_info1 == error && l2_vmcb->exit_info2 == WINDOW,
		      "%s entry 0x%lx, %s: exit 0x%lx, EXITINFO1 0x%lx instead of 0x%lx, EXITINFO2 0x%lx", level, flags, access_names[access],
		      (uint64_t)(uint32_t)l2_vmcb->exit_code, l2_vmcb->exit_info1, error, l2_vmcb->exit_info2);
	}
	print("nested: %s entry 0x%lx %s, exit 0x%lx 0x%lx 0x%lx\n", level, flags, access_names[access], (uint64_t)(uint32_t)l2_vmcb->exit_code,
	      (uint32_t)l2_vmcb->exit_code == SVM_EXIT_NPF ? l2_vmcb->exit_info1 : 0, (uint32_t)l2_vmcb->exit_code == SVM_EXIT_NPF ? l2_vmcb->exit_info2 : 0);
}

static void check_permissions(void)
{
	make_tables();
	make_own_tables();
	for (unsigned bits = 0; bits < 16; bits++) {
		uint64_t entry = (bits & 7) | (bits & 8 ? NX : 0);

		for (enum access access = READ; access < ACCESSES; access++)
			try_entry(&nested_pt[0], physical(page), entry, access, "page");
		nested_pt[0] = physical(page) | P | W | U;
		for (enum access access = READ; access < ACCESSES; access++)
			try_entry(&nested_far_pd[0], physical(nested_pt), entry, access, "table");
		nested_far_pd[0] = physical(nested_pt) | P | W | U;
	}
}

/* L2's page tables where L1's tables have nothing, or where they cannot be written. */
static void check_walks(void)
{
	uint64_t old = own_pml4[WINDOW >> 39];

	make_tables();
	own_pml4[WINDOW >> 39] = (WINDOW + PAGE) | P | W | U; /* a page directory pointer table that is not there */
	prepare_access(READ);
	l2_run();
	print("nested: walk through nothing, exit 0x%lx 0x%lx 0x%lx\n", (uint64_t)(uint32_t)l2_vmcb->exit_code, l2_vmcb->exit_info1, l2_vmcb->exit_info2);
	check((uint32_t)l2_vmcb->exit_code == SVM_EXIT_NPF && l2_vmcb->exit_info1 >> 32 == 2 && l2_vmcb->exit_info2 >> 12 == (WINDOW + PAGE) >> 12,
	      "a walk through nothing: exit 0x%lx, 0x%lx 0x%lx", l2_vmcb->exit_code, l2_vmcb->exit_info1, l2_vmcb->exit_info2);
	own_pml4[WINDOW >> 39] = old;

	/* What L1 changes in its tables counts from the next entry with a flush on. */
	prepare_access(READ);
	l2_run();
	check_equal((uint32_t)l2_vmcb->exit_code, SVM_EXIT_VMMCALL, "exit of a read of what is mapped");
	nested_pt[0] = physical(other) | P | W | U;
	other->cr_read = 0x1357;
	prepare_access(READ);
	l2_run();
	check_equal((uint16_t)l2_vmcb->rax, 0x1357, "what L2 reads where L1 has put another page");
	nested_pt[0] = 0;
	prepare_access(READ);
	l2_run();
	check_equal((uint32_t)l2_vmcb->exit_code, SVM_EXIT_NPF, "exit of a read where L1 has taken the page away");
}

/*
 * L1 mends one entry for each fault of L2, in each way often enough that the visor expects the next one. Then
 * it takes the page away again, and L2 must miss it.
 */
static void check_handler(void)
{
	enum { FIRST = 8,
	       OFTEN = 5 };

	make_tables();
	for (unsigned n = 0; n < OFTEN * entry_stores(); n++) {
		unsigned i = FIRST + n;

		own_pt[i] = (WINDOW + i * PAGE) | P | W | U;
		*page = 0x4000 + n;
		prepare_access(READ);
		l2_registers.rbx = WINDOW + i * PAGE;
		expect_exit(SVM_EXIT_NPF, 0, "a read of a page that L1 has not mapped yet");
		check_equal(l2_vmcb->exit_info2, WINDOW + i * PAGE, "its address");
		entry_store(n / OFTEN, &nested_pt[i], physical(page) | P | W | U | A);
		l2_vmcb->tlb_control = 0;
		expect_exit(SVM_EXIT_VMMCALL, 3, "the same behind L1's store");
		check_equal(l2_vmcb->rax, 0x4000 + n, "what L2 has read behind L1's store");
	}
	for (unsigned n = 0; n < OFTEN * entry_stores(); n++) {
		prepare_access(READ);
		l2_registers.rbx = WINDOW + (FIRST + n) * PAGE;
		nested_pt[FIRST + n] = 0;
		expect_exit(SVM_EXIT_NPF, 0, "a read of a page that L1 has taken away");
	}
}

/* L1's own tables for L2, and no nested paging: what refuses is L2's #PF, which L1 intercepts. */
static void check_shadow(void)
{
	PREPARE(0x48, 0x8b, 0x03, VMMCALL);
	l2_vmcb->cr3 = physical(own_pml4);
	l2_vmcb->exceptions = 1u << VECTOR_PF;
	l2_vmcb->cr2 = 0x1111;
	l2_registers.rbx = WINDOW;
	own_pt[0] = 0;
	expect_exit(SVM_EXIT_EXCEPTION + VECTOR_PF, 0, "#PF in L2");
	check_equal(l2_vmcb->exit_info1, 0, "its error code");
	check_equal(l2_vmcb->exit_info2, WINDOW, "its address");
	check_equal(l2_vmcb->cr2, 0x1111, "CR2 of L2 at a #PF that L1 intercepts");
	own_pt[0] = physical(page) | P | W | U;
	*page = 0x2468;
	expect_exit(SVM_EXIT_VMMCALL, 3, "the same with the page mapped");
	check_equal(l2_vmcb->rax, 0x2468, "what L2 has read");
	own_pt[0] = physical(other) | P | W | U;
	other->cr_read = 0x1357;
	l2_vmcb->rip = physical(l2_code);
	expect_exit(SVM_EXIT_VMMCALL, 3, "the same with another page mapped, and a flush");
	check_equal((uint16_t)l2_vmcb->rax, 0x1357, "what L2 has read there");
}

/* ---- the test ------------------------------------------------------------------------------ */

void *l2_pages(unsigned n)
{
	static uint64_t next, end;
	void *p;

	if (!next) {
		next = take_ram(2 * MIB);
		end = next + 2 * MIB;
	}
	p = (void *)(uintptr_t)next;
	next += n * PAGE;
	if (next > end)
		guest_exit(GUEST_UNFIT);
	memset(p, 0, n * PAGE);
	return p;
}

bool l2_setup(void)
{
	if (!(cpuid(0x80000001, 0).c & 1u << 2))
		return false;
	/* The BIOS leaves the PIT running, and its interrupts at vector 8: a bare machine's L2 would meet them. */
	pic_setup(0xffff);
	l2_vmcb = l2_pages(1);
	l2_io_map = l2_pages(4);
	l2_msr_map = l2_pages(2);
	l2_code = l2_pages(1);
	l2_stack = l2_pages(1);
	idt = l2_pages(1);
	handlers = l2_pages(1);
	set_gates();
	return true;
}

void l2_turn_off(void)
{
	write_msr(MSR_EFER, read_msr(MSR_EFER) & ~(uint64_t)EFER_SVME);
}

void test_nested_svm(void)
{
	if (!l2_setup()) {
		skip("nested-svm: the CPU has no SVM");
		return;
	}
	other = l2_pages(1);
	page = l2_pages(1);
	nested_pml4 = l2_pages(1);
	nested_pdpt = l2_pages(1);
	nested_pd = l2_pages(1);
	nested_far = l2_pages(1);
	nested_far_pd = l2_pages(1);
	nested_pt = l2_pages(1);
	own_pml4 = l2_pages(1);
	own_pdpt = l2_pages(1);
	own_pd = l2_pages(1);
	own_pt = l2_pages(1);
	own_low = l2_pages(1);
	check_switch(physical(l2_pages(1)));
	check_intercepts();
	check_ports_and_msrs();
	check_load_and_save();
	check_consistency();
	check_injection();
	check_virtual_interrupts();
	check_interrupts();
	if (cpuid(0x8000000a, 0).d & 1) {
		check_permissions();
		check_walks();
		check_handler();
	} else {
		skip("nested-svm: nested paging, which the CPU does not have");
		make_own_tables();
	}
	check_shadow();
	l2_turn_off();
	check_equal(vector_of(do_vmrun, NULL), VECTOR_UD, "VMRUN with EFER.SVME clear again");
}
