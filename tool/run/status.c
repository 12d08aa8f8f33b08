/* SPDX-License-Identifier: BSD-2-Clause */
#include "status.h"

#include <stddef.h>
#include <string.h>

int run_status_of(const char *status, long long code)
{
	static const struct {
		const char *name;
		int status;
	} names[] = {
		{"power-off", RUN_POWER_OFF},
		{"reboot", RUN_REBOOT},
		{"triple-fault", RUN_TRIPLE_FAULT},
		{"halted", RUN_HALTED},
		{"failed", RUN_FAILED},
		{"refused", RUN_REFUSED},
		/* By an order on COM2. When the command has given it, it knows why: time-out or signal. */
		{"killed", RUN_FAILED},
	};

	if (strcmp(status, "debug-exit") == 0)
		return code >= 0 && code <= RUN_DEBUG_EXIT_MAX ? (int)code : RUN_DEBUG_EXIT_LARGE;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(status, names[i].name) == 0)
			return names[i].status;
	return RUN_FAILED;
}
