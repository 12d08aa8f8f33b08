/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Local APIC. Sections and tables are those of SDM vol. 3, chapter 11.
 *
 * Registers have one numbering in both modes: the xAPIC page has register n at
 * offset n * 16, x2APIC has it at MSR 800h + n (table 11-6).
 */
#include "visor/device/lapic.h"

#include <stddef.h>

#include "visor/device/clock.h"
#include "visor/device/wiring.h"

#define MSR_APIC_BASE 0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC 0x800

#define BASE_BSP (1ull << 8)
#define BASE_EXTD (1ull << 10)
#define BASE_ENABLE (1ull << 11)
#define BASE_MODE (BASE_EXTD | BASE_ENABLE)
#define BASE_ADDRESS 0x000ffffffffff000ull

enum reg {
	REG_ID = 0x02,
	REG_VERSION = 0x03,
	REG_TPR = 0x08,
	REG_APR = 0x09,
	REG_PPR = 0x0a,
	REG_EOI = 0x0b,
	REG_RRD = 0x0c,
	REG_LDR = 0x0d,
	REG_DFR = 0x0e,
	REG_SVR = 0x0f,
	REG_ISR = 0x10,
	REG_TMR = 0x18,
	REG_IRR = 0x20,
	REG_ESR = 0x28,
	REG_ICR = 0x30,
	REG_ICR_HIGH = 0x31,
	REG_LVT_TIMER = 0x32,
	REG_LVT_ERROR = 0x37,
	REG_INITIAL_COUNT = 0x38,
	REG_CURRENT_COUNT = 0x39,
	REG_DIVIDE = 0x3e,
	REG_SELF_IPI = 0x3f, /* x2APIC only */
};

/* Integrated APIC, version 14h, LVT_COUNT entries (figure 11-7). */
#define VERSION (0x14u | (LVT_COUNT - 1) << 16)

#define SVR_ENABLE 0x100u
#define SVR_WRITABLE 0x1ffu
#define LVT_MASKED (1u << 16)
#define LVT_READ_ONLY (1u << 12 | 1u << 14) /* delivery status, remote IRR: writes are ignored */
#define LVT_MODE(lvt) ((enum lapic_delivery)((lvt) >> 8 & 7))
#define TIMER_MODE(lvt) ((lvt) >> 17 & 3)
#define TIMER_ONE_SHOT 0
#define TIMER_PERIODIC 1
#define TIMER_DEADLINE 2

#define ICR_LEVEL_DEASSERT_INIT(icr) (((icr)&0xc700) == 0x8500)
#define ICR_LOGICAL (1u << 11)
#define ICR_WRITABLE 0x000ccfffu

#define ERROR_SEND_ILLEGAL_VECTOR 0x20u
#define ERROR_RECEIVE_ILLEGAL_VECTOR 0x40u
#define ERROR_ILLEGAL_REGISTER 0x80u

/* 11.4.7.1, with LINT0 and LINT1 as firmware leaves them for virtual wire mode. */
void lapic_init(struct lapic *l, uint32_t id, void (*eoi)(void *ctx, uint8_t vector),
                uint64_t (*tsc)(void *ctx), uint64_t tsc_hz, void *ctx)
{
	*l = (struct lapic){
		.eoi = eoi,
		.tsc = tsc_hz ? tsc : NULL,
		.tsc_hz = tsc_hz,
		.ctx = ctx,
		.id = id,
		.id_register = id << 24,
		.base = LAPIC_DEFAULT_BASE | BASE_ENABLE | (id ? 0 : BASE_BSP),
		.dfr = 0xffffffff,
		.svr = SVR_ENABLE | 0xff,
		.next_event = CLOCK_NEVER,
	};
	for (unsigned i = 0; i < LVT_COUNT; i++)
		l->lvt[i] = LVT_MASKED;
	l->lvt[LVT_LINT0] = LAPIC_EXTINT << 8;
	l->lvt[LVT_LINT1] = LAPIC_NMI << 8;
}

static bool globally_enabled(const struct lapic *l)
{
	return l->base & BASE_ENABLE;
}

static bool x2apic(const struct lapic *l)
{
	return (l->base & BASE_MODE) == BASE_MODE;
}

static bool software_enabled(const struct lapic *l)
{
	return globally_enabled(l) && (l->svr & SVR_ENABLE);
}

static void set_bit(uint32_t *bits, unsigned n)
{
	bits[n / 32] |= 1u << n % 32;
}

static void clear_bit(uint32_t *bits, unsigned n)
{
	bits[n / 32] &= ~(1u << n % 32);
}

static bool test_bit(const uint32_t *bits, unsigned n)
{
	return bits[n / 32] >> n % 32 & 1;
}

static int highest_bit(const uint32_t *bits)
{
	for (int word = LAPIC_VECTORS / 32 - 1; word >= 0; word--)
		if (bits[word])
			return word * 32 + 31 - __builtin_clz(bits[word]);
	return -1;
}

/* 11.8.3.1: the higher of the task's class and that of what is in service. */
static uint32_t processor_priority(const struct lapic *l)
{
	int vector = highest_bit(l->isr);
	uint32_t service = vector < 0 ? 0 : vector & 0xf0;

	return (l->tpr & 0xf0) >= service ? l->tpr : service;
}

static void accept(struct lapic *l, uint8_t vector, bool level);

/* 11.5.3. An error interrupt that cannot be delivered is lost; the bit stays. */
static void report_error(struct lapic *l, uint32_t error)
{
	uint32_t lvt = l->lvt[LVT_ERROR];

	if (l->errors & error)
		return;
	l->errors |= error;
	if (!(lvt & LVT_MASKED) && (lvt & 0xff) >= 16)
		accept(l, lvt & 0xff, false);
}

static void accept(struct lapic *l, uint8_t vector, bool level)
{
	if (vector < 16) {
		report_error(l, ERROR_RECEIVE_ILLEGAL_VECTOR);
		return;
	}
	if (level)
		set_bit(l->tmr, vector);
	else
		clear_bit(l->tmr, vector);
	set_bit(l->irr, vector);
}

static void deliver(struct lapic *l, enum lapic_delivery mode, uint8_t vector, bool level)
{
	if (mode == LAPIC_FIXED || mode == LAPIC_LOWEST_PRIORITY)
		accept(l, vector, level);
	else if (mode == LAPIC_NMI)
		l->nmi = true;
	else if (mode == LAPIC_INIT)
		l->init = true;
}

static void fire_lvt(struct lapic *l, enum lapic_lvt n)
{
	if (!(l->lvt[n] & LVT_MASKED))
		deliver(l, n == LVT_TIMER || n == LVT_ERROR ? LAPIC_FIXED : LVT_MODE(l->lvt[n]),
		        l->lvt[n] & 0xff, false);
}

/* ---- Destinations (11.6.2) ------------------------------------------------ */

static uint32_t x2apic_ldr(const struct lapic *l)
{
	return (l->id >> 4) << 16 | 1u << (l->id & 15); /* 11.12.10.2 */
}

static bool is_logical_destination(const struct lapic *l, uint32_t destination)
{
	if (x2apic(l))
		return destination >> 16 == x2apic_ldr(l) >> 16 &&
		       (destination & x2apic_ldr(l) & 0xffff);
	if (destination == 0xff)
		return true;
	if (l->dfr >> 28 == 0xf) /* flat model */
		return destination & l->ldr >> 24;
	return destination >> 4 == l->ldr >> 28 && (destination & l->ldr >> 24 & 15);
}

static bool is_destination(const struct lapic *l, uint32_t destination, bool logical)
{
	if (x2apic(l) && destination == UINT32_MAX)
		return true;
	if (logical)
		return is_logical_destination(l, destination);
	return destination == (x2apic(l) ? l->id : l->id_register >> 24) ||
	       (!x2apic(l) && destination == 0xff);
}

/* The I/O APIC sends 8-bit destinations, in x2APIC mode too; there FFh stays a broadcast. */
bool lapic_message(struct lapic *l, uint8_t destination, bool logical, enum lapic_delivery mode,
                   uint8_t vector, bool level)
{
	if (!globally_enabled(l) || (!software_enabled(l) && mode != LAPIC_NMI))
		return false;
	if (destination != 0xff && !is_destination(l, destination, logical))
		return false;
	deliver(l, mode, vector, level);
	return true;
}

/*
 * 11.6.1. There is one CPU: an interrupt for the others goes nowhere, and start-up
 * messages have nobody to start. INIT to itself resets it.
 */
static void send_ipi(struct lapic *l)
{
	uint32_t icr = l->icr[0];
	uint32_t destination = x2apic(l) ? l->icr[1] : l->icr[1] >> 24;
	enum lapic_delivery mode = icr >> 8 & 7;
	bool to_self;

	if ((mode == LAPIC_FIXED || mode == LAPIC_LOWEST_PRIORITY) && (icr & 0xff) < 16) {
		report_error(l, ERROR_SEND_ILLEGAL_VECTOR);
		return;
	}
	switch (icr >> 18 & 3) {
	case 0:
		to_self = is_destination(l, destination, icr & ICR_LOGICAL);
		break;
	case 3: /* all excluding self */
		to_self = false;
		break;
	default: /* self, all including self */
		to_self = true;
	}
	if (to_self)
		deliver(l, mode, icr & 0xff, false);
}

/* ---- Timer (11.5.4) -------------------------------------------------------- */

static uint32_t timer_mode(const struct lapic *l)
{
	return TIMER_MODE(l->lvt[LVT_TIMER]);
}

/* Figure 11-10: bits 3, 1 and 0 encode the power of two, counted from 2; 7 is 1. */
static uint64_t timer_hz(const struct lapic *l)
{
	unsigned code = (l->divide & 3) | (l->divide >> 1 & 4);

	return LAPIC_TIMER_HZ >> ((code + 1) & 7);
}

static uint64_t timer_ticks(const struct lapic *l, uint64_t now)
{
	return clock_ticks(now - l->timer_start, timer_hz(l));
}

static uint32_t lapic_current_count(const struct lapic *l, uint64_t now)
{
	uint64_t ticks;

	if (!l->timer_running)
		return 0;
	ticks = timer_ticks(l, now);
	if (timer_mode(l) == TIMER_PERIODIC)
		return l->initial_count - ticks % l->initial_count;
	return ticks < l->initial_count ? l->initial_count - ticks : 0;
}

/* The count and its next expiry, in ns; periodic timers count on from the last expiry. */
static void plan_timer(struct lapic *l, uint64_t now)
{
	uint64_t tsc;

	l->next_event = CLOCK_NEVER;
	if (timer_mode(l) == TIMER_DEADLINE) {
		if (!l->deadline)
			return;
		tsc = l->tsc(l->ctx);
		l->next_event = now;
		if (l->deadline > tsc) {
			uint64_t wait = clock_ns(l->deadline - tsc, l->tsc_hz);

			l->next_event = wait < CLOCK_NEVER - now ? now + wait : CLOCK_NEVER;
		}
	} else if (l->timer_running) {
		l->next_event = l->timer_start + clock_ns(l->initial_count, timer_hz(l));
		if (timer_mode(l) == TIMER_PERIODIC && l->next_event < l->periodic_floor)
			l->next_event = l->periodic_floor;
	}
}

/*
 * A periodic timer that is several periods late interrupts once and goes on
 * in step with its first start.
 */
static void expire_count(struct lapic *l, uint64_t now)
{
	uint64_t periods = timer_ticks(l, now) / l->initial_count;

	if (timer_mode(l) == TIMER_PERIODIC) {
		l->timer_start += clock_ns(periods * l->initial_count, timer_hz(l));
		l->periodic_floor = now + CLOCK_PERIOD_FLOOR_NS;
	} else {
		l->timer_running = false;
	}
}

void lapic_advance(struct lapic *l, uint64_t now)
{
	if (now < l->next_event)
		return;
	if (timer_mode(l) == TIMER_DEADLINE) {
		if (l->tsc(l->ctx) < l->deadline) { /* the TSC was set back, or rounding */
			plan_timer(l, now + 1);
			return;
		}
		l->deadline = 0; /* 11.5.4.1: the MSR reads 0 once it has fired */
	} else {
		expire_count(l, now);
	}
	fire_lvt(l, LVT_TIMER);
	plan_timer(l, now);
}

uint64_t lapic_next_event(const struct lapic *l)
{
	return l->next_event;
}

static void write_initial_count(struct lapic *l, uint32_t value, uint64_t now)
{
	if (timer_mode(l) == TIMER_DEADLINE)
		return; /* 11.5.4.1: ignored */
	l->initial_count = value;
	l->timer_running = value != 0;
	l->timer_start = now;
	plan_timer(l, now);
}

/* A new divider counts on from where the counter stands. */
static void write_divide(struct lapic *l, uint32_t value, uint64_t now)
{
	uint64_t done = l->timer_running ? l->initial_count - lapic_current_count(l, now) : 0;

	l->divide = value & 0xb;
	if (l->timer_running)
		l->timer_start = now - clock_ns(done, timer_hz(l));
	plan_timer(l, now);
}

/* 11.5.4.1: going into or out of TSC-deadline mode disarms the timer. */
static void write_timer_lvt(struct lapic *l, uint32_t value, uint64_t now)
{
	bool was_deadline = timer_mode(l) == TIMER_DEADLINE;

	if (TIMER_MODE(value) == 3 || (TIMER_MODE(value) == TIMER_DEADLINE && !l->tsc))
		value &= ~(3u << 17);
	l->lvt[LVT_TIMER] = value;
	if (was_deadline != (timer_mode(l) == TIMER_DEADLINE)) {
		l->timer_running = false;
		l->deadline = 0;
	}
	plan_timer(l, now);
}

/* ---- Registers -------------------------------------------------------------- */

static uint32_t lvt_writable(enum lapic_lvt n)
{
	switch (n) {
	case LVT_TIMER:
		return 0x700ff;
	case LVT_LINT0:
	case LVT_LINT1:
		return 0x1a7ff;
	case LVT_ERROR:
		return 0x100ff;
	default:
		return 0x107ff;
	}
}

/* 11.4.7.2: while the APIC is disabled by software, mask bits cannot be cleared. */
static void write_lvt(struct lapic *l, enum lapic_lvt n, uint32_t value, uint64_t now)
{
	value &= lvt_writable(n);
	if (!software_enabled(l))
		value |= LVT_MASKED;
	if (n == LVT_TIMER)
		write_timer_lvt(l, value, now);
	else
		l->lvt[n] = value;
}

static void write_svr(struct lapic *l, uint32_t value)
{
	l->svr = value & SVR_WRITABLE;
	if (!(l->svr & SVR_ENABLE))
		for (unsigned i = 0; i < LVT_COUNT; i++)
			l->lvt[i] |= LVT_MASKED;
}

/* 11.8.5: only level-triggered vectors are told to the I/O APIC. */
static void lapic_end_of_interrupt(struct lapic *l)
{
	int vector = highest_bit(l->isr);

	if (vector < 0)
		return;
	clear_bit(l->isr, vector);
	if (test_bit(l->tmr, vector))
		l->eoi(l->ctx, vector);
}

/* Register file without the side effects that differ between the modes. False: no such register. */
static bool lapic_read_register(struct lapic *l, enum reg reg, uint64_t now, uint32_t *value)
{
	if (reg >= REG_ISR && reg < REG_ISR + 8)
		*value = l->isr[reg - REG_ISR];
	else if (reg >= REG_TMR && reg < REG_TMR + 8)
		*value = l->tmr[reg - REG_TMR];
	else if (reg >= REG_IRR && reg < REG_IRR + 8)
		*value = l->irr[reg - REG_IRR];
	else if (reg >= REG_LVT_TIMER && reg <= REG_LVT_ERROR)
		*value = l->lvt[reg - REG_LVT_TIMER];
	else
		switch (reg) {
		case REG_ID:
			*value = x2apic(l) ? l->id : l->id_register;
			break;
		case REG_VERSION:
			*value = VERSION;
			break;
		case REG_TPR:
			*value = l->tpr;
			break;
		case REG_PPR:
			*value = processor_priority(l);
			break;
		case REG_LDR:
			*value = x2apic(l) ? x2apic_ldr(l) : l->ldr;
			break;
		case REG_SVR:
			*value = l->svr;
			break;
		case REG_ESR:
			*value = l->esr;
			break;
		case REG_ICR:
			*value = l->icr[0];
			break;
		case REG_INITIAL_COUNT:
			*value = l->initial_count;
			break;
		case REG_CURRENT_COUNT:
			*value = lapic_current_count(l, now);
			break;
		case REG_DIVIDE:
			*value = l->divide;
			break;
		default:
			return false;
		}
	return true;
}

static bool lapic_write_register(struct lapic *l, enum reg reg, uint64_t now, uint32_t value)
{
	if (reg >= REG_LVT_TIMER && reg <= REG_LVT_ERROR) {
		write_lvt(l, reg - REG_LVT_TIMER, value, now);
		return true;
	}
	switch (reg) {
	case REG_TPR:
		l->tpr = value & 0xff;
		break;
	case REG_EOI:
		lapic_end_of_interrupt(l);
		break;
	case REG_SVR:
		write_svr(l, value);
		break;
	case REG_ESR: /* a write shows what has gathered since the last one */
		l->esr = l->errors;
		l->errors = 0;
		break;
	case REG_ICR:
		l->icr[0] = value & ICR_WRITABLE;
		if (!ICR_LEVEL_DEASSERT_INIT(value))
			send_ipi(l);
		break;
	case REG_INITIAL_COUNT:
		write_initial_count(l, value, now);
		break;
	case REG_DIVIDE:
		write_divide(l, value, now);
		break;
	default:
		return false;
	}
	return true;
}

/* Registers that only the xAPIC page has, or has with another meaning. */
static bool xapic_read(struct lapic *l, enum reg reg, uint64_t now, uint32_t *value)
{
	switch (reg) {
	case REG_DFR:
		*value = l->dfr;
		return true;
	case REG_APR:
	case REG_RRD:
		*value = 0;
		return true;
	case REG_ICR_HIGH:
		*value = l->icr[1];
		return true;
	default:
		return lapic_read_register(l, reg, now, value);
	}
}

static bool xapic_write(struct lapic *l, enum reg reg, uint64_t now, uint32_t value)
{
	switch (reg) {
	case REG_ID:
		l->id_register = value & 0xff000000;
		return true;
	case REG_LDR:
		l->ldr = value & 0xff000000;
		return true;
	case REG_DFR:
		l->dfr = value | 0x0fffffff;
		return true;
	case REG_ICR_HIGH:
		l->icr[1] = value & 0xff000000;
		return true;
	default:
		return lapic_write_register(l, reg, now, value);
	}
}

uint64_t lapic_mmio_base(const struct lapic *l)
{
	return (l->base & BASE_MODE) == BASE_ENABLE ? l->base & BASE_ADDRESS : 0;
}

/* 11.4.1: registers are aligned on 16 bytes; what lies between them reads as 0. */
bool lapic_mmio_read(struct lapic *l, uint32_t offset, uint64_t now, uint32_t *value)
{
	*value = 0;
	if (!lapic_mmio_base(l))
		return false;
	if (!(offset & 0xf) && !xapic_read(l, offset >> 4, now, value))
		report_error(l, ERROR_ILLEGAL_REGISTER);
	return true;
}

bool lapic_mmio_look(struct lapic *l, uint32_t offset, uint64_t now, uint32_t *value)
{
	return !(offset & 0xf) && lapic_mmio_base(l) && xapic_read(l, offset >> 4, now, value);
}

bool lapic_mmio_write(struct lapic *l, uint32_t offset, uint64_t now, uint32_t value)
{
	if (!lapic_mmio_base(l))
		return false;
	if (!(offset & 0xf) && !xapic_write(l, offset >> 4, now, value))
		report_error(l, ERROR_ILLEGAL_REGISTER);
	return true;
}

/* ---- MSRs -------------------------------------------------------------------- */

/* 11.12.5: x2APIC is entered from xAPIC and left only to disabled; from there only to xAPIC. */
static bool write_base(struct lapic *l, uint64_t value)
{
	uint64_t from = l->base & BASE_MODE, to = value & BASE_MODE;

	if (value & ~(BASE_ADDRESS | BASE_MODE | BASE_BSP) || to == BASE_EXTD)
		return false;
	if ((from == BASE_MODE && to == BASE_ENABLE) || (from == 0 && to == BASE_MODE))
		return false;
	if (to != from && !to) { /* off: state as after reset */
		uint64_t base = value;

		lapic_init(l, l->id, l->eoi, l->tsc, l->tsc_hz, l->ctx);
		write_svr(l, 0xff);
		l->base = base;
		return true;
	}
	if (to == BASE_MODE && from != to)
		l->icr[1] = 0;
	l->base = value;
	return true;
}

/* 11.5.4.1: only in deadline mode does it arm anything; elsewhere it reads 0. */
static bool write_deadline(struct lapic *l, uint64_t now, uint64_t value)
{
	if (!l->tsc)
		return false;
	if (timer_mode(l) == TIMER_DEADLINE) {
		l->deadline = value;
		plan_timer(l, now);
	}
	return true;
}

/* 11.12.1.3: reserved bits and read-only or missing registers are #GP. */
static uint64_t x2apic_writable(enum reg reg)
{
	if (reg >= REG_LVT_TIMER && reg <= REG_LVT_ERROR)
		return lvt_writable(reg - REG_LVT_TIMER) | LVT_READ_ONLY;
	switch (reg) {
	case REG_TPR:
	case REG_SELF_IPI:
		return 0xff;
	case REG_SVR:
		return SVR_WRITABLE;
	case REG_ICR:
		return 0xffffffff000ccfffull;
	case REG_INITIAL_COUNT:
		return 0xffffffff;
	case REG_DIVIDE:
		return 0xb;
	default: /* EOI, ESR: only 0 */
		return 0;
	}
}

static bool x2apic_write(struct lapic *l, enum reg reg, uint64_t now, uint64_t value)
{
	if (value & ~x2apic_writable(reg))
		return false;
	if (reg == REG_SELF_IPI) {
		accept(l, value, false);
		return true;
	}
	if (reg == REG_ICR)
		l->icr[1] = value >> 32;
	return lapic_write_register(l, reg, now, value);
}

static bool x2apic_read(struct lapic *l, enum reg reg, uint64_t now, uint64_t *value)
{
	uint32_t low;

	if (!lapic_read_register(l, reg, now, &low))
		return false;
	*value = low;
	if (reg == REG_ICR)
		*value |= (uint64_t)l->icr[1] << 32;
	return true;
}

bool lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t now, uint64_t *value)
{
	if (msr == MSR_APIC_BASE) {
		*value = l->base;
		return true;
	}
	if (msr == MSR_TSC_DEADLINE) {
		*value = l->deadline;
		return l->tsc;
	}
	return x2apic(l) && x2apic_read(l, msr - MSR_X2APIC, now, value);
}

bool lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t now, uint64_t value)
{
	if (msr == MSR_APIC_BASE)
		return write_base(l, value);
	if (msr == MSR_TSC_DEADLINE)
		return write_deadline(l, now, value);
	return x2apic(l) && x2apic_write(l, msr - MSR_X2APIC, now, value);
}

/* 11.8.6: CR8 is bits 7:4 of the TPR. */
uint8_t lapic_cr8(const struct lapic *l)
{
	return l->tpr >> 4;
}

void lapic_set_cr8(struct lapic *l, uint8_t value)
{
	l->tpr = (value & 15u) << 4;
}

/* ---- To the CPU ---------------------------------------------------------------- */

bool lapic_accepts_extint(const struct lapic *l)
{
	uint32_t lint0 = l->lvt[LVT_LINT0];

	if (!globally_enabled(l))
		return true;
	return !(lint0 & LVT_MASKED) && LVT_MODE(lint0) == LAPIC_EXTINT;
}

int lapic_pending(const struct lapic *l)
{
	int vector;

	if (!software_enabled(l))
		return -1;
	vector = highest_bit(l->irr);
	return vector >= 0 && (uint32_t)(vector & 0xf0) > (processor_priority(l) & 0xf0) ? vector : -1;
}

int lapic_acknowledge(struct lapic *l)
{
	int vector = lapic_pending(l);

	if (vector >= 0) {
		clear_bit(l->irr, vector);
		set_bit(l->isr, vector);
	}
	return vector;
}
