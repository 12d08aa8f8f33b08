/* SPDX-License-Identifier: BSD-2-Clause */
/* For tests: the visor breaks one of its own rules, and must be stopped (docs/security.md). */
#ifndef VISOR_EXIT_VIOLATE_H
#define VISOR_EXIT_VIOLATE_H

#include <stdint.h>

/* `which` of enum test_violation; `gpa` is a page of the guest's RAM. Returns only where nothing stops the visor. */
struct vm;
void violate(struct vm *vm, uint64_t which, uint64_t gpa);

#endif
