/* SPDX-License-Identifier: BSD-2-Clause */
/* SDM vol. 3, chapter 11 "Advanced Programmable Interrupt Controller (APIC)". */
#include "visor/host/timer.h"

#include "visor/cpu/x86.h"
#include "visor/host/interrupts.h"

#define BASE_ENABLE (1ull << 11)
#define BASE_X2APIC (1ull << 10)
#define BASE_ADDRESS 0xffffff000ull
#define X2APIC_MSRS 0x800

/* Register offsets in the MMIO page; x2APIC MSR = 0x800 + offset / 16. */
enum {
	REG_TPR = 0x80,
	REG_EOI = 0xb0,
	REG_SPURIOUS = 0xf0,
	REG_LVT_TIMER = 0x320,
	REG_LVT_LINT0 = 0x350,
	REG_TIMER_INITIAL = 0x380,
	REG_TIMER_CURRENT = 0x390,
	REG_TIMER_DIVIDE = 0x3e0,
};

#define SPURIOUS_ENABLE (1u << 8)
#define LVT_MASKED (1u << 16)
#define DIVIDE_BY_1 0xbu

static volatile uint32_t *page;   /* NULL: x2APIC mode */
static uint64_t timer_per_tsc_32; /* as 32.32 */
volatile bool timer_fired;
static void (*at_interrupt)(void);

static void timer_write_register(unsigned reg, uint32_t value)
{
	if (page)
		page[reg / 4] = value;
	else
		wrmsr(X2APIC_MSRS + reg / 16, value);
}

static uint32_t timer_read_register(unsigned reg)
{
	return page ? page[reg / 4] : (uint32_t)rdmsr(X2APIC_MSRS + reg / 16);
}

static void timer_interrupt(void)
{
	timer_write_register(REG_EOI, 0);
	timer_fired = true;
	if (at_interrupt)
		at_interrupt();
}

void timer_call(void (*function)(void))
{
	at_interrupt = function;
}

bool timer_init(void)
{
	uint64_t base;

	if (!(cpuid(1, 0).edx & 1u << 9))
		return false;
	base = rdmsr(MSR_APIC_BASE);
	if (!(base & BASE_ENABLE))
		wrmsr(MSR_APIC_BASE, base |= BASE_ENABLE);
	page = base & BASE_X2APIC ? NULL : (volatile uint32_t *)(uintptr_t)(base & BASE_ADDRESS);
	interrupts_handle(VECTOR_TIMER, timer_interrupt);
	timer_write_register(REG_SPURIOUS, SPURIOUS_ENABLE | VECTOR_SPURIOUS);
	timer_write_register(REG_TPR, 0);
	timer_write_register(REG_LVT_LINT0, LVT_MASKED); /* the PICs' line */
	timer_write_register(REG_TIMER_DIVIDE, DIVIDE_BY_1);
	timer_write_register(REG_LVT_TIMER, VECTOR_TIMER);
	return true;
}

void timer_counter_start(void)
{
	timer_write_register(REG_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
	timer_write_register(REG_TIMER_INITIAL, UINT32_MAX);
}

uint32_t timer_counter_elapsed(void)
{
	uint32_t elapsed = UINT32_MAX - timer_read_register(REG_TIMER_CURRENT);

	timer_write_register(REG_TIMER_INITIAL, 0);
	timer_write_register(REG_LVT_TIMER, VECTOR_TIMER);
	return elapsed;
}

void timer_set_rate(uint64_t rate)
{
	timer_per_tsc_32 = rate;
}

void timer_set(uint64_t tsc_ticks)
{
	uint64_t count = (uint64_t)((unsigned __int128)tsc_ticks * timer_per_tsc_32 >> 32);

	if (count > UINT32_MAX)
		count = UINT32_MAX;
	timer_write_register(REG_TIMER_INITIAL, count ? (uint32_t)count : 1);
}
