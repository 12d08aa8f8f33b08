/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A temporary folder that goes away with all that is in it. Its owner holds a
 * lock inside it; what a killed owner left behind is removed when the next folder
 * is made.
 */
#ifndef TOOL_WORK_FOLDER_H
#define TOOL_WORK_FOLDER_H

#include <stdbool.h>

/* In $TMPDIR or /tmp. `keep`: it is not removed by anybody. NULL: *error. Caller frees, after work_folder_remove. */
char *work_folder_make(bool keep, char **error);
void work_folder_remove(const char *path);

#endif
