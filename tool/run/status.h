/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exit statuses of `vmmu run`. 0 to 99 are the guest's own words (a power-off
 * is 0, a value written to the debug-exit port is that value); from 100 on
 * vmmu says what happened.
 */
#ifndef TOOL_RUN_STATUS_H
#define TOOL_RUN_STATUS_H

enum run_status {
	RUN_POWER_OFF = 0,
	RUN_DEBUG_EXIT_MAX = 99, /* larger values come out as RUN_DEBUG_EXIT_LARGE */
	RUN_DEBUG_EXIT_LARGE = 100,
	RUN_REBOOT = 101,
	RUN_TRIPLE_FAULT = 102,
	RUN_HALTED = 103,       /* HLT with interrupts off */
	RUN_FAILED = 104,       /* the visor stopped the VM and says why */
	RUN_REFUSED = 105,      /* the visor could not start a VM */
	RUN_MACHINE_DIED = 120, /* the emulator ended before the guest did */
	RUN_CANNOT_START = 121, /* a file, a program or memory is missing */
	RUN_USAGE = 122,
	RUN_TIMEOUT = 124, /* as timeout(1) has it */
	RUN_SIGNAL = 128,  /* + the signal's number; Ctrl-A x counts as SIGINT */
};

/* From the visor's "end" event. */
int run_status_of(const char *status, long long code);

#endif
