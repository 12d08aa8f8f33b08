/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * 16550A serial port. Section numbers are those of the PC16550D data sheet.
 *
 * The line is infinitely fast: a byte written has left before the next
 * instruction, so the transmitter is always empty.
 */
#include "visor/device/uart16550.h"

enum { REG_DATA,
       REG_IER,
       REG_IIR_FCR,
       REG_LCR,
       REG_MCR,
       REG_LSR,
       REG_MSR,
       REG_SCRATCH };

/* 8.6.7 Interrupt Enable Register */
#define IER_RECEIVED 0x01
#define IER_TRANSMITTER_EMPTY 0x02
#define IER_LINE_STATUS 0x04
#define IER_MODEM_STATUS 0x08

/* 8.6.6, table III: bits 3:0 of the Interrupt Identification Register */
#define IIR_MODEM_STATUS 0x00
#define IIR_NONE 0x01
#define IIR_TRANSMITTER_EMPTY 0x02
#define IIR_RECEIVED 0x04
#define IIR_LINE_STATUS 0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFOS_ENABLED 0xc0

#define FCR_ENABLE 0x01
#define FCR_CLEAR_RECEIVER 0x02
#define FCR_WRITABLE 0xc9

#define LCR_DIVISOR_LATCH 0x80

#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOPBACK 0x10

#define LSR_DATA_READY 0x01
#define LSR_OVERRUN 0x02
#define LSR_TRANSMITTER_EMPTY 0x60 /* holding register and shift register */

#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI 0x40
#define MSR_DCD 0x80

void uart_init(struct uart *u, void (*transmit)(void *ctx, uint8_t byte), void *ctx)
{
	*u = (struct uart){.transmit = transmit, .ctx = ctx};
}

static bool fifos_enabled(const struct uart *u)
{
	return u->fcr & FCR_ENABLE;
}

static unsigned receiver_capacity(const struct uart *u)
{
	return fifos_enabled(u) ? UART_FIFO_SIZE : 1;
}

/* 8.6.5: FCR bits 7:6. */
static unsigned trigger_level(const struct uart *u)
{
	static const uint8_t level[] = {1, 4, 8, 14};

	return fifos_enabled(u) ? level[u->fcr >> 6] : 1;
}

static void clear_receiver(struct uart *u)
{
	u->first = u->used = 0;
}

static void receive_byte(struct uart *u, uint8_t byte)
{
	if (u->used == receiver_capacity(u)) {
		u->overrun = true;
		return;
	}
	u->fifo[(u->first + u->used++) % UART_FIFO_SIZE] = byte;
}

/* 8.6.8: with loopback on, the modem outputs are the modem inputs. */
static uint8_t modem_inputs(const struct uart *u)
{
	if (!(u->mcr & MCR_LOOPBACK))
		return MSR_CTS | MSR_DSR | MSR_DCD; /* a terminal is always there */
	return (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
	       (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

/*
 * Highest-priority interrupt (table III). The data sheet lets four character
 * times pass before it reports fewer bytes than the trigger level; here the
 * timeout is reported at once, because no more bytes are on their way.
 */
static uint8_t interrupt_identification(const struct uart *u)
{
	if ((u->ier & IER_LINE_STATUS) && u->overrun)
		return IIR_LINE_STATUS;
	if ((u->ier & IER_RECEIVED) && u->used >= trigger_level(u))
		return IIR_RECEIVED;
	if ((u->ier & IER_RECEIVED) && u->used)
		return IIR_TIMEOUT;
	if ((u->ier & IER_TRANSMITTER_EMPTY) && u->transmitter_empty)
		return IIR_TRANSMITTER_EMPTY;
	if ((u->ier & IER_MODEM_STATUS) && u->modem_delta)
		return IIR_MODEM_STATUS;
	return IIR_NONE;
}

/*
 * A PC's board lets OUT2 gate this line. Not so here: teaching kernels leave
 * OUT2 off and still expect interrupts, since common emulators give them.
 */
bool uart_interrupt(const struct uart *u)
{
	return interrupt_identification(u) != IIR_NONE;
}

static uint8_t read_data(struct uart *u)
{
	uint8_t byte = u->fifo[u->first];

	if (u->used) {
		u->first = (u->first + 1) % UART_FIFO_SIZE;
		u->used--;
	}
	return byte;
}

static uint8_t read_interrupt_identification(struct uart *u)
{
	uint8_t id = interrupt_identification(u);

	if (id == IIR_TRANSMITTER_EMPTY)
		u->transmitter_empty = false; /* table III: reading it resets it */
	return id | (fifos_enabled(u) ? IIR_FIFOS_ENABLED : 0);
}

static uint8_t read_line_status(struct uart *u)
{
	uint8_t status = LSR_TRANSMITTER_EMPTY;

	if (u->used)
		status |= LSR_DATA_READY;
	if (u->overrun)
		status |= LSR_OVERRUN;
	u->overrun = false;
	return status;
}

static uint8_t read_modem_status(struct uart *u)
{
	uint8_t status = modem_inputs(u) | u->modem_delta;

	u->modem_delta = 0;
	return status;
}

uint8_t uart_read(struct uart *u, unsigned reg)
{
	bool latch = u->lcr & LCR_DIVISOR_LATCH;

	switch (reg) {
	case REG_DATA:
		return latch ? u->divisor[0] : read_data(u);
	case REG_IER:
		return latch ? u->divisor[1] : u->ier;
	case REG_IIR_FCR:
		return read_interrupt_identification(u);
	case REG_LCR:
		return u->lcr;
	case REG_MCR:
		return u->mcr;
	case REG_LSR:
		return read_line_status(u);
	case REG_MSR:
		return read_modem_status(u);
	default:
		return u->scratch;
	}
}

static void write_data(struct uart *u, uint8_t byte)
{
	if (u->mcr & MCR_LOOPBACK)
		receive_byte(u, byte);
	else
		u->transmit(u->ctx, byte);
	u->transmitter_empty = true;
}

/* Enabling the transmitter interrupt while the holding register is empty raises it at once. */
static void write_interrupt_enable(struct uart *u, uint8_t value)
{
	if (value & ~u->ier & IER_TRANSMITTER_EMPTY)
		u->transmitter_empty = true;
	u->ier = value & 0x0f;
}

/* 8.6.5: a change of bit 0 clears the FIFOs; the other bits count only with bit 0 set. */
static void write_fifo_control(struct uart *u, uint8_t value)
{
	if (((value ^ u->fcr) & FCR_ENABLE) || (value & FCR_CLEAR_RECEIVER))
		clear_receiver(u);
	u->fcr = value & FCR_ENABLE ? value & FCR_WRITABLE : 0;
}

/* 8.6.9: bits 3:0 of the modem status tell which input changed; RI only its trailing edge. */
static void write_modem_control(struct uart *u, uint8_t value)
{
	uint8_t before = modem_inputs(u), changed;

	u->mcr = value & 0x1f;
	changed = before ^ modem_inputs(u);
	if (!(before & MSR_RI))
		changed &= ~MSR_RI;
	u->modem_delta |= changed >> 4;
}

void uart_write(struct uart *u, unsigned reg, uint8_t value)
{
	bool latch = u->lcr & LCR_DIVISOR_LATCH;

	switch (reg) {
	case REG_DATA:
		if (latch)
			u->divisor[0] = value;
		else
			write_data(u, value);
		break;
	case REG_IER:
		if (latch)
			u->divisor[1] = value;
		else
			write_interrupt_enable(u, value);
		break;
	case REG_IIR_FCR:
		write_fifo_control(u, value);
		break;
	case REG_LCR:
		u->lcr = value;
		break;
	case REG_MCR:
		write_modem_control(u, value);
		break;
	case REG_SCRATCH:
		u->scratch = value;
		break;
	}
}

/* Loopback cuts the receiver off from the line; the sender keeps its bytes until then. */
size_t uart_receive(struct uart *u, const uint8_t *bytes, size_t n)
{
	size_t taken = 0;

	if (u->mcr & MCR_LOOPBACK)
		return 0;
	while (taken < n && u->used < receiver_capacity(u))
		receive_byte(u, bytes[taken++]);
	return taken;
}
