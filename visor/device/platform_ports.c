/* SPDX-License-Identifier: BSD-2-Clause */
/* Which device answers at which port. */
#include "visor/device/platform.h"
#include "visor/device/platform_state.h"
#include "visor/device/wiring.h"
#include "visor/lib/format.h"

/*
 * Devices on an 8-bit bus see wider accesses as several, at ports counting up
 * (as the ISA bus does); WIDE ones get them whole. What TIMED ones show or do
 * depends on the time.
 */
enum { WIDE = 1,
       TIMED = 2 };

struct port_range {
	uint16_t first, last;
	unsigned flags;
	uint32_t (*read)(struct platform *p, uint16_t port, unsigned size);
	void (*write)(struct platform *p, uint16_t port, unsigned size, uint32_t value);
};

static uint32_t com1_read(struct platform *p, uint16_t port, unsigned size)
{
	(void)size;
	return uart_read(&p->com1, port - PORT_COM1);
}

static void com1_write(struct platform *p, uint16_t port, unsigned size, uint32_t value)
{
	(void)size;
	uart_write(&p->com1, port - PORT_COM1, value);
}

static uint32_t pic_port_read(struct platform *p, uint16_t port, unsigned size)
{
	(void)size;
	return pic_read(&p->pic, port);
}

static void pic_port_write(struct platform *p, uint16_t port, unsigned size, uint32_t value)
{
	(void)size;
	pic_write(&p->pic, port, value);
}

static uint32_t pit_port_read(struct platform *p, uint16_t port, unsigned size)
{
	(void)size;
	return pit_read(&p->pit, port - PORT_PIT, p->now);
}

static void pit_port_write(struct platform *p, uint16_t port, unsigned size, uint32_t value)
{
	(void)size;
	pit_write(&p->pit, port - PORT_PIT, value, p->now);
}

static uint32_t system_b_read(struct platform *p, uint16_t port, unsigned size)
{
	(void)port, (void)size;
	return pit_read_port_b(&p->pit, p->now);
}

static void system_b_write(struct platform *p, uint16_t port, unsigned size, uint32_t value)
{
	(void)port, (void)size;
	pit_write_port_b(&p->pit, value, p->now);
}

static uint32_t rtc_port_read(struct platform *p, uint16_t port, unsigned size)
{
	(void)size;
	return rtc_read(&p->rtc, port - PORT_RTC, p->now);
}

static void rtc_port_write(struct platform *p, uint16_t port, unsigned size, uint32_t value)
{
	(void)size;
	rtc_write(&p->rtc, port - PORT_RTC, value, p->now);
}

static uint32_t i8042_read(struct platform *p, uint16_t port, unsigned size)
{
	(void)size;
	return port == PORT_I8042_DATA ? i8042_read_data(&p->i8042) : i8042_read_status(&p->i8042);
}

static void i8042_write(struct platform *p, uint16_t port, unsigned size, uint32_t value)
{
	(void)size;
	if (port == PORT_I8042_DATA)
		i8042_write_data(&p->i8042, value);
	else
		i8042_write_command(&p->i8042, value);
	if (p->i8042.reset)
		platform_stop(p, VM_REBOOT, 0);
}

static uint32_t pm_read(struct platform *p, uint16_t port, unsigned size)
{
	return acpi_pm_read(&p->acpi_pm, port - PORT_PM1A_EVENT, size, p->now);
}

static void pm_write(struct platform *p, uint16_t port, unsigned size, uint32_t value)
{
	acpi_pm_write(&p->acpi_pm, port - PORT_PM1A_EVENT, size, value, p->now);
	if (p->acpi_pm.soft_off)
		platform_stop(p, VM_POWER_OFF, 0);
}

static uint32_t reset_read(struct platform *p, uint16_t port, unsigned size)
{
	(void)size;
	return reset_control_read(&p->reset_control, port);
}

static void reset_write(struct platform *p, uint16_t port, unsigned size, uint32_t value)
{
	(void)size;
	reset_control_write(&p->reset_control, port, value);
	if (p->reset_control.reset)
		platform_stop(p, VM_REBOOT, 0);
}

/* The selector is 16 bits wide and write only; the data port gives one byte at a time. */
static uint32_t fw_cfg_port_read(struct platform *p, uint16_t port, unsigned size)
{
	uint32_t value = 0;

	if (port == PORT_FW_CFG)
		return 0;
	for (unsigned i = 0; i < size; i++)
		value |= (uint32_t)fw_cfg_read(&p->fw_cfg) << 8 * i;
	return value;
}

static void fw_cfg_port_write(struct platform *p, uint16_t port, unsigned size, uint32_t value)
{
	if (port == PORT_FW_CFG && size == 2)
		fw_cfg_select(&p->fw_cfg, value);
}

static uint32_t debug_exit_read(struct platform *p, uint16_t port, unsigned size)
{
	(void)p, (void)port, (void)size;
	return 0;
}

static void debug_exit_write(struct platform *p, uint16_t port, unsigned size, uint32_t value)
{
	(void)port, (void)size;
	platform_stop(p, VM_DEBUG_EXIT, value);
}

static uint32_t crtc_read(struct platform *p, uint16_t port, unsigned size)
{
	(void)size;
	return vga_crtc_read(&p->vga_crtc, port != PORT_CRTC);
}

static void crtc_write(struct platform *p, uint16_t port, unsigned size, uint32_t value)
{
	(void)size;
	platform_note_display(p);
	vga_crtc_write(&p->vga_crtc, port != PORT_CRTC, value);
}

static uint32_t bios_call_read(struct platform *p, uint16_t port, unsigned size)
{
	(void)p, (void)port, (void)size;
	return UINT32_MAX;
}

/* From the code behind the real-mode interrupt vectors (visor/load/bios_calls.c). */
static void bios_call_write(struct platform *p, uint16_t port, unsigned size, uint32_t value)
{
	if (port != PORT_BIOS_CALL || size < 2 || p->end != VM_RUNNING)
		return;
	snprintf(p->reason, sizeof(p->reason), "the guest takes interrupt %02xh (AH=%02xh) by the vector of a BIOS, "
	                                       "and there is no BIOS",
	         value & 0xff, value >> 8 & 0xff);
	platform_stop(p, VM_FAILED, 0);
}

/* Most used first. */
static const struct port_range ranges[] = {
	{PORT_COM1, PORT_COM1 + 7, 0, com1_read, com1_write},
	{PORT_PIC_MASTER, PORT_PIC_MASTER + 1, TIMED, pic_port_read, pic_port_write},
	{PORT_PIC_SLAVE, PORT_PIC_SLAVE + 1, TIMED, pic_port_read, pic_port_write},
	{PORT_PIT, PORT_PIT + 3, TIMED, pit_port_read, pit_port_write},
	{PORT_SYSTEM_B, PORT_SYSTEM_B, TIMED, system_b_read, system_b_write},
	{PORT_PM1A_EVENT, PORT_PM1A_EVENT + ACPI_PM_BYTES - 1, WIDE | TIMED, pm_read, pm_write},
	{PORT_RTC, PORT_RTC + 1, TIMED, rtc_port_read, rtc_port_write},
	{PORT_I8042_DATA, PORT_I8042_DATA, 0, i8042_read, i8042_write},
	{PORT_I8042_COMMAND, PORT_I8042_COMMAND, 0, i8042_read, i8042_write},
	{PORT_SYSTEM_A, PORT_SYSTEM_A, 0, reset_read, reset_write},
	{PORT_DEBUG_EXIT, PORT_DEBUG_EXIT + 3, WIDE, debug_exit_read, debug_exit_write},
	{PORT_ELCR, PORT_ELCR + 1, 0, pic_port_read, pic_port_write},
	{PORT_FW_CFG, PORT_FW_CFG + 1, WIDE, fw_cfg_port_read, fw_cfg_port_write},
	{PORT_RESET, PORT_RESET, 0, reset_read, reset_write},
	{PORT_CRTC, PORT_CRTC + 1, 0, crtc_read, crtc_write},
	{PORT_BIOS_CALL, PORT_BIOS_CALL + 1, WIDE, bios_call_read, bios_call_write},
};

static const struct port_range *ports_find(uint16_t port)
{
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (port >= ranges[i].first && port <= ranges[i].last)
			return &ranges[i];
	return NULL;
}

/*
 * A byte that only the tail of a wider access reaches is not the device's:
 * PCI configuration writes 32 bits to CF8h and must not hit CF9h.
 */
static unsigned bytes_inside(const struct port_range *r, uint16_t port, unsigned size)
{
	unsigned room = r->last - port + 1u;

	return size < room ? size : room;
}

static uint32_t all_ones(unsigned size)
{
	return size == 4 ? UINT32_MAX : (1u << 8 * size) - 1;
}

bool platform_bus_read(struct platform *p, uint16_t port, unsigned size, uint32_t *value)
{
	const struct port_range *r = ports_find(port);
	unsigned inside;

	*value = all_ones(size);
	if (!r)
		return false;
	if (r->flags & TIMED)
		platform_bring_up_to_now(p);
	if (r->flags & WIDE) {
		*value &= r->read(p, port, size);
		return true;
	}
	inside = bytes_inside(r, port, size);
	for (unsigned i = 0; i < inside; i++) {
		*value &= ~(0xffu << 8 * i);
		*value |= (r->read(p, port + i, 1) & 0xff) << 8 * i;
	}
	return true;
}

bool platform_bus_write(struct platform *p, uint16_t port, unsigned size, uint32_t value)
{
	const struct port_range *r = ports_find(port);
	unsigned inside;

	if (!r)
		return false;
	if (r->flags & TIMED)
		platform_bring_up_to_now(p);
	if (r->flags & WIDE) {
		r->write(p, port, size, value & all_ones(size));
		return true;
	}
	inside = bytes_inside(r, port, size);
	for (unsigned i = 0; i < inside; i++)
		r->write(p, port + i, 1, value >> 8 * i & 0xff);
	return true;
}
