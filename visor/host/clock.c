/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/host/clock.h"

#include "visor/cpu/x86.h"
#include "visor/host/calibrate.h"
#include "visor/host/timer.h"
#include "visor/lib/calendar.h"

#define NS_PER_SECOND 1000000000ull

/* 8254: the PC's timer runs at 1.193182 MHz; its channel 2 is gated through port 61h. */
#define PIT_HZ 1193182ull
#define PIT_CHANNEL2 0x42
#define PIT_COMMAND 0x43
#define PIT_COMMAND_CHANNEL2_MODE0 0xb0
#define PORT_B 0x61
#define PORT_B_GATE2 1
#define PORT_B_SPEAKER 2
#define PORT_B_OUT2 0x20
#define WINDOW_TICKS (PIT_HZ / 100)
#define WINDOWS 5
#define WINDOWS_MAX 50
/* 10 ms are 10,000 readings of a port at most on a machine, and some ten times that in an emulator. */
#define POLLS_MAX 4000000u
/* Of the TSC, where CPUID and not the PIT tells its rate: a hundredth of a second. */
#define TIMER_WINDOWS_A_SECOND 100

#define CPUID_CRYSTAL 0x15
#define CPUID_FREQUENCY 0x16
#define CPUID_HYPERVISOR 0x40000000u
#define CPUID_HYPERVISOR_CLOCKS 0x40000010u

static uint64_t tsc_hz;
static uint64_t ns_per_tick_32, ticks_per_ns_32; /* rates as 32.32 */
static uint64_t start_tsc, start_wall;

/* MC146818: battery clock. Register A bit 7: an update is under way; B bit 2: binary, bit 1: 24 h. */
static uint8_t cmos(uint8_t reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

static uint8_t decoded(uint8_t value, uint8_t b)
{
	return (uint8_t)(b & 4 ? value : (value >> 4) * 10 + (value & 15));
}

static uint64_t read_battery_clock(void)
{
	uint8_t b = cmos(0x0b), hour;
	unsigned hours;

	/* An update takes 2 ms; where there is no such clock, the bit is set for good. */
	for (uint64_t begun = rdtsc(); cmos(0x0a) & 0x80 && rdtsc() - begun < clock_ns_to_ticks(10000000);)
		cpu_pause();
	hour = cmos(4);
	hours = decoded(hour & 0x7f, b);
	if (!(b & 2))
		hours = hours % 12 + (hour & 0x80 ? 12 : 0);
	return calendar_to_seconds(&(struct calendar){
		.year = 2000 + decoded(cmos(9), b),
		.month = decoded(cmos(8), b),
		.day = decoded(cmos(7), b),
		.hour = (uint8_t)hours,
		.minute = decoded(cmos(2), b),
		.second = decoded(cmos(0), b),
	});
}

/*
 * Ticks of the TSC and of the local APIC's timer in WINDOW_TICKS of the PIT. The PIT
 * begins between `before` and `begun`, and ends between `running` and `over`. False:
 * it does not end, and there is no such PIT, or it is stopped.
 */
static bool measure_by_pit(struct calibrate_window *w)
{
	uint64_t before, begun, running, over, timer_before, timer_begun;
	unsigned polls = 0;
	bool ended;

	outb(PORT_B, (inb(PORT_B) & ~PORT_B_SPEAKER) | PORT_B_GATE2);
	outb(PIT_COMMAND, PIT_COMMAND_CHANNEL2_MODE0);
	outb(PIT_CHANNEL2, WINDOW_TICKS & 0xff);
	timer_before = rdtsc();
	timer_counter_start();
	timer_begun = before = rdtsc();
	outb(PIT_CHANNEL2, WINDOW_TICKS >> 8);
	begun = running = rdtsc();
	do {
		uint64_t now = rdtsc();

		ended = inb(PORT_B) & PORT_B_OUT2;
		/* The PIT was still running after this moment, however long the answer took. */
		if (!ended)
			running = now;
	} while (!ended && ++polls < POLLS_MAX);
	over = rdtsc();
	w->timer = timer_counter_elapsed();
	w->least = running - begun;
	w->most = over - before;
	w->timer_least = over - timer_begun;
	w->timer_most = rdtsc() - timer_before;
	return ended;
}

/*
 * Port 61h of a machine without a PIT has no such bit, or has it set for good: then no
 * window was ever seen to run.
 */
static bool calibrate_by_pit(struct calibration *c)
{
	bool runs = false;

	while (c->windows < WINDOWS || (!(runs && calibrate_is_exact(c)) && c->windows < WINDOWS_MAX)) {
		struct calibrate_window w;

		if (!measure_by_pit(&w))
			return false;
		runs |= w.least != 0;
		calibrate_add(c, &w);
	}
	tsc_hz = calibrate_ticks(c) * PIT_HZ / WINDOW_TICKS;
	return runs;
}

static struct cpuid cpuid_if(uint32_t first, uint32_t leaf)
{
	return cpuid(first, 0).eax >= leaf ? cpuid(leaf, 0) : (struct cpuid){0};
}

/* The timer's rate needs no other clock than the TSC. */
static bool calibrate_by_cpuid(struct calibration *c)
{
	bool is_guest = cpuid(1, 0).ecx & 1u << 31;
	struct calibrate_cpuid leaves = {
		.crystal = cpuid_if(0, CPUID_CRYSTAL),
		.frequency = cpuid_if(0, CPUID_FREQUENCY),
	};

	if (is_guest)
		leaves.hypervisor = cpuid_if(CPUID_HYPERVISOR, CPUID_HYPERVISOR_CLOCKS);
	tsc_hz = calibrate_stated_hz(&leaves);
	if (!tsc_hz)
		return false;
	*c = (struct calibration){.windows = 0};
	while (c->windows < WINDOWS) {
		uint64_t before = rdtsc(), begun, over;
		struct calibrate_window w;

		timer_counter_start();
		begun = rdtsc();
		do
			over = rdtsc();
		while (over - begun < tsc_hz / TIMER_WINDOWS_A_SECOND);
		w.timer = timer_counter_elapsed();
		w.least = w.timer_least = over - begun;
		w.most = w.timer_most = rdtsc() - before;
		calibrate_add(c, &w);
	}
	return true;
}

bool clock_init(void)
{
	struct calibration c = {.windows = 0};

	if (!calibrate_by_pit(&c) && !calibrate_by_cpuid(&c))
		return false;
	ns_per_tick_32 = (NS_PER_SECOND << 32) / tsc_hz;
	ticks_per_ns_32 = (tsc_hz << 23) / (NS_PER_SECOND >> 9);
	timer_set_rate(calibrate_timer_rate(&c));
	start_tsc = rdtsc();
	start_wall = read_battery_clock();
	return true;
}

uint64_t clock_tsc_hz(void)
{
	return tsc_hz;
}

uint64_t clock_ticks_to_ns(uint64_t ticks)
{
	return (uint64_t)((unsigned __int128)ticks * ns_per_tick_32 >> 32);
}

uint64_t clock_ns_to_ticks(uint64_t ns)
{
	return (uint64_t)((unsigned __int128)ns * ticks_per_ns_32 >> 32) + 1;
}

uint64_t clock_wall(void)
{
	return start_wall + clock_ticks_to_ns(rdtsc() - start_tsc) / NS_PER_SECOND;
}
