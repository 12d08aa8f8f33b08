/* SPDX-License-Identifier: BSD-2-Clause */
/* The decoders of <vmmu/exit.h> once more, as functions for languages that cannot inline C. */
#define VMMU_EXIT_INLINE
#pragma GCC diagnostic ignored "-Wmissing-prototypes" /* the header's definitions are all there is */
#include <vmmu/exit.h>
