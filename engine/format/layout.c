/* SPDX-License-Identifier: BSD-2-Clause */
/* A format narrowed to one CPU: every mask worked out once. */
#include "format/format.h"

/* Where a format cannot express a combination, the nearest one that grants no more writing. */
static uint64_t rights_bits(const struct vmmu_layout *l, unsigned rights)
{
	const struct vmmu_format *f = l->format;
	uint64_t bits = 0;

	if (rights & VMMU_R)
		bits |= f->read;
	if (rights & VMMU_W)
		bits |= f->write | f->read | l->dirty;
	if (rights & VMMU_X)
		bits |= f->exec | (l->cpu.exec_only ? 0 : f->read);
	else if (l->cpu.nx)
		bits |= f->no_exec;
	if (!(rights & VMMU_SUPERVISOR))
		bits |= f->user;
	return bits;
}

/* PWT is bit 3, PCD bit 4: the index into PAT entries 0 to 3. */
static uint64_t pat_bits(unsigned memtype)
{
	switch (memtype) {
	case VMMU_MEMTYPE_WB:
		return 0;
	case VMMU_MEMTYPE_WT:
		return VMMU_BIT(3);
	case VMMU_MEMTYPE_WC: /* UC-: the guest's PAT may turn it into WC */
		return VMMU_BIT(4);
	default:
		return VMMU_BIT(3) | VMMU_BIT(4);
	}
}

static void init_memtypes(struct vmmu_layout *l)
{
	for (unsigned type = 0; type < 8; type++)
		l->memtype[type] = l->format->has_memtype ? (uint64_t)type << 3 : pat_bits(type);
	l->ignore_pat = l->format->has_memtype ? VMMU_BIT(6) : 0;
}

static void layout_init_reserved(struct vmmu_layout *l)
{
	const struct vmmu_format *f = l->format;
	uint64_t beyond = VMMU_BITS(51, 12) & ~l->address;

	if (f->no_exec && !l->cpu.nx)
		beyond |= f->no_exec;
	for (unsigned level = VMMU_LEVEL_4K; level <= VMMU_LEVEL_MAX; level++) {
		uint64_t offset = vmmu_level_pages(level) * VMMU_PAGE_SIZE - 1;

		l->leaf_shift[level] = (uint8_t)(VMMU_PAGE_SHIFT + VMMU_INDEX_BITS * (level - 1));
		l->leaf[level] = f->always | l->accessed | (level > VMMU_LEVEL_4K ? f->huge : 0);
		/* A huge leaf's address is aligned; bit 12 of a long-mode one is its PAT bit. */
		l->reserved_leaf[level] = beyond | (offset & VMMU_BITS(51, f->has_memtype ? 12 : 13));
		if (level == VMMU_LEVEL_4K)
			l->reserved_leaf[level] = beyond;
		l->reserved_table[level] = beyond | f->table_reserved |
		                           (level >= VMMU_LEVEL_1G ? f->upper_reserved : 0);
		/* A leaf larger than the CPU knows: the marker itself is reserved. */
		if (level > l->leaf_level_max) {
			l->reserved_leaf[level] |= f->huge;
			l->reserved_table[level] |= f->huge;
		}
	}
}

static void init_mmio(struct vmmu_layout *l, bool wanted)
{
	const struct vmmu_format *f = l->format;

	l->mmio_supported = wanted;
	l->mmio_mark = f->mmio_mark;
	l->mmio_mask = f->mmio_mark | f->mmio_clear;
	if (!wanted)
		l->mmio_mask = 0; /* with a mark that is not 0: nothing is an MMIO entry */
	/*
	 * The address field points past all memory, so that a CPU that loads
	 * through refused entries (L1 terminal fault, CVE-2018-3646) finds
	 * nothing there.
	 */
	l->mmio = f->mmio_mark | l->address;
}

/* With a right to read, without W, no reserved bit, write-back: not refused, and no MMIO entry. */
static void init_protected(struct vmmu_layout *l)
{
	const struct vmmu_format *f = l->format;
	uint64_t types = l->memtype[VMMU_MEMTYPE_UC] | l->memtype[VMMU_MEMTYPE_WC] | l->memtype[VMMU_MEMTYPE_WT] |
	                 l->memtype[VMMU_MEMTYPE_WP] | l->memtype[VMMU_MEMTYPE_WB];

	l->protected_mark = f->read | f->always | f->soft_map_writable | l->memtype[VMMU_MEMTYPE_WB];
	l->protected_mask = l->protected_mark | types | f->write | l->reserved_leaf[VMMU_LEVEL_4K];
	l->exec_mask = f->exec | f->no_exec;
	l->plain_mark = l->protected_mark & ~f->soft_map_writable;
	l->plain_mask = l->protected_mask & ~(f->soft_map_writable | f->write);
}

static uint64_t pointer_bits(const struct vmmu_layout *l)
{
	const struct vmmu_format *f = l->format;

	return f->pointer | (f->pointer_levels ? (l->levels - 1ull) << f->pointer_levels : 0) |
	       (l->accessed ? f->pointer_ad : 0);
}

enum vmmu_status vmmu_layout_init(struct vmmu_layout *l, const struct vmmu_format *format,
                                  const struct vmmu_cpu *cpu, unsigned levels)
{
	if (cpu->maxphyaddr < 32 || cpu->maxphyaddr > 52 || levels < 4 || levels > format->levels_max)
		return VMMU_ERR_INVALID;
	if (levels == 5 && !cpu->levels5)
		return VMMU_ERR_UNSUPPORTED;

	*l = (struct vmmu_layout){
		.format = format,
		.cpu = *cpu,
		.levels = (uint8_t)levels,
		.present = format->present,
		.huge = format->huge,
		.soft_writable = format->soft_host_writable | format->soft_map_writable,
		.address = VMMU_BITS(cpu->maxphyaddr - 1, 12),
		.no_frame = ~(VMMU_BITS(cpu->maxphyaddr - 1, 12) >> VMMU_PAGE_SHIFT),
		.leaf_level_max = cpu->page_1g && cpu->page_2m ? VMMU_LEVEL_1G
	                          : cpu->page_2m               ? VMMU_LEVEL_2M
	                                                       : VMMU_LEVEL_4K,
		.accessed = cpu->ad ? format->accessed : 0,
		.dirty = cpu->ad ? format->dirty : 0,
	};
	for (unsigned rights = 0; rights < VMMU_RIGHTS_COUNT; rights++)
		l->rights[rights] = rights_bits(l, rights);
	for (unsigned rights = 0; rights <= VMMU_RWX; rights++)
		l->grants[rights] = (uint8_t)vmmu_entry_rights(l, l->rights[rights]);
	/* Without a right it is no entry. */
	l->grants[0] |= VMMU_R;
	l->table = format->read | format->write | format->exec | format->present | format->always |
	           format->user | l->accessed;
	l->pointer = pointer_bits(l);
	init_memtypes(l);
	layout_init_reserved(l);
	init_protected(l);
	init_mmio(l, !(format->mmio_by_reserved && cpu->maxphyaddr > 51));
	l->table_mark = format->bare_tables ? format->present : l->table & ~l->accessed;
	l->table_mask = l->table_mark | l->huge | l->mmio_mask;
	l->table_2m_mask = l->table_mask | l->reserved_table[VMMU_LEVEL_2M];
	return VMMU_OK;
}

/* EPT memory types 2, 3 and 7 are reserved (SDM vol. 3, 29.3.3.1). */
static bool bad_memtype(uint64_t entry)
{
	unsigned type = entry >> 3 & 7;

	return type == 2 || type == 3 || type == 7;
}

bool vmmu_is_bad(const struct vmmu_layout *l, unsigned level, uint64_t entry)
{
	const struct vmmu_format *f = l->format;
	bool leaf = vmmu_is_leaf(l, level, entry);

	if (!vmmu_is_present(l, entry))
		return false;
	if (entry & (leaf ? l->reserved_leaf[level] : l->reserved_table[level]))
		return true;
	if (f->write_needs_read && (entry & f->write) && !(entry & f->read))
		return true;
	if (f->exec && !(entry & f->read) && !l->cpu.exec_only)
		return true;
	return leaf && f->has_memtype && bad_memtype(entry);
}

uint64_t vmmu_split_entry(const struct vmmu_layout *l, unsigned level, uint64_t huge, unsigned i)
{
	uint64_t entry = huge + i * vmmu_level_pages(level - 1) * VMMU_PAGE_SIZE;

	/* At level 1 the marker's place means something else (PAT) or nothing. */
	return level - 1 == VMMU_LEVEL_4K ? entry & ~l->format->huge : entry;
}

uint64_t vmmu_grant_write(const struct vmmu_layout *l, uint64_t leaf)
{
	return leaf | l->format->write | l->dirty;
}

uint64_t vmmu_revoke_write(const struct vmmu_layout *l, uint64_t leaf)
{
	return leaf & ~(l->format->write | l->dirty);
}
