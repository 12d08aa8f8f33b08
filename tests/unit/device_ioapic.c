/* SPDX-License-Identifier: BSD-2-Clause */
/* I/O APIC: registers, edge and level pins, remote IRR, masks. */
#include "tests/unit/unit.h"
#include "visor/device/ioapic.h"

static uint64_t sent[16];
static unsigned sent_count;
static bool accepts;

static bool take(void *ctx, uint64_t entry)
{
	assert_ptr_equal(ctx, sent);
	sent[sent_count++] = entry;
	return accepts;
}

static struct ioapic fresh(void)
{
	struct ioapic a;

	sent_count = 0;
	accepts = true;
	ioapic_init(&a, 1, take, sent);
	return a;
}

static uint32_t get(struct ioapic *a, uint8_t reg)
{
	ioapic_write(a, 0, reg);
	assert_int_equal(ioapic_read(a, 0), reg);
	return ioapic_read(a, 0x10);
}

static void set(struct ioapic *a, uint8_t reg, uint32_t value)
{
	ioapic_write(a, 0, reg);
	ioapic_write(a, 0x10, value);
}

static void registers(void **state)
{
	struct ioapic a = fresh();

	(void)state;
	assert_int_equal(get(&a, 0), 1 << 24);
	assert_int_equal(get(&a, 1), 0x00170011);
	for (unsigned pin = 0; pin < 24; pin++)
		assert_int_equal(get(&a, 0x10 + 2 * pin), 0x10000);
	assert_int_equal(get(&a, 0x10 + 2 * 24), 0);
	set(&a, 0x13, 0x05ffffff);
	assert_int_equal(get(&a, 0x13), 0x05000000);
	set(&a, 0x12, 0xffffffff);
	assert_int_equal(get(&a, 0x12), 0x1afff); /* delivery status and remote IRR are not to be written */
	set(&a, 0, 0x0f000000);
	assert_int_equal(get(&a, 0), 0x0f000000);
	assert_int_equal(ioapic_read(&a, 0x20), 0);
}

static void edge(void **state)
{
	struct ioapic a = fresh();

	(void)state;
	set(&a, 0x18, 0x10031);
	ioapic_set_line(&a, 4, true); /* masked: lost */
	ioapic_set_line(&a, 4, false);
	set(&a, 0x18, 0x31);
	assert_int_equal(sent_count, 0);
	ioapic_set_line(&a, 4, true);
	ioapic_set_line(&a, 4, true);
	assert_int_equal(sent_count, 1);
	assert_int_equal(IOAPIC_VECTOR(sent[0]), 0x31);
	ioapic_set_line(&a, 4, false);
	ioapic_set_line(&a, 4, true);
	assert_int_equal(sent_count, 2);
}

/* One message until the EOI; another one then if the line is still up. */
static void level(void **state)
{
	struct ioapic a = fresh();

	(void)state;
	set(&a, 0x23, 0x02000000);
	set(&a, 0x22, 0x8932); /* pin 9: level, lowest priority, logical */
	ioapic_set_line(&a, 9, true);
	assert_int_equal(sent_count, 1);
	assert_int_equal(IOAPIC_DESTINATION(sent[0]), 2);
	assert_int_equal(IOAPIC_DELIVERY(sent[0]), 1);
	assert_true(sent[0] & IOAPIC_LOGICAL);
	assert_int_equal(get(&a, 0x22) & 0x4000, 0x4000);
	ioapic_set_line(&a, 9, false);
	ioapic_set_line(&a, 9, true);
	assert_int_equal(sent_count, 1);
	ioapic_eoi(&a, 0x33); /* another vector */
	assert_int_equal(sent_count, 1);
	ioapic_eoi(&a, 0x32);
	assert_int_equal(sent_count, 2);
	ioapic_set_line(&a, 9, false);
	ioapic_eoi(&a, 0x32);
	assert_int_equal(sent_count, 2);
	assert_int_equal(get(&a, 0x22) & 0x4000, 0);
}

/* A level that was masked, or that nobody took, is not lost. */
static void level_waits(void **state)
{
	struct ioapic a = fresh();

	(void)state;
	set(&a, 0x22, 0x18032);
	ioapic_set_line(&a, 9, true);
	assert_int_equal(sent_count, 0);
	accepts = false;
	set(&a, 0x22, 0x8032);
	assert_int_equal(sent_count, 1);
	assert_int_equal(get(&a, 0x22) & 0x4000, 0);
	accepts = true;
	set(&a, 0x22, 0x8032);
	assert_int_equal(sent_count, 2);
	set(&a, 0x22, 0x32); /* made an edge pin: remote IRR has no meaning any more */
	assert_int_equal(get(&a, 0x22) & 0x4000, 0);
}

/* What came on a level-triggered pin is over when the pin is made one for edges: no interrupt is left behind. */
static void level_leaves_no_edge(void **state)
{
	struct ioapic a = fresh();

	(void)state;
	set(&a, 0x22, 0x8032);
	ioapic_set_line(&a, 9, true);
	assert_int_equal(sent_count, 1);
	ioapic_set_line(&a, 9, false);
	ioapic_eoi(&a, 0x32);
	set(&a, 0x22, 0x32);
	assert_int_equal(sent_count, 1);
	ioapic_set_line(&a, 9, true); /* a real one */
	assert_int_equal(sent_count, 2);

	a = fresh();
	set(&a, 0x22, 0x8032);
	ioapic_set_line(&a, 9, true);
	ioapic_set_line(&a, 9, false);
	ioapic_set_line(&a, 9, true); /* the same interrupt: its EOI is to come yet */
	set(&a, 0x22, 0x10032);
	set(&a, 0x22, 0x32);
	assert_int_equal(sent_count, 1);
}

static void extint(void **state)
{
	struct ioapic a = fresh();

	(void)state;
	assert_false(ioapic_passes_extint(&a, 0));
	set(&a, 0x10, 0x700);
	assert_true(ioapic_passes_extint(&a, 0));
	ioapic_set_line(&a, 0, true); /* not a message of its own */
	assert_int_equal(sent_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers),
		cmocka_unit_test(edge),
		cmocka_unit_test(level),
		cmocka_unit_test(level_waits),
		cmocka_unit_test(level_leaves_no_edge),
		cmocka_unit_test(extint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
