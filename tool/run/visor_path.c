/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor_path.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/base.h"

char *visor_path(char **error)
{
	static const char *const places[] = {"visor.elf", "visor/visor.elf", "../lib/vmmu/visor.elf"};
	const char *override = getenv("VMMU_VISOR");
	char *self, *slash, *found = NULL;

	if (override && *override) {
		if (access(override, R_OK) == 0)
			return duplicate(override);
		*error = formatted("VMMU_VISOR names %s, which cannot be read", override);
		return NULL;
	}
	self = absolute_path("/proc/self/exe");
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; !found && i < ARRAY_SIZE(places); i++) {
		char *path = formatted("%s/%s", self, places[i]);

		if (access(path, R_OK) == 0)
			found = path;
		else
			free(path);
	}
	if (!found)
		*error = formatted("visor.elf is not where it should be (%s/visor.elf); build it with `make visor`, "
		                   "or name it in VMMU_VISOR",
		                   self);
	free(self);
	return found;
}
