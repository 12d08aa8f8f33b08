/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clocks agree with each other, interrupts arrive once each, HLT wakes up.
 *
 * Tolerances are wide where an emulator under load may be late, and zero where
 * counting is exact: one-shot timers and self-interrupts.
 */
#include "guest.h"

static volatile unsigned arrivals;
static uint64_t tsc_hz;

static void count_pic(struct frame *f)
{
	arrivals++;
	pic_end((unsigned)(f->vector - VECTOR_PIC));
}

static void count_apic(struct frame *f)
{
	(void)f;
	arrivals++;
	apic_write(APIC_EOI, 0);
}

static bool near(uint64_t got, uint64_t want, unsigned percent)
{
	uint64_t allowed = want * percent / 100 + 1;

	return got + allowed >= want && got <= want + allowed;
}

/*
 * What `measure` takes, a tenth of a second by its own account.  The machine below may let nobody
 * here run for a while, which makes a measurement longer: the first of ten that is near counts,
 * and one that is too short always.
 */
static uint64_t tenth_of_a_second(uint64_t (*measure)(void))
{
	uint64_t elapsed = measure();

	for (unsigned i = 1; i < 10 && elapsed > tsc_hz / 10 && !near(elapsed, tsc_hz / 10, 30); i++)
		elapsed = measure();
	return elapsed;
}

/* ---- PIT through the PIC -------------------------------------------------------------- */

static uint64_t twenty_pit_periods(void)
{
	uint16_t divisor = (uint16_t)(PIT_HZ / 200);
	uint64_t start, elapsed;

	arrivals = 0;
	on_interrupt(VECTOR_PIC, count_pic);
	pit_start(PIT_PERIODIC, divisor);
	wait_for_interrupt();
	start = rdtsc();
	arrivals = 0;
	while (arrivals < 20)
		wait_for_interrupt();
	elapsed = rdtsc() - start;
	pic_setup(0xffff);
	return elapsed;
}

static void pit_periodic(void)
{
	uint64_t elapsed = tenth_of_a_second(twenty_pit_periods);

	print("time: 20 PIT periods of 5 ms took %lu us\n", elapsed * 1000000 / tsc_hz);
	check(near(elapsed, tsc_hz / 10, 30), "20 PIT periods took %lu TSC ticks at %lu Hz", elapsed, tsc_hz);
}

static void pit_one_shot(void)
{
	for (unsigned i = 0; i < 5; i++) {
		uint64_t deadline = rdtsc() + tsc_hz / 50;

		arrivals = 0;
		pit_start(PIT_ONE_SHOT, 2000);
		while (!arrivals)
			wait_for_interrupt();
		interrupts_on();
		while (rdtsc() < deadline)
			;
		interrupts_off();
		check_equal(arrivals, 1, "interrupts of a one-shot PIT");
	}
	pic_setup(0xffff);
}

/* With the line masked nothing may arrive; HLT is not used, it would never end. */
static void pic_masked(void)
{
	uint64_t deadline = rdtsc() + tsc_hz / 50;

	arrivals = 0;
	pit_start(PIT_PERIODIC, 2000);
	pic_setup(0xffff);
	interrupts_on();
	while (rdtsc() < deadline)
		;
	interrupts_off();
	check_equal(arrivals, 0, "interrupts through a masked line");
}

/* ---- Local APIC ------------------------------------------------------------------------- */

static void self_interrupts(void)
{
	on_interrupt(VECTOR_APIC, count_apic);
	arrivals = 0;
	for (unsigned i = 0; i < 100; i++) {
		apic_write(APIC_ICR, APIC_SELF | VECTOR_APIC);
		interrupts_on();
		__asm__ volatile("nop; nop");
		interrupts_off();
		check_equal(arrivals, i + 1, "self-interrupts that arrived");
	}
}

/* Held back by the task priority, delivered when it falls. */
static void priority(void)
{
	arrivals = 0;
	apic_write(APIC_TPR, 0x80);
	apic_write(APIC_ICR, APIC_SELF | VECTOR_APIC);
	interrupts_on();
	for (unsigned i = 0; i < 1000; i++)
		__asm__ volatile("pause");
	check_equal(arrivals, 0, "interrupts above which the task priority stands");
	__asm__ volatile("mov %0, %%cr8"
	                 :
	                 : "r"(0ull)
	                 : "memory");
	__asm__ volatile("nop; nop");
	interrupts_off();
	check_equal(arrivals, 1, "interrupts after CR8 = 0");
	check_equal(apic_read(APIC_TPR), 0, "TPR after CR8 = 0");
}

static uint64_t apic_timer_hz(void)
{
	uint64_t start = rdtsc(), ticks;

	apic_write(APIC_DIVIDE, 3); /* by 16 */
	apic_write(APIC_LVT_TIMER, APIC_MASKED);
	apic_write(APIC_INITIAL_COUNT, 0xffffffff);
	while (rdtsc() - start < tsc_hz / 20)
		;
	ticks = 0xffffffffu - apic_read(APIC_CURRENT_COUNT);
	apic_write(APIC_INITIAL_COUNT, 0);
	return ticks * tsc_hz / (rdtsc() - start);
}

static uint64_t twenty_timer_periods(void)
{
	uint64_t hz = apic_timer_hz(), start, elapsed;

	arrivals = 0;
	apic_write(APIC_LVT_TIMER, APIC_PERIODIC | VECTOR_APIC);
	start = rdtsc();
	apic_write(APIC_INITIAL_COUNT, (uint32_t)(hz / 200));
	while (arrivals < 20)
		wait_for_interrupt();
	elapsed = rdtsc() - start;
	apic_write(APIC_LVT_TIMER, APIC_MASKED);
	apic_write(APIC_INITIAL_COUNT, 0);
	return elapsed;
}

static void apic_timer(void)
{
	uint64_t hz = apic_timer_hz(), start, elapsed = tenth_of_a_second(twenty_timer_periods);

	print("time: local APIC timer at %lu kHz\n", hz / 1000);
	check(hz > 100000, "the local APIC's timer runs at %lu Hz", hz);
	check(near(elapsed, tsc_hz / 10, 30), "20 timer periods took %lu TSC ticks at %lu Hz", elapsed, tsc_hz);

	arrivals = 0;
	apic_write(APIC_LVT_TIMER, VECTOR_APIC);
	apic_write(APIC_INITIAL_COUNT, (uint32_t)(hz / 1000));
	while (!arrivals)
		wait_for_interrupt();
	start = rdtsc();
	interrupts_on();
	while (rdtsc() - start < tsc_hz / 100)
		;
	interrupts_off();
	check_equal(arrivals, 1, "interrupts of a one-shot local APIC timer");
}

/* ---- Real-time clock ----------------------------------------------------------------------- */

static uint8_t rtc(uint8_t reg)
{
	out8(0x70, reg);
	return in8(0x71);
}

static unsigned from_bcd(uint8_t v)
{
	return (v >> 4) * 10u + (v & 15u);
}

static void rtc_sane(void)
{
	bool binary = rtc(0x0b) & 4;
	uint8_t month = rtc(8), day = rtc(7), hour = rtc(4);

	check(rtc(0x0d) & 0x80, "the RTC says that its memory is not valid");
	if (!binary) {
		month = (uint8_t)from_bcd(month);
		day = (uint8_t)from_bcd(day);
		hour = (uint8_t)from_bcd(hour & 0x7f);
	}
	check(month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour < 24, "RTC: month %u, day %u, hour %u",
	      month, day, hour);
}

/* ---- What an access may cost ---------------------------------------------------------------------- */

static void rtc_write(uint8_t reg, uint8_t value)
{
	out8(0x70, reg);
	out8(0x71, value);
}

/* TSC ticks of the quickest of some. */
static uint64_t quickest(void (*function)(void))
{
	uint64_t best = ALL_ONES;

	for (unsigned i = 0; i < 5; i++) {
		uint64_t start = rdtsc(), ticks;

		function();
		ticks = rdtsc() - start;
		best = ticks < best ? ticks : best;
	}
	return best;
}

static void write_alarm_enable(void) { out8(0x71, 0x26); }
static void read_flags(void)
{
	out8(0x70, 0x0c);
	in8(0x71);
}
static void one_register(void) { (void)apic_read(APIC_VERSION); }

static void copy_out_of_device(void)
{
	static uint64_t to; /* the page's number ends as the device's does */
	uintptr_t n = 1024;
	void *d;
	const void *s = (const void *)(uintptr_t)APIC_BASE;

	if (!to)
		to = take_ram(PAGE);
	d = (void *)to;
	__asm__ volatile("rep movsb"
	                 : "+D"(d), "+S"(s), "+c"(n)
	                 :
	                 : "memory");
}

/* The alarm is at a second that no minute has: nothing may look for it through a day. A copy is many accesses. */
static void no_access_takes_long(void)
{
	uint64_t one = quickest(one_register), alarm, flags, copy;

	rtc_write(1, 0x7f);
	rtc_write(3, 0xff);
	rtc_write(5, 0xff);
	out8(0x70, 0x0b);
	alarm = quickest(write_alarm_enable);
	flags = quickest(read_flags);
	rtc_write(0x0b, 0x02);
	copy = quickest(copy_out_of_device);
	print("time: ticks of an access %lu, with an alarm that never comes %lu and %lu, of 1024 %lu\n", one, alarm, flags,
	      copy);
	check(alarm < 20 * one && flags < 20 * one, "the RTC's alarm takes %lu and %lu ticks, another access %lu", alarm,
	      flags, one);
	/* A read of this register by MOV has a way of its own; REP MOVS is carried out in full. */
	check(copy < 4 * 1024 * one, "1024 accesses by one instruction take %lu ticks, one takes %lu", copy, one);
}

static uint64_t rounds_in(uint64_t ticks)
{
	uint64_t start = rdtsc(), n = 0;

	while (rdtsc() - start < ticks)
		n++;
	return n;
}

/* Rounds of a loop in 20 ms beside a timer with a period of one tick. */
static uint64_t rounds_beside_timer(void)
{
	uint64_t rounds;

	arrivals = 0;
	apic_write(APIC_DIVIDE, 0xb); /* by 1 */
	apic_write(APIC_LVT_TIMER, APIC_PERIODIC | VECTOR_APIC);
	apic_write(APIC_INITIAL_COUNT, 1);
	interrupts_on();
	rounds = rounds_in(tsc_hz / 50);
	interrupts_off();
	apic_write(APIC_LVT_TIMER, APIC_MASKED);
	apic_write(APIC_INITIAL_COUNT, 0);
	return rounds;
}

/*
 * A timer with a period of one tick leaves the guest time for other things.  The machine below
 * may let nobody here run for most of a measurement: one of five has to show it.
 */
static void shortest_period(void)
{
	uint64_t alone = 0, with = 0;

	on_interrupt(VECTOR_APIC, count_apic);
	for (unsigned i = 0; i < 5 && (i == 0 || arrivals <= 2 || with <= alone / 4); i++) {
		alone = rounds_in(tsc_hz / 50);
		with = rounds_beside_timer();
	}
	print("time: rounds of a loop in 20 ms %lu, and %lu beside a timer of the shortest period, %u interrupts\n", alone,
	      with, arrivals);
	check(arrivals > 2, "%u interrupts in 20 ms", arrivals);
	check(with > alone / 4, "%lu rounds beside a timer of the shortest period, %lu without", with, alone);
}

void test_time(void)
{
	uint64_t again;

	apic_enable();
	tsc_hz = tsc_hz_by_pit(60000);
	print("time: TSC at %lu kHz by the PIT\n", tsc_hz / 1000);
	again = tsc_hz_by_pit(30000);
	check(near(again, tsc_hz, 25), "two calibrations by the PIT differ: %lu and %lu Hz", tsc_hz, again);
	pit_periodic();
	pit_one_shot();
	pic_masked();
	self_interrupts();
	priority();
	apic_timer();
	rtc_sane();
	no_access_takes_long();
	shortest_period();
}
