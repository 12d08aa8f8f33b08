/* SPDX-License-Identifier: BSD-2-Clause */
/* The fields of an entry, bit by bit: the hardware's by the manuals' names, and the software's. */
#ifndef TOOL_FACT_BITS_H
#define TOOL_FACT_BITS_H

#include <stdbool.h>
#include <stdint.h>

/* Of vmmu, and of KVM, which keeps other things in the bits that the CPU ignores. */
enum bits_format { BITS_EPT,
	           BITS_NPT,
	           BITS_SHADOW,
	           BITS_KVM_EPT,
	           BITS_KVM_NPT,
	           BITS_KVM_SHADOW };

struct bits_field {
	uint8_t high, low;
	uint64_t value;
	const char *name, *reader; /* reader: "CPU", "vmmu", "KVM", or "-" */
};

typedef void bits_visit(void *arg, const struct bits_field *field);

/* Each field that an entry of that level has; then each bit beyond them that is set. */
void bits_each(enum bits_format format, bool is_leaf, unsigned level, uint64_t entry, bits_visit *visit, void *arg);
/* A visitor that prints a line: place, value, name, reader; *indent (int) blanks stand before. */
void bits_print_field(void *indent, const struct bits_field *field);

#endif
