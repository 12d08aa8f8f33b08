/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All devices under any sequence of port, memory and MSR accesses, while time
 * passes. Whatever the guest does: no event may lie in the past once it has
 * been served, time served late must not be served twice, an interrupt that is
 * pending can be taken, and what ended stays ended.
 */
#include <stdlib.h>
#include <string.h>

#include "visor/device/platform.h"

#define OPERATION_BYTES 8
#define SERVICE_ROUNDS 4 /* a deadline may need a second look, by rounding */

struct machine {
	uint64_t now;
	enum vm_end end;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void console_out(void *ctx, const uint8_t *bytes, size_t n)
{
	(void)ctx, (void)bytes;
	if (n != 1)
		abort();
}

static uint64_t now_ns(void *ctx)
{
	return ((struct machine *)ctx)->now;
}

static uint64_t wall_clock(void *ctx)
{
	(void)ctx;
	return 1700000000;
}

static uint64_t tsc(void *ctx)
{
	return ((struct machine *)ctx)->now * 3;
}

static bool write_memory(void *ctx, uint64_t gpa, const void *bytes, size_t n)
{
	(void)ctx, (void)bytes;
	return gpa < 1u << 20 && n <= 32;
}

/* Ports where something is, and now and then any other. */
static uint16_t choose_port(uint8_t a, uint8_t b)
{
	static const uint16_t base[] = {0x20, 0xa0, 0x40, 0x60, 0x70, 0x92, 0xf4, 0x3f8, 0x4d0, 0x510, 0x600, 0xcf8};
	unsigned n = sizeof(base) / sizeof(base[0]);

	return a % 16 < n ? base[a % 16] + (b & 15) : (uint16_t)(a << 8 | b);
}

static uint32_t choose_msr(uint8_t a, uint8_t b)
{
	static const uint32_t msr[] = {0x1b, 0x6e0, 0x4b564d00, 0x4b564d01};

	return a & 3 ? 0x800u + (b & 0x3f) : msr[b & 3];
}

static uint64_t choose_gpa(uint8_t a, uint8_t b)
{
	return (a & 1 ? 0xfee00000u : 0xfec00000u) + (b << 4) + (a >> 4 == 15 ? a >> 1 & 7 : 0);
}

static void serve(struct platform *p, struct machine *m)
{
	uint32_t code;

	for (unsigned i = 0;; i++) {
		platform_advance(p);
		if (platform_next_event(p) > m->now)
			break;
		if (i == SERVICE_ROUNDS)
			abort();
	}
	if (m->end != VM_RUNNING && platform_end(p, &code) != m->end)
		abort();
	m->end = platform_end(p, &code);
}

static void take_interrupts(struct platform *p)
{
	for (unsigned i = 0; i < 256 && platform_interrupt_pending(p); i++) {
		int vector = platform_interrupt_acknowledge(p);

		if (vector < 0 || vector > 255)
			abort();
	}
}

static void operate(struct platform *p, struct machine *m, const uint8_t *op)
{
	unsigned size = 1u << (op[0] >> 4 & 3);
	uint64_t wide;
	uint32_t value;

	memcpy(&value, op + 3, 4);
	switch (op[0] & 15) {
	case 0:
	case 1:
	case 2:
		platform_port_write(p, choose_port(op[1], op[2]), size & 7 ? size : 4, value);
		break;
	case 3:
	case 4:
		platform_port_read(p, choose_port(op[1], op[2]), size & 7 ? size : 4, &value);
		break;
	case 5:
	case 6:
		platform_mmio_write(p, choose_gpa(op[1], op[2]), size, value);
		break;
	case 7:
		platform_mmio_read(p, choose_gpa(op[1], op[2]), size, &wide);
		break;
	case 8:
	case 9:
		platform_msr_write(p, choose_msr(op[1], op[2]), op[7] & 1 ? value : value | (uint64_t)op[7] << 32);
		break;
	case 10:
		platform_msr_read(p, choose_msr(op[1], op[2]), &wide);
		break;
	case 11:
		m->now += (uint64_t)value << (op[7] & 15);
		break;
	case 12:
		if (platform_next_event(p) != UINT64_MAX && platform_next_event(p) - m->now < 1ull << 50)
			m->now = platform_next_event(p);
		break;
	case 13:
		platform_console_in(p, op + 1, op[7] & 7);
		break;
	case 14:
		platform_set_cr8(p, op[1] & 15);
		break;
	default:
		take_interrupts(p);
		platform_take_nmi(p);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine m = {0};
	const struct platform_config config = {.memory_bytes = 256u << 20, .cpus = 1, .tsc_hz = 3000000000};
	const struct platform_host host = {
		.console_out = console_out,
		.now_ns = now_ns,
		.wall_clock = wall_clock,
		.ctx = &m,
		.tsc = tsc,
		.write_memory = write_memory,
	};
	struct platform *p = malloc(platform_size());

	platform_init(p, &config, &host);
	for (size_t at = 0; at + OPERATION_BYTES <= size; at += OPERATION_BYTES) {
		operate(p, &m, data + at);
		serve(p, &m);
	}
	free(p);
	return 0;
}
