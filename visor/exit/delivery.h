/* SPDX-License-Identifier: BSD-2-Clause */
/* Events whose delivery the guest's CPU cannot make by itself. */
#ifndef VISOR_EXIT_DELIVERY_H
#define VISOR_EXIT_DELIVERY_H

#include <stdbool.h>

struct vcpu;

/*
 * Deliver vcpu->event here, after read_state. False: it is of a kind that the
 * visor does not know, and nothing has changed.
 */
bool delivery_carry_out(struct vcpu *vcpu);

#endif
