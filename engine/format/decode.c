/* SPDX-License-Identifier: BSD-2-Clause */
/* What an entry says, in the API's words: for trace readers, dumps and audits. */
#include "format/format.h"

static uint8_t decode_memtype(const struct vmmu_layout *l, uint64_t entry)
{
	static const uint8_t pat[4] = {
		VMMU_MEMTYPE_WB,
		VMMU_MEMTYPE_WT,
		VMMU_MEMTYPE_WC,
		VMMU_MEMTYPE_UC,
	};

	return l->format->has_memtype ? entry >> 3 & 7 : pat[entry >> 3 & 3];
}

void vmmu_trace_decoder(const struct vmmu_trace_record *vm, struct vmmu_decoder *out)
{
	const struct vmmu_trace_config *c = &vm->config;
	bool width_known = c->maxphyaddr >= 32 && c->maxphyaddr <= 52;

	*out = (struct vmmu_decoder){
		.mode = c->mode == VMMU_MODE_NPT || c->mode == VMMU_MODE_SHADOW ? (enum vmmu_mode)c->mode : VMMU_MODE_EPT,
		.levels = c->levels == 5 ? 5 : 4,
		.cpu = {
			.maxphyaddr = width_known ? (uint8_t)c->maxphyaddr : 52,
			.page_2m = c->features & VMMU_TRACE_PAGE_2M,
			.page_1g = c->features & VMMU_TRACE_PAGE_1G,
			.exec_only = c->features & VMMU_TRACE_EXEC_ONLY,
			.ad = c->features & VMMU_TRACE_AD,
			.nx = c->features & VMMU_TRACE_NX,
			.levels5 = c->features & VMMU_TRACE_LEVELS5,
		},
	};
}

void vmmu_layout_decode(const struct vmmu_layout *l, unsigned level, uint64_t entry,
                        struct vmmu_entry_info *out)
{
	*out = (struct vmmu_entry_info){.kind = VMMU_ENTRY_EMPTY};
	if (vmmu_is_mmio(l, entry)) {
		out->kind = VMMU_ENTRY_MMIO;
		out->mmio_gen = vmmu_mmio_generation(entry);
		return;
	}
	if (!vmmu_is_present(l, entry)) {
		/* Hardware ignores the rest of it, but the engine only ever leaves 0 behind. */
		if (entry)
			out->kind = VMMU_ENTRY_BAD;
		return;
	}
	/* A supervisor entry lets no nested access through (APM vol. 2, 15.25.5). */
	if ((entry & l->format->always) == l->format->always)
		out->rights = (uint8_t)vmmu_entry_rights(l, entry);
	/* A table of PAE's top level withholds nothing (SDM vol. 3, table 4-8). */
	if (l->format->bare_tables && level == VMMU_LEVEL_1G && (entry & ~l->address) == l->present)
		out->rights = VMMU_RWX;
	out->pfn = vmmu_hpa_pfn(vmmu_entry_address(l, entry));
	out->accessed = entry & l->accessed;
	if (vmmu_is_leaf(l, level, entry)) {
		out->kind = VMMU_ENTRY_LEAF;
		/* In a huge long-mode leaf bit 12 is the PAT's, not the address's. */
		out->pfn.v &= ~(vmmu_level_pages(level) - 1);
		out->memtype = decode_memtype(l, entry);
		out->ignore_pat = entry & l->ignore_pat;
		out->dirty = entry & l->dirty;
		out->host_writable = entry & l->format->soft_host_writable;
		out->map_writable = entry & l->format->soft_map_writable;
	} else {
		out->kind = vmmu_is_table(l, level, entry) ? VMMU_ENTRY_TABLE : VMMU_ENTRY_BAD;
	}
	if (vmmu_is_bad(l, level, entry))
		out->kind = VMMU_ENTRY_BAD;
}
