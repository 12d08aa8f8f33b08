/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine as the visor drives it: ports, device memory, time, interrupts
 * through both controllers, and the ways a VM ends.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"
#include "visor/device/platform.h"

#define TSC_HZ 2000000000ull
#define WALL 1700000000ull

struct machine {
	struct platform *platform;
	uint64_t now;
	char console[64];
	size_t console_bytes;
	uint8_t memory[8192];
};

static void console_out(void *ctx, const uint8_t *bytes, size_t n)
{
	struct machine *m = ctx;

	assert_true(m->console_bytes + n <= sizeof(m->console));
	memcpy(m->console + m->console_bytes, bytes, n);
	m->console_bytes += n;
}

static uint64_t now_ns(void *ctx)
{
	return ((struct machine *)ctx)->now;
}

static unsigned notes;

static void count_note(void *ctx, const char *text)
{
	(void)ctx;
	assert_non_null(strstr(text, "VGA"));
	notes++;
}

static uint64_t wall_clock(void *ctx)
{
	(void)ctx;
	return WALL;
}

static uint64_t tsc(void *ctx)
{
	return 2 * ((struct machine *)ctx)->now;
}

static bool write_memory(void *ctx, uint64_t gpa, const void *bytes, size_t n)
{
	struct machine *m = ctx;

	if (gpa > sizeof(m->memory) || n > sizeof(m->memory) - gpa)
		return false;
	memcpy(m->memory + gpa, bytes, n);
	return true;
}

static int fresh(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct platform_host host = {
		.console_out = console_out,
		.now_ns = now_ns,
		.wall_clock = wall_clock,
		.note = count_note,
		.ctx = m,
		.tsc = tsc,
		.write_memory = write_memory,
	};
	struct platform_config config = {.memory_bytes = 5ull << 30, .cpus = 1, .tsc_hz = TSC_HZ};

	m->platform = malloc(platform_size());
	platform_init(m->platform, &config, &host);
	*state = m;
	return 0;
}

static int discard(void **state)
{
	struct machine *m = *state;

	free(m->platform);
	free(m);
	return 0;
}

static uint32_t in(struct machine *m, uint16_t port, unsigned size)
{
	uint32_t value;

	assert_true(platform_port_read(m->platform, port, size, &value));
	return value;
}

static void out(struct machine *m, uint16_t port, unsigned size, uint32_t value)
{
	assert_true(platform_port_write(m->platform, port, size, value));
}

static void init_pics(struct machine *m)
{
	static const uint16_t port[] = {0x20, 0x21, 0x21, 0x21, 0xa0, 0xa1, 0xa1, 0xa1, 0x21, 0xa1};
	static const uint8_t value[] = {0x11, 0x20, 0x04, 0x01, 0x11, 0x28, 0x02, 0x01, 0x00, 0x00};

	for (unsigned i = 0; i < sizeof(value); i++)
		out(m, port[i], 1, value[i]);
}

static void start_pit(struct machine *m, uint16_t count)
{
	out(m, 0x43, 1, 0x34);
	out(m, 0x40, 1, count & 0xff);
	out(m, 0x40, 1, count >> 8);
}

/* Sleep until the next event, as the visor does while the guest halts. */
static void sleep_to_event(struct machine *m)
{
	uint64_t next = platform_next_event(m->platform);

	assert_true(next != UINT64_MAX && next >= m->now);
	m->now = next;
	platform_advance(m->platform);
}

static enum vm_end end_of(struct machine *m)
{
	uint32_t code;

	return platform_end(m->platform, &code);
}

static void unknown_ports(void **state)
{
	struct machine *m = *state;
	uint32_t value;

	assert_false(platform_port_read(m->platform, 0x1234, 1, &value));
	assert_int_equal(value, 0xff);
	assert_false(platform_port_read(m->platform, 0x1234, 2, &value));
	assert_int_equal(value, 0xffff);
	assert_false(platform_port_read(m->platform, 0xcf8, 4, &value));
	assert_int_equal(value, 0xffffffff);
	assert_false(platform_port_write(m->platform, 0xcf8, 4, 0x80000600)); /* must not reset through CF9h */
	assert_false(platform_port_write(m->platform, 0x80, 1, 0));
	assert_int_equal(end_of(m), VM_RUNNING);
}

/* A 16-bit write to two 8-bit ports is two writes; a read beyond the device floats. */
static void wide_accesses(void **state)
{
	struct machine *m = *state;

	out(m, 0x21, 1, 0x5a);
	out(m, 0x3ff, 1, 0x77);
	assert_int_equal(in(m, 0x3ff, 2), 0xff77);
	out(m, 0x3f8, 1, 'a');
	assert_int_equal(m->console_bytes, 1);
	assert_int_equal(m->console[0], 'a');
}

static void pit_through_pic(void **state)
{
	struct machine *m = *state;

	init_pics(m);
	start_pit(m, 1193);
	for (unsigned i = 1; i <= 100; i++) {
		assert_false(platform_interrupt_pending(m->platform));
		sleep_to_event(m);
		assert_true(platform_interrupt_pending(m->platform));
		assert_int_equal(platform_interrupt_acknowledge(m->platform), 0x20);
		out(m, 0x20, 1, 0x20);
	}
	assert_in_range(m->now, 99000000, 101000000);
	assert_int_equal(platform_interrupt_acknowledge(m->platform), -1); /* it has gone away */
}

static void program_ioapic(struct machine *m, unsigned pin, uint32_t low)
{
	assert_true(platform_mmio_write(m->platform, 0xfec00000, 4, 0x10 + 2 * pin));
	assert_true(platform_mmio_write(m->platform, 0xfec00010, 4, low));
}

/* ISA interrupt 0 is on pin 2; the PIC's LINT0 is masked, as Linux does. */
static void pit_through_ioapic(void **state)
{
	struct machine *m = *state;

	init_pics(m);
	assert_true(platform_mmio_write(m->platform, 0xfee00350, 4, 0x10700));
	program_ioapic(m, 2, 0x30);
	start_pit(m, 1000);
	sleep_to_event(m);
	assert_int_equal(platform_interrupt_acknowledge(m->platform), 0x30);
	assert_false(platform_interrupt_pending(m->platform));
	assert_true(platform_mmio_write(m->platform, 0xfee000b0, 4, 0));
	sleep_to_event(m);
	assert_int_equal(platform_interrupt_acknowledge(m->platform), 0x30);
}

static void console_input(void **state)
{
	struct machine *m = *state;

	init_pics(m);
	out(m, 0x3f9, 1, 1);
	assert_int_equal(platform_console_in(m->platform, (const uint8_t *)"q", 1), 1);
	assert_int_equal(platform_interrupt_acknowledge(m->platform), 0x24);
	assert_int_equal(in(m, 0x3f8, 1), 'q');
	out(m, 0x20, 1, 0x20);
	assert_false(platform_interrupt_pending(m->platform));
}

static void rtc_and_port_70(void **state)
{
	struct machine *m = *state;

	out(m, 0x70, 1, 0x09);
	assert_int_equal(in(m, 0x71, 1), 0x23); /* 2023 */
	out(m, 0x70, 2, 0x6060);                /* index and data in one write */
	assert_int_equal(in(m, 0x71, 1), 0x60);
}

static void lapic_timer(void **state)
{
	struct machine *m = *state;
	uint64_t value;

	assert_true(platform_msr_write(m->platform, 0x1b, 0xfee00d00)); /* x2APIC */
	assert_false(platform_mmio_read(m->platform, 0xfee00020, 4, &value));
	assert_true(platform_msr_write(m->platform, 0x832, 0x40050));
	assert_true(platform_msr_write(m->platform, 0x6e0, 10000));
	assert_int_equal(platform_next_event(m->platform), 5000);
	sleep_to_event(m);
	assert_int_equal(platform_interrupt_acknowledge(m->platform), 0x50);
	assert_false(platform_msr_owned(0x10));
	assert_false(platform_msr_read(m->platform, 0x10, &value));
	assert_false(platform_msr_write(m->platform, 0x840, 0));
}

/* The read that changes nothing says what the other one says, or leaves it to that. */
static void looks(void **state)
{
	struct machine *m = *state;
	uint64_t value;
	uint32_t seen, looked = 0;

	assert_true(platform_mmio_write(m->platform, 0xfee000f0, 4, 0x1ff));
	assert_true(platform_mmio_write(m->platform, 0xfee00320, 4, 0x50)); /* one shot, vector 50h */
	assert_true(platform_mmio_write(m->platform, 0xfee00380, 4, 1000));
	m->now += 3;
	for (uint64_t gpa = 0xfee00000; gpa < 0xfee01000; gpa += 4) {
		if (!platform_mmio_look(m->platform, gpa, &seen))
			continue;
		assert_true(platform_mmio_read(m->platform, gpa, 4, &value));
		assert_int_equal(seen, value);
		assert_int_equal(gpa % 16, 0);
		looked++;
	}
	assert_int_equal(looked, 45); /* those of table 11-1 that can be read, APR and RRD among them */
	assert_true(platform_mmio_look(m->platform, 0xfee00280, &seen));
	assert_int_equal(seen, 0); /* no error has been noted, though registers that are missing were looked at */
	assert_true(platform_mmio_write(m->platform, 0xfee00280, 4, 0));
	assert_true(platform_mmio_look(m->platform, 0xfee00280, &seen));
	assert_int_equal(seen, 0);
	assert_false(platform_mmio_look(m->platform, 0xfec00000, &seen)); /* the I/O APIC */
	assert_false(platform_mmio_look(m->platform, 0xfee00040, &seen)); /* no register: an error to be noted */

	/* The timer is due: what that changes comes first. */
	m->now = platform_next_event(m->platform);
	assert_false(platform_mmio_look(m->platform, 0xfee00220, &seen));
	assert_true(platform_mmio_read(m->platform, 0xfee00220, 4, &value));
	assert_int_equal(value, 1u << 16); /* IRR of vectors 64 to 95: 50h */
	platform_advance(m->platform);
	assert_true(platform_mmio_look(m->platform, 0xfee00220, &seen));
	assert_int_equal(seen, 1u << 16);
	assert_true(platform_interrupt_pending(m->platform));

	assert_true(platform_msr_write(m->platform, 0x1b, 0xfee00d00)); /* x2APIC: there is no page */
	assert_false(platform_mmio_look(m->platform, 0xfee00020, &seen));
}

static void mmio_sizes(void **state)
{
	struct machine *m = *state;
	uint64_t value;

	assert_true(platform_mmio_read(m->platform, 0xfee00030, 4, &value));
	assert_int_equal(value, 0x50014);
	assert_true(platform_mmio_read(m->platform, 0xfee00032, 1, &value));
	assert_int_equal(value, 5);
	assert_true(platform_mmio_read(m->platform, 0xfee00030, 8, &value));
	assert_int_equal(value, 0x50014);
	assert_false(platform_mmio_read(m->platform, 0xfed00000, 4, &value));
	assert_int_equal(value, 0xffffffff);
	assert_false(platform_mmio_read(m->platform, 0xfed00000, 8, &value));
	assert_true(value == UINT64_MAX);
	assert_false(platform_mmio_write(m->platform, 0xfed00000, 4, 0));
}

/* 24 bits and more of it, at 3.579545 MHz; wide and narrow reads agree. */
static void pm_timer(void **state)
{
	struct machine *m = *state;
	uint32_t start = in(m, 0x608, 4);

	m->now += 1000000000;
	assert_int_equal(in(m, 0x608, 4) - start, 3579545);
	assert_int_equal(in(m, 0x608, 2), in(m, 0x608, 4) & 0xffff);
	assert_int_equal(in(m, 0x60a, 1), in(m, 0x608, 4) >> 16 & 0xff);
}

/* The timer's top bit changes every 600 s: status, and SCI on pin 9 when enabled. */
static void pm_timer_interrupt(void **state)
{
	struct machine *m = *state;

	init_pics(m);
	out(m, 0x4d1, 1, 0x02);
	out(m, 0x602, 2, 1);
	sleep_to_event(m);
	assert_in_range(m->now, 599000000000, 601000000000);
	assert_int_equal(platform_interrupt_acknowledge(m->platform), 0x29);
	assert_int_equal(in(m, 0x600, 2), 1);
	out(m, 0x600, 2, 1); /* a one clears */
	assert_int_equal(in(m, 0x600, 2), 0);
	out(m, 0xa0, 1, 0x20);
	out(m, 0x20, 1, 0x20);
	assert_false(platform_interrupt_pending(m->platform));
}

static void power_off(void **state)
{
	struct machine *m = *state;

	assert_int_equal(in(m, 0x604, 2), 1); /* ACPI mode from the start */
	out(m, 0x604, 2, 1 << 10 | 0x2000);   /* another sleep type */
	assert_int_equal(end_of(m), VM_RUNNING);
	out(m, 0x604, 2, 5 << 10);
	assert_int_equal(end_of(m), VM_RUNNING);
	out(m, 0x604, 2, 5 << 10 | 0x2000);
	assert_int_equal(end_of(m), VM_POWER_OFF);
	out(m, 0x64, 1, 0xfe); /* the first reason counts */
	assert_int_equal(end_of(m), VM_POWER_OFF);
}

static void reset_by_keyboard_controller(void **state)
{
	struct machine *m = *state;

	assert_int_equal(in(m, 0x64, 1) & 3, 0); /* neither full: nobody waits */
	out(m, 0x64, 1, 0xaa);
	assert_int_equal(in(m, 0x64, 1) & 1, 1);
	assert_int_equal(in(m, 0x60, 1), 0x55);
	assert_int_equal(in(m, 0x64, 1) & 1, 0);
	out(m, 0x64, 1, 0xd0);
	assert_int_equal(in(m, 0x60, 1) & 3, 3); /* A20 on, not in reset */
	out(m, 0x64, 1, 0xd1);
	out(m, 0x60, 1, 0xdf);
	out(m, 0x64, 1, 0x60);
	out(m, 0x60, 1, 0x65);
	out(m, 0x64, 1, 0x20);
	assert_int_equal(in(m, 0x60, 1), 0x65);
	out(m, 0x60, 1, 0xff); /* to a keyboard that is not there */
	assert_int_equal(in(m, 0x64, 1) & 1, 1);
	assert_int_equal(end_of(m), VM_RUNNING);
	out(m, 0x64, 1, 0xfe);
	assert_int_equal(end_of(m), VM_REBOOT);
}

static void reset_by_output_port(void **state)
{
	struct machine *m = *state;

	out(m, 0x64, 1, 0xd1);
	out(m, 0x60, 1, 0xfe);
	assert_int_equal(end_of(m), VM_REBOOT);
}

static void reset_by_cf9(void **state)
{
	struct machine *m = *state;

	out(m, 0xcf9, 1, 0x02);
	assert_int_equal(end_of(m), VM_RUNNING);
	assert_int_equal(in(m, 0xcf9, 1), 0x02);
	out(m, 0xcf9, 1, 0x06);
	assert_int_equal(end_of(m), VM_REBOOT);
}

static void reset_by_port_92(void **state)
{
	struct machine *m = *state;

	assert_int_equal(in(m, 0x92, 1), 2);
	out(m, 0x92, 1, 2);
	assert_int_equal(end_of(m), VM_RUNNING);
	out(m, 0x92, 1, 3);
	assert_int_equal(end_of(m), VM_REBOOT);
}

static void debug_exit(void **state)
{
	struct machine *m = *state;
	uint32_t code;

	out(m, 0xf4, 4, 0x1234);
	assert_int_equal(platform_end(m->platform, &code), VM_DEBUG_EXIT);
	assert_int_equal(code, 0x1234);
}

static uint64_t fw_cfg_item(struct machine *m, uint16_t key, unsigned bytes)
{
	uint64_t value = 0;

	out(m, 0x510, 2, key);
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)in(m, 0x511, 1) << 8 * i;
	return value;
}

static void fw_cfg(void **state)
{
	struct machine *m = *state;

	assert_int_equal(fw_cfg_item(m, 0, 4), 0x554d4551);
	assert_int_equal(fw_cfg_item(m, 1, 4), 1);
	assert_true(fw_cfg_item(m, 3, 8) == 5ull << 30);
	assert_int_equal(in(m, 0x511, 1), 0); /* past the end */
	assert_int_equal(fw_cfg_item(m, 5, 2), 1);
	assert_int_equal(fw_cfg_item(m, 0x0f, 2), 1);
	assert_int_equal(fw_cfg_item(m, 0x19, 4), 0); /* no files */
	out(m, 0x510, 2, 0);
	assert_int_equal(in(m, 0x511, 4), 0x554d4551);
}

static void task_priority(void **state)
{
	struct machine *m = *state;
	uint64_t value;

	platform_set_cr8(m->platform, 9);
	assert_int_equal(platform_cr8(m->platform), 9);
	platform_mmio_read(m->platform, 0xfee00080, 4, &value);
	assert_int_equal(value, 0x90);
}

static void nmi(void **state)
{
	struct machine *m = *state;

	assert_false(platform_take_nmi(m->platform));
	platform_mmio_write(m->platform, 0xfee00300, 4, 0x40400);
	assert_true(platform_take_nmi(m->platform));
	assert_false(platform_take_nmi(m->platform));
}

/* To itself, by its number: the bootstrap processor goes on at the reset vector. The others are not there. */
static void init(void **state)
{
	struct machine *m = *state;
	uint32_t code;

	platform_mmio_write(m->platform, 0xfee00300, 4, 0xc4500); /* all but itself */
	assert_int_equal(platform_end(m->platform, &code), VM_RUNNING);
	platform_mmio_write(m->platform, 0xfee00310, 4, 5u << 24);
	platform_mmio_write(m->platform, 0xfee00300, 4, 0x4500); /* number 5 */
	assert_int_equal(platform_end(m->platform, &code), VM_RUNNING);
	platform_mmio_write(m->platform, 0xfee00310, 4, 0);
	platform_mmio_write(m->platform, 0xfee00300, 4, 0x8500); /* de-assert: no message to itself */
	assert_int_equal(platform_end(m->platform, &code), VM_RUNNING);
	platform_mmio_write(m->platform, 0xfee00300, 4, 0x4500);
	assert_int_equal(platform_end(m->platform, &code), VM_REBOOT);
}

/* The rate in the structure must give back the time that has passed, to a part in a billion. */
static void paravirtual_clock(void **state)
{
	struct machine *m = *state;
	uint64_t timestamp, system, value;
	uint32_t mul, seconds;
	int8_t shift;

	m->now = 7000;
	assert_true(platform_msr_write(m->platform, 0x4b564d01, 0x100 | 1));
	memcpy(&timestamp, m->memory + 0x108, 8);
	memcpy(&system, m->memory + 0x110, 8);
	memcpy(&mul, m->memory + 0x118, 4);
	shift = (int8_t)m->memory[0x11c];
	assert_int_equal(timestamp, 14000);
	assert_int_equal(system, 7000);
	assert_int_equal(m->memory[0x11d], 1);
	assert_int_equal(m->memory[0x100] & 1, 0); /* not being updated */
	value = shift < 0 ? TSC_HZ >> -shift : TSC_HZ << shift;
	assert_in_range(value * mul >> 32, 999999998, 1000000000);
	assert_true(platform_msr_read(m->platform, 0x4b564d01, &value) && value == 0x101);
	assert_true(platform_msr_write(m->platform, 0x4b564d00, 0x200));
	memcpy(&seconds, m->memory + 0x204, 4);
	assert_int_equal(seconds, WALL);
	assert_false(platform_msr_write(m->platform, 0x4b564d01, 0x100000 | 1)); /* no memory there */
	assert_true(platform_msr_write(m->platform, 0x4b564d01, 0));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh, discard)

/* A level-triggered interrupt comes again after its EOI while its device still wants it. */
static void level_through_ioapic(void **state)
{
	struct machine *m = *state;
	uint64_t value;

	platform_mmio_write(m->platform, 0xfee00350, 4, 0x10700);
	program_ioapic(m, 9, 0x8049);
	out(m, 0x602, 2, 1);
	sleep_to_event(m); /* the PM timer's interrupt */
	assert_int_equal(platform_interrupt_acknowledge(m->platform), 0x49);
	platform_mmio_read(m->platform, 0xfec00010, 4, &value);
	assert_int_equal(value, 0xc049); /* remote IRR */
	platform_mmio_write(m->platform, 0xfee000b0, 4, 0);
	assert_int_equal(platform_interrupt_acknowledge(m->platform), 0x49);
	out(m, 0x600, 2, 1);
	platform_mmio_write(m->platform, 0xfee000b0, 4, 0);
	assert_false(platform_interrupt_pending(m->platform));
}

/* What a device shows when it is read is what has happened by then. */
static void reads_are_up_to_date(void **state)
{
	struct machine *m = *state;
	uint64_t value;

	out(m, 0x43, 1, 0x30); /* mode 0: the line falls, and rises when the count is over */
	out(m, 0x40, 1, 100);
	out(m, 0x40, 1, 0);
	out(m, 0x20, 1, 0x0a);
	assert_int_equal(in(m, 0x20, 1) & 1, 0);
	m->now = 50000;
	assert_in_range(in(m, 0x40, 1), 39, 42);
	assert_int_equal(in(m, 0x61, 1) & 0x10, (50000 / 15085 % 2) << 4);
	m->now = 100000;
	assert_int_equal(in(m, 0x20, 1) & 1, 1);
	platform_advance(m->platform);
	assert_true(platform_next_event(m->platform) == UINT64_MAX);
	platform_advance(m->platform);

	platform_msr_write(m->platform, 0x1b, 0xfee00d00);
	platform_msr_write(m->platform, 0x83e, 0xb);
	platform_msr_write(m->platform, 0x838, 5000);
	m->now += 2000;
	assert_true(platform_msr_read(m->platform, 0x839, &value) && value == 3000);
	assert_int_equal(in(m, 0x602, 2), 0);
	assert_int_equal(in(m, 0x606, 2), 0);
}

/* The code behind a real-mode interrupt vector tells which one a guest has called; then the VM ends. */
static void bios_call(void **state)
{
	struct machine *m = *state;

	out(m, 0xb8, 1, 0x10); /* part of it is nothing */
	out(m, 0xb9, 1, 0x10);
	assert_int_equal(end_of(m), VM_RUNNING);
	out(m, 0xb8, 2, 0x0e10);
	assert_int_equal(end_of(m), VM_FAILED);
	assert_string_equal(platform_end_reason(m->platform), "the guest takes interrupt 10h (AH=0eh) by the vector of "
	                                                      "a BIOS, and there is no BIOS");
	out(m, 0xb8, 2, 0x0e13); /* the first one counts */
	assert_non_null(strstr(platform_end_reason(m->platform), "10h"));
}

/* The cursor is where it was put; that nobody sees it is said once. */
static void display(void **state)
{
	struct machine *m = *state;

	notes = 0;
	assert_int_equal(in(m, 0x3d5, 1), 0);
	out(m, 0x3d4, 2, 0x070e);
	out(m, 0x3d4, 1, 0x0f);
	out(m, 0x3d5, 1, 0xd0);
	assert_int_equal(in(m, 0x3d4, 2), 0xd00f);
	out(m, 0x3d4, 1, 0x0e);
	assert_int_equal(in(m, 0x3d5, 1), 0x07);
	out(m, 0x3d4, 1, 0x20);
	assert_int_equal(in(m, 0x3d5, 1), 0xff);
	assert_int_equal(notes, 1);
	assert_false(platform_mmio_write(m->platform, 0xb8000, 2, 0x0741));
	assert_int_equal(notes, 1);
}

static void display_memory(void **state)
{
	struct machine *m = *state;

	notes = 0;
	assert_false(platform_mmio_write(m->platform, 0x9f000, 2, 0x0741));
	assert_int_equal(notes, 0);
	assert_false(platform_mmio_write(m->platform, 0xb8000, 2, 0x0741));
	assert_false(platform_mmio_write(m->platform, 0xb8002, 2, 0x0741));
	assert_int_equal(notes, 1);
}

/*
 * What is sent to a keyboard or a mouse that is not there ends with a time-out: FEh with bit 6 of the status
 * (of AT controllers: "general time-out"), so that nobody waits for an answer.
 */
static void absent_keyboard(void **state)
{
	struct machine *m = *state;

	out(m, 0x60, 1, 0xff); /* reset */
	assert_int_equal(in(m, 0x64, 1), 0x45);
	assert_int_equal(in(m, 0x60, 1), 0xfe);
	assert_int_equal(in(m, 0x64, 1), 0x04);
	out(m, 0x64, 1, 0xd4);
	out(m, 0x60, 1, 0xf2); /* who are you, mouse? */
	assert_int_equal(in(m, 0x64, 1), 0x65);
	assert_int_equal(in(m, 0x60, 1), 0xfe);
	out(m, 0x60, 1, 0xed);
	out(m, 0x64, 1, 0xaa); /* the controller's own answer is not one of these */
	assert_int_equal(in(m, 0x64, 1), 0x05);
	assert_int_equal(in(m, 0x60, 1), 0x55);

	out(m, 0x64, 1, 0xad);
	out(m, 0x64, 1, 0xa7);
	out(m, 0x64, 1, 0x20);
	assert_int_equal(in(m, 0x60, 1) & 0x30, 0x30);
	out(m, 0x64, 1, 0xae);
	out(m, 0x64, 1, 0xa8);
	out(m, 0x64, 1, 0x20);
	assert_int_equal(in(m, 0x60, 1) & 0x30, 0);
}

/* With interrupts allowed in the command byte the answer interrupts: 1, or 12 for the mouse. */
static void keyboard_interrupts(void **state)
{
	struct machine *m = *state;

	for (unsigned chip = 0x20; chip <= 0xa0; chip += 0x80) { /* vectors 30h-3Fh */
		out(m, chip, 1, 0x11);
		out(m, chip + 1, 1, chip == 0x20 ? 0x30 : 0x38);
		out(m, chip + 1, 1, chip == 0x20 ? 4 : 2);
		out(m, chip + 1, 1, 1);
		out(m, chip + 1, 1, 0);
	}
	out(m, 0x60, 1, 0xff);
	assert_false(platform_interrupt_pending(m->platform));
	in(m, 0x60, 1);
	out(m, 0x64, 1, 0x60);
	out(m, 0x60, 1, 0x47);
	out(m, 0x60, 1, 0xff);
	assert_int_equal(platform_interrupt_acknowledge(m->platform), 0x31);
	in(m, 0x60, 1);
	out(m, 0x20, 1, 0x20);
	assert_false(platform_interrupt_pending(m->platform));
	out(m, 0x64, 1, 0xd4);
	out(m, 0x60, 1, 0xff);
	assert_int_equal(platform_interrupt_acknowledge(m->platform), 0x3c);
}

static void keyboard_tests(void **state)
{
	struct machine *m = *state;

	out(m, 0x64, 1, 0xab);
	assert_int_equal(in(m, 0x60, 1), 1); /* nothing answers on the clock line */
	out(m, 0x64, 1, 0xae);
	assert_int_equal(in(m, 0x64, 1) & 1, 0);
	out(m, 0x510, 2, 4);
	assert_int_equal(in(m, 0x511, 2), 1);
	assert_int_equal(end_of(m), VM_RUNNING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(unknown_ports),
		TEST(wide_accesses),
		TEST(pit_through_pic),
		TEST(pit_through_ioapic),
		TEST(console_input),
		TEST(rtc_and_port_70),
		TEST(lapic_timer),
		TEST(looks),
		TEST(mmio_sizes),
		TEST(pm_timer),
		TEST(pm_timer_interrupt),
		TEST(power_off),
		TEST(reset_by_keyboard_controller),
		TEST(reset_by_output_port),
		TEST(reset_by_cf9),
		TEST(reset_by_port_92),
		TEST(debug_exit),
		TEST(fw_cfg),
		TEST(task_priority),
		TEST(nmi),
		TEST(init),
		TEST(paravirtual_clock),
		TEST(level_through_ioapic),
		TEST(reads_are_up_to_date),
		TEST(keyboard_tests),
		TEST(absent_keyboard),
		TEST(keyboard_interrupts),
		TEST(bios_call),
		TEST(display),
		TEST(display_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
