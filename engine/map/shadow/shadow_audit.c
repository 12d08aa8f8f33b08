/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The audit of shadow tables: each entry must follow from the guest's own table,
 * hang in the list it belongs to, and let no CPU write a guest table that is
 * shadowed. The gate is closed and no flush is pending, so all of it is exact.
 *
 * No list is searched: a frame may be mapped by every entry there is. Each entry
 * is seen once on its own, where its link must hang somewhere; and once in the
 * list that it hangs in, where it must be an entry for what the list is of. A link
 * that what precedes it does not point to is found either way, so none is in two
 * lists, and as many as there are entries hang in lists: so each is in its own.
 */
#include "map/audit.h"
#include "map/shadow/shadow.h"

struct table_audit {
	struct vmmu_audit *a;
	struct vmmu_op *op;
	struct vmmu_shadow *s;
	uint64_t *children; /* entries so far that reference a table */
};

static const struct vmmu_layout *layout_of(const struct table_audit *t)
{
	return &t->op->map->layout;
}

static bool hangs(const struct vmmu_link *link)
{
	return link->at && *link->at == link;
}

/*
 * The links of one list: `each` is asked about every one. Ends at one that does not
 * know what points to it, and where a list would otherwise go round for ever.
 */
static uint64_t look_through(struct vmmu_audit *a, struct vmmu_op *op, struct vmmu_link **head,
                             void (*each)(struct vmmu_audit *a, const struct vmmu_path_step *step, uint64_t gfn,
                                          const void *arg),
                             const void *arg)
{
	const struct vmmu_layout *layout = &op->map->layout;
	uint64_t count = 0;

	for (struct vmmu_link **at = head; *at; at = &(*at)->next) {
		struct vmmu_visit v = vmmu_shadow_entry(op, vmmu_shadow_of(*at), vmmu_link_index(*at));
		struct vmmu_path_step step = {
			.level = v.level,
			.index = v.index,
			.table = v.table,
			.entry = v.entry,
		};

		if ((*at)->at != at) {
			vmmu_audit_finding(a, "a list leads to an entry that hangs elsewhere", &step, v.gfn.v);
			break;
		}
		vmmu_layout_decode(layout, step.level, step.entry, &step.info);
		each(a, &step, v.gfn.v, arg);
		count++;
	}
	return count;
}

/* ---- what the guest's table says ------------------------------------------------ */

/* Which guest entry stands behind entry `index` of `s`. */
static vmmu_gpa guest_entry_of(const struct vmmu_shadow *s, unsigned index)
{
	return vmmu_gpa_of((s->gfn << VMMU_PAGE_SHIFT) + vmmu_shadow_guest_offset(s, index));
}

/* The frame that it names for entry `index`, which may have but a part of the guest's page. */
static uint64_t guest_frame(const struct vmmu_shadow *s, unsigned index, uint64_t gpte)
{
	const struct vmmu_guest_format *f = s->format;
	uint64_t address = gpte & f->address, page = 1ull << vmmu_guest_shift(f, s->role.level);

	if (s->role.level > VMMU_LEVEL_4K && (gpte & f->huge) && (s->role.pse || !f->huge_needs_pse)) {
		uint64_t part = index & ((1u << vmmu_guest_spread(f, s->role.level)) - 1);

		address = (address & ~(page - 1)) | (gpte & f->huge_high) << f->huge_high_shift |
		          part * vmmu_level_pages(s->role.level) * VMMU_PAGE_SIZE;
	}
	return address >> VMMU_PAGE_SHIFT;
}

/* The CPU's store of an A bit is lost there. */
static bool is_read_only(const struct table_audit *t, uint64_t gfn)
{
	const struct vmmu_slot *slot = vmmu_slot_at(&t->a->vm->memory, vmmu_reading_closed(t->a->closed), gfn);

	return slot && (slot->info.flags & VMMU_SLOT_READONLY);
}

static void check_against_guest(struct table_audit *t, const struct vmmu_path_step *step,
                                uint64_t gfn, bool is_leaf)
{
	const struct vmmu_host *host = t->op->tables->host;
	const struct vmmu_shadow *s = t->s;
	const struct vmmu_guest_format *f = s->format;
	enum vmmu_guest_read read;
	uint64_t gpte = 0, mask = is_leaf ? ~(vmmu_level_pages(s->role.level) - 1) : ~0ull;
	bool user = is_leaf && (step->entry & layout_of(t)->format->user);
	bool write = is_leaf && (step->info.rights & VMMU_W);

	read = host->guest_read(t->op->tables->ctx, guest_entry_of(s, step->index), f->entry_bytes, &gpte);
	gpte = vmmu_guest_word(f, gpte);
	if (read != VMMU_GUEST_READ_OK && read != VMMU_GUEST_READ_NONE)
		return; /* busy */
	if (read == VMMU_GUEST_READ_NONE || !(gpte & f->present)) {
		vmmu_audit_finding(t->a, "entry where the guest's table has none", step, gfn);
		return;
	}
	if ((guest_frame(s, step->index, gpte) & mask) != (gfn & mask))
		vmmu_audit_finding(t->a, "entry for another frame than the guest's table names", step, gfn);
	if (!vmmu_guest_is_accessed(f, gpte) && !is_read_only(t, s->gfn))
		vmmu_audit_finding(t->a, "entry although the guest's has its A bit clear", step, gfn);
	if (user && !((gpte & f->user) && (s->role.access & VMMU_PAGE_USER)))
		vmmu_audit_finding(t->a, "user leaf on a supervisor page of the guest", step, gfn);
	if (write && s->role.wp && !((gpte & f->write) && (s->role.access & VMMU_PAGE_WRITE)))
		vmmu_audit_finding(t->a, "writable leaf on a read-only page of the guest", step, gfn);
	if (write && user && !((gpte & f->write) && (s->role.access & VMMU_PAGE_WRITE)))
		vmmu_audit_finding(t->a, "leaf lets users write a read-only page", step, gfn);
	if (is_leaf && (step->info.rights & VMMU_X) &&
	    (!(s->role.access & VMMU_PAGE_EXEC) || (s->role.no_exec && (gpte & f->no_exec))))
		vmmu_audit_finding(t->a, "executable leaf on a page the guest forbids to execute", step, gfn);
}

/* ---- one entry --------------------------------------------------------------------- */

static void check_shadow_leaf(struct table_audit *t, const struct vmmu_path_step *step)
{
	const struct vmmu_shadow *s = t->s;
	const struct vmmu_link *link = &s->link[step->index];
	uint64_t gfn = vmmu_link_gfn(link);
	const struct vmmu_shadow_map *all = vmmu_shadow_map_of(t->op);

	vmmu_audit_leaf(t->a, step, gfn);
	if (!hangs(link))
		vmmu_audit_finding(t->a, "leaf that its frame's list does not know", step, gfn);
	if ((step->info.rights & VMMU_W) &&
	    (step->level > VMMU_LEVEL_4K ? vmmu_shadow_holds_near(all, gfn)
	                                 : vmmu_shadow_holds(all, gfn)))
		vmmu_audit_finding(t->a, "a CPU can write a guest table that is shadowed", step, gfn);
	if (!s->role.direct && s->state == VMMU_SHADOW_CURRENT)
		check_against_guest(t, step, gfn, true);
	else if (s->role.direct && gfn != s->gfn + step->index * vmmu_level_pages(step->level))
		vmmu_audit_finding(t->a, "direct table maps another frame than its place", step, gfn);
}

static void check_shadow_child(struct table_audit *t, const struct vmmu_path_step *step)
{
	struct vmmu_shadow *child = (struct vmmu_shadow *)vmmu_table_find(
		t->op->tables, t->a->closed, vmmu_pfn_hpa(step->info.pfn));

	if (!child) {
		vmmu_audit_finding(t->a, "entry references a frame that is no table of this VM", step, 0);
		return;
	}
	if (child->role.level != step->level - 1u)
		vmmu_audit_finding(t->a, "table is linked where it does not belong", step, child->gfn);
	++*t->children;
	if (!hangs(&t->s->link[step->index]))
		vmmu_audit_finding(t->a, "entry that the table it references does not know", step, child->gfn);
	if (child->state == VMMU_SHADOW_PARKED)
		vmmu_audit_finding(t->a, "entry references a table that the guest may write", step, child->gfn);
	if (!t->s->role.registers && !t->s->role.direct && !child->role.direct && t->s->state == VMMU_SHADOW_CURRENT)
		check_against_guest(t, step, child->gfn, false);
}

static void check_entry(struct table_audit *t, unsigned index)
{
	struct vmmu_path_step step = {
		.level = t->s->table.level,
		.index = (uint16_t)index,
		.table = t->s->table.hpa,
		.entry = vmmu_entry_read(t->op->tables, t->s->table.hpa, index),
	};

	vmmu_layout_decode(layout_of(t), step.level, step.entry, &step.info);
	if (!step.entry != !t->s->link[index].at)
		vmmu_audit_finding(t->a, "entry and its link disagree on whether there is one", &step, 0);
	else if (step.entry && t->s->state != VMMU_SHADOW_CURRENT && (t->s->parents || t->s->pins))
		vmmu_audit_finding(t->a, "entry in reach of CPUs that has not been compared with the guest's", &step, 0);
	else if (step.info.kind == VMMU_ENTRY_LEAF)
		check_shadow_leaf(t, &step);
	else if (step.info.kind == VMMU_ENTRY_TABLE)
		check_shadow_child(t, &step);
	else if (step.info.kind != VMMU_ENTRY_EMPTY)
		vmmu_audit_finding(t->a, "reserved bits or combination: the CPU would refuse it", &step, 0);
}

/* ---- the lists ----------------------------------------------------------------------- */

static void check_parent(struct vmmu_audit *a, const struct vmmu_path_step *step, uint64_t gfn, const void *arg)
{
	const struct vmmu_shadow *child = arg;

	(void)gfn;
	if (step->info.kind != VMMU_ENTRY_TABLE || vmmu_pfn_hpa(step->info.pfn).v != child->table.hpa.v)
		vmmu_audit_finding(a, "a parent is known that does not reference the table", step, child->gfn);
}

struct frame_list {
	uint64_t gfn; /* of the frame, or of the block's first one */
	unsigned level;
};

static void check_mapping(struct vmmu_audit *a, const struct vmmu_path_step *step, uint64_t gfn, const void *arg)
{
	const struct frame_list *list = arg;

	if (step->info.kind != VMMU_ENTRY_LEAF || step->level != list->level || gfn != list->gfn)
		vmmu_audit_finding(a, "a frame's list has an entry that does not map it", step, list->gfn);
}

static void check_frames(struct vmmu_audit *a, struct vmmu_op *op, const uint64_t *leaves)
{
	struct vmmu_path_step none = {.level = 0};
	uint64_t pages = 0, huge = 0;

	for (unsigned i = 0; i < VMMU_BLOCK_BUCKETS; i++)
		for (struct vmmu_block *b = vmmu_shadow_map_of(op)->frames.bucket[i]; b; b = b->next) {
			struct frame_list list = {b->number * VMMU_ENTRIES, VMMU_LEVEL_2M};

			huge += look_through(a, op, &b->huge, check_mapping, &list);
			list.level = VMMU_LEVEL_4K;
			for (unsigned page = 0; page < VMMU_ENTRIES; page++, list.gfn++)
				pages += look_through(a, op, &b->page[page], check_mapping, &list);
		}
	if (pages != leaves[VMMU_LEVEL_4K] || huge != leaves[VMMU_LEVEL_2M])
		vmmu_audit_finding(a, "the reverse map counts other leaves than there are", &none, 0);
}

void vmmu_shadow_audit(struct vmmu_op *op, struct vmmu_closed closed, struct vmmu_audit *a)
{
	uint64_t before[VMMU_LEVEL_MAX + 1], own[VMMU_LEVEL_MAX + 1], children = 0, parents = 0;
	struct vmmu_path_step none = {.level = 0};

	a->closed = closed;
	for (unsigned level = 0; level <= VMMU_LEVEL_MAX; level++)
		before[level] = a->leaves[level];
	for (struct vmmu_shadow *s = vmmu_shadow_map_of(op)->oldest; s; s = s->newer) {
		struct table_audit t = {a, op, s, &children};

		a->tables[s->table.level]++;
		for (unsigned i = 0; i < VMMU_ENTRIES; i++)
			check_entry(&t, i);
		parents += look_through(a, op, &s->parents, check_parent, s);
		if (s->state == VMMU_SHADOW_PARKED && s->pins)
			vmmu_audit_finding(a, "a table that the guest may write counts as like the guest's",
			                   &(struct vmmu_path_step){.level = s->table.level, .table = s->table.hpa},
			                   s->gfn);
	}
	for (unsigned level = 0; level <= VMMU_LEVEL_MAX; level++)
		own[level] = a->leaves[level] - before[level];
	if (parents != children)
		vmmu_audit_finding(a, "the tables know other parents than there are", &none, 0);
	check_frames(a, op, own);
}
