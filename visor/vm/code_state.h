/* SPDX-License-Identifier: BSD-2-Clause */
/* What vm/code.h keeps for one VM. */
#ifndef VISOR_VM_CODE_STATE_H
#define VISOR_VM_CODE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmu/vmmu.h>

/* The way through the guest's tables to a page of its code. It is good as long as each entry says what it said then. */
struct code_path {
	uint64_t cr3, page;                    /* page: the gva's */
	uint64_t slots;                        /* vm->slot_changes then */
	const uint8_t *code;                   /* the page; NULL: this is none */
	const uint64_t *entry[VMMU_LEVEL_MAX]; /* on a shorter way the last ones are `value` itself, and so never differ */
	uint64_t value[VMMU_LEVEL_MAX];
	bool five_levels;
};

enum { CODE_PATHS = 64 };

#endif
