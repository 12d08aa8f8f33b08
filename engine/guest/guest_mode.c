/* SPDX-License-Identifier: BSD-2-Clause */
/* What the guest's control registers make of its page-table format. */
#include "format/guest.h"

#define CR0_WP VMMU_BIT(16)
#define CR0_PG VMMU_BIT(31)
#define CR4_PSE VMMU_BIT(4)
#define CR4_PAE VMMU_BIT(5)
#define CR4_LA57 VMMU_BIT(12)
#define CR4_SMEP VMMU_BIT(20)
#define CR4_SMAP VMMU_BIT(21)
#define CR4_PKE VMMU_BIT(22)
#define EFER_LMA VMMU_BIT(10)
#define EFER_NXE VMMU_BIT(11)

/* SDM vol. 3, 4.1.1 "Four Paging Modes", and the fifth that came later. */
static enum vmmu_guest_format_number format_for(const struct vmmu_paging *r)
{
	if (!(r->cr0 & CR0_PG))
		return VMMU_GUEST_NO_PAGING;
	if (!(r->cr4 & CR4_PAE))
		return VMMU_GUEST_32BIT;
	if (!(r->efer & EFER_LMA))
		return VMMU_GUEST_PAE;
	return r->cr4 & CR4_LA57 ? VMMU_GUEST_5LEVEL : VMMU_GUEST_4LEVEL;
}

static uint8_t huge_level_max(const struct vmmu_guest_format *f, const struct vmmu_paging *r)
{
	if (f->huge_needs_pse && !(r->cr4 & CR4_PSE))
		return VMMU_LEVEL_4K;
	if (f->huge_level_max == VMMU_LEVEL_1G && !r->cpu.page_1g)
		return VMMU_LEVEL_2M;
	return f->huge_level_max;
}

/* ---- reserved bits ------------------------------------------------------------ */

/*
 * Address bits below the page's size must be 0, but for the one that selects a PAT
 * entry, and for those that are address bits further up, as far as the CPU has
 * them (PSE-36: SDM vol. 3, table 4-4).
 */
static uint64_t reserved_huge(const struct vmmu_guest_format *f, unsigned level,
                              const struct vmmu_guest_cpu *cpu)
{
	uint64_t high = f->huge_high & VMMU_BITS(vmmu_guest_width(cpu) - 1, 0) >> f->huge_high_shift;

	return VMMU_BITS(vmmu_guest_shift(f, level) - 1, 12) & ~f->huge_pat & ~(cpu->pse36 ? high : 0);
}

static void mode_init_reserved(struct vmmu_guest_mode *mode)
{
	const struct vmmu_guest_format *f = mode->format;
	const struct vmmu_guest_cpu *cpu = &mode->registers.cpu;
	uint64_t everywhere = f->reserved | (f->address & ~mode->address);

	if (!mode->no_exec)
		everywhere |= f->no_exec;
	for (unsigned level = VMMU_LEVEL_4K; level <= f->levels; level++) {
		mode->reserved_leaf[level] = everywhere;
		mode->reserved_table[level] = everywhere | f->table_reserved;
		if (level > VMMU_LEVEL_4K && level <= mode->huge_level_max)
			mode->reserved_leaf[level] |= reserved_huge(f, level, cpu);
		/* Where no leaf may stand its marker is reserved; without CR4.PSE it is ignored. */
		if (level > mode->huge_level_max && level > VMMU_LEVEL_4K && !f->huge_needs_pse)
			mode->reserved_table[level] |= f->huge;
		/*
		 * APM vol. 2, 5.3.3: bits 8:7 of a PML4E and a PML5E must be 0. Older revisions say
		 * so of a PDPE's bit 8 as well; CPUs ignore it.
		 */
		if (level > VMMU_LEVEL_1G && cpu->bit8_reserved)
			mode->reserved_table[level] |= f->global;
	}
	/* PDPTEs are checked when they are loaded and not again, or else with each walk (APM vol. 2, 15.25.10). */
	if (f->top_in_registers)
		mode->reserved_table[f->levels] = f->top_checked ? everywhere | f->no_exec | VMMU_BITS(2, 1) | VMMU_BITS(8, 5)
		                                                 : 0;
}

/* ---- rights --------------------------------------------------------------------- */

/* SDM vol. 3, 4.6.1 "Determination of Access Rights"; `a` and `page` as in struct vmmu_guest_mode. */
static bool is_refused(const struct vmmu_paging *r, unsigned a, unsigned page)
{
	bool write = a & 1, user = a & 2, fetch = a & 4, not_excused = a & 8;

	if (fetch && !(page & VMMU_PAGE_EXEC))
		return true;
	if (!write && !fetch && !(page & VMMU_PAGE_READ))
		return true;
	if (user)
		return !(page & VMMU_PAGE_USER) || (write && !(page & VMMU_PAGE_WRITE));
	if (write && (r->cr0 & CR0_WP) && !(page & VMMU_PAGE_WRITE))
		return true;
	if (!(page & VMMU_PAGE_USER))
		return false;
	return fetch ? !!(r->cr4 & CR4_SMEP) : (r->cr4 & CR4_SMAP) && not_excused;
}

/* SDM vol. 3, 4.6.2 "Protection Keys": two bits of PKRU a key, AD and WD. */
static bool pkru_refuses(const struct vmmu_paging *r, bool write, bool user, unsigned key)
{
	bool no_access = r->pkru >> 2 * key & 1, no_write = r->pkru >> 2 * key & 2;

	return no_access || (no_write && write && (user || (r->cr0 & CR0_WP)));
}

static void init_permissions(struct vmmu_guest_mode *mode)
{
	const struct vmmu_paging *r = &mode->registers;

	for (unsigned a = 0; a < 16; a++)
		for (unsigned page = 0; page <= VMMU_PAGE_ALL; page++)
			if (is_refused(r, a, page))
				mode->refused[a] |= (uint16_t)(1u << page);
	for (unsigned a = 0; mode->keys && a < 4; a++)
		for (unsigned key = 0; key < 16; key++)
			if (pkru_refuses(r, a & 1, a & 2, key))
				mode->key_refused[a] |= (uint16_t)(1u << key);
}

void vmmu_guest_mode_init(struct vmmu_guest_mode *mode, const struct vmmu_paging *r)
{
	vmmu_guest_mode_of(mode, r, vmmu_guest_format_of(format_for(r)), VMMU_LEVEL_1G);
}

void vmmu_guest_mode_of(struct vmmu_guest_mode *mode, const struct vmmu_paging *r, const struct vmmu_guest_format *f,
                        unsigned leaf_level_max)
{
	*mode = (struct vmmu_guest_mode){.registers = *r, .format = f};
	if (!f)
		return;
	mode->levels = f->levels;
	mode->huge_level_max = huge_level_max(f, r);
	if (mode->huge_level_max > leaf_level_max)
		mode->huge_level_max = (uint8_t)leaf_level_max;
	/* SDM vol. 3, 29.3.3.1: 2, 3 and 7. */
	mode->all_user = f->beyond_refused;
	mode->bad_memtypes = f->has_memtype ? 1u << 2 | 1u << 3 | 1u << 7 : 0;
	mode->no_exec = f->no_exec && (r->efer & EFER_NXE);
	mode->keys = f->key && (r->cr4 & CR4_PKE);
	mode->fetch_reported = mode->no_exec || (r->cr4 & CR4_SMEP);
	mode->address = f->address & VMMU_BITS(vmmu_guest_width(&r->cpu) - 1, 12);
	mode_init_reserved(mode);
	init_permissions(mode);
}
