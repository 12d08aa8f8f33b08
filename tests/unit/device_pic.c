/* SPDX-License-Identifier: BSD-2-Clause */
/* 8259A pair: initialization, priorities, end of interrupt, levels, special modes. */
#include "tests/unit/unit.h"
#include "visor/device/pic8259.h"

/* As every PC guest does it: vectors 20h and 28h, ICW4 for 8086 mode. */
static void initialize(struct pic *p, uint8_t icw4)
{
	pic_init(p);
	pic_write(p, 0x20, 0x11);
	pic_write(p, 0x21, 0x20);
	pic_write(p, 0x21, 0x04);
	pic_write(p, 0x21, icw4);
	pic_write(p, 0xa0, 0x11);
	pic_write(p, 0xa1, 0x28);
	pic_write(p, 0xa1, 0x02);
	pic_write(p, 0xa1, icw4);
	pic_write(p, 0x21, 0);
	pic_write(p, 0xa1, 0);
}

static void pulse(struct pic *p, unsigned irq)
{
	pic_set_line(p, irq, true);
	pic_set_line(p, irq, false);
	pic_set_line(p, irq, true);
}

static uint8_t in_service(struct pic *p, uint16_t port)
{
	pic_write(p, port, 0x0b);
	return pic_read(p, port);
}

static void vectors(void **state)
{
	struct pic p;

	(void)state;
	initialize(&p, 1);
	assert_false(pic_output(&p));
	pulse(&p, 4);
	assert_true(pic_output(&p));
	assert_int_equal(pic_acknowledge(&p), 0x24);
	assert_int_equal(in_service(&p, 0x20), 0x10);
	pic_write(&p, 0x20, 0x20);
	assert_int_equal(in_service(&p, 0x20), 0);
	pulse(&p, 8);
	assert_int_equal(pic_acknowledge(&p), 0x28);
	assert_int_equal(in_service(&p, 0x20), 4);
	assert_int_equal(in_service(&p, 0xa0), 1);
}

/* Lower input numbers first; a request waits for a higher one in service. */
static void priorities(void **state)
{
	struct pic p;

	(void)state;
	initialize(&p, 1);
	pulse(&p, 5);
	pulse(&p, 1);
	assert_int_equal(pic_acknowledge(&p), 0x21);
	assert_false(pic_output(&p));
	pulse(&p, 0);
	assert_int_equal(pic_acknowledge(&p), 0x20);
	pic_write(&p, 0x20, 0x20); /* ends 0, the highest in service */
	assert_int_equal(in_service(&p, 0x20), 2);
	assert_false(pic_output(&p));
	pic_write(&p, 0x20, 0x61); /* specific end of 1 */
	assert_int_equal(pic_acknowledge(&p), 0x25);
}

static void masks(void **state)
{
	struct pic p;

	(void)state;
	initialize(&p, 1);
	pic_write(&p, 0x21, 0x10);
	assert_int_equal(pic_read(&p, 0x21), 0x10);
	pulse(&p, 4);
	assert_false(pic_output(&p));
	pic_write(&p, 0x20, 0x0a);
	assert_int_equal(pic_read(&p, 0x20), 0x10); /* requested all the same */
	pic_write(&p, 0x21, 0);
	assert_int_equal(pic_acknowledge(&p), 0x24);
}

/* An edge counts once; the line may stay up. It is gone when the line falls first. */
static void edges(void **state)
{
	struct pic p;

	(void)state;
	initialize(&p, 1);
	pulse(&p, 3);
	assert_int_equal(pic_acknowledge(&p), 0x23);
	pic_write(&p, 0x20, 0x20);
	assert_false(pic_output(&p));
	pulse(&p, 3);
	pic_set_line(&p, 3, false);
	assert_false(pic_output(&p));
	assert_int_equal(pic_acknowledge(&p), 0x27); /* spurious */
	assert_int_equal(in_service(&p, 0x20), 0);
}

/* A level keeps requesting until the device lets go. */
static void levels(void **state)
{
	struct pic p;

	(void)state;
	initialize(&p, 1);
	pic_write(&p, 0x4d0, 0xff);
	pic_write(&p, 0x4d1, 0xff);
	assert_int_equal(pic_read(&p, 0x4d0), 0xf8); /* 0, 1 and 2 have no choice */
	assert_int_equal(pic_read(&p, 0x4d1), 0xde); /* nor have 8 and 13 */
	pic_set_line(&p, 9, true);
	assert_int_equal(pic_acknowledge(&p), 0x29);
	assert_false(pic_output(&p));
	pic_write(&p, 0xa0, 0x20);
	pic_write(&p, 0x20, 0x20);
	assert_true(pic_output(&p));
	assert_int_equal(pic_acknowledge(&p), 0x29);
	pic_set_line(&p, 9, false);
	pic_write(&p, 0xa0, 0x20);
	pic_write(&p, 0x20, 0x20);
	assert_false(pic_output(&p));
}

/* The slave asks again after its first interrupt ends; the master must see a new edge. */
static void cascade(void **state)
{
	struct pic p;

	(void)state;
	initialize(&p, 1);
	pulse(&p, 12);
	pulse(&p, 14);
	assert_int_equal(pic_acknowledge(&p), 0x2c);
	assert_false(pic_output(&p));
	pic_write(&p, 0xa0, 0x20);
	pic_write(&p, 0x20, 0x20);
	assert_int_equal(pic_acknowledge(&p), 0x2e);
}

/* Special fully nested mode: a higher input of a slave in service gets through. */
static void nested_slave(void **state)
{
	struct pic p;

	(void)state;
	initialize(&p, 1);
	pulse(&p, 12);
	assert_int_equal(pic_acknowledge(&p), 0x2c);
	pulse(&p, 8);
	assert_false(pic_output(&p));

	initialize(&p, 1);
	pic_write(&p, 0x20, 0x11);
	pic_write(&p, 0x21, 0x20);
	pic_write(&p, 0x21, 0x04);
	pic_write(&p, 0x21, 0x11);
	pulse(&p, 12);
	assert_int_equal(pic_acknowledge(&p), 0x2c);
	pulse(&p, 8);
	assert_int_equal(pic_acknowledge(&p), 0x28);
}

static void automatic_end(void **state)
{
	struct pic p;

	(void)state;
	initialize(&p, 3);
	pulse(&p, 6);
	assert_int_equal(pic_acknowledge(&p), 0x26);
	assert_int_equal(in_service(&p, 0x20), 0);
}

static void rotation(void **state)
{
	struct pic p;

	(void)state;
	initialize(&p, 1);
	pulse(&p, 3);
	pulse(&p, 4);
	assert_int_equal(pic_acknowledge(&p), 0x23);
	pic_write(&p, 0x20, 0xa0); /* end, and 3 becomes the lowest */
	pulse(&p, 3);
	pulse(&p, 0);
	assert_int_equal(pic_acknowledge(&p), 0x24);
	pic_write(&p, 0x20, 0x20);
	assert_int_equal(pic_acknowledge(&p), 0x20);
	pic_write(&p, 0x20, 0x20);
	assert_int_equal(pic_acknowledge(&p), 0x23);
	pic_write(&p, 0x20, 0x20);
	pic_write(&p, 0x20, 0xc7); /* back to 0 first */
	pulse(&p, 1);
	pulse(&p, 0);
	assert_int_equal(pic_acknowledge(&p), 0x20);
}

/* Special mask mode: a masked input in service blocks nobody. */
static void special_mask(void **state)
{
	struct pic p;

	(void)state;
	initialize(&p, 1);
	pulse(&p, 1);
	pulse(&p, 3);
	assert_int_equal(pic_acknowledge(&p), 0x21);
	pic_write(&p, 0x21, 0x02);
	assert_false(pic_output(&p));
	pic_write(&p, 0x20, 0x68);
	assert_int_equal(pic_acknowledge(&p), 0x23);
	pic_write(&p, 0x20, 0x20); /* ends 3: the masked 1 does not count */
	assert_int_equal(in_service(&p, 0x20), 2);
	pic_write(&p, 0x20, 0x48);
	pulse(&p, 3);
	assert_false(pic_output(&p));
}

static void poll_command(void **state)
{
	struct pic p;

	(void)state;
	initialize(&p, 1);
	pulse(&p, 5);
	pic_write(&p, 0x20, 0x0c);
	assert_int_equal(pic_read(&p, 0x20), 0x85);
	assert_false(pic_output(&p));
	pic_write(&p, 0x20, 0x0c);
	assert_int_equal(pic_read(&p, 0x20) & 0x80, 0);
}

/* Specific rotation, and rotation at every automatic end of interrupt. */
static void other_rotations(void **state)
{
	struct pic p;

	(void)state;
	initialize(&p, 1);
	pulse(&p, 2 + 1);
	assert_int_equal(pic_acknowledge(&p), 0x23);
	pic_write(&p, 0x20, 0xe3); /* end 3 and make it the lowest */
	pulse(&p, 1);
	pulse(&p, 5);
	assert_int_equal(pic_acknowledge(&p), 0x25);

	initialize(&p, 3);
	pic_write(&p, 0x20, 0x80);
	pulse(&p, 1);
	assert_int_equal(pic_acknowledge(&p), 0x21);
	pulse(&p, 0);
	pulse(&p, 6);
	assert_int_equal(pic_acknowledge(&p), 0x26); /* 2 is the highest now */
	pic_write(&p, 0x20, 0x00);
	assert_int_equal(pic_acknowledge(&p), 0x20);
	pulse(&p, 7);
	pulse(&p, 1);
	assert_int_equal(pic_acknowledge(&p), 0x27); /* 0 did not become the lowest: 7 follows 6 */
}

/* Commands that end or do nothing when there is nothing to end. */
static void idle_commands(void **state)
{
	struct pic p;

	(void)state;
	initialize(&p, 1);
	pic_write(&p, 0x20, 0x20);
	pic_write(&p, 0x20, 0x40);
	assert_int_equal(in_service(&p, 0x20), 0);
	pulse(&p, 0);
	assert_int_equal(pic_acknowledge(&p), 0x20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors),
		cmocka_unit_test(priorities),
		cmocka_unit_test(masks),
		cmocka_unit_test(edges),
		cmocka_unit_test(levels),
		cmocka_unit_test(cascade),
		cmocka_unit_test(nested_slave),
		cmocka_unit_test(automatic_end),
		cmocka_unit_test(rotation),
		cmocka_unit_test(special_mask),
		cmocka_unit_test(poll_command),
		cmocka_unit_test(other_rotations),
		cmocka_unit_test(idle_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
