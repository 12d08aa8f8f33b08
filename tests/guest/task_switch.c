/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hardware task switches (SDM vol. 3, 8.3): by JMP, CALL, INT, an exception with an
 * error code, and IRET back from each; to 32-bit and 16-bit tasks; and what refuses
 * them. VMX leaves them to the visor, SVM to the CPU.
 */
#include "guest.h"

/* The first five are the guest's own. */
enum {
	CODE = 0x08,
	DATA = 0x10,
	MAIN = 0x28,
	NEXT = 0x30,
	SERVER = 0x38,
	GUARD = 0x40,
	SERVER16 = 0x48,
	CODE16 = 0x50,
	STACK16 = 0x58,
	ABSENT = 0x60,
	GDT_ENTRIES = 13,
};
enum { VECTOR_SERVER = 0x90 };

/* 32-bit TSS (SDM vol. 3, figure 8-2), as words; 16-bit (figure 8-10), as half words. */
enum { TSS_LINK,
       TSS_CR3 = 7,
       TSS_EIP,
       TSS_EFLAGS,
       TSS_ESP = 14,
       TSS_ES = 18,
       TSS_CS,
       TSS_SS,
       TSS_FS = 22,
       TSS_GS,
       TSS_WORDS = 26 };
enum { TSS16_IP = 7,
       TSS16_FLAGS,
       TSS16_SP = 13,
       TSS16_ES = 17,
       TSS16_CS,
       TSS16_SS,
       TSS16_DS,
       TSS16_HALVES = 22 };

#define FLAG_NT (1u << 14)
#define BUSY 2u
#define STACK_WORDS 256

static uint32_t tss_main[TSS_WORDS], tss_server[TSS_WORDS], tss_guard[TSS_WORDS];
extern uint32_t tss_next[TSS_WORDS];
uint32_t tss_next[TSS_WORDS];
static uint16_t tss_server16[TSS16_HALVES];
static uint32_t stack_server[STACK_WORDS], stack_guard[STACK_WORDS];
static uint64_t gdt[GDT_ENTRIES];
static uint64_t *idt;

/* What the tasks below have seen. */
extern volatile uint32_t server_runs, server_flags, server_tr, server16_runs, guard_error, guard_runs;
volatile uint32_t server_runs, server_flags, server_tr, server16_runs, guard_error, guard_runs;
extern const char task_server[], task_server16[], task_guard[];

/* Each goes on behind its IRET when it is entered again. The guard skips the two bytes that faulted, in the task that faulted. */
__asm__(".pushsection .text\n"
        "task_server:\n"
        "	incl server_runs; pushfl; popl server_flags; str %eax; mov %eax, server_tr\n"
        "	iret\n"
        "	jmp task_server\n"
        "task_server16:\n"
        "	incl server16_runs\n"
        "	iret\n"
        "	jmp task_server16\n"
        "task_guard:\n"
        "	incl guard_runs; popl guard_error; mov guard_faulted, %eax; addl $2, 4 * 8(%eax)\n"
        "	iret\n"
        "	jmp task_guard\n"
        ".popsection\n");
extern uint32_t *volatile guard_faulted;
uint32_t *volatile guard_faulted;

static uint64_t segment(uint64_t base, uint32_t limit, unsigned type)
{
	return (limit & 0xffff) | (base & 0xffffff) << 16 | (uint64_t)type << 40 | (uint64_t)(limit >> 16 & 0xf) << 48 |
	       (base >> 24) << 56;
}

static uint64_t task(const void *tss, unsigned bytes)
{
	return segment((uintptr_t)tss, bytes - 1, bytes < 64 ? 0x81 : 0x89);
}

static unsigned type_of(unsigned selector)
{
	return gdt[selector / 8] >> 40 & 0xff;
}

static uint32_t cr3(void)
{
	uint32_t v;

	__asm__ volatile("mov %%cr3, %0"
	                 : "=r"(v));
	return v;
}

static void fill(uint32_t *tss, const void *eip, uint32_t *stack)
{
	for (unsigned i = TSS_ES; i <= TSS_GS; i++)
		tss[i] = i == TSS_CS ? CODE : DATA;
	tss[TSS_CR3] = cr3();
	tss[TSS_EFLAGS] = 2;
	tss[TSS_EIP] = (uintptr_t)eip;
	tss[TSS_ESP] = (uintptr_t)(stack + STACK_WORDS);
}

static void fill16(void)
{
	tss_server16[TSS16_FLAGS] = 2;
	tss_server16[TSS16_SP] = STACK_WORDS * 4;
	tss_server16[TSS16_CS] = CODE16; /* which begins at its first instruction: 16 bits of IP reach no farther */
	tss_server16[TSS16_SS] = STACK16;
	tss_server16[TSS16_ES] = tss_server16[TSS16_DS] = DATA;
}

static void load_tables(void)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) r;

	__asm__ volatile("sgdt %0"
	                 : "=m"(r));
	for (unsigned i = 0; i < 5; i++)
		gdt[i] = ((const uint64_t *)(uintptr_t)r.base)[i];
	gdt[MAIN / 8] = task(tss_main, sizeof(tss_main));
	gdt[NEXT / 8] = task(tss_next, sizeof(tss_next));
	gdt[SERVER / 8] = task(tss_server, sizeof(tss_server));
	gdt[GUARD / 8] = task(tss_guard, sizeof(tss_guard));
	gdt[SERVER16 / 8] = task(tss_server16, sizeof(tss_server16));
	gdt[CODE16 / 8] = segment((uintptr_t)task_server16, 0xffff, 0x9b) | 1ull << 54;
	gdt[STACK16 / 8] = segment((uintptr_t)stack_server, 0xffff, 0x93);
	gdt[ABSENT / 8] = segment(0, 0xffff, 0x13);
	r.limit = sizeof(gdt) - 1;
	r.base = (uintptr_t)gdt;
	__asm__ volatile("lgdt %0; ltr %w1"
	                 :
	                 : "m"(r), "r"(MAIN));
	__asm__ volatile("sidt %0"
	                 : "=m"(r));
	idt = (uint64_t *)(uintptr_t)r.base;
	idt[VECTOR_SERVER] = (uint64_t)SERVER << 16 | 0x85ull << 40;
	fill(tss_server, task_server, stack_server);
	fill(tss_guard, task_guard, stack_guard);
	fill16();
}

/* The new task is this very function, one instruction on: only the stack pointer is carried over. */
static void jump(void)
{
	static volatile uint32_t arrived;

	fill(tss_next, NULL, stack_server);
	__asm__ volatile("push %%ebp; push %%ebx\n\t"
	                 "movl $1f, tss_next + 4 * %c1; mov %%esp, tss_next + 4 * %c2\n\t"
	                 "ljmp %3, $0\n"
	                 "1:	pop %%ebx; pop %%ebp\n\t"
	                 "movl $0x7a5c, %0"
	                 : "=m"(arrived)
	                 : "i"(TSS_EIP), "i"(TSS_ESP), "i"(NEXT)
	                 : "eax", "ecx", "edx", "esi", "edi", "memory", "cc");
	check_equal(arrived, 0x7a5c, "what the new task wrote");
	check_equal(type_of(MAIN), 0x89, "type of the TSS that was left");
	check_equal(type_of(NEXT), 0x8b, "type of the TSS that was entered");
}

/* Called in the task NEXT: all registers must come back as they were. */
#define CARRIES(instruction) \
	({ \
		uint32_t a_ = 0x11111111, b_ = 0x22222222, s_ = 0x33333333, d_ = 0x44444444; \
		__asm__ volatile(instruction \
		                 : "+a"(a_), "+b"(b_), "+S"(s_), "+D"(d_) \
		                 : \
		                 : "memory", "cc"); \
		a_ == 0x11111111 && b_ == 0x22222222 && s_ == 0x33333333 && d_ == 0x44444444; \
	})

static void call(void)
{
	for (unsigned i = 1; i <= 3; i++) {
		check(CARRIES("lcall $0x38, $0"), "registers after a task was called");
		check_equal(server_runs, i, "runs of the task that was called");
		check_equal(server_tr, SERVER, "its task register");
		check_equal(server_flags & FLAG_NT, FLAG_NT, "NT in its flags");
		check_equal(tss_server[TSS_LINK] & 0xffff, NEXT, "its link");
		check_equal(type_of(SERVER), 0x89, "type of its TSS after IRET");
		check_equal(type_of(NEXT), 0x8b, "type of the caller's TSS");
	}
}

static void gate(void)
{
	server_runs = 0;
	for (unsigned i = 1; i <= 3; i++) {
		check(CARRIES("int $0x90"), "registers after an interrupt through a task gate");
		check_equal(server_runs, i, "runs of the task behind the gate");
		check_equal(server_flags & FLAG_NT, FLAG_NT, "NT in its flags");
	}
}

static void sixteen_bits(void)
{
	for (unsigned i = 1; i <= 3; i++) {
		check(CARRIES("lcall $0x48, $0"), "registers after a 16-bit task was called");
		check_equal(server16_runs, i, "runs of the 16-bit task");
		check_equal(tss_server16[TSS_LINK], NEXT, "its link");
		check_equal(type_of(SERVER16), 0x81, "type of its TSS");
	}
}

/* #GP by way of a task: a selector beyond the GDT is the error code. */
static void exception(void)
{
	uint64_t saved = idt[13];

	idt[13] = (uint64_t)GUARD << 16 | 0x85ull << 40;
	guard_faulted = tss_next;
	for (unsigned i = 1; i <= 2; i++) {
		__asm__ volatile("mov %w0, %%fs"
		                 :
		                 : "a"(0x7f8)
		                 : "memory"); /* two bytes: 8e e0 */
		check_equal(guard_runs, i, "runs of the task for #GP");
		check_equal(guard_error, 0x7f8, "the error code on its stack");
	}
	idt[13] = saved;
}

static void call_busy(void *unused)
{
	(void)unused;
	__asm__ volatile("lcall $0x30, $0"
	                 :
	                 :
	                 : "memory"); /* NEXT, which runs */
}

static void call_absent_segment(void *unused)
{
	(void)unused;
	__asm__ volatile("lcall $0x38, $0"
	                 :
	                 :
	                 : "eax", "memory");
}

static void return_to_available(void *unused)
{
	(void)unused;
	__asm__ volatile("pushfl; orl $1 << 14, (%%esp); popfl; iret"
	                 :
	                 :
	                 : "memory", "cc");
}

static void refused(void)
{
	check_equal(vector_of(call_busy, NULL), 13, "vector of a call of a task that is busy");
	check_equal(last_trap.error, NEXT, "its error code");

	tss_next[TSS_LINK] = SERVER; /* available: nobody is to be returned to there */
	check_equal(vector_of(return_to_available, NULL), 10, "vector of IRET to a task that is not busy");
	check_equal(last_trap.error, SERVER, "its error code");
	__asm__ volatile("pushfl; andl $~(1 << 14), (%%esp); popfl"
	                 :
	                 :
	                 : "memory", "cc");
}

/* In the new task: FS is not present. The handler runs there, and its frame says where that task began. */
static void refused_in_new_task(void)
{
	fill(tss_server, task_server, stack_server);
	tss_server[TSS_FS] = ABSENT;
	gdt[SERVER / 8] = task(tss_server, sizeof(tss_server));
	check_equal(vector_of(call_absent_segment, NULL), 11, "vector of a task whose FS is not present");
	check_equal(last_trap.error, ABSENT, "its error code");
	if (cpuid(0, 0).b == 0x756e6547) /* "Genu"; QEMU, which plays AMD, names the CALL */
		check_equal(last_trap.rip, (uintptr_t)task_server, "where it was raised");
	check_equal(type_of(SERVER), 0x8b, "type of the TSS whose segments could not be loaded");
}

void test_task_switch(void)
{
	interrupts_off();
	load_tables();
	jump();
	call();
	gate();
	sixteen_bits();
	exception();
	refused();
	refused_in_new_task();
}
