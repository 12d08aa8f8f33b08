/* SPDX-License-Identifier: BSD-2-Clause */
/* 16550A: FIFOs, interrupt identification, modem lines, what drivers probe. */
#include <string.h>

#include "tests/unit/unit.h"
#include "visor/device/uart16550.h"

enum { DATA,
       IER,
       IIR,
       LCR,
       MCR,
       LSR,
       MSR,
       SCRATCH };

static char sent[256];
static size_t sent_count;

static void transmit(void *ctx, uint8_t byte)
{
	assert_ptr_equal(ctx, sent);
	sent[sent_count++] = (char)byte;
}

static struct uart fresh(void)
{
	struct uart u;

	sent_count = 0;
	uart_init(&u, transmit, sent);
	return u;
}

static size_t receive(struct uart *u, const char *text)
{
	return uart_receive(u, (const uint8_t *)text, strlen(text));
}

static void transmission(void **state)
{
	struct uart u = fresh();

	(void)state;
	assert_int_equal(uart_read(&u, LSR), 0x60);
	for (const char *c = "hello"; *c; c++)
		uart_write(&u, DATA, *c);
	assert_int_equal(sent_count, 5);
	assert_memory_equal(sent, "hello", 5);
	assert_int_equal(uart_read(&u, LSR), 0x60);
}

static void divisor_latch(void **state)
{
	struct uart u = fresh();

	(void)state;
	uart_write(&u, LCR, 0x83);
	uart_write(&u, DATA, 0x0c);
	uart_write(&u, IER, 0x01);
	assert_int_equal(uart_read(&u, DATA), 0x0c);
	assert_int_equal(uart_read(&u, IER), 0x01);
	uart_write(&u, LCR, 0x03);
	assert_int_equal(sent_count, 0);
	assert_int_equal(uart_read(&u, IER), 0);
	assert_int_equal(uart_read(&u, LCR), 0x03);
	uart_write(&u, SCRATCH, 0x5a);
	assert_int_equal(uart_read(&u, SCRATCH), 0x5a);
}

/* The transmitter's interrupt: when enabled, after each byte, gone by reading IIR. */
static void transmitter_interrupt(void **state)
{
	struct uart u = fresh();

	(void)state;
	assert_int_equal(uart_read(&u, IIR), 0x01);
	uart_write(&u, IER, 2);
	assert_true(uart_interrupt(&u));
	assert_int_equal(uart_read(&u, IIR), 0x02);
	assert_false(uart_interrupt(&u));
	assert_int_equal(uart_read(&u, IIR), 0x01);
	uart_write(&u, DATA, 'x');
	assert_int_equal(uart_read(&u, IIR), 0x02);
	uart_write(&u, IER, 0);
	uart_write(&u, IER, 2); /* raised again by enabling: Linux tests for this */
	assert_int_equal(uart_read(&u, IIR), 0x02);
}

static void one_byte_receiver(void **state)
{
	struct uart u = fresh();

	(void)state;
	uart_write(&u, IER, 1);
	assert_int_equal(receive(&u, "ab"), 1);
	assert_int_equal(uart_read(&u, LSR), 0x61);
	assert_int_equal(uart_read(&u, IIR), 0x04);
	assert_int_equal(uart_read(&u, DATA), 'a');
	assert_int_equal(uart_read(&u, LSR), 0x60);
	assert_false(uart_interrupt(&u));
}

static void receiver_fifo(void **state)
{
	struct uart u = fresh();

	(void)state;
	uart_write(&u, IIR, 0x81); /* on, trigger at 8 */
	assert_int_equal(uart_read(&u, IIR) & 0xc0, 0xc0);
	uart_write(&u, IER, 1);
	assert_int_equal(receive(&u, "0123456"), 7);
	assert_int_equal(uart_read(&u, IIR), 0xcc); /* below the trigger: character timeout */
	assert_int_equal(receive(&u, "7"), 1);
	assert_int_equal(uart_read(&u, IIR), 0xc4);
	assert_int_equal(receive(&u, "89abcdefghi"), 8); /* no more room than 16: nothing is lost */
	for (const char *c = "0123456789abcdef"; *c; c++)
		assert_int_equal(uart_read(&u, DATA), *c);
	assert_int_equal(uart_read(&u, IIR), 0xc1);
	receive(&u, "x");
	uart_write(&u, IIR, 0x83); /* clear the receiver */
	assert_int_equal(uart_read(&u, LSR) & 1, 0);
	receive(&u, "x");
	uart_write(&u, IIR, 0); /* turning the FIFOs off clears them too */
	assert_int_equal(uart_read(&u, LSR) & 1, 0);
	assert_int_equal(uart_read(&u, IIR) & 0xc0, 0);
}

static void trigger_levels(void **state)
{
	static const unsigned level[] = {1, 4, 8, 14};
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct uart u = fresh();

		uart_write(&u, IIR, 1 | i << 6);
		uart_write(&u, IER, 1);
		for (unsigned n = 1; n <= 16; n++) {
			receive(&u, "x");
			assert_int_equal(uart_read(&u, IIR), n < level[i] ? 0xcc : 0xc4);
		}
	}
}

/* Received data before transmitter, line status before both. */
static void priorities(void **state)
{
	struct uart u = fresh();

	(void)state;
	uart_write(&u, IER, 0x0f);
	receive(&u, "x");
	assert_int_equal(uart_read(&u, IIR), 0x04);
	uart_write(&u, MCR, 0x10);
	uart_write(&u, DATA, 'y'); /* loopback into a full receiver: overrun */
	assert_int_equal(uart_read(&u, IIR), 0x06);
	assert_int_equal(uart_read(&u, LSR), 0x63);
	assert_int_equal(uart_read(&u, IIR), 0x04);
	assert_int_equal(uart_read(&u, DATA), 'x');
	assert_int_equal(uart_read(&u, IIR), 0x02);
	assert_int_equal(uart_read(&u, IIR), 0x00); /* the modem lines changed with loopback */
	assert_int_equal(uart_read(&u, MSR) & 0x0f, 0x0b);
	assert_int_equal(uart_read(&u, IIR), 0x01);
}

/* The test by which Linux tells a UART from nothing: outputs come back as inputs. */
static void loopback(void **state)
{
	struct uart u = fresh();

	(void)state;
	assert_int_equal(uart_read(&u, MSR), 0xb0);
	uart_write(&u, MCR, 0x1a);
	assert_int_equal(uart_read(&u, MSR) & 0xf0, 0x90);
	uart_write(&u, MCR, 0x15);
	assert_int_equal(uart_read(&u, MSR) & 0xf0, 0x60);
	assert_int_equal(receive(&u, "x"), 0); /* the line is cut off */
	uart_write(&u, DATA, 'z');
	assert_int_equal(sent_count, 0);
	assert_int_equal(uart_read(&u, DATA), 'z');
	uart_write(&u, MCR, 0x0b);
	assert_int_equal(uart_read(&u, MSR) & 0x04, 0x04); /* RI fell */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transmission),
		cmocka_unit_test(divisor_latch),
		cmocka_unit_test(transmitter_interrupt),
		cmocka_unit_test(one_byte_receiver),
		cmocka_unit_test(receiver_fifo),
		cmocka_unit_test(trigger_levels),
		cmocka_unit_test(priorities),
		cmocka_unit_test(loopback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
