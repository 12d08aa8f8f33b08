/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM from its start to its summary. */
#ifndef VISOR_BOOT_RUN_H
#define VISOR_BOOT_RUN_H

#include "visor/device/platform_host.h"

struct cpu_backend;
struct options;

/* Run the VM that the options describe; says everything on the log, `end` event included. VM_FAILED: or there was none. */
enum vm_end vm_run(const struct options *options, const struct cpu_backend *backend);

#endif
