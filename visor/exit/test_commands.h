/* SPDX-License-Identifier: BSD-2-Clause */
/* What a guest may ask of the visor by way of the test device, for tests and measurements. */
#ifndef VISOR_EXIT_TEST_COMMANDS_H
#define VISOR_EXIT_TEST_COMMANDS_H

#include <stdint.h>

struct vm;

/* Carry out the struct test_command (test_device.h) at this gpa; the answer goes to the same place. */
void test_command_run(struct vm *vm, uint32_t gpa);

/* A slow exit is over. While vm->taken_back.exits counts: the range that a command has begun to take back. */
void test_exit_done(struct vm *vm);

#endif
