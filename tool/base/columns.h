/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines as wide as the terminal. */
#ifndef TOOL_COLUMNS_H
#define TOOL_COLUMNS_H

/* Of the terminal on standard output; 0: it is none, or its width is not known. COLUMNS overrides. */
unsigned terminal_columns(void);
/* From now on each line of standard output ends where the terminal does, if there is one. */
void cut_lines(void);

#endif
