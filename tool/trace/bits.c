/* SPDX-License-Identifier: BSD-2-Clause */
#include "bits.h"

#include <inttypes.h>
#include <stdio.h>

#include "../base/base.h"

enum kind { ANY,
	    LEAF,
	    HUGE_LEAF };

/* One field: bits high..low, in entries of one kind. */
struct field {
	uint8_t high, low;
	uint8_t kind; /* enum kind */
	bool always;  /* printed when it is 0, too */
	const char *name, *reader;
};

/* SDM vol. 3, tables 29-1 to 29-7. */
static const struct field ept_fields[] = {
	{0, 0, ANY, true, "read", "CPU"},
	{1, 1, ANY, true, "write", "CPU"},
	{2, 2, ANY, true, "execute", "CPU"},
	{5, 3, LEAF, true, "memory type (6: write-back)", "CPU"},
	{6, 6, LEAF, true, "ignore the guest's PAT", "CPU"},
	{7, 7, HUGE_LEAF, true, "maps a page", "CPU"},
	{8, 8, ANY, true, "accessed", "CPU"},
	{9, 9, LEAF, true, "dirty", "CPU"},
	{51, 12, ANY, true, "frame, times 0x1000", "CPU"},
	{52, 52, LEAF, true, "slot and host allow writes", "vmmu"},
	{53, 53, LEAF, true, "a fault may give W back unasked", "vmmu"},
};

/* APM vol. 2, 5.3.3 and 15.25. */
static const struct field npt_fields[] = {
	{0, 0, ANY, true, "present", "CPU"},
	{1, 1, ANY, true, "write", "CPU"},
	{2, 2, ANY, true, "user: a nested access is one", "CPU"},
	{4, 3, LEAF, true, "PCD, PWT: memory type by the host's PAT", "CPU"},
	{5, 5, ANY, true, "accessed", "CPU"},
	{6, 6, LEAF, true, "dirty", "CPU"},
	{7, 7, HUGE_LEAF, true, "maps a page", "CPU"},
	{51, 12, ANY, true, "frame, times 0x1000", "CPU"},
	{52, 52, LEAF, true, "slot and host allow writes", "vmmu"},
	{53, 53, LEAF, true, "a fault may give W back unasked", "vmmu"},
	{63, 63, ANY, true, "no execute", "CPU"},
};

/* SDM vol. 3, tables 4-14 to 4-20, and 4-8 for PAE's top. */
static const struct field shadow_fields[] = {
	{0, 0, ANY, true, "present", "CPU"},
	{1, 1, ANY, true, "write", "CPU"},
	{2, 2, ANY, true, "user", "CPU"},
	{4, 3, LEAF, true, "PCD, PWT: memory type by the PAT", "CPU"},
	{5, 5, ANY, true, "accessed", "CPU"},
	{6, 6, LEAF, true, "dirty", "CPU"},
	{7, 7, HUGE_LEAF, true, "maps a page", "CPU"},
	{9, 9, LEAF, true, "slot and host allow writes", "vmmu"},
	{10, 10, LEAF, true, "a fault may give W back unasked", "vmmu"},
	{51, 12, ANY, true, "frame, times 0x1000", "CPU"},
	{62, 59, LEAF, false, "the guest's protection key", "CPU"},
	{63, 63, ANY, true, "no execute", "CPU"},
};

static const struct {
	const struct field *fields;
	size_t count;
} formats[] = {
	[VMMU_MODE_EPT] = {ept_fields, ARRAY_SIZE(ept_fields)},
	[VMMU_MODE_NPT] = {npt_fields, ARRAY_SIZE(npt_fields)},
	[VMMU_MODE_SHADOW] = {shadow_fields, ARRAY_SIZE(shadow_fields)},
};

static bool applies(const struct field *field, enum vmmu_entry_kind kind, unsigned level)
{
	switch (field->kind) {
	case LEAF:
		return kind == VMMU_ENTRY_LEAF;
	case HUGE_LEAF:
		return kind == VMMU_ENTRY_LEAF && level > VMMU_LEVEL_4K;
	default:
		return true;
	}
}

static void print_field(unsigned indent, unsigned high, unsigned low, uint64_t value, const char *name,
                        const char *reader)
{
	char place[16];

	if (high == low)
		snprintf(place, sizeof(place), "%u", high);
	else
		snprintf(place, sizeof(place), "%u:%u", high, low);
	printf("%*s%-6s 0x%-10" PRIx64 "  %-40s %s\n", (int)indent, "", place, value, name, reader);
}

static void print_mmio(unsigned indent, uint64_t entry, uint32_t generation)
{
	print_field(indent, 63, 0, entry, "refused by the CPU: a device's page", "CPU");
	print_field(indent, 62, 3, generation, "generation of the slots, in 62:52 and 11:3", "vmmu");
}

void bits_print(const struct vmmu_decoder *decoder, unsigned level, uint64_t entry, unsigned indent)
{
	struct vmmu_entry_info info;
	uint64_t named = 0;

	vmmu_entry_decode(decoder, level, entry, &info);
	if (info.kind == VMMU_ENTRY_EMPTY) {
		printf("%*sall bits are 0: the CPU finds no entry\n", (int)indent, "");
		return;
	}
	if (info.kind == VMMU_ENTRY_MMIO) {
		print_mmio(indent, entry, info.mmio_gen);
		return;
	}
	for (size_t i = 0; i < formats[decoder->mode].count; i++) {
		const struct field *f = &formats[decoder->mode].fields[i];
		uint64_t mask = (~0ull >> (63 - (f->high - f->low))) << f->low, value = (entry & mask) >> f->low;

		if (!applies(f, info.kind, level) || (!value && !f->always))
			continue;
		named |= mask;
		print_field(indent, f->high, f->low, value, f->name, f->reader);
	}
	for (unsigned bit = 0; bit < 64; bit++)
		if (entry & ~named & 1ull << bit)
			print_field(indent, bit, bit, 1, "nothing that is known", "-");
}
