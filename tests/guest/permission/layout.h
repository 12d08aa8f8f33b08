/* SPDX-License-Identifier: BSD-2-Clause */
/* What the permission guest's assembly and C share: selectors and offsets. */
#ifndef PERMISSION_LAYOUT_H
#define PERMISSION_LAYOUT_H

/* The 64-bit code segments are only for the accesses and the handlers: all C runs in 32-bit code. */
#define SELECTOR_CODE32 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_CODE64 0x18
#define SELECTOR_USER_DATA 0x23
#define SELECTOR_USER_CODE32 0x2b
#define SELECTOR_USER_CODE64 0x33
#define SELECTOR_TSS 0x38 /* two entries in long mode, as the next */
#define SELECTOR_LDT 0x48

/* struct attempt */
#define ATTEMPT_LINEAR 0
#define ATTEMPT_FLAGS 8
#define ATTEMPT_OPERAND 16
#define ATTEMPT_CODE 20
#define ATTEMPT_USER 24

/* struct outcome */
#define OUTCOME_VECTOR 0
#define OUTCOME_OPERAND 4
#define OUTCOME_ERROR 8
#define OUTCOME_CR2 16
#define OUTCOME_PC 24

#define VECTOR_COUNT 129
#define VECTOR_DONE 128 /* INT by which every access that does not fault ends */
#define ENTRY_BYTES 16  /* of code for each vector */

#endif
