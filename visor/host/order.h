/* SPDX-License-Identifier: BSD-2-Clause */
/* What whoever started the machine wants of the visor, by way of COM2 (docs/visor.md). */
#ifndef VISOR_HOST_ORDER_H
#define VISOR_HOST_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Looks for the line that orders the VM's end in what comes in piece by piece; all else is passed over. */
struct order {
	size_t matched;
};

/* True: the line is complete, within these bytes. */
bool order_take(struct order *order, const uint8_t *bytes, size_t n);

/* Takes what COM2 has received. True, from then on: the VM is to end. */
bool order_to_end(void);

#endif
