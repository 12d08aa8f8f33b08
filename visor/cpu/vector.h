/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's vector registers, which stay in the CPU while the visor runs. */
#ifndef VISOR_CPU_VECTOR_H
#define VISOR_CPU_VECTOR_H

#include <stdint.h>

/* XMM register 0 to 15, low half first. */
void vector_read(unsigned number, uint64_t value[2]);

#endif
