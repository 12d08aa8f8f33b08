/* SPDX-License-Identifier: BSD-2-Clause */
/* User programs of the test guest: descriptors and a stack for them, entry, and their end by UD2. */
#ifndef GUEST_USER_H
#define GUEST_USER_H

#include "guest.h"

/* Offsets are known to user_entry.S. */
struct user_registers {
	uintptr_t ax, bx, cx, dx, si, di, bp, sp, ip, flags;
};

/* Descriptor tables with user segments and a TSS; user_end puts the former ones back. */
void user_begin(void);
void user_end(void);

/* Run from these registers on until UD2; then they are what the program has left. */
void user_run(struct user_registers *registers);

/* The user's registers in a frame that an exception or interrupt has pushed; false: it came from the kernel. */
bool user_registers_in(const struct frame *frame, struct user_registers *out);

#endif
