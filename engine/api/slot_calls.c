/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slots come, go, move and change while vCPUs run.
 *
 * Each call has the same shape: refuse what must be refused; allocate; change
 * the slots with the gate closed, which steps generation and sequence, so that
 * no fault can install what it was told before; then take out of the tables
 * what no longer holds, and have it flushed.
 */
#include "api/api.h"

/* ---- memory for slots ---------------------------------------------------- */

static void slot_free(struct vmmu_vm *vm, struct vmmu_slot *slot)
{
	vmmu_object_free(vm, (void *)slot->dirty, vmmu_dirty_bytes(slot));
	vmmu_object_free(vm, slot->caps, vmmu_caps_bytes(slot));
	vmmu_object_free(vm, slot, sizeof(*slot));
}

static struct vmmu_slot *slot_new(struct vmmu_vm *vm, const struct vmmu_slot_info *info)
{
	struct vmmu_slot *slot = vmmu_object_alloc(vm, sizeof(*slot));

	if (!slot)
		return NULL;
	slot->info = *info;
	vmmu_slot_place(slot, info->base);
	if (info->flags & VMMU_SLOT_LOG_DIRTY) {
		slot->dirty = vmmu_object_alloc(vm, vmmu_dirty_bytes(slot));
		if (!slot->dirty) {
			vmmu_object_free(vm, slot, sizeof(*slot));
			return NULL;
		}
	}
	return slot;
}

void vmmu_slots_free_all(struct vmmu_vm *vm)
{
	struct vmmu_memory *m = &vm->memory;
	struct vmmu_slot *slot;

	while ((slot = m->slots[VMMU_BY_PLACE])) {
		vmmu_slot_tree_take(&m->slots[VMMU_BY_PLACE], VMMU_BY_PLACE, slot);
		slot_free(vm, slot);
	}
}

/* ---- what the calls share ------------------------------------------------- */

void vmmu_trace_slot(struct vmmu_op *op, const struct vmmu_slot *slot, enum vmmu_cause cause,
                     uint64_t old_first)
{
	struct vmmu_trace_record *r = vmmu_trace_begin(op, VMMU_TRACE_SLOT);

	if (!r)
		return;
	r->cause = (uint8_t)cause;
	r->slot_flags = (uint16_t)slot->info.flags;
	r->slot_id = slot->info.id;
	r->slot = (struct vmmu_trace_slot){
		.base_gfn = slot->first,
		.pages = slot->end - slot->first,
		.backing = slot->info.backing,
		.old_base_gfn = old_first,
	};
	vmmu_trace_end(op);
}

/*
 * Close the gate for a slot change. When the generation is about to come round,
 * entries of its last turn would look fresh again: they all go first.
 */
static struct vmmu_closed close_for_change(struct vmmu_vm *vm, struct vmmu_op *op)
{
	struct vmmu_closed closed = vmmu_gate_close(&vm->tables, vmmu_managing_of(op));

	if (!((atomic_load_explicit(&vm->memory.generation, memory_order_relaxed) + 1) &
	      VMMU_MMIO_GEN_MASK))
		vmmu_mmio_zap_all(vm, op, closed);
	return closed;
}

/* From here on the operation proves that the management lock is held. */
static struct vmmu_op begin(struct vmmu_vm *vm)
{
	vmmu_manage_lock(&vm->tables);
	return vmmu_manage_op(vm);
}

static enum vmmu_status end(const struct vmmu_op *op, enum vmmu_status status)
{
	vmmu_manage_unlock(op->tables, vmmu_managing_of(op));
	return status;
}

/* Management may read slots until it ends. */
static struct vmmu_reading reading_of(const struct vmmu_op *op)
{
	return vmmu_reading_managed(vmmu_managing_of(op));
}

/* ---- create ---------------------------------------------------------------- */

static enum vmmu_status check_new(const struct vmmu_memory *m, struct vmmu_reading reading,
                                  const struct vmmu_slot_info *info)
{
	uint64_t first = vmmu_gpa_gfn(info->base).v;
	enum vmmu_status status = vmmu_slot_check(m, info);

	if (status != VMMU_OK)
		return status;
	if (vmmu_slot_by_id(m, reading, info->id))
		return VMMU_ERR_SLOT_EXISTS;
	return vmmu_slot_overlaps(m, reading, first, first + info->bytes / VMMU_PAGE_SIZE, NULL)
	               ? VMMU_ERR_SLOT_OVERLAP
	               : VMMU_OK;
}

enum vmmu_status vmmu_slot_create(struct vmmu_vm *vm, const struct vmmu_slot_info *info)
{
	struct vmmu_op op = begin(vm);
	enum vmmu_status status = check_new(&vm->memory, reading_of(&op), info);
	struct vmmu_slot *slot;
	struct vmmu_closed closed;

	if (status != VMMU_OK)
		return end(&op, status);
	slot = slot_new(vm, info);
	if (!slot)
		return end(&op, VMMU_ERR_NO_MEMORY);

	/* Tables that MMIO entries needed here would keep large pages out. */
	vmmu_zap_range(vm, &op, slot->first, slot->end, 0, VMMU_CAUSE_ZAP_MMIO);
	closed = close_for_change(vm, &op);
	vmmu_slot_insert(&vm->memory, closed, slot);
	vmmu_gate_open(&vm->tables, closed);
	vmmu_trace_slot(&op, slot, VMMU_CAUSE_SLOT_CREATE, 0);
	return end(&op, VMMU_OK);
}

/* ---- delete ---------------------------------------------------------------- */

enum vmmu_status vmmu_slot_delete(struct vmmu_vm *vm, uint32_t id)
{
	struct vmmu_op op = begin(vm);
	struct vmmu_slot *slot = vmmu_slot_by_id(&vm->memory, reading_of(&op), id);
	struct vmmu_closed closed;

	if (!slot)
		return end(&op, VMMU_ERR_SLOT_MISSING);
	closed = close_for_change(vm, &op);
	vmmu_slot_remove(&vm->memory, closed, slot);
	vmmu_gate_open(&vm->tables, closed);
	vmmu_trace_slot(&op, slot, VMMU_CAUSE_SLOT_DELETE, 0);
	vmmu_zap_range(vm, &op, slot->first, slot->end, 0, VMMU_CAUSE_ZAP_SLOT);
	slot_free(vm, slot);
	return end(&op, VMMU_OK);
}

/* ---- move ------------------------------------------------------------------ */

/* Both places of a slot on the move, in gfns: busy while what maps the old one is taken out. */
struct move {
	struct {
		uint64_t first, end;
	} from, to;
};

/*
 * Exchange one place for the other in one step, so that memory which stands before
 * and after is never seen as a hole. Nothing is mapped at either until the old
 * frames are out of reach: faults answer RETRY.
 */
static void exchange(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_slot *slot, vmmu_gpa base,
                     struct move *move)
{
	struct vmmu_closed closed;

	move->from.first = slot->first;
	move->from.end = slot->end;
	closed = close_for_change(vm, op);
	vmmu_slot_remove(&vm->memory, closed, slot);
	vmmu_slot_place(slot, base);
	/* Page-size caps speak of the old place; they stay behind, with it. */
	slot->caps = NULL;
	vmmu_slot_insert(&vm->memory, closed, slot);
	move->to.first = slot->first;
	move->to.end = slot->end;
	vmmu_invalidation_add(&vm->memory, closed, move->from.first, move->from.end);
	vmmu_invalidation_add(&vm->memory, closed, move->to.first, move->to.end);
	vmmu_gate_open(&vm->tables, closed);
}

static void settle_down(struct vmmu_vm *vm, struct vmmu_op *op, struct move *move)
{
	struct vmmu_closed closed;

	vmmu_zap_range(vm, op, move->from.first, move->from.end, 0, VMMU_CAUSE_ZAP_SLOT);
	vmmu_zap_range(vm, op, move->to.first, move->to.end, 0, VMMU_CAUSE_ZAP_MMIO);
	closed = vmmu_gate_close(&vm->tables, vmmu_managing_of(op));
	vmmu_invalidation_take(&vm->memory, closed, move->from.first, move->from.end);
	vmmu_invalidation_take(&vm->memory, closed, move->to.first, move->to.end);
	vmmu_gate_open(&vm->tables, closed);
}

static enum vmmu_status check_move(const struct vmmu_memory *m, struct vmmu_reading reading,
                                   const struct vmmu_slot *slot, vmmu_gpa base)
{
	struct vmmu_slot_info info = slot->info;
	uint64_t first = vmmu_gpa_gfn(base).v;
	enum vmmu_status status;

	info.base = base;
	status = vmmu_slot_check(m, &info);
	if (status != VMMU_OK)
		return status;
	return vmmu_slot_overlaps(m, reading, first, first + (slot->end - slot->first), slot)
	               ? VMMU_ERR_SLOT_OVERLAP
	               : VMMU_OK;
}

enum vmmu_status vmmu_slot_move(struct vmmu_vm *vm, uint32_t id, vmmu_gpa base)
{
	struct vmmu_op op = begin(vm);
	struct vmmu_slot *slot = vmmu_slot_by_id(&vm->memory, reading_of(&op), id);
	enum vmmu_status status;
	struct move move;
	size_t caps_bytes;
	uint8_t *caps;

	if (!slot)
		return end(&op, VMMU_ERR_SLOT_MISSING);
	status = check_move(&vm->memory, reading_of(&op), slot, base);
	/* To where it is already: nothing moves, and nothing stays behind. */
	if (status != VMMU_OK || base.v == slot->info.base.v)
		return end(&op, status);

	caps = slot->caps;
	caps_bytes = vmmu_caps_bytes(slot);
	exchange(vm, &op, slot, base, &move);
	vmmu_object_free(vm, caps, caps_bytes);
	settle_down(vm, &op, &move);
	vmmu_trace_slot(&op, slot, VMMU_CAUSE_SLOT_MOVE, move.from.first);
	return end(&op, VMMU_OK);
}

/* ---- flags ----------------------------------------------------------------- */

/* Take out of the tables what the new flags forbid or no longer need. */
static void apply_flags(struct vmmu_vm *vm, struct vmmu_op *op, const struct vmmu_slot *slot,
                        uint32_t was, uint32_t now)
{
	if ((was & ~now) & VMMU_SLOT_READONLY)
		vmmu_allow_range(vm, op, slot->first, slot->end);
	if ((was & ~now) & VMMU_SLOT_LOG_DIRTY) /* 4 KiB leaves were for the log: start afresh */
		vmmu_zap_range(vm, op, slot->first, slot->end, 0, VMMU_CAUSE_ZAP_RANGE);
	else if ((now & ~was) & (VMMU_SLOT_READONLY | VMMU_SLOT_LOG_DIRTY))
		vmmu_protect_range(vm, op, slot->first, slot->end, now & VMMU_SLOT_READONLY);
}

enum vmmu_status vmmu_slot_set_flags(struct vmmu_vm *vm, uint32_t id, uint32_t flags)
{
	struct vmmu_op op = begin(vm);
	struct vmmu_slot *slot = vmmu_slot_by_id(&vm->memory, reading_of(&op), id);
	struct vmmu_slot_info info;
	_Atomic uint64_t *dirty = NULL;
	enum vmmu_status status;
	struct vmmu_closed closed;

	if (!slot)
		return end(&op, VMMU_ERR_SLOT_MISSING);
	info = slot->info;
	info.flags = flags;
	status = vmmu_slot_check(&vm->memory, &info);
	if (status != VMMU_OK || flags == slot->info.flags)
		return end(&op, status);
	if (flags & VMMU_SLOT_LOG_DIRTY) {
		dirty = slot->dirty ? slot->dirty : vmmu_object_alloc(vm, vmmu_dirty_bytes(slot));
		if (!dirty)
			return end(&op, VMMU_ERR_NO_MEMORY);
	}

	uint32_t was = slot->info.flags;
	_Atomic uint64_t *old_dirty = slot->dirty;

	closed = close_for_change(vm, &op);
	slot->info.flags = flags;
	slot->dirty = dirty;
	vmmu_slots_changed(&vm->memory, closed);
	vmmu_gate_open(&vm->tables, closed);
	vmmu_trace_slot(&op, slot, VMMU_CAUSE_SLOT_FLAGS, slot->first);
	apply_flags(vm, &op, slot, was, flags);
	if (old_dirty != dirty)
		vmmu_object_free(vm, (void *)old_dirty, vmmu_dirty_bytes(slot));
	return end(&op, VMMU_OK);
}

/* ---- find ------------------------------------------------------------------ */

static enum vmmu_status copy_out(const struct vmmu_slot *slot, struct vmmu_slot_info *out)
{
	if (!slot)
		return VMMU_ERR_SLOT_MISSING;
	*out = slot->info;
	return VMMU_OK;
}

enum vmmu_status vmmu_slot_find(struct vmmu_vm *vm, vmmu_gpa gpa, struct vmmu_slot_info *out)
{
	struct vmmu_op op = begin(vm);

	return end(&op, copy_out(vmmu_slot_at(&vm->memory, reading_of(&op), vmmu_gpa_gfn(gpa).v), out));
}

enum vmmu_status vmmu_slot_get(struct vmmu_vm *vm, uint32_t id, struct vmmu_slot_info *out)
{
	struct vmmu_op op = begin(vm);

	return end(&op, copy_out(vmmu_slot_by_id(&vm->memory, reading_of(&op), id), out));
}

/* ---- page-size caps -------------------------------------------------------- */

/* The range as gfns, when it is page aligned and inside one slot. */
static struct vmmu_slot *slot_around(struct vmmu_vm *vm, struct vmmu_reading reading, vmmu_gpa base, uint64_t bytes,
                                     uint64_t *first, uint64_t *last)
{
	struct vmmu_slot *slot = vmmu_slot_at(&vm->memory, reading, vmmu_gpa_gfn(base).v);

	*first = vmmu_gpa_gfn(base).v;
	*last = (base.v + bytes - 1) >> VMMU_PAGE_SHIFT;
	return slot && *last >= *first && *last < slot->end ? slot : NULL;
}

enum vmmu_status vmmu_range_restrict(struct vmmu_vm *vm, vmmu_gpa base, uint64_t bytes,
                                     unsigned max_level)
{
	uint64_t first, last, block = vmmu_level_pages(VMMU_LEVEL_2M);
	struct vmmu_slot *slot;
	struct vmmu_op op;
	uint8_t *caps;
	struct vmmu_closed closed;

	if (max_level < VMMU_LEVEL_4K || max_level > VMMU_LEVEL_1G || !bytes ||
	    (base.v | bytes) % VMMU_PAGE_SIZE)
		return VMMU_ERR_INVALID;
	op = begin(vm);
	slot = slot_around(vm, reading_of(&op), base, bytes, &first, &last);
	if (!slot)
		return end(&op, VMMU_ERR_SLOT_MISSING);
	caps = slot->caps ? slot->caps : vmmu_object_alloc(vm, vmmu_caps_bytes(slot));
	if (!caps)
		return end(&op, VMMU_ERR_NO_MEMORY);

	closed = vmmu_gate_close(&vm->tables, vmmu_managing_of(&op));
	slot->caps = caps;
	vmmu_cap_set(slot, closed, first, last + 1, max_level);
	atomic_fetch_add_explicit(&vm->memory.sequence, 1, memory_order_release);
	vmmu_gate_open(&vm->tables, closed);
	/* Taking a cap off drops the small leaves too, or no large one could return. */
	first &= ~(block - 1);
	last |= block - 1;
	vmmu_zap_range(vm, &op, first > slot->first ? first : slot->first,
	               last + 1 < slot->end ? last + 1 : slot->end,
	               max_level < VMMU_LEVEL_1G ? max_level : 0, VMMU_CAUSE_ZAP_RANGE);
	return end(&op, VMMU_OK);
}
