/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/msr_list.h"

#include <stddef.h>

enum policy {
	READ_ONLY,  /* writes are #GP */
	IGNORED,    /* writes are taken and change nothing */
	KEPT,       /* writes are kept */
	WRITE_ONLY, /* reads are #GP, writes change nothing */
};

struct range {
	uint32_t first, last;
	enum policy policy;
	uint64_t value; /* read; of KEPT until the first write. Bits in `fixed` stay */
	uint64_t fixed;
};

/* Fast strings on; no branch trace store, no PEBS: bits 11 and 12 are read-only. */
#define MISC_ENABLE_VALUE (1u << 0 | 1u << 11 | 1u << 12)
#define MISC_ENABLE_FIXED (1u << 11 | 1u << 12)

/* SDM vol. 4, tables 2-2 (architectural) and what 2-3 to 2-20 have in common. */
static const struct range intel_list[] = {
	{0x0, 0x1, READ_ONLY, 0, 0},                                /* IA32_P5_MC_ADDR, _TYPE */
	{0x17, 0x17, READ_ONLY, 0, 0},                              /* IA32_PLATFORM_ID */
	{0x2a, 0x2a, IGNORED, 0, 0},                                /* EBL_CR_POWERON */
	{0x34, 0x34, READ_ONLY, 0, 0},                              /* SMI_COUNT */
	{0x79, 0x79, WRITE_ONLY, 0, 0},                             /* IA32_BIOS_UPDT_TRIG: the update changes nothing */
	{0x8b, 0x8b, IGNORED, 0, 0},                                /* IA32_BIOS_SIGN_ID: written with 0 before it is read */
	{0xcd, 0xcd, READ_ONLY, 0, 0},                              /* FSB_FREQ */
	{0xce, 0xce, READ_ONLY, 0, 0},                              /* PLATFORM_INFO */
	{0xe2, 0xe2, IGNORED, 0, 0},                                /* PKG_CST_CONFIG_CONTROL */
	{0x11e, 0x11e, IGNORED, 0, 0},                              /* BBL_CR_CTL3 */
	{0x140, 0x140, IGNORED, 0, 0},                              /* MISC_FEATURES_ENABLES */
	{0x179, 0x179, READ_ONLY, 0, 0},                            /* IA32_MCG_CAP: no banks */
	{0x17a, 0x17a, IGNORED, 0, 0},                              /* IA32_MCG_STATUS */
	{0x198, 0x198, READ_ONLY, 0, 0},                            /* IA32_PERF_STATUS */
	{0x199, 0x199, KEPT, 0, 0},                                 /* IA32_PERF_CTL */
	{0x19a, 0x19c, IGNORED, 0, 0},                              /* IA32_CLOCK_MODULATION, THERM_INTERRUPT, THERM_STATUS */
	{0x1a0, 0x1a0, KEPT, MISC_ENABLE_VALUE, MISC_ENABLE_FIXED}, /* IA32_MISC_ENABLE */
	{0x1a2, 0x1a2, IGNORED, 0, 0},                              /* TEMPERATURE_TARGET */
	{0x1ad, 0x1ad, READ_ONLY, 0, 0},                            /* TURBO_RATIO_LIMIT */
	{0x1b0, 0x1b0, KEPT, 6, 0},                                 /* IA32_ENERGY_PERF_BIAS: "normal" */
	{0x1c8, 0x1c9, IGNORED, 0, 0},                              /* LBR_SELECT, LASTBRANCH_TOS */
	{0x1db, 0x1de, READ_ONLY, 0, 0},                            /* last branch and interrupt, from and to */
};

/* APM vol. 2, appendix A; the register lists of the families' manuals (BKDG, PPR). */
static const struct range amd_list[] = {
	{0x0, 0x1, READ_ONLY, 0, 0},                /* MC_ADDR, MC_TYPE of the P5, kept as aliases */
	{0x8b, 0x8b, IGNORED, 0, 0},                /* PATCH_LEVEL */
	{0x179, 0x179, READ_ONLY, 0, 0},            /* MCG_CAP: no banks */
	{0x17a, 0x17a, IGNORED, 0, 0},              /* MCG_STAT */
	{0x1db, 0x1de, READ_ONLY, 0, 0},            /* BR_FROM, BR_TO, LAST_EXP_FROM, _TO */
	{0xc0010000, 0xc0010007, IGNORED, 0, 0},    /* PERF_CTL0 to 3, PERF_CTR0 to 3: a guest that writes one and reads 0 knows that none counts */
	{0xc0010010, 0xc0010010, IGNORED, 0, 0},    /* SYSCFG: no memory encryption, no fixed MTRRs */
	{0xc0010015, 0xc0010015, KEPT, 0, 0},       /* HWCR */
	{0xc0010016, 0xc0010019, KEPT, 0, 0},       /* IORR_BASE0, _MASK0, _BASE1, _MASK1 */
	{0xc001001a, 0xc001001a, IGNORED, 0, 0},    /* TOP_MEM */
	{0xc001001d, 0xc001001d, IGNORED, 0, 0},    /* TOP_MEM2 */
	{0xc001001f, 0xc001001f, IGNORED, 0, 0},    /* NB_CFG: extended PCI configuration; Linux switches it on */
	{0xc0010020, 0xc0010020, WRITE_ONLY, 0, 0}, /* PATCH_LOADER */
	{0xc0010022, 0xc0010022, IGNORED, 0, 0},    /* MC_EXP_REDIR */
	{0xc0010030, 0xc0010035, KEPT, 0, 0},       /* processor name string; CPUID's does not follow */
	{0xc0010044, 0xc001004a, IGNORED, 0, 0},    /* MC0 to MC6_CTL_MASK */
	{0xc0010050, 0xc0010056, IGNORED, 0, 0},    /* SMI on I/O traps; 55h: interrupt pending and C1E */
	{0xc0010058, 0xc0010058, IGNORED, 0, 0},    /* MMIO configuration base: there is none */
	{0xc0010061, 0xc0010061, READ_ONLY, 0, 0},  /* P-state limit */
	{0xc0010062, 0xc0010062, IGNORED, 0, 0},    /* P-state control */
	{0xc0010063, 0xc0010063, READ_ONLY, 0, 0},  /* P-state status */
	{0xc0010064, 0xc001006b, IGNORED, 0, 0},    /* P-states: none is valid */
	{0xc0010070, 0xc0010070, IGNORED, 0, 0},    /* COFVID control */
	{0xc0010071, 0xc0010071, READ_ONLY, 0, 0},  /* COFVID status */
	{0xc0010111, 0xc0010113, IGNORED, 0, 0},    /* SMBASE, SMM_ADDR, SMM_MASK */
	{0xc0011004, 0xc0011005, IGNORED, 0, 0},    /* CPUID feature overrides */
	{0xc0011020, 0xc0011023, IGNORED, 0, 0},    /* LS_CFG, IC_CFG, DC_CFG, BU_CFG */
	{0xc0011029, 0xc001102a, IGNORED, 0, 0},    /* DE_CFG, BU_CFG2 */
};

#define LENGTH(list) (sizeof(list) / sizeof((list)[0]))

/* The range around msr, and where its kept values begin; NULL: none. */
static const struct range *msr_list_find(bool intel, uint32_t msr, unsigned *slot)
{
	const struct range *list = intel ? intel_list : amd_list;
	size_t length = intel ? LENGTH(intel_list) : LENGTH(amd_list);

	*slot = 0;
	for (size_t i = 0; i < length; i++) {
		if (msr >= list[i].first && msr <= list[i].last) {
			*slot += msr - list[i].first;
			return &list[i];
		}
		if (list[i].policy == KEPT)
			*slot += list[i].last - list[i].first + 1;
	}
	return NULL;
}

enum msr_list_answer msr_list_read(const struct msr_list_state *s, bool intel, uint32_t msr, uint64_t *value)
{
	unsigned slot;
	const struct range *r = msr_list_find(intel, msr, &slot);

	if (!r)
		return MSR_LIST_ABSENT;
	if (r->policy == WRITE_ONLY)
		return MSR_LIST_REFUSED;
	/* What is kept is the difference to the first value. */
	*value = r->policy == KEPT ? r->value ^ s->kept[slot] : r->value;
	return MSR_LIST_DONE;
}

enum msr_list_answer msr_list_write(struct msr_list_state *s, bool intel, uint32_t msr, uint64_t value)
{
	unsigned slot;
	const struct range *r = msr_list_find(intel, msr, &slot);

	if (!r)
		return MSR_LIST_ABSENT;
	if (r->policy == READ_ONLY)
		return MSR_LIST_REFUSED;
	if (r->policy == KEPT)
		s->kept[slot] = (value ^ r->value) & ~r->fixed;
	return MSR_LIST_DONE;
}
