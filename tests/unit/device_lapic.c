/* SPDX-License-Identifier: BSD-2-Clause */
/* Local APIC: priorities, EOI, the timer's three modes, IPIs, xAPIC and x2APIC. */
#include "tests/unit/unit.h"
#include "visor/device/clock.h"
#include "visor/device/lapic.h"

#define MSR_APIC_BASE 0x1b
#define MSR_DEADLINE 0x6e0
#define X2 0x800
#define TSC_HZ 2000000000ull

static uint64_t tsc;
static int eoi_vector;

static void eoi(void *ctx, uint8_t vector)
{
	assert_ptr_equal(ctx, &tsc);
	eoi_vector = vector;
}

static uint64_t read_tsc(void *ctx)
{
	return *(uint64_t *)ctx;
}

static struct lapic fresh(void)
{
	struct lapic l;

	eoi_vector = -1;
	tsc = 0;
	lapic_init(&l, 0, eoi, read_tsc, TSC_HZ, &tsc);
	return l;
}

static uint32_t get(struct lapic *l, uint32_t offset, uint64_t now)
{
	uint32_t value;

	assert_true(lapic_mmio_read(l, offset, now, &value));
	return value;
}

static void set(struct lapic *l, uint32_t offset, uint32_t value, uint64_t now)
{
	assert_true(lapic_mmio_write(l, offset, now, value));
}

static bool send(struct lapic *l, uint8_t vector, bool level)
{
	return lapic_message(l, 0, false, LAPIC_FIXED, vector, level);
}

static void reset_state(void **state)
{
	struct lapic l = fresh();

	(void)state;
	assert_int_equal(get(&l, 0x20, 0), 0);
	assert_int_equal(get(&l, 0x30, 0) & 0xff, 0x14);
	assert_int_equal(get(&l, 0x30, 0) >> 16, 5);
	assert_int_equal(get(&l, 0xe0, 0), 0xffffffff);
	assert_int_equal(get(&l, 0x320, 0), 0x10000);
	assert_true(lapic_accepts_extint(&l)); /* virtual wire mode, as firmware leaves it */
	assert_int_equal(lapic_mmio_base(&l), 0xfee00000);
	assert_int_equal(lapic_pending(&l), -1);
}

/* By vector class; what is in service and the task priority hold lower ones back. */
static void priorities(void **state)
{
	struct lapic l = fresh();

	(void)state;
	assert_true(send(&l, 0x41, false));
	assert_true(send(&l, 0x55, false));
	assert_true(send(&l, 0x31, false));
	assert_int_equal(lapic_acknowledge(&l), 0x55);
	assert_int_equal(get(&l, 0x120, 0), 1u << 0x15);
	assert_int_equal(get(&l, 0x220, 0), 1u << 1);
	assert_int_equal(get(&l, 0xa0, 0), 0x50);
	assert_int_equal(lapic_pending(&l), -1);
	send(&l, 0x56, false);
	assert_int_equal(lapic_pending(&l), -1); /* same class */
	send(&l, 0x60, false);
	assert_int_equal(lapic_acknowledge(&l), 0x60);
	set(&l, 0xb0, 0, 0);
	assert_int_equal(get(&l, 0xa0, 0), 0x50);
	set(&l, 0xb0, 0, 0);
	assert_int_equal(lapic_acknowledge(&l), 0x56);
	set(&l, 0xb0, 0, 0);
	set(&l, 0x80, 0x40, 0);
	assert_int_equal(lapic_pending(&l), -1);
	assert_int_equal(lapic_cr8(&l), 4);
	lapic_set_cr8(&l, 3);
	assert_int_equal(get(&l, 0x80, 0), 0x30);
	assert_int_equal(lapic_acknowledge(&l), 0x41);
	assert_int_equal(eoi_vector, -1); /* all of them edges */
}

static void level_eoi(void **state)
{
	struct lapic l = fresh();

	(void)state;
	send(&l, 0x72, true);
	assert_int_equal(get(&l, 0x1b0, 0), 1u << 0x12);
	assert_int_equal(lapic_acknowledge(&l), 0x72);
	set(&l, 0xb0, 0, 0);
	assert_int_equal(eoi_vector, 0x72);
	set(&l, 0xb0, 0, 0); /* nothing in service: nothing happens */
	assert_int_equal(get(&l, 0xa0, 0), 0);
}

static void software_disable(void **state)
{
	struct lapic l = fresh();

	(void)state;
	set(&l, 0xf0, 0xff, 0);
	assert_false(send(&l, 0x40, false));
	assert_false(lapic_accepts_extint(&l)); /* masks are set */
	set(&l, 0x350, 0x700, 0);
	assert_int_equal(get(&l, 0x350, 0), 0x10700); /* and cannot be cleared */
	set(&l, 0xf0, 0x1ff, 0);
	set(&l, 0x350, 0x700, 0);
	assert_true(lapic_accepts_extint(&l));
	assert_true(send(&l, 0x40, false));
}

static void one_shot(void **state)
{
	struct lapic l = fresh();

	(void)state;
	set(&l, 0x3e0, 0x3, 0); /* divide by 16 */
	set(&l, 0x320, 0x40, 0);
	set(&l, 0x380, 1000, 5000);
	assert_int_equal(get(&l, 0x390, 5000), 1000);
	assert_int_equal(get(&l, 0x390, 5000 + 16 * 400), 600);
	assert_true(lapic_next_event(&l) == 5000 + 16000);
	lapic_advance(&l, 5000 + 15999);
	assert_int_equal(lapic_pending(&l), -1);
	lapic_advance(&l, 5000 + 16000);
	assert_int_equal(lapic_acknowledge(&l), 0x40);
	assert_int_equal(get(&l, 0x390, 30000), 0);
	assert_true(lapic_next_event(&l) == CLOCK_NEVER);
	set(&l, 0x380, 0, 30000); /* a count of 0 stops it */
	assert_true(lapic_next_event(&l) == CLOCK_NEVER);
}

/* In step with its start however late it is served. */
static void periodic(void **state)
{
	const uint64_t ms = 1000000;
	struct lapic l = fresh();

	(void)state;
	set(&l, 0x3e0, 0xb, 0); /* divide by 1 */
	set(&l, 0x320, 0x20040, 0);
	set(&l, 0x380, ms, 0);
	lapic_advance(&l, ms);
	assert_int_equal(lapic_acknowledge(&l), 0x40);
	set(&l, 0xb0, 0, ms);
	assert_true(lapic_next_event(&l) == 2 * ms);
	lapic_advance(&l, 5 * ms + 300000); /* four periods late: one interrupt */
	assert_int_equal(lapic_acknowledge(&l), 0x40);
	assert_int_equal(lapic_pending(&l), -1);
	assert_true(lapic_next_event(&l) == 6 * ms);
	assert_int_equal(get(&l, 0x390, 5 * ms + 300000), 700000);
	set(&l, 0x320, 0x30040, 5 * ms + 300000); /* masked: it runs on, but says nothing */
	set(&l, 0xb0, 0, 5 * ms + 300000);
	lapic_advance(&l, 6 * ms);
	assert_int_equal(lapic_pending(&l), -1);
	assert_true(lapic_next_event(&l) == 7 * ms);
}

/* Interrupts of a period of 1 ns come as often as the floor lets them; the count runs at its own rate. */
static void periodic_floor(void **state)
{
	struct lapic l = fresh();
	unsigned interrupts = 0;

	(void)state;
	set(&l, 0x3e0, 0xb, 0);
	set(&l, 0x320, 0x20040, 0);
	set(&l, 0x380, 1, 0);
	for (uint64_t now = 0; now < 10 * CLOCK_PERIOD_FLOOR_NS; now += 100) {
		lapic_advance(&l, now);
		if (lapic_acknowledge(&l) != 0x40)
			continue;
		interrupts++;
		set(&l, 0xb0, 0, now);
		if (interrupts % 2)
			set(&l, 0x380, 3, now); /* to begin anew is no way around it */
		assert_true(lapic_next_event(&l) >= now + CLOCK_PERIOD_FLOOR_NS);
	}
	assert_int_equal(interrupts, 10);
	set(&l, 0x380, 1000, 20 * CLOCK_PERIOD_FLOOR_NS);
	assert_int_equal(get(&l, 0x390, 20 * CLOCK_PERIOD_FLOOR_NS + 300), 700);
	set(&l, 0x320, 0x40, 20 * CLOCK_PERIOD_FLOOR_NS); /* one-shot: it comes once for each time it is set */
	set(&l, 0x380, 1, 20 * CLOCK_PERIOD_FLOOR_NS);
	assert_true(lapic_next_event(&l) == 20 * CLOCK_PERIOD_FLOOR_NS + 1);
}

static void dividers(void **state)
{
	static const struct {
		uint32_t code, by;
	} d[] = {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {10, 128}, {11, 1}};

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		struct lapic l = fresh();

		set(&l, 0x3e0, d[i].code, 0);
		set(&l, 0x380, 1000, 0);
		assert_true(lapic_next_event(&l) == 1000ull * d[i].by);
	}
}

static void deadline(void **state)
{
	struct lapic l = fresh();
	uint64_t value;

	(void)state;
	assert_true(lapic_msr_write(&l, MSR_DEADLINE, 0, 500));
	assert_true(lapic_msr_read(&l, MSR_DEADLINE, 0, &value) && value == 0); /* not in that mode */
	set(&l, 0x320, 0x40040, 0);
	tsc = 1000;
	lapic_msr_write(&l, MSR_DEADLINE, 700, 5000);
	assert_true(lapic_next_event(&l) == 700 + 2000);
	tsc = 4999;
	lapic_advance(&l, 2700); /* rounding: not yet */
	assert_int_equal(lapic_pending(&l), -1);
	assert_true(lapic_next_event(&l) > 2700 && lapic_next_event(&l) < 2710);
	tsc = 5000;
	lapic_advance(&l, lapic_next_event(&l));
	assert_int_equal(lapic_acknowledge(&l), 0x40);
	assert_true(lapic_msr_read(&l, MSR_DEADLINE, 0, &value) && value == 0);
	assert_true(lapic_next_event(&l) == CLOCK_NEVER);
	set(&l, 0xb0, 0, 3000);
	lapic_msr_write(&l, MSR_DEADLINE, 3000, 10); /* past: at once */
	assert_true(lapic_next_event(&l) == 3000);
	lapic_msr_write(&l, MSR_DEADLINE, 3000, 0); /* disarmed */
	assert_true(lapic_next_event(&l) == CLOCK_NEVER);
	lapic_msr_write(&l, MSR_DEADLINE, 3000, UINT64_MAX); /* too far to matter, no overflow */
	assert_true(lapic_next_event(&l) > 1ull << 60);
	set(&l, 0x380, 100, 3000); /* ignored in this mode */
	assert_true(lapic_next_event(&l) > 1ull << 60);
	set(&l, 0x320, 0x40, 3000); /* leaving the mode disarms */
	assert_true(lapic_next_event(&l) == CLOCK_NEVER);
}

static void self_ipi(void **state)
{
	struct lapic l = fresh();

	(void)state;
	set(&l, 0x300, 0x40033, 0); /* shorthand self */
	assert_int_equal(lapic_acknowledge(&l), 0x33);
	set(&l, 0xb0, 0, 0);
	set(&l, 0x300, 0xc0034, 0); /* all but self: nobody */
	assert_int_equal(lapic_pending(&l), -1);
	set(&l, 0x310, 0xff000000, 0);
	set(&l, 0x300, 0x35, 0); /* broadcast */
	assert_int_equal(lapic_acknowledge(&l), 0x35);
	set(&l, 0xb0, 0, 0);
	set(&l, 0x310, 0x01000000, 0);
	set(&l, 0x300, 0x36, 0); /* somebody else */
	assert_int_equal(lapic_pending(&l), -1);
	set(&l, 0x300, 0x40400, 0); /* NMI to self */
	assert_true(l.nmi);
	set(&l, 0x300, 0xc4500, 0); /* INIT to the others */
	set(&l, 0x300, 0xc4608, 0); /* start-up to the others */
	assert_int_equal(lapic_pending(&l), -1);
	assert_int_equal(get(&l, 0x300, 0) & 0x1000, 0); /* never pending */
}

static void logical_destinations(void **state)
{
	struct lapic l = fresh();

	(void)state;
	set(&l, 0xd0, 0x04000000, 0);
	assert_true(lapic_message(&l, 0x0c, true, LAPIC_FIXED, 0x40, false));
	assert_false(lapic_message(&l, 0x03, true, LAPIC_FIXED, 0x40, false));
	set(&l, 0xe0, 0x0fffffff, 0); /* cluster model */
	set(&l, 0xd0, 0x21000000, 0);
	assert_true(lapic_message(&l, 0x25, true, LAPIC_LOWEST_PRIORITY, 0x40, false));
	assert_false(lapic_message(&l, 0x35, true, LAPIC_FIXED, 0x40, false));
	assert_true(lapic_message(&l, 0xff, true, LAPIC_FIXED, 0x40, false));
	assert_false(lapic_message(&l, 0x05, false, LAPIC_FIXED, 0x40, false));
}

static void errors(void **state)
{
	struct lapic l = fresh();

	(void)state;
	set(&l, 0x370, 0xfe, 0);
	send(&l, 5, false); /* vectors below 16 are illegal */
	assert_int_equal(lapic_acknowledge(&l), 0xfe);
	assert_int_equal(get(&l, 0x280, 0), 0);
	set(&l, 0x280, 0, 0);
	assert_int_equal(get(&l, 0x280, 0), 0x40);
	set(&l, 0xb0, 0, 0);
	set(&l, 0x300, 0x40003, 0);
	set(&l, 0x280, 0, 0);
	assert_int_equal(get(&l, 0x280, 0), 0x20);
	get(&l, 0x400, 0); /* no such register */
	set(&l, 0x280, 0, 0);
	assert_int_equal(get(&l, 0x280, 0), 0x80);
	set(&l, 0x280, 0, 0);
	assert_int_equal(get(&l, 0x280, 0), 0);
}

static void x2apic(void **state)
{
	struct lapic l = fresh();
	uint64_t value;
	uint32_t low;

	(void)state;
	assert_false(lapic_msr_read(&l, X2 + 2, 0, &value));
	assert_true(lapic_msr_read(&l, MSR_APIC_BASE, 0, &value));
	assert_true(value == 0xfee00900);
	assert_true(lapic_msr_write(&l, MSR_APIC_BASE, 0, value | 0x400));
	assert_int_equal(lapic_mmio_base(&l), 0);
	assert_false(lapic_mmio_read(&l, 0x20, 0, &low));
	assert_true(lapic_msr_read(&l, X2 + 0x0d, 0, &value));
	assert_int_equal(value, 1); /* LDR: cluster 0, first of it */
	assert_false(lapic_msr_write(&l, X2 + 0x0d, 0, 1));
	assert_false(lapic_msr_read(&l, X2 + 0x0e, 0, &value)); /* no DFR */
	assert_false(lapic_msr_write(&l, X2 + 0x0b, 0, 1));     /* EOI takes 0 */
	assert_true(lapic_msr_write(&l, X2 + 0x3f, 0, 0x44));   /* self IPI */
	assert_int_equal(lapic_acknowledge(&l), 0x44);
	assert_true(lapic_msr_write(&l, X2 + 0x0b, 0, 0));
	assert_true(lapic_msr_write(&l, X2 + 0x30, 0, 0xffffffff00000045)); /* broadcast */
	assert_true(lapic_msr_read(&l, X2 + 0x30, 0, &value));
	assert_true(value == 0xffffffff00000045);
	assert_int_equal(lapic_acknowledge(&l), 0x45);
	assert_false(lapic_msr_write(&l, X2 + 0x30, 0, 0x1000)); /* delivery status is no more */
	assert_false(lapic_msr_write(&l, X2 + 0x08, 0, 0x100));
	assert_true(lapic_msr_write(&l, X2 + 0x32, 0, 0x40040));
	assert_true(lapic_msr_write(&l, X2 + 0x35, 0, 0x5700)); /* status bits are ignored: Linux sets them */
	assert_false(lapic_msr_write(&l, X2 + 0x35, 0, 0x800));
	/* SDM figure 11-27: not back to xAPIC, not from off to x2APIC at once */
	assert_false(lapic_msr_write(&l, MSR_APIC_BASE, 0, 0xfee00900));
	assert_true(lapic_msr_write(&l, MSR_APIC_BASE, 0, 0xfee00100));
	assert_false(lapic_msr_write(&l, MSR_APIC_BASE, 0, 0xfee00d00));
	assert_false(lapic_msr_write(&l, MSR_APIC_BASE, 0, 0xfee00500));
	assert_true(lapic_msr_write(&l, MSR_APIC_BASE, 0, 0xfee00900));
	assert_int_equal(get(&l, 0xf0, 0), 0xff); /* as after a reset */
}

static void globally_disabled(void **state)
{
	struct lapic l = fresh();

	(void)state;
	lapic_msr_write(&l, MSR_APIC_BASE, 0, 0xfee00100);
	assert_true(lapic_accepts_extint(&l)); /* the 8259 is wired to the CPU itself */
	assert_false(send(&l, 0x40, false));
	assert_int_equal(lapic_mmio_base(&l), 0);
	lapic_msr_write(&l, MSR_APIC_BASE, 0, 0x12345900); /* back, elsewhere */
	assert_int_equal(lapic_mmio_base(&l), 0x12345000);
}

/* A new divider goes on from where the counter stands. */
static void divider_change(void **state)
{
	struct lapic l = fresh();

	(void)state;
	set(&l, 0x3e0, 0xb, 0);
	set(&l, 0x380, 1000, 0);
	set(&l, 0x3e0, 0x0, 600); /* 400 left, now at half the rate */
	assert_int_equal(get(&l, 0x390, 600), 400);
	assert_int_equal(get(&l, 0x390, 800), 300);
	assert_true(lapic_next_event(&l) == 600 + 800);
}

/* A mode that the timer does not have, or not without a TSC, is not taken. */
static void impossible_timer_modes(void **state)
{
	struct lapic l;
	uint64_t value;

	(void)state;
	lapic_init(&l, 0, eoi, NULL, 0, &tsc);
	set(&l, 0x320, 0x40040, 0);
	assert_int_equal(get(&l, 0x320, 0), 0x40);
	assert_false(lapic_msr_write(&l, MSR_DEADLINE, 0, 1));
	assert_false(lapic_msr_read(&l, MSR_DEADLINE, 0, &value));
	l = fresh();
	set(&l, 0x320, 0x60040, 0);
	assert_int_equal(get(&l, 0x320, 0), 0x40);
}

static void xapic_registers(void **state)
{
	struct lapic l = fresh();
	uint32_t value;

	(void)state;
	set(&l, 0x20, 0x05ffffff, 0);
	assert_int_equal(get(&l, 0x20, 0), 0x05000000);
	assert_true(lapic_message(&l, 5, false, LAPIC_FIXED, 0x40, false)); /* the ID that it was given */
	set(&l, 0x310, 0x12345678, 0);
	assert_int_equal(get(&l, 0x310, 0), 0x12000000);
	set(&l, 0x330, 0xffffffff, 0);
	assert_int_equal(get(&l, 0x330, 0), 0x107ff);
	set(&l, 0x3e0, 0xff, 0);
	assert_int_equal(get(&l, 0x3e0, 0), 0xb);
	set(&l, 0x380, 77, 0);
	assert_int_equal(get(&l, 0x380, 0), 77);
	assert_int_equal(get(&l, 0x90, 0), 0);
	assert_int_equal(get(&l, 0x24, 0), 0); /* between two registers */
	set(&l, 0x30, 0, 0);                   /* the version cannot be written */
	set(&l, 0x280, 0, 0);
	assert_int_equal(get(&l, 0x280, 0), 0x80);
	lapic_msr_write(&l, MSR_APIC_BASE, 0, 0xfee00100);
	assert_false(lapic_mmio_write(&l, 0x80, 0, 0));
	assert_false(lapic_mmio_read(&l, 0x80, 0, &value));
}

/* x2APIC logical IDs: cluster and one bit of 16. */
static void x2apic_destinations(void **state)
{
	struct lapic l = fresh();
	uint64_t value;

	(void)state;
	lapic_msr_write(&l, MSR_APIC_BASE, 0, 0xfee00d00);
	assert_true(lapic_msr_write(&l, X2 + 0x30, 0, 0x0000000100000841));
	assert_int_equal(lapic_acknowledge(&l), 0x41);
	assert_true(lapic_msr_write(&l, X2 + 0x30, 0, 0x0001000100000861)); /* another cluster */
	assert_true(lapic_msr_write(&l, X2 + 0x30, 0, 0x0000000200000861)); /* another bit */
	assert_int_equal(lapic_pending(&l), -1);
	assert_true(lapic_message(&l, 0xff, true, LAPIC_FIXED, 0x71, false));
	assert_int_equal(lapic_acknowledge(&l), 0x71);
	assert_true(lapic_msr_write(&l, X2 + 0x0f, 0, 0x1ff));
	assert_true(lapic_msr_write(&l, X2 + 0x3e, 0, 0xb));
	assert_true(lapic_msr_write(&l, X2 + 0x38, 0, 1000));
	assert_true(lapic_msr_read(&l, X2 + 0x39, 100, &value) && value == 900);
	assert_false(lapic_msr_write(&l, X2 + 0x38, 0, 1ull << 32));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reset_state),
		cmocka_unit_test(priorities),
		cmocka_unit_test(level_eoi),
		cmocka_unit_test(software_disable),
		cmocka_unit_test(one_shot),
		cmocka_unit_test(periodic),
		cmocka_unit_test(periodic_floor),
		cmocka_unit_test(dividers),
		cmocka_unit_test(deadline),
		cmocka_unit_test(self_ipi),
		cmocka_unit_test(logical_destinations),
		cmocka_unit_test(errors),
		cmocka_unit_test(x2apic),
		cmocka_unit_test(globally_disabled),
		cmocka_unit_test(divider_change),
		cmocka_unit_test(impossible_timer_modes),
		cmocka_unit_test(xapic_registers),
		cmocka_unit_test(x2apic_destinations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
