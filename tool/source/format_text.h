/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether an event's format is what a kernel writes (include/trace/stages, "format" in
 * tracefs). libtraceevent takes a file's word for it: it reads through a null pointer where
 * a declaration ends inside brackets. So nothing else gets there.
 */
#ifndef VMMU_FORMAT_TEXT_H
#define VMMU_FORMAT_TEXT_H

#include <stdbool.h>

/* `text`: the format without its "print fmt:" line. */
bool format_text_is_sound(const char *text);

#endif
