/* SPDX-License-Identifier: BSD-2-Clause */
/* Accesses whose result an independent model of the CPU has foretold (sim/guest_model.h). */
#ifndef GUEST_MODEL_H
#define GUEST_MODEL_H

#include "sim/guest_model.h"
#include "space.h"

enum access { ACCESS_LOAD,
	      ACCESS_STORE,
	      ACCESS_CALL,
	      ACCESS_KINDS };

struct foretold {
	uint64_t linear;
	enum access access;
	bool ac;   /* with EFLAGS.AC set */
	bool user; /* at CPL 3, by the code of model_user_code */
	struct sim_guest_result result;
};

/* Load CR3; in PAE paging the model takes the PDPTEs now, as the CPU does. */
void model_load_cr3(uint64_t cr3);
/* Put code for accesses at CPL 3 on the frame at gpa, which `linear` maps for users. */
void model_user_code(uint64_t gpa, uint64_t linear);
/* What the registers and the tables in memory say now. */
void foretell(struct foretold *f);
/*
 * Forget the page, make the access, compare: result, error code, data, accessed
 * and dirty bits. A store writes `value`; a call needs a RET at its target, at
 * CPL 3 a UD2.
 */
void check_foretold(const struct foretold *f, uint32_t value);

#endif
