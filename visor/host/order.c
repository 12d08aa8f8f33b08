/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/host/order.h"

#include "visor/host/serial.h"

#define CHUNK 16

static const char line[] = "@vmmu end\n";

bool order_take(struct order *order, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		/* Its first character is nowhere else in it: a mismatch can only begin it anew. */
		if (bytes[i] != (uint8_t)line[order->matched])
			order->matched = 0;
		if (bytes[i] == (uint8_t)line[order->matched])
			order->matched++;
		if (order->matched == sizeof(line) - 1) {
			order->matched = 0;
			return true;
		}
	}
	return false;
}

bool order_to_end(void)
{
	static struct order order;
	static bool given;
	uint8_t bytes[CHUNK];

	given |= order_take(&order, bytes, serial_log_read(bytes, sizeof(bytes)));
	return given;
}
