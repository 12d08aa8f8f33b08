/* SPDX-License-Identifier: BSD-2-Clause */
/* gnuplot, another program. */
#ifndef TOOL_PLOT_GNUPLOT_H
#define TOOL_PLOT_GNUPLOT_H

#include "../base/meter.h"

/* A file in memory to write a script to; NULL with errno. fclose() takes it away. */
FILE *gnuplot_script(void);

/* Its path, which the caller frees. NULL: *error says where to get it. */
char *gnuplot_program(char **error);

/* What gnuplot makes of the script. False: *error says why not (the caller frees). */
bool gnuplot_draw(const char *program, FILE *script, struct bytes *picture, struct meter *meter, char **error);

#endif
