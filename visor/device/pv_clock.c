/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KVM's paravirtual clock. The TSC runs at one rate and is never stopped, so a
 * structure is written once, when the guest says where it wants it.
 */
#include "visor/device/pv_clock.h"

#include "visor/device/clock.h"

#define SYSTEM_TIME_ENABLE 1u
#define TSC_STABLE 1u    /* flags: readings of all CPUs agree and never go back */
#define FIRST_VERSION 2u /* an odd one would say that an update is under way */

/* Both as the documentation lays them out; little endian, packed. */
struct wall_clock {
	uint32_t version, seconds, nanoseconds;
};

struct system_time {
	uint32_t version, pad0;
	uint64_t tsc_timestamp;
	uint64_t system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags;
	uint8_t pad[2];
};
_Static_assert(sizeof(struct system_time) == 32, "layout of the interface");

void pv_clock_init(struct pv_clock *c, bool (*write)(void *ctx, uint64_t gpa, const void *bytes, size_t n),
                   uint64_t tsc_hz, uint64_t wall, uint64_t now, void *ctx)
{
	*c = (struct pv_clock){
		.write = write, .ctx = ctx, .tsc_hz = tsc_hz, .started = wall - now / NS_PER_SECOND};
}

bool pv_clock_owns(uint32_t msr)
{
	return msr == MSR_PV_WALL_CLOCK || msr == MSR_PV_SYSTEM_TIME;
}

uint64_t pv_clock_read(const struct pv_clock *c, uint32_t msr)
{
	return msr == MSR_PV_WALL_CLOCK ? c->wall_clock : c->system_time;
}

/*
 * ns = (ticks shifted by `shift`) * mul / 2^32. The ticks are shifted until a
 * second has between 1 and 2 times 10^9 of them, which makes the most of mul's
 * 32 bits.
 */
static void set_rate(struct system_time *t, uint64_t hz)
{
	while (hz > 2 * NS_PER_SECOND) {
		hz >>= 1;
		t->tsc_shift--;
	}
	while (hz <= NS_PER_SECOND) {
		hz <<= 1;
		t->tsc_shift++;
	}
	t->tsc_to_system_mul = (NS_PER_SECOND << 32) / hz;
}

static bool put_system_time(struct pv_clock *c, uint64_t gpa, uint64_t tsc, uint64_t now)
{
	struct system_time t = {
		.version = FIRST_VERSION, .tsc_timestamp = tsc, .system_time = now, .flags = TSC_STABLE};

	set_rate(&t, c->tsc_hz);
	return c->write(c->ctx, gpa, &t, sizeof(t));
}

static bool put_wall_clock(struct pv_clock *c, uint64_t gpa)
{
	struct wall_clock w = {.version = FIRST_VERSION, .seconds = (uint32_t)c->started};

	return c->write(c->ctx, gpa, &w, sizeof(w));
}

bool pv_clock_write(struct pv_clock *c, uint32_t msr, uint64_t value, uint64_t tsc, uint64_t now)
{
	if (!c->write || !c->tsc_hz)
		return false;
	if (msr == MSR_PV_WALL_CLOCK) {
		c->wall_clock = value;
		return put_wall_clock(c, value);
	}
	c->system_time = value;
	return !(value & SYSTEM_TIME_ENABLE) || put_system_time(c, value & ~(uint64_t)3, tsc, now);
}
