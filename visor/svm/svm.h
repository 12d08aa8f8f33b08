/* SPDX-License-Identifier: BSD-2-Clause */
/* AMD-V, with and without nested paging. */
#ifndef VISOR_SVM_SVM_H
#define VISOR_SVM_SVM_H

#include "visor/cpu/vcpu.h"

extern const struct cpu_backend cpu_svm, cpu_svm_shadow;

#endif
