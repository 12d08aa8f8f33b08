/* SPDX-License-Identifier: BSD-2-Clause */
/* What a guest's CPU reaches by guest-physical address: RAM, then devices. */
#ifndef VISOR_VM_BUS_H
#define VISOR_VM_BUS_H

struct vm;

/* Fill in vm->bus, once the VM has memory. */
void bus_connect(struct vm *vm);

#endif
