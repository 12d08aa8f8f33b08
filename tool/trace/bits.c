/* SPDX-License-Identifier: BSD-2-Clause */
#include "bits.h"

#include <stdio.h>

#include "../fact/bits.h"

static const enum bits_format formats[] = {
	[VMMU_MODE_EPT] = BITS_EPT,
	[VMMU_MODE_NPT] = BITS_NPT,
	[VMMU_MODE_SHADOW] = BITS_SHADOW,
};

void bits_print(const struct vmmu_decoder *decoder, unsigned level, uint64_t entry, unsigned indent)
{
	struct vmmu_entry_info info;
	int blanks = (int)indent;

	vmmu_entry_decode(decoder, level, entry, &info);
	if (info.kind == VMMU_ENTRY_EMPTY) {
		printf("%*sall bits are 0: the CPU finds no entry\n", blanks, "");
		return;
	}
	if (info.kind == VMMU_ENTRY_MMIO) {
		bits_print_field(&blanks, &(struct bits_field){63, 0, entry, "refused by the CPU: a device's page", "CPU"});
		bits_print_field(&blanks, &(struct bits_field){62, 3, info.mmio_gen, "generation of the slots, in 62:52 and 11:3", "vmmu"});
		return;
	}
	bits_each(formats[decoder->mode], info.kind == VMMU_ENTRY_LEAF, level, entry, bits_print_field, &blanks);
}
