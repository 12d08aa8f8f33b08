/* SPDX-License-Identifier: BSD-2-Clause */
/* Operands of L1's VMX instructions, as the exit tells them (SDM vol. 3, 28.2.5, tables 28-13 to 28-15). */
#ifndef VISOR_VMX_NESTED_OPERAND_H
#define VISOR_VMX_NESTED_OPERAND_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/* Fields of the VM-exit instruction information of VMREAD and VMWRITE, which others have, too. */
#define NVMX_INFO_REGISTER1(i) ((i) >> 3 & 15)
#define NVMX_INFO_IS_REGISTER (1u << 10)
#define NVMX_INFO_REGISTER2(i) ((i) >> 28 & 15)

/*
 * The exit's memory operand of `bytes`. Called after read_state. False: L1 gets an exception
 * instead of the instruction.
 */
bool nvmx_operand_read(struct vcpu *v, void *to, unsigned bytes);
bool nvmx_operand_write(struct vcpu *v, const void *from, unsigned bytes);

/* VMREAD and VMWRITE: the operand that is no encoding, which may be a register; 4 bytes of it outside of 64-bit code. */
bool nvmx_operand_read_value(struct vcpu *v, uint64_t *value);
bool nvmx_operand_write_value(struct vcpu *v, uint64_t value);
/* The other operand: VMREAD's and VMWRITE's encoding, INVEPT's and INVVPID's type. */
uint64_t nvmx_operand_register(struct vcpu *v);

#endif
