/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of exit reasons (SDM vol. 3, appendix C; APM vol. 2, appendix C), as the kernel's headers have them. */
#ifndef TOOL_EXIT_NAME_H
#define TOOL_EXIT_NAME_H

#include "entry.h"

/* "EPT_VIOLATION"; "other" for EXIT_REASON_OTHER; NULL: none is known, or the mode does not say whose reason it is. */
const char *kvm_exit_name(enum kvm_mode mode, uint64_t reason);

#endif
