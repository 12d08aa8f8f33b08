/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registers that neither VMX nor SVM switches, or that the guest owns from its first
 * instruction on: a guest begins with those of a reset, not with what firmware or
 * another guest has left there (SDM vol. 3, table 10-1).
 */
#ifndef VISOR_CPU_LEFTOVERS_H
#define VISOR_CPU_LEFTOVERS_H

/* x87, vector registers, every XSAVE component, PKRU, DR0 to DR3, DR6, CR2, SYSCALL's MSRs, TSC_AUX. CR4.OSXSAVE is set. */
void leftovers_clear(void);

/* For tests: values that a guest must not find. */
void leftovers_plant(void);

#endif
