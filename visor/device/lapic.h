/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Local APIC of the one CPU, xAPIC and x2APIC (SDM vol. 3, chapter 11
 * "Advanced Programmable Interrupt Controller").
 */
#ifndef VISOR_DEVICE_LAPIC_H
#define VISOR_DEVICE_LAPIC_H

#include <stdbool.h>
#include <stdint.h>

/* Input clock of the APIC timer, before the divider. */
#define LAPIC_TIMER_HZ 1000000000ull

#define LAPIC_VECTORS 256

/* Delivery modes of ICR, LVT and I/O APIC entries (11.5.1, figure 11-8). */
enum lapic_delivery {
	LAPIC_FIXED = 0,
	LAPIC_LOWEST_PRIORITY = 1,
	LAPIC_SMI = 2,
	LAPIC_NMI = 4,
	LAPIC_INIT = 5,
	LAPIC_STARTUP = 6,
	LAPIC_EXTINT = 7,
};

enum lapic_lvt { LVT_TIMER,
	         LVT_THERMAL,
	         LVT_PERFORMANCE,
	         LVT_LINT0,
	         LVT_LINT1,
	         LVT_ERROR,
	         LVT_COUNT };

struct lapic {
	/* EOI of a level-triggered vector goes to the I/O APIC. */
	void (*eoi)(void *ctx, uint8_t vector);
	uint64_t (*tsc)(void *ctx); /* NULL: no TSC-deadline mode */
	void *ctx;
	uint64_t tsc_hz;

	uint64_t base;        /* IA32_APIC_BASE */
	uint32_t id;          /* as the CPU came up */
	uint32_t id_register; /* xAPIC ID register, writable */
	uint32_t tpr, ldr, dfr, svr;
	uint32_t isr[LAPIC_VECTORS / 32], tmr[LAPIC_VECTORS / 32], irr[LAPIC_VECTORS / 32];
	uint32_t errors, esr; /* gathered, and as last shown */
	uint32_t icr[2];
	uint32_t lvt[LVT_COUNT];
	uint32_t divide, initial_count;
	bool timer_running;
	uint64_t timer_start;    /* ns at which the count was loaded */
	uint64_t periodic_floor; /* ns before which no periodic timer expires again */
	uint64_t deadline;       /* TSC value; 0 = disarmed */
	uint64_t next_event;     /* ns; CLOCK_NEVER */
	bool nmi;                /* one is pending */
	bool init;               /* the CPU has been told to reset */
};

void lapic_init(struct lapic *l, uint32_t id, void (*eoi)(void *ctx, uint8_t vector),
                uint64_t (*tsc)(void *ctx), uint64_t tsc_hz, void *ctx);

/* The register page. `offset` below 4096; false: the page is not there (disabled or x2APIC). */
bool lapic_mmio_read(struct lapic *l, uint32_t offset, uint64_t now, uint32_t *value);
bool lapic_mmio_write(struct lapic *l, uint32_t offset, uint64_t now, uint32_t value);
/* A read of the register at `offset` that changes nothing but *value. False: it would report an error, or the page is not there. */
bool lapic_mmio_look(struct lapic *l, uint32_t offset, uint64_t now, uint32_t *value);
/* Where the page is now; 0 = nowhere. */
uint64_t lapic_mmio_base(const struct lapic *l);

/* IA32_APIC_BASE, IA32_TSC_DEADLINE and 800h-83Fh. False: the access is a #GP. */
bool lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t now, uint64_t *value);
bool lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t now, uint64_t value);

uint8_t lapic_cr8(const struct lapic *l);
void lapic_set_cr8(struct lapic *l, uint8_t value);

/* A message from the I/O APIC. Does this CPU accept it? Then it has it. */
bool lapic_message(struct lapic *l, uint8_t destination, bool logical, enum lapic_delivery mode,
                   uint8_t vector, bool level);
/* Does LINT0 let the 8259's interrupts through (or is the APIC off, so that nothing stops them)? */
bool lapic_accepts_extint(const struct lapic *l);
/* Highest vector that may interrupt now; -1 = none. */
int lapic_pending(const struct lapic *l);
/* Take it: moves it to the ISR. -1 = none. */
int lapic_acknowledge(struct lapic *l);

/* Let the timer expire when it is due. */
void lapic_advance(struct lapic *l, uint64_t now);
uint64_t lapic_next_event(const struct lapic *l);

#endif
