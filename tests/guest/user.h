/* SPDX-License-Identifier: BSD-2-Clause */
/* User programs of the test guest, with all their registers and faults that are handled; UD2 ends them. */
#ifndef GUEST_USER_H
#define GUEST_USER_H

#include "guest.h"

/* Offsets are known to user_entry.S. */
struct user_registers {
	uintptr_t ax, bx, cx, dx, si, di, bp, sp, ip, flags;
};

/* Run from these registers on until UD2; then they are what the program has left. */
void user_run(struct user_registers *registers);

/*
 * Run the code at this linear address without a stack, with EDX (RDX) = `dx` and
 * EAX = `*ax`, until UD2 (true; *ax is EAX then) or a #PF (false; last_trap).
 */
bool run_as_user(uint64_t code, uint64_t dx, uint32_t *ax);

/* The user's registers in a frame that an exception or interrupt has pushed; false: it came from the kernel. */
bool user_registers_in(const struct frame *frame, struct user_registers *out);

#endif
