/* SPDX-License-Identifier: BSD-2-Clause */
/* Exit reasons that a text has by name (SDM vol. 3, appendix C; APM vol. 2, appendix C), as the kernel's headers have them. */
#ifndef TOOL_EXIT_REASON_H
#define TOOL_EXIT_REASON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "EPT_VIOLATION" of VMX, "npf" of SVM: no name is both's. False: there is no such name. */
bool exit_reason_find(const char *name, size_t size, uint64_t *reason);

#endif
