/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registers that every CPU of a vendor has and that mean nothing in a guest: there
 * is no microcode, no power and no machine check to manage, and nothing is counted.
 * Software asks for them by vendor and family alone, without a feature bit, and does
 * not expect #GP.
 */
#ifndef VISOR_VM_MSR_LIST_H
#define VISOR_VM_MSR_LIST_H

#include <stdbool.h>
#include <stdint.h>

#define MSR_LIST_KEPT 64u /* registers that keep what is written */

/* The values of those; all zeros at the start. */
struct msr_list_state {
	uint64_t kept[MSR_LIST_KEPT];
};

enum msr_list_answer {
	MSR_LIST_ABSENT,  /* not in the list */
	MSR_LIST_REFUSED, /* in it, but not for this access */
	MSR_LIST_DONE,
};

/* `intel`: the vendor that the guest's CPUID shows; else AMD. */
enum msr_list_answer msr_list_read(const struct msr_list_state *s, bool intel, uint32_t msr, uint64_t *value);
enum msr_list_answer msr_list_write(struct msr_list_state *s, bool intel, uint32_t msr, uint64_t value);

#endif
