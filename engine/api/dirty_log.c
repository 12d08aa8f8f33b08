/* SPDX-License-Identifier: BSD-2-Clause */
/* The host wants to know which pages were written. */
#include "api/api.h"

/* Pages that follow each other and have been reported: they are protected again in one go. */
struct run {
	uint64_t first, end; /* gfns */
};

static void protect_run(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_closed closed, struct run *run)
{
	if (run->first < run->end)
		vmmu_harvest_range(vm, op, closed, run->first, run->end);
	run->first = run->end = 0;
}

/* Add the pages of one word. gfn: of its first bit. */
static void add_pages(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_closed closed, struct run *run, uint64_t gfn,
                      uint64_t bits)
{
	while (bits) {
		unsigned first = (unsigned)__builtin_ctzll(bits);
		uint64_t rest = ~(bits >> first);
		unsigned pages = rest ? (unsigned)__builtin_ctzll(rest) : 64;

		if (gfn + first != run->end) {
			protect_run(vm, op, closed, run);
			run->first = gfn + first;
		}
		run->end = gfn + first + pages;
		bits = first + pages < 64 ? bits >> (first + pages) << (first + pages) : 0;
	}
}

/* Where a fetch puts what it finds: into a bitmap of the slot, or word after word. */
struct log_sink {
	uint64_t *bitmap;
	struct vmmu_dirty *out;
	size_t room, count;
};

/* Nobody waits at the gate for more than so many words with a dirty page. */
enum { DIRTY_WORDS_PER_CLOSING = 128 };

/*
 * Fetch what is dirty from *word on and protect its pages again, as one step: a page
 * written afterwards faults and is in the next round. *word is where to go on. True:
 * this was one step of several.
 */
static bool fetch_some(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_closed closed, struct vmmu_slot *slot,
                       size_t *word, struct log_sink *sink)
{
	struct run run = {0, 0};
	unsigned left = DIRTY_WORDS_PER_CLOSING;
	size_t total = vmmu_dirty_words(slot);

	while (left && sink->count < sink->room && (*word = vmmu_dirty_find(slot, closed, *word)) < total) {
		uint64_t bits = vmmu_dirty_take(slot, closed, *word);

		if (sink->bitmap)
			sink->bitmap[*word] = bits;
		else
			sink->out[sink->count++] = (struct vmmu_dirty){.first = *word * 64, .pages = bits};
		add_pages(vm, op, closed, &run, slot->first + *word * 64, bits);
		++*word;
		left--;
	}
	protect_run(vm, op, closed, &run);
	return !left;
}

/* The slot of this id, if it logs. Otherwise *status says why not. */
static struct vmmu_slot *logging_slot(struct vmmu_vm *vm, struct vmmu_managing managing, uint32_t id,
                                      enum vmmu_status *status)
{
	struct vmmu_slot *slot = vmmu_slot_by_id(&vm->memory, vmmu_reading_managed(managing), id);

	*status = !slot ? VMMU_ERR_SLOT_MISSING : slot->dirty ? VMMU_OK
	                                                      : VMMU_ERR_INVALID;
	return slot;
}

static void fetch_all(struct vmmu_vm *vm, struct vmmu_managing managing, struct vmmu_slot *slot, size_t *word,
                      struct log_sink *sink)
{
	struct vmmu_op op = vmmu_manage_op(vm);
	bool more;

	do {
		struct vmmu_closed closed = vmmu_gate_close(&vm->tables, managing);

		more = fetch_some(vm, &op, closed, slot, word, sink);
		vmmu_gate_open(&vm->tables, closed);
	} while (more);
	vmmu_op_flush(&op);
}

enum vmmu_status vmmu_dirty_log(struct vmmu_vm *vm, uint32_t id, uint64_t *bitmap, size_t words)
{
	struct vmmu_managing managing = vmmu_manage_lock(&vm->tables);
	struct log_sink sink = {.bitmap = bitmap, .room = 1};
	enum vmmu_status status;
	struct vmmu_slot *slot = logging_slot(vm, managing, id, &status);
	size_t word = 0;

	if (status == VMMU_OK && words < vmmu_dirty_words(slot))
		status = VMMU_ERR_INVALID;
	if (status == VMMU_OK) {
		__builtin_memset(bitmap, 0, vmmu_dirty_words(slot) * sizeof(*bitmap));
		fetch_all(vm, managing, slot, &word, &sink);
	}
	vmmu_manage_unlock(&vm->tables, managing);
	return status;
}

enum vmmu_status vmmu_dirty_next(struct vmmu_vm *vm, uint32_t id, uint64_t *page, struct vmmu_dirty *out, size_t room,
                                 size_t *count)
{
	struct vmmu_managing managing = vmmu_manage_lock(&vm->tables);
	struct log_sink sink = {.out = out, .room = room};
	enum vmmu_status status;
	struct vmmu_slot *slot = logging_slot(vm, managing, id, &status);
	size_t word = *page / 64;

	*count = 0;
	if (status == VMMU_OK && *page % 64)
		status = VMMU_ERR_INVALID;
	if (status == VMMU_OK && word < vmmu_dirty_words(slot)) {
		fetch_all(vm, managing, slot, &word, &sink);
		*count = sink.count;
		*page = word * 64;
	}
	vmmu_manage_unlock(&vm->tables, managing);
	return status;
}

static void mark(struct vmmu_vm *vm, struct vmmu_op *op, struct vmmu_reading reading, uint64_t gfn)
{
	struct vmmu_slot *slot = vmmu_slot_at(&vm->memory, reading, gfn);

	if (slot)
		vmmu_dirty_mark(op, slot, gfn);
}

void vmmu_mark_dirty(struct vmmu_vm *vm, struct vmmu_vcpu *vcpu, vmmu_gfn gfn)
{
	struct vmmu_managing managing;
	struct vmmu_inside inside;
	struct vmmu_op op;

	if (vcpu) {
		vmmu_vcpu_op(&op, vcpu);
		inside = vmmu_op_enter(&op);
		mark(vm, &op, vmmu_reading_inside(inside), gfn.v);
		vmmu_op_leave(&op, inside);
	} else {
		managing = vmmu_manage_lock(&vm->tables);
		op = vmmu_manage_op(vm);
		mark(vm, &op, vmmu_reading_managed(managing), gfn.v);
		vmmu_manage_unlock(&vm->tables, managing);
	}
}
