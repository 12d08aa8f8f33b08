/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu_trace_crc by the CPU's own instruction, where it has one. */
#ifndef VISOR_LIB_CRC32C_H
#define VISOR_LIB_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* `words` words of 64 bits; goes on from `crc`, which is 0 at first. */
uint32_t crc32c(uint32_t crc, const uint64_t *data, size_t words);

#endif
