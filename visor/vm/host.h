/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine's table of callbacks for a VM (<vmmu/host.h>). */
#ifndef VISOR_VM_HOST_H
#define VISOR_VM_HOST_H

#include <stdbool.h>

struct vm;

/* Fill in vm->host; `trace`: full rings go to the trace disk. */
void host_connect(struct vm *vm, bool trace);

#endif
