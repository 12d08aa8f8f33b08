/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every test guest can use: console, checks, exceptions, the machine's
 * ports and registers, the visor's test device.
 *
 * A guest runs the tests that its command line names (tests=touch,slots) one
 * after another. Each check that fails prints a line of its own; each test
 * ends with a line "PASS name" or "FAIL name N of M checks". Lines that start
 * with "EXPECT" or "FIGURE" are for the program that reads the trace and the
 * figures. The value written to port F4h is the number of failed checks (at
 * most GUEST_FAILURES_MAX) or one of the codes below.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "visor/vm/test_device.h"

enum {
	GUEST_FAILURES_MAX = 96,
	GUEST_EXCEPTION = 97, /* an exception that no test had asked for */
	GUEST_UNFIT = 98,     /* the machine lacks what the guest needs */
	GUEST_NO_SUCH_TEST = 99,
};

#define PAGE UINT64_C(4096)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define ALL_ONES (~UINT64_C(0))

/* print's "l" is 64 bits in both guests. The compiler knows it only for the 64-bit one, and checks there. */
#ifdef __x86_64__
#define FORMAT(text, first) __attribute__((format(printf, text, first)))
#else
#define FORMAT(text, first)
#endif

/* ---- Tests --------------------------------------------------------------- */

struct test {
	const char *name;
	void (*run)(void);
};

extern const struct test all_tests[]; /* of this image; the last one has no name */

void test_ahead(void);
void test_bench(void);
void test_compare(void);
void test_breakpoints(void);
void test_control(void);
void test_debug(void);
void test_delivery(void);
void test_delivery_paging(void);
void test_delivery_tables(void);
void test_exec(void);
void test_fault_around(void);
void test_fresh(void);
void test_hostile(void);
void test_memory(void);
void test_mmio(void);
void test_nested_svm(void);
void test_nested_svm_legacy(void);
void test_nested_svm_rights(void);
void test_nested_svm_hostile(void);
void test_nested_vmx(void);
void test_nested_vmx_controls(void);
void test_nested_vmx_edges(void);
void test_nested_vmx_rights(void);
void test_nested_vmx_hostile(void);
void test_nmi(void);
void test_paging(void);
void test_platform(void);
void test_registers(void);
void test_real_mode(void);
void test_refused(void);
void test_task_switch(void);
void test_slots(void);
void test_slots_random(void);
void test_stress_alias(void);
void test_stress_code(void);
void test_stress_control(void);
void test_stress_garbage(void);
void test_stress_hostile(void);
void test_stress_large(void);
void test_stress_modes(void);
void test_stress_off(void);
void test_stress_pcid(void);
void test_stress_reuse(void);
void test_stress_stores(void);
void test_claims(void);
void test_stress_switch(void);
void test_time(void);
void test_touch(void);
void test_umip(void);

void end_by_halt(void);
void end_by_bios_call(void);
void end_by_nobody(void);
void end_by_no_exit(void);
void end_by_faults_for_ever(void);
void end_by_power_off(void);
void end_by_reset(void);
void end_by_triple_fault(void);
void end_by_root_nowhere(void);
void end_by_faults_upon_faults(void);
void end_by_fetching_nothing(void);
void end_by_invalid_state(void);
void end_by_violation(void);
void end_by_vmx_abort(void);

/* Count one check; say what was expected when it fails. */
#define check(condition, ...) \
	do { \
		if (!check_count(condition)) \
			check_failed(__FILE__, __LINE__, __VA_ARGS__); \
	} while (0)
#define check_equal(got, want, what) \
	do { \
		uint64_t got_ = (got), want_ = (want); \
		check(got_ == want_, "%s: 0x%lx instead of 0x%lx", what, got_, want_); \
	} while (0)
bool check_count(bool passed);
FORMAT(3, 4)
void check_failed(const char *file, int line, const char *format, ...);
/* Say that part of a test was left out, and why. */
FORMAT(1, 2)
void skip(const char *format, ...);

/* ---- Console and end ----------------------------------------------------- */

/* For a machine whose firmware has left the serial port alone. */
void console_setup(void);
/* %u %x %d (with l or ll: 64 bits), %s, %c, %%, a width with leading zeros. */
FORMAT(1, 2)
void print(const char *format, ...);
void print_list(const char *format, va_list args);
_Noreturn void guest_exit(uint32_t code);

/* ---- Command line and memory --------------------------------------------- */

/* The text after "name=" up to the next blank, or NULL. Valid until the next call. */
const char *option(const char *name);
uint64_t option_number(const char *name, uint64_t otherwise);

struct range {
	uint64_t base;
	uint64_t bytes;
};
/*
 * RAM that nothing has used yet, 2 MiB aligned and no one else's from now on.
 * The guest ends if there is none left.
 */
uint64_t take_ram(uint64_t bytes);
/* All that is left; returns the number of ranges. */
unsigned take_all_ram(struct range *ranges, unsigned max);
unsigned module_count(void);
struct range module(unsigned i);
uint64_t ram_end(void);      /* first gpa above all RAM below 4 GiB */
uint64_t physical_end(void); /* 1 << MAXPHYADDR */
/* Where the guest reaches a gpa: linear is physical, except for the last 512 GiB of 48 bits. */
volatile void *at(uint64_t gpa);
/* What a read finds where nothing is: ones under the visor, the emulator's choice on a bare machine. */
uint64_t nothing_there(unsigned bytes);

void random_seed(uint64_t seed);
uint64_t random_next(void);
uint64_t random_below(uint64_t bound);
/* The same for small bounds, without a division. */
uint32_t random_pick(uint32_t bound);
/* 0 .. n-1 in random order, by an affine map: needs no memory. */
struct shuffle {
	uint64_t mask, multiplier, offset, bound;
};
struct shuffle shuffle_of(uint64_t n);
/* The i-th element, i below mask + 1; `bound` and above: leave it out. */
uint64_t shuffle_at(const struct shuffle *s, uint64_t i);

/* ---- Exceptions and interrupts ------------------------------------------- */

#ifdef __x86_64__
struct frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};
#else
struct frame {
	uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax;
	uint32_t vector, error, eip, cs, eflags;
};
#endif

/* What the last exception inside a guarded function was. */
struct trap {
	uint64_t vector, error, rip, cr2;
};
extern struct trap last_trap;
bool run_guarded(void (*function)(void *), void *argument);
/* The vector that `function` ends with, or -1 when it returns. */
static inline int vector_of(void (*function)(void *), void *argument)
{
	return run_guarded(function, argument) ? -1 : (int)last_trap.vector;
}

/* Where interrupts of CPL 3 find their stack; 0: nothing runs there any more. */
void user_interrupt_stack(uintptr_t top);

typedef void (*interrupt_fn)(struct frame *frame);
void interrupts_setup(void);
void on_interrupt(unsigned vector, interrupt_fn handler);
/* Give `vector` a stack of its own through the TSS; 0 takes it away. */
void interrupt_stack(unsigned vector, uint64_t top);
/* Move a structure that the CPU reads when it delivers an event into another page. */
enum descriptor_table { TABLE_IDT,
	                TABLE_GDT,
	                TABLE_TSS };
void move_table(enum descriptor_table which, uint64_t page);

enum {
	VECTOR_DB = 1,
	VECTOR_BP = 3,
	VECTOR_OF = 4,
	VECTOR_UD = 6,
	VECTOR_GP = 13,
	VECTOR_PF = 14,
	VECTOR_PIC = 0x20, /* IRQ 0 .. 15 */
	VECTOR_APIC = 0x40,
	VECTOR_SPURIOUS = 0xff,
};

/* ---- Local APIC, PIC, PIT -------------------------------------------------- */

enum {
	APIC_ID = 0x20,
	APIC_VERSION = 0x30,
	APIC_TPR = 0x80,
	APIC_EOI = 0xb0,
	APIC_LDR = 0xd0,
	APIC_SVR = 0xf0,
	APIC_ICR = 0x300,
	APIC_ICR_HIGH = 0x310,
	APIC_LVT_TIMER = 0x320,
	APIC_LVT_LINT0 = 0x350,
	APIC_INITIAL_COUNT = 0x380,
	APIC_CURRENT_COUNT = 0x390,
	APIC_DIVIDE = 0x3e0,
	APIC_MASKED = 1 << 16,
	APIC_PERIODIC = 1 << 17,
	APIC_SELF = 1 << 18,
};
#define APIC_BASE UINT64_C(0xfee00000)
#define IOAPIC_BASE UINT64_C(0xfec00000)
uint32_t apic_read(unsigned reg);
void apic_write(unsigned reg, uint32_t value);
void apic_enable(void);
void pic_setup(uint16_t mask);
void pic_end(unsigned irq);
/* Let channel 0 count, with IRQ 0 alone unmasked. */
enum pit_mode { PIT_ONE_SHOT = 0,
	        PIT_PERIODIC = 2 };
void pit_start(enum pit_mode mode, uint16_t count);
#define PIT_HZ UINT64_C(1193182)
/* Let the TSC run against `pit_ticks` (below 65536) of the PIT's channel 2; TSC ticks per second. */
uint64_t tsc_hz_by_pit(uint16_t pit_ticks);

/* ---- The test device ------------------------------------------------------ */

bool device_present(void);
/* One command; up to four arguments, results in last_command.result. */
uint32_t device(uint32_t code, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3);
extern struct test_command last_command;
/* The command must succeed: otherwise one failed check. */
void device_ok(const char *what, uint32_t code, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3);
/* No finding is a passed check. */
void audit(const char *when);
uint64_t violations(void);
/* Level of the entry that ends the walk for gpa. `leaf`: whether it is a leaf. */
unsigned path_level(uint64_t gpa, bool *leaf);
/* The word mmu=shadow: a path is then one of the guest's own translations, and not to be had by gpa. */
bool on_shadow_tables(void);
/* Not there while the guest's own tables decide. */
bool tables_know_gpas(void);

/* ---- Instructions ---------------------------------------------------------- */

static inline void out8(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1"
	                                                             :
	                                                             : "a"(v), "Nd"(port)); }
static inline void out16(uint16_t port, uint16_t v) { __asm__ volatile("outw %0, %1"
	                                                               :
	                                                               : "a"(v), "Nd"(port)); }
static inline void out32(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1"
	                 :
	                 : "a"(v), "Nd"(port)
	                 : "memory");
}
static inline uint8_t in8(uint16_t port)
{
	uint8_t v;
	__asm__ volatile("inb %1, %0"
	                 : "=a"(v)
	                 : "Nd"(port));
	return v;
}
static inline uint16_t in16(uint16_t port)
{
	uint16_t v;
	__asm__ volatile("inw %1, %0"
	                 : "=a"(v)
	                 : "Nd"(port));
	return v;
}
static inline uint32_t in32(uint16_t port)
{
	uint32_t v;
	__asm__ volatile("inl %1, %0"
	                 : "=a"(v)
	                 : "Nd"(port)
	                 : "memory");
	return v;
}
static inline uint64_t rdtsc(void)
{
	uint32_t low, high;
	__asm__ volatile("rdtsc"
	                 : "=a"(low), "=d"(high)
	                 :
	                 : "memory");
	return (uint64_t)high << 32 | low;
}
struct cpuid {
	uint32_t a, b, c, d;
};
static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r;
	__asm__ volatile("cpuid"
	                 : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
	                 : "a"(leaf), "c"(subleaf));
	return r;
}
static inline uint64_t read_msr(uint32_t msr)
{
	uint32_t low, high;
	__asm__ volatile("rdmsr"
	                 : "=a"(low), "=d"(high)
	                 : "c"(msr));
	return (uint64_t)high << 32 | low;
}
static inline void write_msr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
	                 :
	                 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
	                 : "memory");
}
static inline void interrupts_on(void) { __asm__ volatile("sti"
	                                                  :
	                                                  :
	                                                  : "memory"); }
static inline void interrupts_off(void) { __asm__ volatile("cli"
	                                                   :
	                                                   :
	                                                   : "memory"); }
/* HLT in STI's shadow: no interrupt can slip in between. */
static inline void wait_for_interrupt(void) { __asm__ volatile("sti; hlt; cli"
	                                                       :
	                                                       :
	                                                       : "memory"); }

static inline uint64_t load(uint64_t gpa) { return *(volatile uint64_t *)at(gpa); }
static inline void store(uint64_t gpa, uint64_t value) { *(volatile uint64_t *)at(gpa) = value; }

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif
