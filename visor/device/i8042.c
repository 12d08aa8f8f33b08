/* SPDX-License-Identifier: BSD-2-Clause */
/* Keyboard controller with nothing plugged in. A20 is always on: no guest of ours needs it off. */
#include "visor/device/i8042.h"

#define STATUS_OUTPUT_FULL 0x01
#define STATUS_SYSTEM 0x04  /* the self test has passed */
#define STATUS_COMMAND 0x08 /* the last write was to the command port */
#define STATUS_FROM_AUX 0x20
#define STATUS_TIME_OUT 0x40

#define COMMAND_READ_BYTE 0x20
#define COMMAND_WRITE_BYTE 0x60
#define COMMAND_DISABLE_AUX 0xa7
#define COMMAND_ENABLE_AUX 0xa8
#define COMMAND_TEST_AUX 0xa9
#define COMMAND_SELF_TEST 0xaa
#define COMMAND_TEST_KEYBOARD 0xab
#define COMMAND_DISABLE_KEYBOARD 0xad
#define COMMAND_ENABLE_KEYBOARD 0xae
#define COMMAND_READ_OUTPUT_PORT 0xd0
#define COMMAND_WRITE_OUTPUT_PORT 0xd1
#define COMMAND_WRITE_AUX 0xd4
#define COMMAND_PULSE 0xf0 /* F0h-FFh: pulse the lines whose bit is 0 */

#define SELF_TEST_PASSED 0x55
#define CLOCK_LINE_LOW 0x01 /* interface test: no device answers */
#define RESEND 0xfe         /* what the controller gives where no device has answered */

/* The command byte. */
#define KEYBOARD_INTERRUPT 0x01
#define AUX_INTERRUPT 0x02
#define KEYBOARD_DISABLED 0x10
#define AUX_DISABLED 0x20

#define OUTPUT_NOT_RESET 0x01 /* low: the CPU is held in reset */
#define OUTPUT_A20 0x02

void i8042_init(struct i8042 *k)
{
	*k = (struct i8042){.command_byte = 0x74, .output_port = 0xcc | OUTPUT_A20 | OUTPUT_NOT_RESET};
}

uint8_t i8042_read_data(struct i8042 *k)
{
	k->output_full = k->timed_out = k->from_aux = false;
	return k->output;
}

uint8_t i8042_read_status(const struct i8042 *k)
{
	return STATUS_SYSTEM | (k->output_full ? STATUS_OUTPUT_FULL : 0) |
	       (k->pending_command ? STATUS_COMMAND : 0) | (k->from_aux ? STATUS_FROM_AUX : 0) |
	       (k->timed_out ? STATUS_TIME_OUT : 0);
}

bool i8042_interrupt(const struct i8042 *k, bool aux)
{
	return k->output_full && k->from_aux == aux &&
	       k->command_byte & (aux ? AUX_INTERRUPT : KEYBOARD_INTERRUPT);
}

static void i8042_answer(struct i8042 *k, uint8_t value)
{
	k->output = value;
	k->output_full = true;
	k->timed_out = k->from_aux = false;
}

/* A byte is sent to a device, which turns its interface on; nobody answers. */
static void time_out(struct i8042 *k, bool aux)
{
	k->command_byte &= (uint8_t) ~(aux ? AUX_DISABLED : KEYBOARD_DISABLED);
	i8042_answer(k, RESEND);
	k->timed_out = true;
	k->from_aux = aux;
}

static void write_output_port(struct i8042 *k, uint8_t value)
{
	k->output_port = value | OUTPUT_A20;
	if (!(value & OUTPUT_NOT_RESET))
		k->reset = true;
}

/* Without a pending command the byte is meant for the keyboard. */
void i8042_write_data(struct i8042 *k, uint8_t value)
{
	if (k->pending_command == COMMAND_WRITE_BYTE)
		k->command_byte = value;
	else if (k->pending_command == COMMAND_WRITE_OUTPUT_PORT)
		write_output_port(k, value);
	else
		time_out(k, k->pending_command == COMMAND_WRITE_AUX);
	k->pending_command = 0;
}

void i8042_write_command(struct i8042 *k, uint8_t value)
{
	k->pending_command = 0;
	switch (value) {
	case COMMAND_READ_BYTE:
		i8042_answer(k, k->command_byte);
		break;
	case COMMAND_SELF_TEST:
		i8042_answer(k, SELF_TEST_PASSED);
		break;
	case COMMAND_TEST_KEYBOARD:
	case COMMAND_TEST_AUX:
		i8042_answer(k, CLOCK_LINE_LOW);
		break;
	case COMMAND_DISABLE_KEYBOARD:
		k->command_byte |= KEYBOARD_DISABLED;
		break;
	case COMMAND_ENABLE_KEYBOARD:
		k->command_byte &= (uint8_t)~KEYBOARD_DISABLED;
		break;
	case COMMAND_DISABLE_AUX:
		k->command_byte |= AUX_DISABLED;
		break;
	case COMMAND_ENABLE_AUX:
		k->command_byte &= (uint8_t)~AUX_DISABLED;
		break;
	case COMMAND_READ_OUTPUT_PORT:
		i8042_answer(k, k->output_port);
		break;
	case COMMAND_WRITE_BYTE:
	case COMMAND_WRITE_OUTPUT_PORT:
	case COMMAND_WRITE_AUX:
		k->pending_command = value;
		break;
	default:
		if (value >= COMMAND_PULSE && !(value & OUTPUT_NOT_RESET))
			k->reset = true;
	}
}
