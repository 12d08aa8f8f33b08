/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/host/calibrate.h"

static uint64_t width(uint64_t least, uint64_t most)
{
	return most > least ? most - least : 0;
}

static uint64_t middle(uint64_t least, uint64_t most)
{
	uint64_t ticks = least + width(least, most) / 2;

	return ticks ? ticks : 1;
}

static bool is_tighter(const struct calibrate_window *w, const struct calibration *c)
{
	return width(w->least, w->most) < width(c->least, c->most);
}

void calibrate_add(struct calibration *c, const struct calibrate_window *w)
{
	uint64_t least = w->least > c->least ? w->least : c->least;
	uint64_t most = w->most < c->most ? w->most : c->most;

	if (!c->windows++) {
		c->least = w->least;
		c->most = w->most;
		c->timer = *w;
		return;
	}
	if (least <= most) {
		c->least = least;
		c->most = most;
	} else if (is_tighter(w, c)) {
		c->least = w->least;
		c->most = w->most;
	}
	if (width(w->timer_least, w->timer_most) < width(c->timer.timer_least, c->timer.timer_most))
		c->timer = *w;
}

bool calibrate_is_exact(const struct calibration *c)
{
	return c->windows && width(c->least, c->most) <= c->most / 1024 &&
	       width(c->timer.timer_least, c->timer.timer_most) <= c->timer.timer_most / 1024;
}

uint64_t calibrate_ticks(const struct calibration *c)
{
	return middle(c->least, c->most);
}

uint64_t calibrate_timer_rate(const struct calibration *c)
{
	return (c->timer.timer << 32) / middle(c->timer.timer_least, c->timer.timer_most);
}

uint64_t calibrate_stated_hz(const struct calibrate_cpuid *c)
{
	uint64_t crystal = c->crystal.ecx, numerator = c->crystal.ebx, denominator = c->crystal.eax;

	/* A hypervisor knows what it gives; the CPU's own leaves tell of the machine below. */
	if (c->hypervisor.eax)
		return (uint64_t)c->hypervisor.eax * 1000;
	if (crystal && numerator && denominator)
		return crystal * numerator / denominator;
	return (uint64_t)(c->frequency.eax & 0xffff) * 1000000;
}
