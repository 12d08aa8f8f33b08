/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program at CPL 3 with an instruction that the visor does not carry out: #UD for the program,
 * and its kernel goes on. (A kernel's own ends the VM, with the reason: end-by-fetching-nothing.)
 */
#include "space.h"
#include "user.h"

enum { NOTHING = 0xd0000000,
       STACK_WORDS = 64 };

void test_refused(void)
{
	static uint32_t stack[STACK_WORDS];

	for (unsigned i = 0; i < 3; i++) {
		struct user_registers r = {
			.ax = 0x1234, .ip = NOTHING + 16 * i, .sp = (uintptr_t)(stack + STACK_WORDS), .flags = 2};

		user_run(&r);
		check_equal(r.ip, NOTHING + 16 * i, "where a program was that ran where nothing is");
		check_equal(r.ax, 0x1234, "its EAX");
	}
}
