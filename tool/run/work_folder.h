/* SPDX-License-Identifier: BSD-2-Clause */
/* A temporary folder that goes away with all that is in it. */
#ifndef TOOL_WORK_FOLDER_H
#define TOOL_WORK_FOLDER_H

/* In $TMPDIR or /tmp. NULL: *error. Caller frees, after work_folder_remove. */
char *work_folder_make(char **error);
void work_folder_remove(const char *path);

#endif
