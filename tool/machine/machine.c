/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/text.h"

#define MIB (1ull << 20)

static const char *const machine_names[] = {"auto", "bochs", "qemu", "kvm"};
static const char *const mmu_names[] = {"auto", "ept", "npt", "shadow"};
static const char *const mmu_titles[] = {"any MMU", "EPT", "NPT", "shadow paging"};

static bool parse_word(const char *text, const char *const *names, size_t count, unsigned *out)
{
	for (unsigned i = 0; i < count; i++) {
		if (strcmp(text, names[i]) == 0) {
			*out = i;
			return true;
		}
	}
	return false;
}

bool parse_machine(const char *text, enum machine_kind *kind)
{
	unsigned value;
	bool ok = parse_word(text, machine_names, ARRAY_SIZE(machine_names), &value);

	if (ok)
		*kind = (enum machine_kind)value;
	return ok;
}

bool parse_mmu(const char *text, enum mmu_kind *mmu)
{
	unsigned value;
	bool ok = parse_word(text, mmu_names, ARRAY_SIZE(mmu_names), &value);

	if (ok)
		*mmu = (enum mmu_kind)value;
	return ok;
}

const char *machine_name(enum machine_kind kind)
{
	return machine_names[kind];
}

const char *mmu_name(enum mmu_kind mmu)
{
	return mmu_names[mmu];
}

const char *mmu_title(enum mmu_kind mmu)
{
	return mmu_titles[mmu];
}

static bool choose_kvm(enum mmu_kind *mmu, char **why, char **error)
{
	enum mmu_kind offered;
	char *why_not;

	if (!kvm_probe(&offered, &why_not)) {
		*error = formatted("--machine kvm does not work here: %s", why_not);
		free(why_not);
		return false;
	}
	if (*mmu == MMU_SHADOW) {
		*error = duplicate("--mmu shadow is tried on emulators only; use --machine qemu (or auto)");
		return false;
	}
	if (*mmu != MMU_AUTO && *mmu != offered) {
		*error = formatted("--machine kvm has %s on this processor, not %s; use --machine %s for that",
		                   mmu_title(offered), mmu_title(*mmu), *mmu == MMU_EPT ? "bochs" : "qemu");
		return false;
	}
	*mmu = offered;
	*why = formatted("QEMU with KVM, whose guests have %s here", mmu_title(offered));
	return true;
}

static bool choose_auto(enum machine_kind *kind, enum mmu_kind *mmu, char **why)
{
	enum mmu_kind offered;
	char *why_not = NULL;

	if (*mmu == MMU_SHADOW) {
		*kind = MACHINE_QEMU;
		*why = duplicate("QEMU, the fastest emulator, whose guests run without NPT");
		return true;
	}
	if (kvm_probe(&offered, &why_not) && (*mmu == MMU_AUTO || *mmu == offered)) {
		*kind = MACHINE_KVM;
		*mmu = offered;
		*why = formatted("QEMU with KVM: it runs here, is the fastest, and its guests have %s",
		                 mmu_title(offered));
		return true;
	}
	if (!why_not)
		why_not = formatted("its guests have only %s on this processor", mmu_title(offered));
	*kind = *mmu == MMU_EPT ? MACHINE_BOCHS : MACHINE_QEMU;
	if (*mmu == MMU_EPT)
		*why = formatted("Bochs, the emulator that has EPT (KVM: %s)", why_not);
	else
		*why = formatted("QEMU, the fastest emulator%s (KVM: %s)", *mmu == MMU_NPT ? " with NPT" : "", why_not);
	*mmu = *mmu == MMU_EPT ? MMU_EPT : MMU_NPT;
	free(why_not);
	return true;
}

bool machine_choose(enum machine_kind *kind, enum mmu_kind *mmu, char **why, char **error)
{
	switch (*kind) {
	case MACHINE_AUTO:
		return choose_auto(kind, mmu, why);
	case MACHINE_KVM:
		return choose_kvm(mmu, why, error);
	case MACHINE_QEMU:
		if (*mmu == MMU_EPT) {
			*error = duplicate("QEMU without KVM has no EPT; use --machine bochs (or auto), or --mmu npt");
			return false;
		}
		if (*mmu == MMU_AUTO)
			*mmu = MMU_NPT;
		*why = formatted("QEMU, as asked, with %s", mmu_title(*mmu));
		return true;
	case MACHINE_BOCHS:
		if (*mmu == MMU_AUTO)
			*mmu = MMU_EPT;
		*why = formatted("Bochs, as asked, with %s", mmu_title(*mmu));
		return true;
	}
	return false;
}

char *boot_name(const char *path)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-";
	const char *slash = strrchr(path, '/');
	char *name = duplicate(slash ? slash + 1 : path);

	for (char *c = name; *c; c++) {
		if (!strchr(plain, *c))
			*c = '_';
	}
	return name;
}

bool machine_prepare(const struct machine_plan *plan, struct arguments *command, char **error)
{
	if (plan->kind == MACHINE_BOCHS)
		return bochs_prepare(plan, command, error);
	return qemu_prepare(plan, command, error);
}

bool machine_memory(enum machine_kind kind, uint64_t guest_bytes, uint64_t image_bytes, bool huge_pages,
                    uint64_t *bytes, char **error)
{
	/* Bochs 2.7 takes no more; QEMU is bounded by the host. */
	const uint64_t bochs_max = 2048 * MIB;
	/* The visor, its tables and trace buffers, and the modules where the boot loader puts them. */
	uint64_t needed = guest_bytes + guest_bytes / 256 + image_bytes + 96 * MIB;

	/* 1 GiB pages need frames aligned to 1 GiB, which the visor's own memory gets in the way of. */
	if (huge_pages)
		needed += 1024 * MIB;
	needed = (needed + MIB - 1) / MIB * MIB;
	if (kind == MACHINE_BOCHS && needed > bochs_max) {
		if (guest_bytes + image_bytes + 96 * MIB > bochs_max) {
			*error = formatted("a guest with %s does not fit: Bochs has at most 2 GiB, and the visor needs "
			                   "some of that; use --memory 1792M or less, or --machine qemu",
			                   text_bytes(guest_bytes).text);
			return false;
		}
		needed = bochs_max;
	}
	*bytes = needed;
	return true;
}
