/* SPDX-License-Identifier: BSD-2-Clause */
/* Intel VT-x, with and without EPT. */
#ifndef VISOR_VMX_VMX_H
#define VISOR_VMX_VMX_H

#include "visor/cpu/vcpu.h"

extern const struct cpu_backend cpu_vmx, cpu_vmx_shadow;

#endif
