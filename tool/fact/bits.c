/* SPDX-License-Identifier: BSD-2-Clause */
#include "bits.h"

#include <inttypes.h>
#include <stdio.h>

#include <vmmu/types.h>

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
	{63, 63, ANY, false, "suppress #VE", "CPU"},
	{0},
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
	{63, 63, ANY, true, "no execute", "CPU"},
	{0},
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
	{51, 12, ANY, true, "frame, times 0x1000", "CPU"},
	{62, 59, LEAF, false, "the guest's protection key", "CPU"},
	{63, 63, ANY, true, "no execute", "CPU"},
	{0},
};

static const struct field vmmu_fields[] = {
	{52, 52, LEAF, true, "slot and host allow writes", "vmmu"},
	{53, 53, LEAF, true, "a fault may give W back unasked", "vmmu"},
	{0},
};

static const struct field vmmu_shadow_fields[] = {
	{9, 9, LEAF, true, "slot and host allow writes", "vmmu"},
	{10, 10, LEAF, true, "a fault may give W back unasked", "vmmu"},
	{0},
};

/*
 * What KVM keeps in the bits that the CPU ignores: names as in Linux, arch/x86/kvm/mmu/spte.h,
 * since 5.13. Before, bits 9 and 10 stood for 57 and 58 under EPT, and there was no bit 11.
 */
static const struct field kvm_ept_fields[] = {
	{11, 11, ANY, true, "KVM holds the entry for present", "KVM"},
	{53, 52, ANY, true, "A and D: 0 the CPU's, 1 KVM's, 2 no PML", "KVM"},
	{54, 54, LEAF, false, "read, kept aside to see accesses", "KVM"},
	{56, 56, LEAF, false, "execute, kept aside to see accesses", "KVM"},
	{57, 57, LEAF, true, "the host's page may be written", "KVM"},
	{58, 58, LEAF, true, "a fault may give W back without a lock", "KVM"},
	{0},
};

static const struct field kvm_fields[] = {
	{9, 9, LEAF, true, "the host's page may be written", "KVM"},
	{10, 10, LEAF, true, "a fault may give W back without a lock", "KVM"},
	{11, 11, ANY, true, "KVM holds the entry for present", "KVM"},
	{53, 52, ANY, true, "A and D: 0 the CPU's, 1 KVM's, 2 no PML", "KVM"},
	{0},
};

/* Each list goes up, and ends with a field without a name. */
static const struct {
	const struct field *hardware, *software;
} formats[] = {
	[BITS_EPT] = {ept_fields, vmmu_fields},
	[BITS_NPT] = {npt_fields, vmmu_fields},
	[BITS_SHADOW] = {shadow_fields, vmmu_shadow_fields},
	[BITS_KVM_EPT] = {ept_fields, kvm_ept_fields},
	[BITS_KVM_NPT] = {npt_fields, kvm_fields},
	[BITS_KVM_SHADOW] = {shadow_fields, kvm_fields},
};

/* The lower of the next two, taken from its list; NULL: both are at their end. */
static const struct field *next_field(const struct field **hardware, const struct field **software)
{
	const struct field **from = !(*hardware)->name || ((*software)->name && (*software)->low < (*hardware)->low)
	                                    ? software
	                                    : hardware;

	return (*from)->name ? (*from)++ : NULL;
}

static bool applies(const struct field *field, bool is_leaf, unsigned level)
{
	switch (field->kind) {
	case LEAF:
		return is_leaf;
	case HUGE_LEAF:
		return is_leaf && level > VMMU_LEVEL_4K;
	default:
		return true;
	}
}

void bits_each(enum bits_format format, bool is_leaf, unsigned level, uint64_t entry, bits_visit *visit, void *arg)
{
	const struct field *hardware = formats[format].hardware, *software = formats[format].software, *f;
	uint64_t named = 0;

	while ((f = next_field(&hardware, &software))) {
		uint64_t mask = (~0ull >> (63 - (f->high - f->low))) << f->low, value = (entry & mask) >> f->low;

		if (!applies(f, is_leaf, level) || (!value && !f->always))
			continue;
		named |= mask;
		visit(arg, &(struct bits_field){f->high, f->low, value, f->name, f->reader});
	}
	for (unsigned bit = 0; bit < 64; bit++)
		if (entry & ~named & 1ull << bit)
			visit(arg, &(struct bits_field){(uint8_t)bit, (uint8_t)bit, 1, "nothing that is known", "-"});
}

void bits_print_field(void *indent, const struct bits_field *f)
{
	char place[16];

	if (f->high == f->low)
		snprintf(place, sizeof(place), "%u", f->high);
	else
		snprintf(place, sizeof(place), "%u:%u", f->high, f->low);
	printf("%*s%-6s 0x%-10" PRIx64 "  %-40s %s\n", *(const int *)indent, "", place, f->value, f->name, f->reader);
}
