/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * 8254 interval timer (Intel 82C54 data sheet, order 231244) and port 61h,
 * which holds the gate and the output of channel 2.
 */
#ifndef VISOR_DEVICE_PIT8254_H
#define VISOR_DEVICE_PIT8254_H

#include <stdbool.h>
#include <stdint.h>

#define PIT_HZ 1193182ull

struct pit_channel {
	uint8_t mode;   /* 0..5 */
	uint8_t access; /* 1 low byte, 2 high byte, 3 low then high */
	bool bcd;
	bool gate;
	bool high_byte_written_next, high_byte_read_next;
	uint8_t low_byte;    /* first half of a count being written */
	bool loaded;         /* counting, or waiting for its gate */
	bool triggered;      /* modes 1 and 5: the gate has risen since the count was written */
	uint32_t count;      /* 1..65536 */
	uint64_t start;      /* tick at which the counter held `count` */
	uint64_t paused;     /* modes 0 and 4, gate low: ticks counted so far */
	uint32_t next_count; /* modes 2 and 3: takes over at tick next_start; 0 = none */
	uint64_t next_start;
	bool count_latched, status_latched;
	uint16_t latched_count;
	uint8_t latched_status;
};

struct pit {
	struct pit_channel channel[3];
	uint64_t seen;           /* tick up to which channel 0's edges have been reported */
	uint64_t periodic_floor; /* ns before which no edge of a periodic mode is reported again */
	bool speaker;
};

/* All times in ns of guest time. Call pit_advance first, or an edge of channel 0 may be lost. */
void pit_init(struct pit *p);
/* `reg` 0..3: the channels and the control word. */
uint8_t pit_read(struct pit *p, unsigned reg, uint64_t now);
void pit_write(struct pit *p, unsigned reg, uint8_t value, uint64_t now);
uint8_t pit_read_port_b(const struct pit *p, uint64_t now);
void pit_write_port_b(struct pit *p, uint8_t value, uint64_t now);
/* Level of a channel's output. */
bool pit_output(const struct pit *p, unsigned channel, uint64_t now);
/* Has channel 0's output risen since the last call? Several times count as one. */
bool pit_advance(struct pit *p, uint64_t now);
/* When channel 0's output will rise next; CLOCK_NEVER. */
uint64_t pit_next_event(const struct pit *p);

#endif
