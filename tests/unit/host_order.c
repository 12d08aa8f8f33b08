/* SPDX-License-Identifier: BSD-2-Clause */
/* The order to end on COM2: found in whatever pieces it comes, in whatever comes before it, and nowhere else. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "visor/host/order.h"

static uint8_t received[64];
static size_t received_size;

size_t serial_log_read(uint8_t *bytes, size_t max);

size_t serial_log_read(uint8_t *bytes, size_t max)
{
	size_t n = received_size < max ? received_size : max;

	memcpy(bytes, received, n);
	memmove(received, received + n, received_size - n);
	received_size -= n;
	return n;
}

/* `text` in pieces of `size` bytes; how often it was an order. */
static unsigned orders_in(const char *text, size_t size)
{
	struct order order = {0};
	unsigned found = 0;

	for (size_t at = 0; at < strlen(text); at += size)
		found += order_take(&order, (const uint8_t *)text + at,
		                    strlen(text) - at < size ? strlen(text) - at : size);
	return found;
}

static void is_found_in_pieces(void **state)
{
	(void)state;
	for (size_t size = 1; size < 40; size++) {
		assert_int_equal(orders_in("@vmmu end\n", size), 1);
		assert_int_equal(orders_in("noise @vm@vmmu en@@vmmu end\nmore", size), 1);
	}
}

static void nothing_else_is_one(void **state)
{
	static const char *const others[] = {"", "@vmmu end", "@vmmu end ", "@vmmu en\n", "vmmu end\n", "@VMMU END\n",
	                                     "@vmmu  end\n", "@@@@@@@@@@\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(orders_in(others[i], 7), 0);
}

static void stays_given(void **state)
{
	(void)state;
	assert_false(order_to_end());
	memcpy(received, "x@vmmu end\nyyyyyyyyyyyyyy", received_size = 24);
	assert_true(order_to_end());
	assert_int_equal(received_size, 8); /* what a FIFO holds at a time, no more */
	assert_true(order_to_end());
	assert_true(order_to_end());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_found_in_pieces),
		cmocka_unit_test(nothing_else_is_one),
		cmocka_unit_test(stays_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
