/* SPDX-License-Identifier: BSD-2-Clause */
/* What CR3 names, and the roots that a vCPU remembers. */
#include "map/shadow/shadow.h"

/* ---- the direct map of guests without paging --------------------------------------- */

enum { PAE_ENTRIES = 4 };

/* A PAE top entry: present, an address, and nothing else (SDM vol. 3, table 4-8). */
static uint64_t pdpte_for(const struct vmmu_op *op, vmmu_hpa table)
{
	return table.v | op->tables->layout.present;
}

bool vmmu_shadow_init(struct vmmu_vm *vm, struct vmmu_op *op)
{
	struct vmmu_actor *who = op->who;

	if (!vmmu_spares_fill(&vm->tables, who, 1 + PAE_ENTRIES))
		return false;
	vm->root = vmmu_table_take(op, VMMU_LEVEL_1G, vmmu_gfn_of(0));
	vmmu_table_publish(op, vm->root);
	for (unsigned i = 0; i < PAE_ENTRIES; i++) {
		struct vmmu_visit v = {
			.op = op,
			.gfn = {i * vmmu_level_pages(VMMU_LEVEL_1G)},
			.table = vm->root->hpa,
			.index = (uint16_t)i,
			.level = VMMU_LEVEL_1G,
		};
		struct vmmu_table *table = vmmu_table_take(op, VMMU_LEVEL_2M, v.gfn);

		vmmu_entry_write(&v, pdpte_for(op, table->hpa), VMMU_CAUSE_ROOT);
		vmmu_table_publish(op, table);
	}
	return true;
}

static void free_blocks(struct vmmu_vm *vm)
{
	struct vmmu_tables *t = &vm->tables;

	for (unsigned i = 0; i < VMMU_BLOCK_BUCKETS; i++)
		while (vm->shadow->frames.bucket[i]) {
			struct vmmu_block *block = vm->shadow->frames.bucket[i];

			vm->shadow->frames.bucket[i] = block->next;
			t->host->object_free(t->ctx, block, sizeof(*block));
		}
}

void vmmu_shadow_fini(struct vmmu_vm *vm, struct vmmu_op *op)
{
	while (vm->shadow->oldest)
		vmmu_shadow_retire(vm, op, vm->shadow->oldest, VMMU_CAUSE_ZAP_VM);
	vmmu_settle(op);
	free_blocks(vm);
}

/* ---- roots -------------------------------------------------------------------------- */

static union vmmu_role top_role(const struct vmmu_guest_mode *mode)
{
	const struct vmmu_paging *r = &mode->registers;
	bool wp = r->cr0 >> 16 & 1;

	return (union vmmu_role){
		.level = mode->levels <= 3 ? 3 : mode->levels & 7,
		.access = VMMU_PAGE_WRITE | VMMU_PAGE_USER | VMMU_PAGE_EXEC,
		.levels = mode->levels & 7,
		.no_exec = mode->no_exec,
		.pse = r->cr4 >> 4 & 1,
		.wp = wp,
		.smep_no_wp = !wp && (r->cr4 >> 20 & 1),
		.strict_no_wp = !wp && (r->cr4 >> 21 & 3),
		.registers = mode->levels <= 3,
	};
}

static bool is_root_of(const struct vmmu_root_slot *slot, const struct vmmu_guest_mode *mode)
{
	if (!slot->top || slot->role.word != top_role(mode).word ||
	    slot->cr3 != (mode->registers.cr3 & mode->format->root))
		return false;
	for (unsigned i = 0; mode->format->top_in_registers && i < PAE_ENTRIES; i++)
		if (slot->pdpte[i] != mode->registers.pdpte[i])
			return false;
	return true;
}

static void pin(struct vmmu_shadow *s)
{
	s->pins++;
}

/*
 * The table for (gfn, role), made if need be. A CPU uses it at once, so what it
 * still says of a guest table that has been written since must go now.
 */
static struct vmmu_shadow *table_for(struct vmmu_vm *vm, struct vmmu_op *op, uint64_t gfn,
                                     union vmmu_role role)
{
	struct vmmu_shadow *s = vmmu_shadow_find(vm->shadow, gfn, role);

	if (!s)
		return vmmu_shadow_make(vm, op, gfn, role);
	if (s->stale)
		vmmu_shadow_empty(op, s, VMMU_CAUSE_ROOT);
	vmmu_shadow_hold(vm, op, s);
	return s;
}

/* Outside long mode: the top table is this vCPU's alone, and what it references is there at once. */
static void fill_top(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_root_slot *slot,
                     const struct vmmu_guest_mode *mode)
{
	union vmmu_role role = slot->role;

	role.level = VMMU_LEVEL_2M;
	role.registers = 0;
	for (unsigned i = 0; i < PAE_ENTRIES; i++) {
		struct vmmu_visit v = vmmu_shadow_entry(op, slot->top, i);
		uint64_t from = mode->format->top_in_registers ? slot->pdpte[i] & mode->address
		                                               : slot->cr3;

		if (mode->format->top_in_registers && !(slot->pdpte[i] & VMMU_GPTE_PRESENT))
			continue;
		role.quadrant = mode->format->top_in_registers ? 0 : i & 3;
		slot->part[i] = table_for(vm, op, from >> VMMU_PAGE_SHIFT, role);
		pin(slot->part[i]);
		vmmu_shadow_link(&v, slot->top, slot->part[i],
		                 pdpte_for(op, slot->part[i]->table.hpa), VMMU_CAUSE_ROOT);
	}
}

static void let_go(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_root_slot *slot)
{
	struct vmmu_shadow *top = slot->top;

	if (!top)
		return;
	for (unsigned i = 0; i < PAE_ENTRIES; i++)
		if (slot->part[i])
			slot->part[i]->pins--;
	top->pins--;
	/* A TLB with tags may hold what it says, and nothing that changes in it owes a flush from now on. */
	vmmu_owe_all(op, VMMU_CAUSE_ROOT);
	/* Made of one vCPU's registers: of no use to anybody else. */
	if (top->role.registers)
		vmmu_shadow_retire(vm, op, top, VMMU_CAUSE_ROOT);
	*slot = (struct vmmu_root_slot){.top = NULL};
}

static bool needs(const struct vmmu_root_slot *slot, const struct vmmu_shadow *s)
{
	bool any = slot->top == s;

	for (unsigned i = 0; i < PAE_ENTRIES; i++)
		any |= slot->part[i] == s;
	return any;
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

static struct vmmu_root_slot *make_root(struct vmmu_vcpu *vcpu, struct vmmu_op *op,
                                        const struct vmmu_guest_mode *mode)
{
	struct vmmu_root_slot *slot = slot_to_fill(vcpu->shadow);

	let_go(vcpu->vm, op, slot);
	slot->role = top_role(mode);
	slot->cr3 = mode->registers.cr3 & mode->format->root;
	for (unsigned i = 0; mode->format->top_in_registers && i < PAE_ENTRIES; i++)
		slot->pdpte[i] = mode->registers.pdpte[i];
	if (slot->role.registers)
		slot->top = vmmu_shadow_make(vcpu->vm, op, slot->cr3 >> VMMU_PAGE_SHIFT, slot->role);
	else
		slot->top = table_for(vcpu->vm, op, (slot->cr3 & mode->address) >> VMMU_PAGE_SHIFT,
		                      slot->role);
	pin(slot->top);
	if (slot->role.registers)
		fill_top(vcpu->vm, op, slot, mode);
	return slot;
}

bool vmmu_shadow_is_read_alike(const struct vmmu_vcpu *vcpu, const struct vmmu_shadow *s)
{
	union vmmu_role role = vcpu->shadow->role;

	role.level = s->role.level;
	role.direct = s->role.direct;
	role.access = s->role.access;
	role.quadrant = s->role.quadrant;
	role.key = s->role.key;
	role.registers = s->role.registers;
	return role.word == s->role.word;
}

void vmmu_shadow_forget_roots(struct vmmu_vm *vm, struct vmmu_op *op)
{
	for (struct vmmu_shadow_vcpu *sv = vm->shadow->vcpus; sv; sv = sv->next)
		for (unsigned i = 0; i < VMMU_ROOTS; i++)
			if (&sv->slot[i] != sv->root)
				let_go(vm, op, &sv->slot[i]);
}

bool vmmu_shadow_unpin(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_shadow *s)
{
	for (struct vmmu_shadow_vcpu *sv = vm->shadow->vcpus; s->pins && sv; sv = sv->next)
		for (unsigned i = 0; i < VMMU_ROOTS; i++)
			if (&sv->slot[i] != sv->root && needs(&sv->slot[i], s))
				let_go(vm, op, &sv->slot[i]);
	return !s->pins;
}

static struct vmmu_root_slot *find_root(struct vmmu_shadow_vcpu *sv,
                                        const struct vmmu_guest_mode *mode)
{
	for (unsigned i = 0; i < VMMU_ROOTS; i++)
		if (is_root_of(&sv->slot[i], mode))
			return &sv->slot[i];
	return NULL;
}

/* False: the root is none that is remembered, and may not be made. */
static bool take_root(struct vmmu_vcpu *vcpu, struct vmmu_op *op, const struct vmmu_guest_mode *mode,
                      bool may_make)
{
	struct vmmu_shadow_vcpu *sv = vcpu->shadow;
	struct vmmu_root_slot *root = mode->levels ? find_root(sv, mode) : NULL;

	if (mode->levels && !root) {
		if (!may_make)
			return false;
		vmmu_shadow_reclaim(vcpu->vm, op, 1 + PAE_ENTRIES);
		root = make_root(vcpu, op, mode);
	}
	if (root)
		root->used = ++sv->clock;
	sv->root = root;
	sv->mode = *mode;
	sv->role = top_role(mode);
	sv->started = true;
	sv->fresh = true;
	return true;
}

static void sync_if_stale(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_shadow *s)
{
	if (s && s->stale && !vmmu_is_pending(&vcpu->vm->memory, s->gfn, s->gfn + 1))
		vmmu_shadow_sync(vcpu, op, s);
}

/* A new root: what there is below it already, the kernel's half most of all, need not fault. */
static void fill_root(struct vmmu_vcpu *vcpu, struct vmmu_op *op)
{
	struct vmmu_root_slot *root = vcpu->shadow->root;

	if (!root)
		return;
	vmmu_gate_enter(op->tables, op->who);
	vmmu_shadow_lock(op->tables);
	if (!vmmu_is_flush_promised(op)) {
		sync_if_stale(vcpu, op, root->top);
		for (unsigned i = 0; i < PAE_ENTRIES; i++)
			sync_if_stale(vcpu, op, root->part[i]);
	}
	vmmu_shadow_unlock(op->tables);
	vmmu_gate_leave(op->tables, op->who);
}

bool vmmu_shadow_switch(struct vmmu_vcpu *vcpu, struct vmmu_op *op, const struct vmmu_guest_mode *mode)
{
	bool done = false;

	for (unsigned may_make = 0; !done && may_make <= 1; may_make++) {
		if (may_make && !vmmu_spares_fill(op->tables, op->who, 1 + PAE_ENTRIES))
			return false;
		vmmu_gate_enter(op->tables, op->who);
		vmmu_shadow_lock(op->tables);
		done = take_root(vcpu, op, mode, may_make);
		vmmu_shadow_unlock(op->tables);
		vmmu_gate_leave(op->tables, op->who);
	}
	if (op->owed.promised)
		vmmu_settle(op);
	fill_root(vcpu, op);
	vmmu_shadow_wake(vcpu, op);
	return true;
}

void vmmu_shadow_join(struct vmmu_vcpu *vcpu)
{
	struct vmmu_shadows *all = vcpu->vm->shadow;
	uint32_t least = VMMU_SHADOW_LIMIT_MIN + VMMU_SHADOW_PER_VCPU * vcpu->vm->vcpus;

	vcpu->shadow->next = all->vcpus;
	all->vcpus = vcpu->shadow;
	if (all->limit < least)
		all->limit = least;
}

void vmmu_shadow_leave(struct vmmu_vcpu *vcpu, struct vmmu_op *op)
{
	struct vmmu_shadow_vcpu **at = &vcpu->vm->shadow->vcpus;

	while (*at != vcpu->shadow)
		at = &(*at)->next;
	*at = vcpu->shadow->next;
	for (unsigned i = 0; i < VMMU_ROOTS; i++)
		let_go(vcpu->vm, op, &vcpu->shadow->slot[i]);
}
