/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walk in two dimensions, with no tables: L2's own tables lie at L2 gpas, and so each
 * read of an entry, and each bit set in one, goes through L1's tables first.
 *
 * L1's memory is read inside the gate, and not at all where the host takes it back.
 */
#include "map/nested/nested.h"

struct two_dimensions {
	const struct vmmu_host *host;
	void *ctx;
	struct vmmu_vcpu *vcpu;
	const struct vmmu_guest_mode *l1; /* no format: L2's gpas are L1's */
	unsigned peek;
	struct vmmu_nested_walk *out;
};

static const struct vmmu_memory *memory_of(const struct two_dimensions *d)
{
	return &d->vcpu->vm->memory;
}

/* The pages of L1's tables in which the walk has set bits. */
static void mark_l1_tables_dirty(struct two_dimensions *d, struct vmmu_op *op, struct vmmu_inside inside,
                                 const struct vmmu_guest_walk *walk)
{
	for (unsigned i = 0; i < walk->steps; i++) {
		uint64_t gfn = vmmu_gpa_gfn(walk->step[i].where).v;
		struct vmmu_slot *slot =
			walk->step[i].stored ? vmmu_slot_at(memory_of(d), vmmu_reading_inside(inside), gfn) : NULL;

		if (slot)
			vmmu_dirty_mark(op, slot, gfn);
	}
}

static enum vmmu_guest_result walk_l1(struct two_dimensions *d, uint64_t gpa, unsigned access,
                                      struct vmmu_guest_walk *walk)
{
	struct vmmu_guest_guard guard;
	enum vmmu_guest_result result;
	struct vmmu_inside inside;
	struct vmmu_op op;

	vmmu_vcpu_op(&op, d->vcpu);
	inside = vmmu_op_enter(&op);
	guard = vmmu_shadow_guard(d->vcpu, inside);
	result = vmmu_guest_walk_guarded(d->host, d->ctx, d->l1, vmmu_gva_of(gpa), access | VMMU_ACCESS_USER | d->peek,
	                                 &guard, walk);
	/* A walk that has stored anything ends with no other result. */
	if (result == VMMU_GUEST_OK || result == VMMU_GUEST_BUSY)
		mark_l1_tables_dirty(d, &op, inside, walk);
	vmmu_op_leave(&op, inside);
	return result;
}

/* L2 gpa -> L1 gpa; `code`: what the CPU would report of the access, besides what the entries say. */
static enum vmmu_nested_result second(struct two_dimensions *d, uint64_t gpa, unsigned access, uint64_t code,
                                      struct vmmu_guest_walk *walk)
{
	struct vmmu_nested_walk *out = d->out;

	if (!d->l1->format) {
		*walk = (struct vmmu_guest_walk){.gpa = {gpa}, .rights = VMMU_PAGE_ALL};
		return VMMU_NESTED_OK;
	}
	switch (walk_l1(d, gpa, access, walk)) {
	case VMMU_GUEST_OK:
		break;
	case VMMU_GUEST_BUSY:
		return VMMU_NESTED_BUSY;
	default:
		out->l2_gpa = vmmu_gpa_of(gpa);
		out->error_code = code | (access & VMMU_RWX);
		out->reflect = vmmu_nested_exit(d->l1, walk, &out->error_code);
		return VMMU_NESTED_REFLECT;
	}
	out->dirtied |= walk->dirtied;
	return VMMU_NESTED_OK;
}

/* EXITINFO1 bits 33:32 (APM vol. 2, 15.25.6); qualification bits 8:7 (SDM vol. 3, table 28-7). */
static uint64_t code_of(const struct two_dimensions *d, bool final)
{
	if (d->l1->format && d->l1->format->has_memtype)
		return final ? VMMU_BIT(7) | VMMU_BIT(8) : VMMU_BIT(7);
	return final ? VMMU_BIT(32) : VMMU_BIT(33);
}

/* A read of L2's table counts as a write where L1's tables have D flags (SDM vol. 3, 29.3.5; APM vol. 2, 15.25.6). */
static enum vmmu_nested_result entry_at(struct two_dimensions *d, vmmu_gpa gpa, bool stores,
                                        struct vmmu_guest_walk *walk)
{
	bool write = stores || (d->l1->format && d->l1->format->dirty && !d->peek);

	return second(d, gpa.v, VMMU_R | (write ? VMMU_W : 0), code_of(d, false), walk);
}

static enum vmmu_guest_read read_l1(struct two_dimensions *d, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	enum vmmu_guest_read read;
	struct vmmu_inside inside;
	struct vmmu_op op;

	vmmu_vcpu_op(&op, d->vcpu);
	inside = vmmu_op_enter(&op);
	read = vmmu_shadow_judge(d->vcpu, gpa);
	if (read == VMMU_GUEST_READ_OK)
		read = d->host->guest_read(d->ctx, gpa, size, value);
	vmmu_op_leave(&op, inside);
	return read;
}

static enum vmmu_guest_swap swap_l1(struct two_dimensions *d, vmmu_gpa gpa, unsigned size, uint64_t expected,
                                    uint64_t value)
{
	enum vmmu_guest_swap swap = VMMU_GUEST_SWAP_BUSY;
	struct vmmu_inside inside;
	struct vmmu_op op;

	vmmu_vcpu_op(&op, d->vcpu);
	inside = vmmu_op_enter(&op);
	if (vmmu_shadow_judge(d->vcpu, gpa) == VMMU_GUEST_READ_OK)
		swap = d->host->guest_cmpxchg(d->ctx, gpa, size, expected, value);
	vmmu_op_leave(&op, inside);
	return swap;
}

/* The walk of L2's tables ends with it, and `reflect` says why. */
static enum vmmu_guest_read read_entry(void *arg, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	struct two_dimensions *d = arg;
	struct vmmu_guest_walk walk;

	switch (entry_at(d, gpa, false, &walk)) {
	case VMMU_NESTED_OK:
		return read_l1(d, walk.gpa, size, value);
	case VMMU_NESTED_BUSY:
		return VMMU_GUEST_READ_BUSY;
	default:
		return VMMU_GUEST_READ_NONE;
	}
}

static enum vmmu_guest_swap swap_entry(void *arg, vmmu_gpa gpa, unsigned size, uint64_t expected, uint64_t value)
{
	struct two_dimensions *d = arg;
	struct vmmu_guest_walk walk;
	enum vmmu_guest_swap swap;

	/* What L1 refuses to be written ends the walk, too. */
	if (entry_at(d, gpa, true, &walk) != VMMU_NESTED_OK)
		return VMMU_GUEST_SWAP_BUSY;
	swap = swap_l1(d, walk.gpa, size, expected, value);
	if (swap == VMMU_GUEST_SWAPPED)
		vmmu_guest_written(d->vcpu, walk.gpa, size);
	return swap;
}

enum vmmu_nested_result vmmu_nested_walk(struct vmmu_vcpu *vcpu, const struct vmmu_guest_mode *l2, vmmu_gva gva,
                                         unsigned access, struct vmmu_nested_walk *out)
{
	static const struct vmmu_host entries = {.guest_read = read_entry, .guest_cmpxchg = swap_entry};
	static const struct vmmu_guest_mode none = {.levels = 0};
	struct vmmu_guest_walk first, walk;
	struct two_dimensions d = {
		.host = vcpu->vm->tables.host,
		.ctx = vcpu->vm->tables.ctx,
		.vcpu = vcpu,
		.l1 = vcpu->map->input == VMMU_INPUT_NESTED_GPA ? &vmmu_shadow_vcpu_of(vcpu)->mode : &none,
		.peek = access & VMMU_ACCESS_PEEK,
		.out = out,
	};
	enum vmmu_guest_result result;
	enum vmmu_nested_result ended;

	*out = (struct vmmu_nested_walk){.rights = 0};
	result = vmmu_guest_walk(&entries, &d, l2, gva, access, &first);
	if (out->reflect)
		return VMMU_NESTED_REFLECT;
	switch (result) {
	case VMMU_GUEST_OK:
		break;
	case VMMU_GUEST_FAULT:
		out->error_code = first.error_code;
		return VMMU_NESTED_PF;
	case VMMU_GUEST_NONCANONICAL:
		return VMMU_NESTED_GP;
	case VMMU_GUEST_NO_MEMORY:
		return VMMU_NESTED_NO_TABLE;
	default:
		return VMMU_NESTED_BUSY;
	}
	ended = second(&d, first.gpa.v, access & VMMU_RWX, code_of(&d, true), &walk);
	if (ended != VMMU_NESTED_OK)
		return ended;
	out->l2_gpa = first.gpa;
	out->l1_gpa = walk.gpa;
	out->rights = first.rights & walk.rights;
	return VMMU_NESTED_OK;
}
