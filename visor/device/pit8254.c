/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * 8254 interval timer. Nothing counts here: what a counter holds and when its
 * output rises is computed from the tick at which it was loaded. Mode
 * descriptions are in the data sheet's "Mode Definitions".
 */
#include "visor/device/pit8254.h"

#include "visor/device/clock.h"

#define CONTROL_WORD 3
#define READ_BACK 3 /* channel number in a control word */

#define ACCESS_LATCH 0
#define ACCESS_LOW 1
#define ACCESS_HIGH 2

#define READ_BACK_NO_COUNT 0x20
#define READ_BACK_NO_STATUS 0x10

#define STATUS_OUTPUT 0x80
#define STATUS_NULL_COUNT 0x40

#define PORT_B_GATE 0x01
#define PORT_B_SPEAKER 0x02
#define PORT_B_REFRESH 0x10
#define PORT_B_OUTPUT 0x20
#define REFRESH_NS 15085 /* DRAM refresh of the PC/AT: the bit toggles at this rate */

void pit_init(struct pit *p)
{
	*p = (struct pit){0};
	for (unsigned i = 0; i < 3; i++)
		p->channel[i] = (struct pit_channel){.access = 3, .gate = i != 2};
}

static bool periodic(const struct pit_channel *c)
{
	return c->mode == 2 || c->mode == 3;
}

static bool gate_triggered(const struct pit_channel *c)
{
	return c->mode == 1 || c->mode == 5;
}

static bool counting(const struct pit_channel *c)
{
	return c->loaded && (gate_triggered(c) ? c->triggered : true);
}

/* Ticks since the counter was loaded; stands still in modes 0 and 4 while the gate is low. */
static uint64_t elapsed(const struct pit_channel *c, uint64_t tick)
{
	if (!c->gate && !gate_triggered(c))
		return c->paused;
	return tick > c->start ? tick - c->start : 0;
}

/* Let a count that was written during a period take over at its end. */
static void pit_settle(struct pit_channel *c, uint64_t tick)
{
	if (c->next_count && tick >= c->next_start) {
		c->count = c->next_count;
		c->start = c->next_start;
		c->next_count = 0;
	}
}

static bool output_at(const struct pit_channel *c, uint64_t tick)
{
	uint64_t e = elapsed(c, tick);

	if (!counting(c))
		return c->mode != 0;
	switch (c->mode) {
	case 0:
	case 1:
		return e >= c->count;
	case 2:
		return !c->gate || e % c->count != c->count - 1;
	case 3:
		return !c->gate || e % c->count < (c->count + 1) / 2;
	default:
		return e != c->count;
	}
}

bool pit_output(const struct pit *p, unsigned channel, uint64_t now)
{
	struct pit_channel c = p->channel[channel];
	uint64_t tick = clock_ticks(now, PIT_HZ);

	pit_settle(&c, tick);
	return output_at(&c, tick);
}

/* First tick after `tick` at which the output goes from low to high. */
static uint64_t next_rise(const struct pit_channel *c, uint64_t tick)
{
	uint64_t e = elapsed(c, tick), rise;

	if (!counting(c) || (!c->gate && !gate_triggered(c)))
		return CLOCK_NEVER;
	if (periodic(c))
		return tick < c->start ? c->start + c->count : tick - e % c->count + c->count;
	rise = c->start + c->count + (c->mode >= 4); /* the strobe is low for one tick */
	return rise > tick ? rise : CLOCK_NEVER;
}

bool pit_advance(struct pit *p, uint64_t now)
{
	struct pit_channel *c = &p->channel[0];
	uint64_t tick = clock_ticks(now, PIT_HZ);
	bool rose;

	if (periodic(c) && now < p->periodic_floor)
		return false; /* what has risen meanwhile is reported then */
	rose = next_rise(c, p->seen) <= tick;
	p->seen = tick;
	pit_settle(c, tick);
	if (rose && periodic(c))
		p->periodic_floor = now + CLOCK_PERIOD_FLOOR_NS;
	return rose;
}

uint64_t pit_next_event(const struct pit *p)
{
	const struct pit_channel *c = &p->channel[0];
	uint64_t rise = next_rise(c, p->seen), event;

	if (rise == CLOCK_NEVER)
		return CLOCK_NEVER;
	event = clock_ns(rise, PIT_HZ);
	return periodic(c) && event < p->periodic_floor ? p->periodic_floor : event;
}

static uint32_t from_bcd(uint32_t value)
{
	return value % 16 + value / 16 % 16 * 10 + value / 256 % 16 * 100 + value / 4096 * 1000;
}

static uint16_t to_bcd(uint32_t value)
{
	return value % 10 + value / 10 % 10 * 16 + value / 100 % 10 * 256 + value / 1000 % 10 * 4096;
}

/* The counting element as a read sees it. 65536, or 10000 in BCD, reads as 0. */
static uint16_t pit_current_count(const struct pit_channel *c, uint64_t tick)
{
	uint64_t modulus = c->bcd ? 10000 : 65536;
	uint64_t e = elapsed(c, tick), value;

	if (!counting(c))
		value = c->count;
	else if (c->mode == 2)
		value = c->count - e % c->count;
	else if (c->mode == 3) { /* counts down by two, twice a period; odd counts lose their one */
		uint64_t half = (c->count + 1) / 2, phase = e % c->count;

		value = (c->count & ~1u) - 2 * (phase < half ? phase : phase - half);
	} else
		value = c->count + modulus - e % modulus;
	return c->bcd ? to_bcd(value % modulus) : value % modulus;
}

static void latch_count(struct pit_channel *c, uint64_t tick)
{
	if (c->count_latched)
		return; /* the first latch holds until it is read */
	c->latched_count = pit_current_count(c, tick);
	c->count_latched = true;
}

static void latch_status(struct pit_channel *c, uint64_t tick)
{
	bool null_count = !c->loaded || c->next_count;

	if (c->status_latched)
		return;
	c->latched_status = (output_at(c, tick) ? STATUS_OUTPUT : 0) |
	                    (null_count ? STATUS_NULL_COUNT : 0) | c->access << 4 | c->mode << 1 | c->bcd;
	c->status_latched = true;
}

static uint8_t read_count(struct pit_channel *c, uint64_t tick)
{
	uint16_t value = c->count_latched ? c->latched_count : pit_current_count(c, tick);
	bool high = c->access == ACCESS_HIGH || (c->access == 3 && c->high_byte_read_next);

	if (c->access == 3)
		c->high_byte_read_next = !c->high_byte_read_next;
	if (c->access != 3 || high)
		c->count_latched = false;
	return high ? value >> 8 : value;
}

uint8_t pit_read(struct pit *p, unsigned reg, uint64_t now)
{
	struct pit_channel *c;
	uint64_t tick = clock_ticks(now, PIT_HZ);

	if (reg == CONTROL_WORD)
		return 0xff; /* write only */
	c = &p->channel[reg];
	pit_settle(c, tick);
	if (c->status_latched) {
		c->status_latched = false;
		return c->latched_status;
	}
	return read_count(c, tick);
}

/* A whole new count has been written. It is loaded with the next tick. */
static void pit_load(struct pit_channel *c, uint16_t raw, uint64_t tick)
{
	uint32_t count = c->bcd ? from_bcd(raw) : raw;

	if (!count)
		count = c->bcd ? 10000 : 65536;
	if (periodic(c) && c->loaded && c->gate) {
		c->next_count = count;
		c->next_start = tick < c->start ? c->start : tick - elapsed(c, tick) % c->count + c->count;
		return;
	}
	if (gate_triggered(c) && c->triggered) {
		c->next_count = count; /* the running pulse goes on; the next trigger takes it over */
		c->next_start = CLOCK_NEVER;
		return;
	}
	c->count = count;
	c->loaded = true;
	c->paused = 0;
	c->start = tick + 1;
}

static void write_count(struct pit_channel *c, uint8_t value, uint64_t tick)
{
	if (c->access == ACCESS_LOW) {
		pit_load(c, value, tick);
	} else if (c->access == ACCESS_HIGH) {
		pit_load(c, value << 8, tick);
	} else if (!c->high_byte_written_next) {
		c->low_byte = value;
		c->high_byte_written_next = true;
		if (c->mode == 0)
			c->loaded = false; /* mode 0: the first byte stops the counting */
	} else {
		c->high_byte_written_next = false;
		pit_load(c, value << 8 | c->low_byte, tick);
	}
}

static void set_mode(struct pit_channel *c, uint8_t control)
{
	uint8_t mode = control >> 1 & 7;

	*c = (struct pit_channel){
		.gate = c->gate,
		.access = control >> 4 & 3,
		.mode = mode > 5 ? mode - 4 : mode, /* x10 and x11 */
		.bcd = control & 1,
		.count = c->count,
	};
}

static void read_back(struct pit *p, uint8_t control, uint64_t tick)
{
	for (unsigned i = 0; i < 3; i++) {
		if (!(control & (2u << i)))
			continue;
		if (!(control & READ_BACK_NO_COUNT))
			latch_count(&p->channel[i], tick);
		if (!(control & READ_BACK_NO_STATUS))
			latch_status(&p->channel[i], tick);
	}
}

static void pit_write_control(struct pit *p, uint8_t control, uint64_t tick)
{
	unsigned channel = control >> 6;

	if (channel == READ_BACK)
		read_back(p, control, tick);
	else if ((control >> 4 & 3) == ACCESS_LATCH)
		latch_count(&p->channel[channel], tick);
	else
		set_mode(&p->channel[channel], control);
}

void pit_write(struct pit *p, unsigned reg, uint8_t value, uint64_t now)
{
	uint64_t tick = clock_ticks(now, PIT_HZ);

	for (unsigned i = 0; i < 3; i++)
		pit_settle(&p->channel[i], tick);
	if (reg == CONTROL_WORD)
		pit_write_control(p, value, tick);
	else
		write_count(&p->channel[reg], value, tick);
}

/* What the gate does depends on the mode (data sheet, "Gate Pin Operations Summary"). */
static void pit_set_gate(struct pit_channel *c, bool gate, uint64_t tick)
{
	if (gate == c->gate)
		return;
	if (!gate) {
		c->paused = elapsed(c, tick);
		c->gate = false;
		return;
	}
	c->gate = true;
	if (gate_triggered(c) && c->next_count) {
		c->count = c->next_count;
		c->next_count = 0;
	}
	if (periodic(c) || gate_triggered(c))
		c->start = tick + 1;
	else
		c->start = tick - c->paused;
	c->triggered = c->loaded;
}

uint8_t pit_read_port_b(const struct pit *p, uint64_t now)
{
	return (p->channel[2].gate ? PORT_B_GATE : 0) | (p->speaker ? PORT_B_SPEAKER : 0) |
	       (now / REFRESH_NS % 2 ? PORT_B_REFRESH : 0) |
	       (pit_output(p, 2, now) ? PORT_B_OUTPUT : 0);
}

void pit_write_port_b(struct pit *p, uint8_t value, uint64_t now)
{
	uint64_t tick = clock_ticks(now, PIT_HZ);

	pit_settle(&p->channel[2], tick);
	p->speaker = value & PORT_B_SPEAKER;
	pit_set_gate(&p->channel[2], value & PORT_B_GATE, tick);
}
