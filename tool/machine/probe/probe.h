/* SPDX-License-Identifier: BSD-2-Clause */
/* The smallest guest there is: it says which virtualization its CPU offers. */
#ifndef TOOL_PROBE_H
#define TOOL_PROBE_H

/* What it writes to the debug-exit port. */
#define PROBE_NOTHING 0x10
#define PROBE_NPT 0x11
#define PROBE_EPT 0x12

#ifndef __ASSEMBLER__
#include <stdint.h>
/* The multiboot image, embedded. */
extern const uint8_t probe_image[], probe_image_end[];
#endif

#endif
