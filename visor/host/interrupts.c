/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/host/interrupts.h"

#include "visor/cpu/state.h"
#include "visor/cpu/x86.h"
#include "visor/host/log.h"
#include "visor/host/stacks.h"
#include "visor/lib/string.h"

struct gate {
	uint16_t offset_low, selector;
	uint8_t stack, type;
	uint16_t offset_middle;
	uint32_t offset_high, reserved;
};

struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

struct descriptor_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

#define GATE_INTERRUPT 0x8e /* present, 64-bit interrupt gate */
#define STUB_BYTES 16
#define PIC_MASTER_DATA 0x21
#define PIC_SLAVE_DATA 0xa1

extern uint64_t host_gdt[], host_gdt_end[];
extern const uint8_t trap_stubs[];
void trap_handler(struct trap_frame *f);

static struct gate idt[256] __attribute__((aligned(16)));
#define TSS_IST1 0x24 /* figure 8-11 */
#define TSS_IO_MAP 0x66
static uint8_t tss[104] __attribute__((aligned(8)));
static void (*handlers[256])(void);
static uint64_t interrupted; /* where the last interrupt came */
uint64_t host_nmi_count, host_debug_count;
static struct {
	uint64_t begin, end, resume;
} recovery;

/* SDM vol. 3, 6.3.1, table 6-1. */
static const char *const exception_names[32] = {
	"divide error",
	"debug",
	"NMI",
	"breakpoint",
	"overflow",
	"bound range",
	"invalid opcode",
	"device not available",
	"double fault",
	"coprocessor overrun",
	"invalid TSS",
	"segment not present",
	"stack fault",
	"general protection",
	"page fault",
	"reserved",
	"x87 error",
	"alignment check",
	"machine check",
	"SIMD error",
	"virtualization",
	"control protection",
};

static __attribute__((noreturn)) void end_of_all(const char *reason)
{
	json_begin("end");
	json_string("status", "failed");
	json_number("code", 0);
	json_string("reason", reason);
	json_end();
	for (;;)
		__asm__ volatile("cli; hlt");
}

static __attribute__((noreturn)) void die(const struct trap_frame *f)
{
	const char *name = f->vector < 32 && exception_names[f->vector] ? exception_names[f->vector]
	                                                                : "unexpected interrupt";

	log_line("visor: %s (vector %u, error %llx) at rip %llx", name, (unsigned)f->vector,
	         (unsigned long long)f->error, (unsigned long long)f->rip);
	log_line("  rax %016llx rbx %016llx rcx %016llx rdx %016llx", (unsigned long long)f->rax,
	         (unsigned long long)f->rbx, (unsigned long long)f->rcx, (unsigned long long)f->rdx);
	log_line("  rsi %016llx rdi %016llx rbp %016llx rsp %016llx", (unsigned long long)f->rsi,
	         (unsigned long long)f->rdi, (unsigned long long)f->rbp, (unsigned long long)f->rsp);
	log_line("  r8  %016llx r9  %016llx r10 %016llx r11 %016llx", (unsigned long long)f->r8,
	         (unsigned long long)f->r9, (unsigned long long)f->r10, (unsigned long long)f->r11);
	log_line("  r12 %016llx r13 %016llx r14 %016llx r15 %016llx", (unsigned long long)f->r12,
	         (unsigned long long)f->r13, (unsigned long long)f->r14, (unsigned long long)f->r15);
	log_line("  cr0 %llx cr2 %llx cr3 %llx cr4 %llx rflags %llx cs %llx", (unsigned long long)read_cr0(),
	         (unsigned long long)read_cr2(), (unsigned long long)read_cr3(),
	         (unsigned long long)read_cr4(), (unsigned long long)f->rflags, (unsigned long long)f->cs);
	log_line("  return addresses are found with: addr2line -f -e visor.debug %llx",
	         (unsigned long long)f->rip);
	end_of_all("exception in the visor");
}

void interrupts_die(const char *why, const void *at)
{
	log_line("visor: %s, at %llx", why, (unsigned long long)(uintptr_t)at);
	end_of_all(why);
}

/*
 * The visor sets no breakpoint and no TF: this one is a guest's, on a CPU that has
 * left it armed. RF lets the instruction run that an instruction breakpoint is at.
 */
static void disarm(struct trap_frame *f)
{
	write_dr7(X86_DR7_RESET);
	f->rflags = (f->rflags | X86_FLAG_RF) & ~X86_FLAG_TF;
	host_debug_count++;
}

/*
 * What an instruction may raise that does as it was told: #DE, #UD, #NM, #GP, #MF, #AC and #XM. A #PF, say, would
 * be the visor's own fault.
 */
#define RECOVERABLE (1u << 0 | 1u << 6 | 1u << 7 | 1u << 13 | 1u << 16 | 1u << 17 | 1u << 19)

static bool recover(struct trap_frame *f)
{
	if (f->vector >= 32 || !(RECOVERABLE >> f->vector & 1) || f->rip < recovery.begin || f->rip >= recovery.end)
		return false;
	f->rax = f->vector;
	f->rip = recovery.resume;
	return true;
}

void interrupts_recover(const void *begin, const void *end, const void *resume)
{
	recovery.begin = (uintptr_t)begin;
	recovery.end = (uintptr_t)end;
	recovery.resume = (uintptr_t)resume;
}

static void handle(const struct trap_frame *f)
{
	interrupted = f->rip;
	handlers[f->vector]();
}

void trap_handler(struct trap_frame *f)
{
	if (recover(f))
		return;
	if (f->vector == X86_NMI)
		host_nmi_count++;
	else if (f->vector == X86_DB)
		disarm(f);
	else if (handlers[f->vector])
		handle(f);
	else if (f->vector != VECTOR_SPURIOUS)
		die(f);
}

uint64_t interrupts_interrupted(void)
{
	return interrupted;
}

/* Which stack of the TSS a vector's handler runs on; 0: the one that is in use (SDM vol. 3, 6.14.5). */
static uint8_t stack_of(unsigned vector)
{
	return vector == X86_DF ? STACK_DOUBLE_FAULT : vector == X86_NMI ? STACK_NMI
	                                       : vector == X86_MC        ? STACK_MACHINE_CHECK
	                                                                 : 0;
}

static void interrupts_set_gate(unsigned vector)
{
	uint64_t to = (uintptr_t)trap_stubs + vector * STUB_BYTES;

	idt[vector] = (struct gate){
		.offset_low = (uint16_t)to,
		.selector = HOST_CODE_SELECTOR,
		.stack = stack_of(vector),
		.type = GATE_INTERRUPT,
		.offset_middle = (uint16_t)(to >> 16),
		.offset_high = (uint32_t)(to >> 32),
	};
}

/* A 64-bit TSS descriptor (SDM vol. 3, figure 8-4). VMX wants one in its host state. */
static void set_task_register(void)
{
	uint64_t base = (uintptr_t)tss;
	uint64_t *d = host_gdt + HOST_TASK_SELECTOR / 8;

	for (unsigned i = STACK_DOUBLE_FAULT; i <= STACK_MACHINE_CHECK; i++)
		memcpy(tss + TSS_IST1 + 8 * (i - 1), &host_stacks[i].end, sizeof(uint64_t));
	memcpy(tss + TSS_IO_MAP, &(uint16_t){sizeof(tss)}, sizeof(uint16_t));
	d[0] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	d[1] = base >> 32;
	__asm__ volatile("ltr %w0"
	                 :
	                 : "r"(HOST_TASK_SELECTOR));
}

void interrupts_init(void)
{
	struct descriptor_pointer idtr = {sizeof(idt) - 1, (uintptr_t)idt};

	for (unsigned v = 0; v < 256; v++)
		interrupts_set_gate(v);
	__asm__ volatile("lidt %0"
	                 :
	                 : "m"(idtr));
	set_task_register();
	write_dr7(X86_DR7_RESET); /* whatever the firmware had set */
	outb(PIC_MASTER_DATA, 0xff);
	outb(PIC_SLAVE_DATA, 0xff);
}

void interrupts_handle(unsigned vector, void (*handler)(void))
{
	handlers[vector] = handler;
}

struct host_tables host_tables(void)
{
	return (struct host_tables){
		.gdt_base = (uintptr_t)host_gdt,
		.idt_base = (uintptr_t)idt,
		.tss_base = (uintptr_t)tss,
		.gdt_bytes = (unsigned)((uintptr_t)host_gdt_end - (uintptr_t)host_gdt),
		.idt_bytes = sizeof(idt),
		.tss_bytes = sizeof(tss),
	};
}
