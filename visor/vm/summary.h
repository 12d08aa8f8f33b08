/* SPDX-License-Identifier: BSD-2-Clause */
/* What is told when a VM has ended. */
#ifndef VISOR_VM_SUMMARY_H
#define VISOR_VM_SUMMARY_H

struct vm;

/* The events of docs/visor.md, "Serial ports". */
void summary_guest_ended(const struct vm *vm);
void summary_write(struct vm *vm);
void summary_end(const struct vm *vm);

#endif
