/* SPDX-License-Identifier: BSD-2-Clause */
/* ACPI fixed hardware. Section numbers are those of the ACPI specification 6.4. */
#include "visor/device/acpi_pm.h"

#include "visor/device/clock.h"
#include "visor/device/wiring.h"

/* Byte offsets from the first port. */
#define STATUS 0
#define ENABLE 2
#define CONTROL 4
#define TIMER 8

#define TIMER_HZ 3579545ull
#define TIMER_TOP_BIT 31 /* FADT: TMR_VAL_EXT */

#define EVENT_TIMER 0x0001 /* TMR_STS, TMR_EN: 4.8.3.1 */
#define EVENT_ENABLE_WRITABLE 0x0721

#define CONTROL_SCI_ENABLE 0x0001
#define CONTROL_SLEEP_ENABLE 0x2000
#define CONTROL_SLEEP_TYPE(v) ((v) >> 10 & 7)
#define CONTROL_WRITABLE 0x1c03

/* There is no SMI command to switch to ACPI mode: the machine is always in it. */
void acpi_pm_init(struct acpi_pm *a)
{
	*a = (struct acpi_pm){.control = CONTROL_SCI_ENABLE};
}

static uint64_t halves(uint64_t now)
{
	return clock_ticks(now, TIMER_HZ) >> TIMER_TOP_BIT;
}

/* 4.8.3.3: the status bit is set whenever the timer's top bit changes. */
void acpi_pm_advance(struct acpi_pm *a, uint64_t now)
{
	if (halves(now) > a->seen_halves)
		a->status |= EVENT_TIMER;
	a->seen_halves = halves(now);
}

bool acpi_pm_interrupt(const struct acpi_pm *a)
{
	return (a->control & CONTROL_SCI_ENABLE) && (a->status & a->enable);
}

uint64_t acpi_pm_next_event(const struct acpi_pm *a)
{
	if (!(a->enable & ~a->status & EVENT_TIMER))
		return CLOCK_NEVER;
	return clock_ns((a->seen_halves + 1) << TIMER_TOP_BIT, TIMER_HZ);
}

/* All registers side by side, as bytes. */
static uint8_t read_byte(const struct acpi_pm *a, unsigned offset, uint32_t timer)
{
	switch (offset) {
	case STATUS:
	case STATUS + 1:
		return a->status >> 8 * (offset - STATUS);
	case ENABLE:
	case ENABLE + 1:
		return a->enable >> 8 * (offset - ENABLE);
	case CONTROL:
	case CONTROL + 1:
		return a->control >> 8 * (offset - CONTROL);
	case TIMER:
	case TIMER + 1:
	case TIMER + 2:
	case TIMER + 3:
		return timer >> 8 * (offset - TIMER);
	default:
		return 0;
	}
}

uint32_t acpi_pm_read(struct acpi_pm *a, unsigned offset, unsigned size, uint64_t now)
{
	uint32_t timer = clock_ticks(now, TIMER_HZ), value = 0;

	acpi_pm_advance(a, now);
	for (unsigned i = 0; i < size; i++)
		value |= (uint32_t)read_byte(a, offset + i, timer) << 8 * i;
	return value;
}

static void pm_write_control(struct acpi_pm *a, uint16_t value)
{
	a->control = value & CONTROL_WRITABLE;
	if ((value & CONTROL_SLEEP_ENABLE) && CONTROL_SLEEP_TYPE(value) == SLEEP_TYPE_S5)
		a->soft_off = true;
}

/* Put one byte into a 16-bit register's value. */
static uint16_t merge(uint16_t old, unsigned byte, uint8_t value)
{
	return (old & ~(0xff << 8 * byte)) | value << 8 * byte;
}

static void write_byte(struct acpi_pm *a, unsigned offset, uint8_t value)
{
	switch (offset) {
	case STATUS:
	case STATUS + 1: /* ones clear */
		a->status &= ~merge(0, offset - STATUS, value);
		break;
	case ENABLE:
	case ENABLE + 1:
		a->enable = merge(a->enable, offset - ENABLE, value) & EVENT_ENABLE_WRITABLE;
		break;
	case CONTROL:
	case CONTROL + 1:
		pm_write_control(a, merge(a->control, offset - CONTROL, value));
		break;
	}
}

void acpi_pm_write(struct acpi_pm *a, unsigned offset, unsigned size, uint32_t value, uint64_t now)
{
	acpi_pm_advance(a, now);
	for (unsigned i = 0; i < size; i++)
		write_byte(a, offset + i, value >> 8 * i);
}
