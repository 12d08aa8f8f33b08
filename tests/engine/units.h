/* SPDX-License-Identifier: BSD-2-Clause */
/* Sizes as tests write them: K is one page. */
#ifndef TESTS_UNITS_H
#define TESTS_UNITS_H

#define K 0x1000ull
#define M 0x100000ull
#define G 0x40000000ull

#endif
