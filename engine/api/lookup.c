/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a gpa leads now: the question of an emulator, which asks it often, for a vCPU. */
#include "api/api.h"
#include "map/direct/direct.h"

/* The entry that ends the translation, and its level. */
struct ending {
	uint64_t entry;
	unsigned level;
};

/* From the root down, and note for the next time which table of 2 MiB entries it went through. */
static VMMU_RARE struct ending look_down(struct vmmu_vcpu *vcpu, struct vmmu_map *map, struct vmmu_inside inside,
                                         uint64_t gfn)
{
	struct vmmu_hint *hint = &vcpu->actor.hint;
	struct ending end = {0, 0};
	vmmu_hpa table = map->root->hpa;

	vmmu_assert_inside(inside);
	if (gfn >= vcpu->vm->memory.limit || gfn >= vmmu_map_end(map))
		return end;
	for (end.level = map->root->level;; end.level--) {
		if (end.level == VMMU_HINT_LEVEL)
			*hint = vmmu_hint_to(map, gfn, table);
		end.entry = vmmu_entry_read(&vcpu->vm->tables, table, gfn / vmmu_level_pages(end.level) % VMMU_ENTRIES);
		if (!vmmu_is_table(&map->layout, end.level, end.entry) ||
		    (end.entry & map->layout.reserved_table[end.level]))
			return end;
		table = vmmu_entry_address(&map->layout, end.entry);
	}
}

static VMMU_RARE enum vmmu_entry_kind describe_ending(const struct vmmu_layout *l, uint64_t gfn, struct ending end,
                                                      struct vmmu_translation *out)
{
	struct vmmu_entry_info info;

	vmmu_layout_decode(l, end.level, end.entry, &info);
	*out = (struct vmmu_translation){.entry = end.entry, .level = (uint8_t)end.level};
	if (info.kind == VMMU_ENTRY_LEAF) {
		out->rights = info.rights;
		out->pfn.v = info.pfn.v + (gfn & (vmmu_level_pages(end.level) - 1));
	}
	return info.kind;
}

/* What a plain leaf of 4 KiB lets through: R, and perhaps more. */
VMMU_INLINE unsigned plain_rights(const struct vmmu_layout *l, uint64_t entry)
{
	unsigned writes = !!(entry & l->format->write), runs = !!((entry ^ l->format->no_exec) & l->exec_mask);

	return VMMU_R + writes * VMMU_W + runs * VMMU_X;
}

/* In the table of 4 KiB entries around it, found by the vCPU's hint. False: not there, or not plain. */
VMMU_INLINE bool plain_leaf(const struct vmmu_tables *t, const struct vmmu_hint *hint, const struct vmmu_map *map,
                            uint64_t gfn, uint64_t *leaf)
{
	const struct vmmu_layout *l = &map->layout;
	uint64_t entry;

	if (VMMU_UNLIKELY(!vmmu_hint_leads_to(hint, map, gfn)))
		return false;
	entry = vmmu_entry_read(t, hint->table, gfn / VMMU_ENTRIES % VMMU_ENTRIES);
	if (VMMU_UNLIKELY((entry & l->table_2m_mask) != l->table_mark))
		return false;
	*leaf = entry = vmmu_entry_read(t, vmmu_entry_address(l, entry), gfn % VMMU_ENTRIES);
	return (entry & l->plain_mask) == l->plain_mark;
}

static enum vmmu_entry_kind tell_plain(const struct vmmu_layout *l, uint64_t entry, struct vmmu_translation *out)
{
	out->entry = entry;
	out->pfn = vmmu_hpa_pfn(vmmu_entry_address(l, entry));
	out->level = VMMU_LEVEL_4K;
	out->rights = (uint8_t)plain_rights(l, entry);
	return VMMU_ENTRY_LEAF;
}

/* Any gpa, hooked or not. */
static VMMU_APART enum vmmu_entry_kind translate_any(struct vmmu_vcpu *vcpu, struct vmmu_map *map, uint64_t gfn,
                                                     struct vmmu_translation *out)
{
	struct vmmu_tables *t = &vcpu->vm->tables;
	struct vmmu_inside inside = vmmu_gate_enter(t, &vcpu->actor);
	struct ending end = {0, 0};
	uint64_t leaf = 0;
	bool plain = plain_leaf(t, &vcpu->actor.hint, map, gfn, &leaf);

	if (!plain)
		end = look_down(vcpu, map, inside, gfn);
	vmmu_gate_leave(t, &vcpu->actor, inside);
	return plain ? tell_plain(&map->layout, leaf, out) : describe_ending(&map->layout, gfn, end, out);
}

enum vmmu_entry_kind vmmu_translate(struct vmmu_vcpu *vcpu, vmmu_gpa gpa, struct vmmu_translation *out)
{
	struct vmmu_tables *t = &vcpu->vm->tables;
	struct vmmu_map *map = vmmu_map_of_gpas(vcpu->vm);
	const uint64_t gfn = vmmu_gpa_gfn(gpa).v;
	uint64_t leaf = 0;
	bool plain;

	/* No record is made: only a test hook has to be told of the gate. */
	if (VMMU_UNLIKELY(t->host->point != NULL) || VMMU_UNLIKELY(!vmmu_gate_try(t, &vcpu->actor)))
		return translate_any(vcpu, map, gfn, out);
	plain = plain_leaf(t, &vcpu->actor.hint, map, gfn, &leaf);
	atomic_store_explicit(&vcpu->actor.inside, false, memory_order_release);
	return VMMU_LIKELY(plain) ? tell_plain(&map->layout, leaf, out) : translate_any(vcpu, map, gfn, out);
}
