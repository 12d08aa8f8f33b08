/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine as a whole: hands accesses to the devices, carries their
 * interrupt lines to both interrupt controllers, and keeps time.
 *
 * Devices know nothing of each other. After every access that may have changed
 * something, platform_settle() looks at each device's line and passes changes on.
 */
#include "visor/device/platform.h"

#include "visor/device/clock.h"
#include "visor/device/platform_state.h"
#include "visor/device/wiring.h"

#define VIDEO_MEMORY_BASE 0xa0000ull /* visor/load/memory_map.h */
#define VIDEO_MEMORY_END 0xc0000ull
#define LOW_MEMORY_LIMIT 0xc0000000ull /* RAM beyond goes above 4 GiB: visor/load/memory_map.h */
#define LAPIC_PAGE_BYTES 0x1000u

#define MSR_APIC_BASE 0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC_FIRST 0x800
#define MSR_X2APIC_LAST 0x8ff

size_t platform_size(void)
{
	return sizeof(struct platform);
}

static void transmit(void *ctx, uint8_t byte)
{
	struct platform *p = ctx;

	p->host.console_out(p->host.ctx, &byte, 1);
}

static void lapic_ended(void *ctx, uint8_t vector)
{
	struct platform *p = ctx;

	ioapic_eoi(&p->ioapic, vector);
}

static bool ioapic_message(void *ctx, uint64_t entry)
{
	struct platform *p = ctx;

	return lapic_message(&p->lapic, IOAPIC_DESTINATION(entry), entry & IOAPIC_LOGICAL,
	                     IOAPIC_DELIVERY(entry), IOAPIC_VECTOR(entry), entry & IOAPIC_LEVEL);
}

static uint64_t read_tsc(void *ctx)
{
	struct platform *p = ctx;

	return p->host.tsc(p->host.ctx);
}

void platform_init(struct platform *p, const struct platform_config *c, const struct platform_host *h)
{
	uint64_t low = c->memory_bytes < LOW_MEMORY_LIMIT ? c->memory_bytes : LOW_MEMORY_LIMIT;

	*p = (struct platform){.host = *h, .next_event = CLOCK_NEVER};
	p->now = h->now_ns(h->ctx);
	uart_init(&p->com1, transmit, p);
	pic_init(&p->pic);
	pit_init(&p->pit);
	rtc_init(&p->rtc, low, c->memory_bytes - low, h->wall_clock(h->ctx), p->now);
	lapic_init(&p->lapic, 0, lapic_ended, h->tsc ? read_tsc : NULL, c->tsc_hz, p);
	ioapic_init(&p->ioapic, IOAPIC_ID, ioapic_message, p);
	acpi_pm_init(&p->acpi_pm);
	i8042_init(&p->i8042);
	fw_cfg_init(&p->fw_cfg, c->memory_bytes, c->cpus);
	pv_clock_init(&p->pv_clock, h->tsc ? h->write_memory : NULL, c->tsc_hz, h->wall_clock(h->ctx), p->now,
	              h->ctx);
}

void platform_stop(struct platform *p, enum vm_end end, uint32_t code)
{
	if (p->end != VM_RUNNING)
		return;
	p->end = end;
	p->end_code = code;
}

enum vm_end platform_end(const struct platform *p, uint32_t *code)
{
	*code = p->end_code;
	return p->end;
}

const char *platform_end_reason(const struct platform *p)
{
	return p->reason;
}

void platform_note_display(struct platform *p)
{
	if (p->host.note && !p->display_noted)
		p->host.note(p->host.ctx, "the guest writes to a VGA display, and this machine has none: only what it "
		                          "writes to its serial port is shown");
	p->display_noted = true;
}

/* ---- Interrupt lines and time ------------------------------------------------- */

/* ISA lines go to both controllers; the guest masks them at the one it does not use. */
static void set_line(struct platform *p, unsigned irq, bool level)
{
	uint32_t bit = 1u << irq;

	if (level == !!(p->lines & bit))
		return;
	p->lines ^= bit;
	pic_set_line(&p->pic, irq, level);
	ioapic_set_line(&p->ioapic, irq == IRQ_PIT ? IOAPIC_PIN_PIT : irq, level);
}

static void platform_plan(struct platform *p)
{
	uint64_t next = pit_next_event(&p->pit);

	next = clock_earlier(next, rtc_next_event(&p->rtc));
	next = clock_earlier(next, lapic_next_event(&p->lapic));
	p->next_event = clock_earlier(next, acpi_pm_next_event(&p->acpi_pm));
}

/*
 * The PIT's line goes down only to come up again, so that an interrupt which
 * the guest could not take during the output's high phase is not lost.
 */
static void pulse_pit(struct platform *p)
{
	set_line(p, IRQ_PIT, false);
	set_line(p, IRQ_PIT, true);
}

/* Let time pass up to p->now. */
static void advance(struct platform *p)
{
	if (pit_advance(&p->pit, p->now))
		pulse_pit(p);
	rtc_advance(&p->rtc, p->now);
	acpi_pm_advance(&p->acpi_pm, p->now);
	lapic_advance(&p->lapic, p->now);
}

/*
 * After whatever may have changed a device: an access, time. Also makes the question
 * for a pending interrupt open again, which each slow exit asks and few change.
 */
static void platform_settle(struct platform *p)
{
	p->pending_known = false;
	set_line(p, IRQ_COM1, uart_interrupt(&p->com1));
	set_line(p, IRQ_RTC, rtc_interrupt(&p->rtc));
	set_line(p, IRQ_KEYBOARD, i8042_interrupt(&p->i8042, false));
	set_line(p, IRQ_AUX, i8042_interrupt(&p->i8042, true));
	set_line(p, IRQ_SCI, acpi_pm_interrupt(&p->acpi_pm));
	platform_plan(p);
}

void platform_bring_up_to_now(struct platform *p)
{
	p->now = p->host.now_ns(p->host.ctx);
	if (p->now >= p->next_event)
		advance(p);
}

void platform_advance(struct platform *p)
{
	uint64_t now = p->host.now_ns(p->host.ctx);

	if (now < p->next_event)
		return;
	p->now = now;
	advance(p);
	platform_settle(p);
}

uint64_t platform_next_event(const struct platform *p)
{
	return p->next_event;
}

/* ---- Accesses --------------------------------------------------------------------- */

bool platform_port_read(struct platform *p, uint16_t port, unsigned size, uint32_t *value)
{
	bool found = platform_bus_read(p, port, size, value);

	platform_settle(p);
	return found;
}

/* A count or mode that holds the output low takes the line down. */
static void follow_pit(struct platform *p)
{
	if (!pit_output(&p->pit, 0, p->now))
		set_line(p, IRQ_PIT, false);
}

bool platform_port_write(struct platform *p, uint16_t port, unsigned size, uint32_t value)
{
	bool found = platform_bus_write(p, port, size, value);

	if (port >= PORT_PIT && port < PORT_PIT + 4)
		follow_pit(p);
	platform_settle(p);
	return found;
}

static bool in_lapic(const struct platform *p, uint64_t gpa)
{
	uint64_t base = lapic_mmio_base(&p->lapic);

	return base && gpa - base < LAPIC_PAGE_BYTES;
}

static bool in_ioapic(uint64_t gpa)
{
	return gpa - IOAPIC_BASE < IOAPIC_BYTES;
}

/*
 * Both have 32-bit registers, 16 bytes apart. A narrower read gives the bytes
 * it names; beyond a register's four bytes there are zeros.
 */
static uint64_t platform_part_of(uint32_t reg, uint64_t gpa, unsigned size)
{
	unsigned byte = gpa & 0xf;
	uint64_t value = byte < 4 ? reg >> 8 * byte : 0;

	return size < 4 ? value & ((1u << 8 * size) - 1) : value;
}

bool platform_mmio_read(struct platform *p, uint64_t gpa, unsigned size, uint64_t *value)
{
	uint32_t reg = 0;

	*value = size >= 8 ? UINT64_MAX : (1ull << 8 * size) - 1;
	if (in_lapic(p, gpa)) {
		platform_bring_up_to_now(p);
		p->pending_known = false;
		lapic_mmio_read(&p->lapic, gpa & 0xff0, p->now, &reg);
	} else if (in_ioapic(gpa)) {
		reg = ioapic_read(&p->ioapic, gpa & 0xff0);
	} else {
		return false;
	}
	*value = platform_part_of(reg, gpa, size);
	return true;
}

bool platform_mmio_look(struct platform *p, uint64_t gpa, uint32_t *value)
{
	uint64_t now;

	if (!in_lapic(p, gpa))
		return false;
	now = p->host.now_ns(p->host.ctx);
	return now < p->next_event && lapic_mmio_look(&p->lapic, gpa % LAPIC_PAGE_BYTES, now, value);
}

/* Writes count only at a register's first byte; narrower ones than 32 bits are taken as if whole. */
/*
 * INIT to the bootstrap processor, which is the only one: it goes on at the reset
 * vector, in firmware (SDM vol. 3, 9.1, 8.4.2), and that starts the machine anew.
 */
static void take_init(struct platform *p)
{
	if (p->lapic.init)
		platform_stop(p, VM_REBOOT, 0);
}

bool platform_mmio_write(struct platform *p, uint64_t gpa, unsigned size, uint64_t value)
{
	(void)size;
	if (in_lapic(p, gpa)) {
		platform_bring_up_to_now(p);
		lapic_mmio_write(&p->lapic, gpa & 0xfff, p->now, value);
		take_init(p);
	} else if (in_ioapic(gpa)) {
		ioapic_write(&p->ioapic, gpa & 0xfff, value);
	} else {
		if (gpa >= VIDEO_MEMORY_BASE && gpa < VIDEO_MEMORY_END)
			platform_note_display(p);
		return false;
	}
	platform_settle(p);
	return true;
}

bool platform_msr_owned(uint32_t msr)
{
	return msr == MSR_APIC_BASE || msr == MSR_TSC_DEADLINE ||
	       (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST) || pv_clock_owns(msr);
}

bool platform_msr_read(struct platform *p, uint32_t msr, uint64_t *value)
{
	if (!platform_msr_owned(msr))
		return false;
	if (pv_clock_owns(msr)) {
		*value = pv_clock_read(&p->pv_clock, msr);
		return true;
	}
	platform_bring_up_to_now(p);
	platform_settle(p);
	return lapic_msr_read(&p->lapic, msr, p->now, value);
}

bool platform_msr_write(struct platform *p, uint32_t msr, uint64_t value)
{
	bool done;

	if (!platform_msr_owned(msr))
		return false;
	platform_bring_up_to_now(p);
	if (pv_clock_owns(msr))
		done = p->host.tsc && pv_clock_write(&p->pv_clock, msr, value, read_tsc(p), p->now);
	else
		done = lapic_msr_write(&p->lapic, msr, p->now, value);
	take_init(p);
	platform_settle(p);
	return done;
}

uint8_t platform_cr8(const struct platform *p)
{
	return lapic_cr8(&p->lapic);
}

void platform_set_cr8(struct platform *p, uint8_t value)
{
	lapic_set_cr8(&p->lapic, value);
	p->pending_known = false;
}

size_t platform_console_in(struct platform *p, const uint8_t *bytes, size_t n)
{
	size_t taken = uart_receive(&p->com1, bytes, n);

	set_line(p, IRQ_COM1, uart_interrupt(&p->com1));
	p->pending_known = false;
	return taken;
}

/* ---- Interrupts to the CPU ----------------------------------------------------------- */

static bool pic_pending(const struct platform *p)
{
	return pic_output(&p->pic) && (lapic_accepts_extint(&p->lapic) ||
	                               ioapic_passes_extint(&p->ioapic, IOAPIC_PIN_PIC));
}

bool platform_interrupt_pending(struct platform *p)
{
	if (!p->pending_known) {
		p->pending = pic_pending(p) || lapic_pending(&p->lapic) >= 0;
		p->pending_known = true;
	}
	return p->pending;
}

/* ExtINT first: the 8259's request is not subject to the local APIC's priorities. */
int platform_interrupt_acknowledge(struct platform *p)
{
	p->pending_known = false;
	return pic_pending(p) ? pic_acknowledge(&p->pic) : lapic_acknowledge(&p->lapic);
}

bool platform_take_nmi(struct platform *p)
{
	bool nmi = p->lapic.nmi;

	p->lapic.nmi = false;
	return nmi;
}
