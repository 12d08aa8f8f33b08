/* SPDX-License-Identifier: BSD-2-Clause */
/* Finding the visor that belongs to this command. */
#ifndef TOOL_VISOR_PATH_H
#define TOOL_VISOR_PATH_H

/*
 * Where visor.elf is: $VMMU_VISOR, beside the command (a build), or in
 * ../lib/vmmu of it (an installation). NULL: *error. Caller frees.
 */
char *visor_path(char **error);

#endif
