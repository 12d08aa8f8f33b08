/* SPDX-License-Identifier: BSD-2-Clause */
/* The visor's stacks (boot/entry.S). Below each lies a page that is not mapped. */
#ifndef VISOR_HOST_STACKS_H
#define VISOR_HOST_STACKS_H

#include <stdint.h>

struct host_stack {
	const uint8_t *guard, *end;
};

/* The one that all of the visor runs on; then those of the exceptions that must not rely on it. guard NULL: the end. */
enum { STACK_MAIN,
       STACK_DOUBLE_FAULT,
       STACK_NMI,
       STACK_MACHINE_CHECK };
extern const struct host_stack host_stacks[];

#endif
