/* SPDX-License-Identifier: BSD-2-Clause */
/* Two cascaded 8259A interrupt controllers. Names of words and bits as in the data sheet. */
#include "visor/device/pic8259.h"

#include "visor/device/wiring.h"

#define ICW1 0x10
#define ICW1_IC4 0x01
#define ICW1_SINGLE 0x02

#define ICW4_AUTO_EOI 0x02
#define ICW4_SPECIAL_FULLY_NESTED 0x10

#define OCW3 0x08
#define OCW3_READ_MASK 0x03
#define OCW3_READ_IRR 0x02
#define OCW3_READ_ISR 0x03
#define OCW3_POLL 0x04
#define OCW3_SPECIAL_MASK_MASK 0x60
#define OCW3_SET_SPECIAL_MASK 0x60
#define OCW3_CLEAR_SPECIAL_MASK 0x40

/* OCW2 bits 7:5: rotate, specific, EOI. */
enum ocw2 {
	ROTATE_AUTO_EOI_CLEAR = 0,
	EOI_NON_SPECIFIC = 1,
	NO_OPERATION = 2,
	EOI_SPECIFIC = 3,
	ROTATE_AUTO_EOI_SET = 4,
	ROTATE_NON_SPECIFIC = 5,
	SET_PRIORITY = 6,
	ROTATE_SPECIFIC = 7,
};

#define NO_INPUT 8
#define SPURIOUS_INPUT 7

/* PIIX, 4D0h/4D1h: timer, keyboard, cascade, RTC and FPU error are always edge triggered. */
#define ELCR_MASTER_WRITABLE 0xf8
#define ELCR_SLAVE_WRITABLE 0xde

static void chip_init(struct pic_chip *c)
{
	*c = (struct pic_chip){.lowest = 7, .imr = 0xff};
}

/* Before a guest programs them every input is masked, as firmware would leave it. */
void pic_init(struct pic *p)
{
	chip_init(&p->master);
	chip_init(&p->slave);
	p->master.vector_base = 0x08;
	p->slave.vector_base = 0x70;
}

/* Highest-priority set bit of `inputs`, counted from the one after `lowest`. */
static unsigned highest(const struct pic_chip *c, uint8_t inputs)
{
	/* Nearly always, and asked at every exit. */
	if (!inputs)
		return NO_INPUT;
	for (unsigned i = 1; i <= 8; i++) {
		unsigned input = (c->lowest + i) & 7;

		if (inputs & (1u << input))
			return input;
	}
	return NO_INPUT;
}

static unsigned priority_of(const struct pic_chip *c, unsigned input)
{
	return input == NO_INPUT ? 8 : (input - c->lowest - 1) & 7;
}

/*
 * The input that may interrupt now. In service blocks its own and lower
 * priorities; in special mask mode it blocks only itself. In special fully
 * nested mode a slave in service may interrupt again with a higher input.
 */
static unsigned pending_input(const struct pic_chip *c)
{
	uint8_t requests = c->irr & ~c->imr;
	uint8_t blocking = c->isr;

	if (c->special_mask) {
		blocking &= ~c->imr;
		requests &= ~c->isr;
	}
	unsigned request = highest(c, requests), service = highest(c, blocking);

	if (c->special_fully_nested && request == IRQ_CASCADE && service == IRQ_CASCADE)
		return request;
	return priority_of(c, request) < priority_of(c, service) ? request : NO_INPUT;
}

static void set_input(struct pic_chip *c, unsigned input, bool level)
{
	uint8_t bit = 1u << input;

	if (!level)
		c->irr &= ~bit;
	else if ((c->level & bit) || !(c->lines & bit))
		c->irr |= bit;
	c->lines = level ? c->lines | bit : c->lines & ~bit;
}

static void update_cascade(struct pic *p)
{
	set_input(&p->master, IRQ_CASCADE, pending_input(&p->slave) != NO_INPUT);
}

void pic_set_line(struct pic *p, unsigned irq, bool level)
{
	set_input(irq < 8 ? &p->master : &p->slave, irq & 7, level);
	update_cascade(p);
}

bool pic_output(const struct pic *p)
{
	return pending_input(&p->master) != NO_INPUT;
}

static void pic_end_of_interrupt(struct pic_chip *c, unsigned input, bool rotate)
{
	if (input == NO_INPUT)
		return;
	c->isr &= ~(1u << input);
	if (rotate)
		c->lowest = input;
}

/* Acknowledge cycle of one chip: the input taken, or 7 without an ISR bit when it has gone. */
static unsigned pic_take(struct pic_chip *c)
{
	unsigned input = pending_input(c);

	if (input == NO_INPUT)
		return SPURIOUS_INPUT;
	c->isr |= 1u << input;
	if (!(c->level & (1u << input)))
		c->irr &= ~(1u << input);
	if (c->auto_eoi)
		pic_end_of_interrupt(c, input, c->rotate_on_auto_eoi);
	return input;
}

uint8_t pic_acknowledge(struct pic *p)
{
	unsigned input = pic_take(&p->master);

	if (input != IRQ_CASCADE)
		return p->master.vector_base + input;
	input = pic_take(&p->slave);
	/* The slave's output falls with the acknowledge: one more request is a new edge. */
	set_input(&p->master, IRQ_CASCADE, false);
	update_cascade(p);
	return p->slave.vector_base + input;
}

static void write_icw1(struct pic_chip *c, uint8_t value)
{
	uint8_t level = c->level, lines = c->lines, base = c->vector_base;

	*c = (struct pic_chip){.level = level, .lines = lines, .vector_base = base, .lowest = 7};
	c->irr = lines & level;
	c->single = value & ICW1_SINGLE;
	c->needs_icw4 = value & ICW1_IC4;
	c->init_step = 2;
}

/* ICW2 to ICW4, in order, on the odd port. */
static void write_icw(struct pic_chip *c, uint8_t value)
{
	switch (c->init_step) {
	case 2:
		c->vector_base = value & 0xf8;
		c->init_step = !c->single ? 3 : c->needs_icw4 ? 4
		                                              : 0;
		break;
	case 3: /* the cascade is wired to input 2; there is nothing to choose */
		c->init_step = c->needs_icw4 ? 4 : 0;
		break;
	case 4:
		c->auto_eoi = value & ICW4_AUTO_EOI;
		c->special_fully_nested = value & ICW4_SPECIAL_FULLY_NESTED;
		c->init_step = 0;
		break;
	}
}

static void write_ocw2(struct pic_chip *c, uint8_t value)
{
	unsigned input = value & 7;
	/* A masked input does not count in special mask mode (data sheet, "Special Mask Mode"). */
	unsigned serviced = highest(c, c->special_mask ? c->isr & ~c->imr : c->isr);

	switch ((enum ocw2)(value >> 5)) {
	case EOI_NON_SPECIFIC:
		pic_end_of_interrupt(c, serviced, false);
		break;
	case EOI_SPECIFIC:
		pic_end_of_interrupt(c, input, false);
		break;
	case ROTATE_NON_SPECIFIC:
		pic_end_of_interrupt(c, serviced, true);
		break;
	case ROTATE_SPECIFIC:
		pic_end_of_interrupt(c, input, true);
		break;
	case SET_PRIORITY:
		c->lowest = input;
		break;
	case ROTATE_AUTO_EOI_SET:
		c->rotate_on_auto_eoi = true;
		break;
	case ROTATE_AUTO_EOI_CLEAR:
		c->rotate_on_auto_eoi = false;
		break;
	case NO_OPERATION:
		break;
	}
}

static void write_ocw3(struct pic_chip *c, uint8_t value)
{
	if ((value & OCW3_SPECIAL_MASK_MASK) == OCW3_SET_SPECIAL_MASK)
		c->special_mask = true;
	else if ((value & OCW3_SPECIAL_MASK_MASK) == OCW3_CLEAR_SPECIAL_MASK)
		c->special_mask = false;
	c->poll = value & OCW3_POLL;
	if ((value & OCW3_READ_MASK) == OCW3_READ_ISR)
		c->read_isr = true;
	else if ((value & OCW3_READ_MASK) == OCW3_READ_IRR)
		c->read_isr = false;
}

static void chip_write(struct pic_chip *c, bool odd, uint8_t value)
{
	if (odd && c->init_step)
		write_icw(c, value);
	else if (odd)
		c->imr = value;
	else if (value & ICW1)
		write_icw1(c, value);
	else if (value & OCW3)
		write_ocw3(c, value);
	else
		write_ocw2(c, value);
}

/* Poll command: the read takes the interrupt; bit 7 says that there was one. */
static uint8_t poll(struct pic_chip *c)
{
	bool pending = pending_input(c) != NO_INPUT;

	c->poll = false;
	return pending ? 0x80 | pic_take(c) : 0;
}

static uint8_t chip_read(struct pic_chip *c, bool odd)
{
	if (c->poll)
		return poll(c);
	if (odd)
		return c->imr;
	return c->read_isr ? c->isr : c->irr;
}

/* Which inputs are level triggered: those whose line is up request again at once. */
static void write_elcr(struct pic_chip *c, uint8_t value)
{
	c->level = value;
	c->irr |= c->lines & value;
}

uint8_t pic_read(struct pic *p, uint16_t port)
{
	uint8_t value;

	if (port == PORT_ELCR)
		return p->master.level;
	if (port == PORT_ELCR + 1)
		return p->slave.level;
	value = chip_read(port < PORT_PIC_SLAVE ? &p->master : &p->slave, port & 1);
	update_cascade(p); /* a poll may have taken an interrupt */
	return value;
}

void pic_write(struct pic *p, uint16_t port, uint8_t value)
{
	if (port == PORT_ELCR)
		write_elcr(&p->master, value & ELCR_MASTER_WRITABLE);
	else if (port == PORT_ELCR + 1)
		write_elcr(&p->slave, value & ELCR_SLAVE_WRITABLE);
	else
		chip_write(port < PORT_PIC_SLAVE ? &p->master : &p->slave, port & 1, value);
	update_cascade(p);
}
