/* SPDX-License-Identifier: BSD-2-Clause */
/* What CR3 names: the root for the registers that a vCPU has from now on. */
#include "map/shadow/shadow.h"

/* Outside long mode the CPU walks PAE tables, from four registers. */
static inline unsigned top_level(const struct vmmu_guest_mode *mode)
{
	return mode->format ? vmmu_guest_our_levels(mode->format) : VMMU_LEVEL_1G;
}

union vmmu_role vmmu_shadow_top_role(const struct vmmu_guest_mode *mode)
{
	const struct vmmu_paging *r = &mode->registers;
	unsigned levels = top_level(mode);
	bool wp = r->cr0 >> 16 & 1;

	return (union vmmu_role){
		.level = levels & 7,
		.access = VMMU_PAGE_ALL,
		.format = mode->format ? mode->format->number & 31 : VMMU_GUEST_NO_PAGING,
		.no_exec = mode->no_exec,
		.pse = r->cr4 >> 4 & 1,
		.wp = wp,
		.smep_no_wp = !wp && (r->cr4 >> 20 & 1),
		.strict_no_wp = !wp && (r->cr4 >> 21 & 3),
		.registers = levels == VMMU_LEVEL_1G,
	};
}

static bool is_root_of(const struct vmmu_root_slot *slot, union vmmu_role role,
                       const struct vmmu_guest_mode *mode)
{
	if (!slot->top || slot->role.word != role.word ||
	    slot->cr3 != (mode->registers.cr3 & mode->format->root))
		return false;
	for (unsigned i = 0; mode->format->top_in_registers && i < VMMU_PAE_ENTRIES; i++)
		if (slot->pdpte[i] != mode->registers.pdpte[i])
			return false;
	return true;
}

/*
 * The table for (gfn, role), made if need be. A CPU uses it at once, so what it
 * still says of a guest table that has been written since must go now.
 */
static struct vmmu_shadow *table_for(struct vmmu_exclusive x, uint64_t gfn,
                                     union vmmu_role role)
{
	struct vmmu_shadow *s = vmmu_shadow_find(vmmu_shadow_map_of(x.op), gfn, role);

	if (!s)
		return vmmu_shadow_make(x, gfn, role);
	if (s->state != VMMU_SHADOW_CURRENT)
		vmmu_shadow_empty(x, s, VMMU_CAUSE_ROOT);
	vmmu_shadow_hold(x, s);
	return s;
}

/* Does the CPU go on below this one of PAE's four top entries? Native PAE has refused reserved bits with CR3. */
static bool leads_down(const struct vmmu_guest_mode *mode, uint64_t pdpte)
{
	return (pdpte & mode->format->present) && !(pdpte & mode->reserved_table[mode->levels]);
}

/* Outside long mode: the top table is this vCPU's alone, and what it references is there at once. */
static void fill_root_top(struct vmmu_exclusive x, struct vmmu_root_slot *slot,
                          const struct vmmu_guest_mode *mode)
{
	union vmmu_role role = slot->role;

	role.level = VMMU_LEVEL_2M;
	role.registers = 0;
	for (unsigned i = 0; i < VMMU_PAE_ENTRIES; i++) {
		struct vmmu_visit v = vmmu_shadow_entry(x.op, slot->top, i);
		uint64_t from = mode->format->top_in_registers ? slot->pdpte[i] & mode->address
		                                               : slot->cr3;

		if (mode->format->top_in_registers && !leads_down(mode, slot->pdpte[i]))
			continue;
		role.quadrant = vmmu_shadow_part(mode->format, role.level, i);
		slot->part[i] = table_for(x, from >> VMMU_PAGE_SHIFT, role);
		slot->part[i]->pins++;
		vmmu_shadow_link(&v, slot->top, slot->part[i],
		                 vmmu_pdpte_for(x.op, slot->part[i]->table.hpa), VMMU_CAUSE_ROOT);
	}
}

/* The slot to use for another root: a free one, or that used longest ago, but not the current. */
static struct vmmu_root_slot *slot_to_fill(struct vmmu_shadow_vcpu *sv)
{
	struct vmmu_root_slot *best = NULL;

	for (unsigned i = 0; i < VMMU_ROOTS; i++) {
		struct vmmu_root_slot *slot = &sv->slot[i];

		if (slot != sv->root && (!best || slot->used < best->used))
			best = slot;
	}
	return best;
}

/* Tables above the top, where the CPU walks as many levels as the host does. */
static void crown(struct vmmu_exclusive x, struct vmmu_root_slot *slot)
{
	union vmmu_role role = slot->role;
	struct vmmu_shadow *below = slot->top;

	role.registers = 1;
	for (unsigned i = 0; below->role.level < x.op->map->root_levels; i++) {
		struct vmmu_visit v;

		role.level = below->role.level + 1;
		slot->crown[i] = vmmu_shadow_make(x, below->gfn, role);
		slot->crown[i]->pins++;
		v = vmmu_shadow_entry(x.op, slot->crown[i], 0);
		vmmu_shadow_link(&v, slot->crown[i], below, vmmu_make_table(&x.op->map->layout, below->table.hpa),
		                 VMMU_CAUSE_ROOT);
		below = slot->crown[i];
	}
}

static struct vmmu_root_slot *make_root(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x,
                                        const struct vmmu_guest_mode *mode)
{
	struct vmmu_root_slot *slot = slot_to_fill(vmmu_shadow_vcpu_of(vcpu));

	vmmu_shadow_let_go(x, slot);
	slot->role = vmmu_shadow_top_role(mode);
	slot->cr3 = mode->registers.cr3 & mode->format->root;
	for (unsigned i = 0; mode->format->top_in_registers && i < VMMU_PAE_ENTRIES; i++)
		slot->pdpte[i] = mode->registers.pdpte[i];
	if (slot->role.registers)
		slot->top = vmmu_shadow_make(x, slot->cr3 >> VMMU_PAGE_SHIFT, slot->role);
	else
		slot->top = table_for(x, (slot->cr3 & mode->address) >> VMMU_PAGE_SHIFT,
		                      slot->role);
	slot->top->pins++;
	if (slot->role.registers)
		fill_root_top(x, slot, mode);
	crown(x, slot);
	return slot;
}

static struct vmmu_root_slot *find_root(struct vmmu_shadow_vcpu *sv,
                                        const struct vmmu_guest_mode *mode)
{
	union vmmu_role role = vmmu_shadow_top_role(mode);

	for (unsigned i = 0; i < VMMU_ROOTS; i++)
		if (is_root_of(&sv->slot[i], role, mode))
			return &sv->slot[i];
	return NULL;
}

/* False: the root is none that is remembered, and may not be made. */
static bool take_root(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, const struct vmmu_guest_mode *mode,
                      bool may_make)
{
	struct vmmu_shadow_vcpu *sv = vmmu_shadow_vcpu_of(vcpu);
	struct vmmu_root_slot *root = mode->levels ? find_root(sv, mode) : NULL;

	if (mode->levels && !root) {
		if (!may_make)
			return false;
		vmmu_shadow_reclaim(x, vmmu_shadow_map_of(x.op)->kind->root_tables);
		root = make_root(vcpu, x, mode);
	}
	if (root)
		root->used = ++sv->clock;
	sv->root = root;
	sv->mode = *mode;
	sv->started = true;
	sv->fresh = true;
	return true;
}

static void sync_if_stale(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, struct vmmu_shadow *s)
{
	if (s && s->state == VMMU_SHADOW_HELD && !vmmu_is_invalidating(&vcpu->vm->memory, s->gfn, s->gfn + 1))
		vmmu_shadow_sync(vcpu, x, s);
}

/* A new root: what there is below it already, the kernel's half most of all, need not fault. */
static void fill_root(struct vmmu_vcpu *vcpu, struct vmmu_op *op)
{
	struct vmmu_root_slot *root = vmmu_shadow_vcpu_of(vcpu)->root;
	struct vmmu_exclusive x;
	struct vmmu_inside inside;

	if (!root)
		return;
	inside = vmmu_op_enter(op);
	x = vmmu_shadow_lock(op, inside);
	if (!vmmu_is_flush_pending(op)) {
		sync_if_stale(vcpu, x, root->top);
		for (unsigned i = 0; i < VMMU_PAE_ENTRIES; i++)
			sync_if_stale(vcpu, x, root->part[i]);
	}
	vmmu_shadow_unlock(x);
	vmmu_op_leave(op, inside);
	/* A root that could not be read through is empty again. */
	if (op->flush.pending)
		vmmu_op_flush(op);
}

/* What a guest CPU promises shapes entries that all vCPUs share. */
static bool is_same_cpu(const struct vmmu_guest_cpu *a, const struct vmmu_guest_cpu *b)
{
	return a->maxphyaddr == b->maxphyaddr && a->pse36 == b->pse36 && a->page_1g == b->page_1g &&
	       a->bit8_reserved == b->bit8_reserved;
}

/* In the step in which the vCPU gets its root: a call that is refused has agreed to nothing. */
static bool is_agreed(const struct vmmu_shadow_map *all, const struct vmmu_guest_cpu *cpu)
{
	return !cpu->maxphyaddr || !all->cpu_known || is_same_cpu(&all->cpu, cpu);
}

static bool have_tables_for_root(struct vmmu_op *op, const struct vmmu_guest_mode *mode)
{
	const struct vmmu_shadow_kind *kind = vmmu_shadow_map_of(op)->kind;
	bool low = kind->low_top && top_level(mode) == VMMU_LEVEL_1G;

	return vmmu_spares_fill(op->tables, op->who, kind->root_tables - (unsigned)low) &&
	       (!low || vmmu_low_spare_fill(op->tables, op->who));
}

enum vmmu_status vmmu_shadow_switch(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                    const struct vmmu_guest_mode *mode)
{
	struct vmmu_shadow_map *all = vmmu_shadow_map_of(op);
	const struct vmmu_guest_cpu *cpu = &mode->registers.cpu;
	bool done = false, agreed = true;
	struct vmmu_exclusive x;
	struct vmmu_inside inside;

	for (unsigned may_make = 0; !done && agreed && may_make <= 1; may_make++) {
		if (may_make && !have_tables_for_root(op, mode))
			return VMMU_ERR_NO_MEMORY;
		inside = vmmu_op_enter(op);
		x = vmmu_shadow_lock(op, inside);
		agreed = is_agreed(all, cpu);
		done = agreed && take_root(vcpu, x, mode, may_make);
		if (done && cpu->maxphyaddr && !all->cpu_known) {
			all->cpu = *cpu;
			all->cpu_known = true;
		}
		vmmu_shadow_unlock(x);
		vmmu_op_leave(op, inside);
	}
	if (op->flush.pending)
		vmmu_op_flush(op);
	if (!agreed)
		return VMMU_ERR_INVALID;
	fill_root(vcpu, op);
	return VMMU_OK;
}
