/* SPDX-License-Identifier: BSD-2-Clause */
#include "kvm.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <vmmu/types.h>

#include "machine.h"

/* How long after kvm_unmap_hva_range a zap of the same thread is still its. */
enum { UNMAP_NS = 50 * 1000 * 1000 };
/* A stack counts for what its thread does next, until it pauses for so long. */
enum { STACK_NS = 10 * 1000 * 1000 };

uint64_t kvm_emit(struct kvm *kvm, const struct source_event *event, const struct thread *thread,
                  struct vm *vm, struct fact *fact)
{
	if (vm)
		vm->last_time = event->time;
	fact->time = event->time;
	fact->vm = vm ? machine_vm_number(kvm, vm) : FACT_NO_VM;
	fact->thread = thread ? (uint32_t)(thread - kvm->threads) : UINT32_MAX;
	fact->vcpu = thread ? thread->pub.vcpu : FACT_NO_VCPU;
	kvm->fact(kvm->arg, fact);
	return kvm->count++;
}

/* ---- what a write was for -------------------------------------------------------------------- */

static bool entry_covers(uint64_t gfn, unsigned level, uint64_t other)
{
	uint64_t pages = vmmu_level_pages(level);

	return (gfn & ~(pages - 1)) == (other & ~(pages - 1));
}

static bool is_nothing(uint64_t entry, unsigned level)
{
	enum kvm_entry_kind kind = kvm_entry_kind(entry, level);

	return kind == KVM_ENTRY_EMPTY || kind == KVM_ENTRY_REMOVED;
}

/*
 * Is it the work of the fault that this thread deals with? A fault writes the path
 * to its own address, and takes nothing away but what hung below a table that it
 * replaces by a leaf.
 */
static bool is_of_fault(const struct thread *thread, uint64_t gfn, unsigned level, uint64_t new)
{
	if (thread->fault == MAP_NONE)
		return false;
	if (is_nothing(new, level))
		return thread->collapse_level > level && entry_covers(gfn, thread->collapse_level, thread->fault_gfn);
	return entry_covers(gfn, level, thread->fault_gfn);
}

/* What an event's stack tells, or the one before it that still counts. */
static unsigned origin_of(struct thread *thread, const struct source_event *event)
{
	if (event_has(event, FIELD_ORIGIN))
		thread->origin = (unsigned)event->field[FIELD_ORIGIN];
	else if (event->time - thread->origin_time > STACK_NS)
		thread->origin = FACT_ORIGIN_NONE;
	thread->origin_time = event->time;
	return thread->origin;
}

/* Another piece of work begins: what the stack before it told is over. */
static unsigned origin_from_here(struct thread *thread, const struct source_event *event)
{
	thread->origin = FACT_ORIGIN_NONE;
	return origin_of(thread, event);
}

static enum fact_cause cause_of_zap(const struct thread *thread, const struct source_event *event,
                                    const struct kvm_spot *spot, bool table, bool of_fault, unsigned origin)
{
	if (of_fault || spot->fit == KVM_FIT_DETACHED)
		return FACT_CAUSE_ZAP_TABLE;
	/* It takes tables only. Since Linux 6.12 its thread may be the last one to leave a VM, too. */
	if (origin == FACT_ORIGIN_NX_RECOVERY ||
	    (origin == FACT_ORIGIN_NONE && table && strncmp(thread->pub.comm, "kvm-nx-lpage", 12) == 0))
		return FACT_CAUSE_ZAP_NX;
	if (spot->root && !spot->root->valid && !spot->root->presumed)
		return FACT_CAUSE_ZAP_ALL;
	if (origin != FACT_ORIGIN_NONE)
		return fact_origin_is_notifier(origin) ? FACT_CAUSE_ZAP_NOTIFIER : FACT_CAUSE_ZAP;
	if (thread->unmap_time && event->time - thread->unmap_time < UNMAP_NS)
		return FACT_CAUSE_ZAP_NOTIFIER;
	return FACT_CAUSE_ZAP;
}

static enum fact_cause cause_of(const struct thread *thread, const struct source_event *event,
                                const struct kvm_spot *spot, unsigned level, uint64_t old, uint64_t new,
                                bool of_fault, unsigned origin)
{
	enum kvm_entry_kind was = kvm_entry_kind(old, level), is = kvm_entry_kind(new, level);

	if (is_nothing(new, level))
		return cause_of_zap(thread, event, spot, was == KVM_ENTRY_TABLE, of_fault, origin);
	if (is == KVM_ENTRY_MMIO)
		return FACT_CAUSE_MMIO;
	if (was == KVM_ENTRY_LEAF && is == KVM_ENTRY_TABLE)
		return FACT_CAUSE_SPLIT;
	if (was == KVM_ENTRY_TABLE && is == KVM_ENTRY_LEAF)
		return FACT_CAUSE_COLLAPSE;
	if (was != KVM_ENTRY_LEAF && was != KVM_ENTRY_TABLE)
		return of_fault ? FACT_CAUSE_FAULT : FACT_CAUSE_PREFAULT;
	if (kvm_entry_writable(old) && !kvm_entry_writable(new))
		return FACT_CAUSE_PROTECT;
	if (of_fault)
		return FACT_CAUSE_FAULT;
	if (!kvm_entry_writable(old) && kvm_entry_writable(new))
		return FACT_CAUSE_UNPROTECT;
	if (kvm_entry_hpa(old, level) == kvm_entry_hpa(new, level) && (old & ~new))
		return FACT_CAUSE_AGE;
	return FACT_CAUSE_OTHER;
}

/* ---- which root a write belongs to -------------------------------------------------------------- */

struct write {
	uint64_t gfn, old, new;
	unsigned level, as_id;
};

/* Does the write take something away that is not part of the thread's own fault? */
static bool is_outer_zap(const struct thread *thread, const struct write *write)
{
	return is_nothing(write->new, write->level) && !is_of_fault(thread, write->gfn, write->level, write->new);
}

/* An MMU notifier's call: it takes the range out of all roots, the newest first. */
static bool is_notifier(const struct thread *thread, const struct source_event *event)
{
	return thread->unmap_time && event->time - thread->unmap_time < UNMAP_NS;
}

/*
 * Of two that fit equally: what is taken away is an invalid root's before a valid one's, save
 * by a notifier, which begins with the newest. All else is a valid root's. A vCPU stays with
 * its root, which tells two VMs of one process apart; else it is the newest.
 */
static bool is_better(const struct kvm_spot *a, const struct kvm_spot *b, const struct write *write,
                      const struct thread *thread, bool notifier)
{
	bool zap = is_outer_zap(thread, write);

	if (!b->root || a->fit != b->fit)
		return !b->root || a->fit > b->fit;
	if (a->root->valid != b->root->valid)
		return a->root->valid != (zap && !notifier);
	if (!zap && (a->root->id == thread->root) != (b->root->id == thread->root))
		return a->root->id == thread->root;
	return a->root->id > b->root->id;
}

/* Is it certain which of two that fit equally is meant, because of what the thread does? */
static bool is_told_apart(const struct kvm_spot *best, const struct kvm_spot *other, const struct write *write,
                          const struct thread *thread, bool notifier)
{
	if (is_outer_zap(thread, write))
		return notifier || (thread->tearing && !best->root->valid && other->root->valid);
	if (thread->fault == MAP_NONE)
		return false;
	return (best->root->valid && !other->root->valid) || best->root->id == thread->root;
}

/* May a root be used after all that only writes have made invalid? One that has lost entries begins no new ones. */
static bool may_be_used(const struct kvm_root *root, const struct kvm_spot *spot, const struct write *write)
{
	return root->presumed && spot->table && (!root->torn || write->level < root->level);
}

/* The table of a root that the write belongs to, `invalid` ones as well that writes alone have made invalid. */
static struct kvm_spot linked_spot(struct vm *vm, const struct thread *thread, const struct source_event *event,
                                   const struct write *write, bool presumed, bool *ambiguous)
{
	bool notifier = is_notifier(thread, event);
	struct kvm_spot best = {0}, spots[KVM_ROOTS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < vm->tables.root_count; i++) {
		struct kvm_root *root = vm->tables.roots[i];
		struct kvm_spot spot;

		if (root->as_id != write->as_id)
			continue;
		spot = kvm_root_fit(&vm->tables, root, write->gfn, write->level, write->old);
		/* Nothing is mapped any more in a root that is going away. */
		if (spot.fit == KVM_FIT_NONE || (!root->valid && is_nothing(write->old, write->level) &&
		                                 !(presumed && may_be_used(root, &spot, write))))
			continue;
		spots[count++] = spot;
		if (is_better(&spot, &best, write, thread, notifier))
			best = spot;
	}
	*ambiguous = false;
	if (best.fit < KVM_FIT_DETACHED || is_nothing(write->old, write->level))
		return best;
	for (size_t i = 0; i < count; i++)
		if (spots[i].root != best.root && spots[i].fit == best.fit &&
		    !is_told_apart(&best, &spots[i], write, thread, notifier))
			*ambiguous = true;
	return best;
}

/*
 * Which table a write belongs to. When a thread unlinks a table, it takes the table's entries
 * away at once, each with what hangs below it, before it writes anything else: handle_removed_pt
 * of Linux' tdp_mmu.c. These go to "being removed", a linked table's leaf to "empty". So the
 * same value at the same gfn in another root is no candidate.
 */
static struct kvm_spot best_spot(struct kvm *kvm, struct vm *vm, const struct thread *thread,
                                 const struct source_event *event, const struct write *write, bool *ambiguous)
{
	enum kvm_entry_kind is = kvm_entry_kind(write->new, write->level);
	struct kvm_spot spot;

	*ambiguous = false;
	if (is == KVM_ENTRY_REMOVED || (is == KVM_ENTRY_EMPTY && !kvm->removed_seen)) {
		spot = kvm_taken_fit(&vm->tables, thread->take, write->as_id, write->gfn, write->level, write->old);
		if (spot.fit != KVM_FIT_NONE) {
			if (spot.fit == KVM_FIT_EXACT)
				spot.fit = KVM_FIT_DETACHED;
			return spot;
		}
	}
	spot = linked_spot(vm, thread, event, write, false, ambiguous);
	return spot.fit == KVM_FIT_NONE ? linked_spot(vm, thread, event, write, true, ambiguous) : spot;
}

static void begin(struct vm *vm, bool born)
{
	if (!vm->begun)
		vm->pub.born = born;
	vm->begun = true;
}

/* No root holds the old value. */
static struct kvm_spot other_spot(struct kvm *kvm, struct vm *vm, const struct write *write, bool *unexplained)
{
	struct kvm_tables *tables = &vm->tables;
	unsigned top = tables->level ? tables->level : write->level >= 4 ? write->level
	                                                                 : 4;
	struct kvm_spot spot = {0};

	*unexplained = false;
	if (is_nothing(write->old, write->level) && write->level >= top) {
		/* A VM that has run for a while has a root already, of which nothing was seen. */
		begin(vm, vm->faults_before <= vm->pub.vcpus + 1);
		spot.root = vm_root_add(kvm, vm, write->as_id, write->level, true);
		kvm_roots_presume_invalid(&vm->tables, write->as_id, spot.root);
	} else if (!vm->begun || (!vm->pub.born && !kvm_root_newest(tables, write->as_id)) ||
	           write->level > tables->level) {
		begin(vm, false);
		spot.root = vm_root_add(kvm, vm, write->as_id, write->level > top ? write->level : top, false);
	} else {
		*unexplained = true;
		spot.root = kvm_root_newest(tables, write->as_id);
		if (!spot.root)
			spot.root = vm_root_add(kvm, vm, write->as_id, top, false);
	}
	spot.fit = spot.root->born ? KVM_FIT_EXACT : KVM_FIT_OPEN;
	return spot;
}

struct vm_choice {
	struct vm *vm;
	enum kvm_fit fit;
	bool tie; /* another one fits as well */
};

/* Of the VMs of a process, or of all when it is NULL: the one whose entry holds the old value. */
static struct vm_choice vm_by_value(struct kvm *kvm, const struct thread *thread, const struct source_event *event,
                                    const struct write *write, const int64_t *tgid)
{
	struct vm_choice best = {0};

	for (size_t i = 0; i < kvm->vm_count; i++) {
		struct kvm_spot spot;
		bool ambiguous;

		if (tgid && kvm->vms[i]->pub.tgid != *tgid)
			continue;
		spot = best_spot(kvm, kvm->vms[i], thread, event, write, &ambiguous);
		/* What it takes down now is its own, whatever looks alike elsewhere. */
		if (thread->take && thread->take_vm == i && spot.table && spot.table->take == thread->take)
			return (struct vm_choice){kvm->vms[i], KVM_FIT_EXACT, false};
		if (spot.fit > best.fit)
			best = (struct vm_choice){kvm->vms[i], spot.fit, false};
		else if (spot.fit == best.fit)
			best.tie = true;
	}
	return best;
}

/*
 * A vCPU whose process is not known was given to a VM by its number and its thread's. So it
 * is until a value that it finds there has shown it: what fits nothing there may fit elsewhere.
 */
static bool is_misplaced(struct kvm *kvm, struct thread *thread, const struct source_event *event, struct vm *vm,
                         const struct write *write)
{
	struct kvm_spot spot;
	bool ambiguous;

	if (thread->serves || kvm->vm_count < 2)
		return false;
	spot = best_spot(kvm, vm, thread, event, write, &ambiguous);
	if (spot.fit == KVM_FIT_EXACT && !is_nothing(write->old, write->level))
		thread->serves = (uint16_t)(machine_vm_number(kvm, vm) + 1);
	return spot.fit == KVM_FIT_NONE;
}

static struct vm *vm_of_write(struct kvm *kvm, struct thread *thread, const struct source_event *event,
                              const struct write *write, bool *tie)
{
	struct vm *vm = machine_vm_of(kvm, thread);
	bool is_vcpu = thread->pub.vcpu != FACT_NO_VCPU || thread->vcpu_ahead != FACT_NO_VCPU;
	struct vm_choice choice;
	struct vm *other;

	*tie = false;
	if (vm && (is_vcpu || !machine_has_several(kvm, thread->pub.tgid))) {
		if (thread->pub.tgid >= 0 || (vm->begun && !is_misplaced(kvm, thread, event, vm, write)))
			return vm;
		/* It was guessed to have a VM of its own: does the write belong to one that is there? */
		choice = vm_by_value(kvm, thread, event, write, NULL);
		if (choice.vm && choice.vm != vm && choice.fit == KVM_FIT_EXACT && !choice.tie &&
		    (vm->begun || !is_nothing(write->old, write->level))) {
			machine_move(kvm, thread, choice.vm);
			return choice.vm;
		}
		return vm;
	}
	choice = vm_by_value(kvm, thread, event, write, vm ? &thread->pub.tgid : NULL);
	*tie = choice.tie && choice.fit >= KVM_FIT_DETACHED;
	if (*tie && thread->serves && !thread->kernel) {
		bool ambiguous;

		/* Where frames are shared, a VMM's thread goes on with the VM that it is known to work for. */
		other = kvm->vms[thread->serves - 1];
		if (best_spot(kvm, other, thread, event, write, &ambiguous).fit == choice.fit) {
			choice.vm = other;
			*tie = false;
		}
	} else if (choice.fit == KVM_FIT_EXACT && !is_nothing(write->old, write->level) && !*tie) {
		thread->serves = (uint16_t)(machine_vm_number(kvm, choice.vm) + 1);
	}
	if (vm)
		return choice.vm ? choice.vm : vm;
	/* A process whose VM was not seen yet has its own, unless it is certain that it works for another. */
	if (choice.vm && (choice.fit > KVM_FIT_OPEN || thread->pub.tgid < 0 || thread->kernel))
		return choice.vm;
	if (thread->kernel && kvm->vm_count)
		return kvm->vms[0];
	return machine_join(kvm, thread, FACT_NO_VCPU, event->time);
}

/* ---- writes ----------------------------------------------------------------------------------------- */

static void learn(struct vm *vm, const struct write *write)
{
	enum kvm_mode mode = kvm_entry_mode(write->new, write->level);

	if (vm->tables.mode == KVM_MODE_UNKNOWN && mode != KVM_MODE_UNKNOWN)
		vm->pub.mode = vm->tables.mode = mode;
	if (!vm->pub.tdp && kvm_entry_kind(write->old, write->level) == KVM_ENTRY_EMPTY)
		vm->pub.empty = vm->tables.empty = write->old;
	if (!vm->pub.tdp && vm->pub.legacy) {
		/* Recording began between a write and its kvm_mmu_set_spte, and that told of no shadow MMU. */
		vm->pub.counts.set = vm->pub.counts.set_again_same = vm->pub.counts.set_again_other = 0;
		vm->pub.legacy = false;
	}
	vm->pub.tdp = true;
}

static void keep_example(struct kvm *kvm, const struct source_event *event, const struct write *write,
                         uint64_t held, bool known)
{
	if (kvm->example_count == KVM_EXAMPLES)
		return;
	kvm->examples[kvm->example_count++] =
		formatted("%" PRIu64 ".%06" PRIu64 " s: gfn 0x%" PRIx64 " level %u: the event found 0x%" PRIx64
	                  " there, the entry %s%" PRIx64,
	                  event->time / 1000000000, event->time / 1000 % 1000000,
	                  write->gfn, write->level, write->old,
	                  known ? "held 0x" : "is in no table that was seen: 0x", held);
}

/* The 512 entries that a split has filled in before it linked their table. */
static void fill_split(struct kvm *kvm, const struct source_event *event, const struct thread *thread,
                       struct vm *vm, struct kvm_root *root, const struct write *write, uint32_t fault)
{
	struct kvm_table *table = kvm_root_find(root, write->gfn, write->level - 1);

	if (!table)
		return;
	for (unsigned i = 0; i < 512; i++) {
		uint64_t value = kvm_entry_split(write->old, write->level, i);
		struct fact fact = {
			.kind = FACT_WRITE, .cause = FACT_CAUSE_SPLIT_FILL, .known = FACT_INFERRED, .level = (uint8_t)(write->level - 1), .a = vm->pub.empty, .b = value, .root = root->id, .table = table->hpa, .fault = fault ? fault + i + 1 : 0, .address = (table->gfn + i * vmmu_level_pages(write->level - 1)) << VMMU_PAGE_SHIFT};

		kvm_table_set(&vm->tables, root, table, i, &(struct kvm_put){.value = value, .known = FACT_INFERRED});
		kvm_emit(kvm, event, thread, vm, &fact);
	}
	vm->pub.counts.inferred += 512;
}

/*
 * Without fast_page_fault in the trace its writes leave one mark: a leaf that was
 * write-protected is found writable again. Nothing else does that without an event.
 * The write is put in right before the one that found it.
 */
static bool infer_fast(struct kvm *kvm, const struct source_event *event, const struct thread *thread,
                       struct vm *vm, const struct write *write)
{
	const uint64_t writable = 2;
	struct write without = *write;
	struct fact fact = {
		.kind = FACT_WRITE,
		.cause = FACT_CAUSE_FAST,
		.known = FACT_INFERRED,
		.level = (uint8_t)write->level,
		.b = write->old,
		.address = write->gfn << VMMU_PAGE_SHIFT,
	};
	struct kvm_spot spot;
	bool ambiguous;
	unsigned known;

	if (kvm->fast_seen || kvm_entry_kind(write->old, write->level) != KVM_ENTRY_LEAF ||
	    !(write->old & writable))
		return false;
	without.old &= ~writable;
	spot = best_spot(kvm, vm, thread, event, &without, &ambiguous);
	if (spot.fit != KVM_FIT_EXACT)
		return false;
	fact.a = kvm_table_get(&vm->tables, spot.table, kvm_index(write->gfn, write->level), &known);
	fact.was_known = known & ~KVM_STALE;
	fact.root = spot.root->id;
	fact.table = spot.table->hpa;
	kvm_table_set(&vm->tables, spot.root, spot.table, kvm_index(write->gfn, write->level),
	              &(struct kvm_put){.value = write->old, .known = FACT_INFERRED});
	vm->pub.counts.inferred_fast++;
	kvm_emit(kvm, event, thread, vm, &fact);
	return true;
}

/* What the write shows of the work that its thread does, and of the root. */
static void follow_work(struct kvm *kvm, struct thread *thread, struct vm *vm, const struct kvm_spot *spot,
                        const struct write *write, bool of_fault)
{
	bool gone = is_nothing(write->new, write->level), own = gone && thread->take && spot->table->take == thread->take;
	bool unlinks = kvm_entry_kind(write->old, write->level) == KVM_ENTRY_TABLE &&
	               kvm_entry_kind(write->new, write->level) != KVM_ENTRY_TABLE;
	struct kvm_root *root = spot->root;

	if (kvm_entry_kind(write->new, write->level) == KVM_ENTRY_REMOVED)
		kvm->removed_seen = true;
	if (!own) {
		thread->take = unlinks ? ++kvm->takes : 0;
		thread->take_vm = machine_vm_number(kvm, vm);
	}
	if (!gone) {
		thread->tearing = false;
		/* It is used after all. */
		if (of_fault && root->presumed)
			root->valid = true;
		return;
	}
	/*
	 * Entries that high are taken away with their whole root, from the second level from the
	 * top on, and for nothing else save that pages of 1 GiB are put together or recovered.
	 */
	if (unlinks && !own && !of_fault && write->level + 1u >= root->level &&
	    kvm_entry_kind(write->new, write->level) == KVM_ENTRY_EMPTY &&
	    strncmp(thread->pub.comm, "kvm-nx-lpage", 12) != 0) {
		thread->tearing = root->torn = true;
		if (root->valid) {
			root->valid = false;
			root->presumed = true;
			vm->taken_down = !kvm_root_newest(&vm->tables, root->as_id);
		}
	}
}

/*
 * Where neither a root's beginning nor a zap-all is recorded, a new root shows only when it
 * writes an entry that the one before it has as well. This one that has not may be its first.
 */
static bool may_begin_root(const struct kvm *kvm, const struct kvm_spot *spot, const struct write *write)
{
	return !kvm->root_seen && !kvm->zap_all_seen && write->level == spot->root->level && spot->root->born &&
	       spot->root->top->there > 0 && is_nothing(write->old, write->level) &&
	       !is_nothing(write->new, write->level) && spot->table == spot->root->top;
}

static void apply_write(struct kvm *kvm, const struct source_event *event, struct thread *thread,
                        struct vm *vm, const struct write *write, bool tie)
{
	struct kvm_counts *counts = &vm->pub.counts;
	unsigned index = kvm_index(write->gfn, write->level), known;
	bool ambiguous, unexplained = false, split, of_fault = is_of_fault(thread, write->gfn, write->level, write->new);
	struct kvm_spot spot = best_spot(kvm, vm, thread, event, write, &ambiguous);
	struct fact fact = {
		.kind = FACT_WRITE,
		.known = FACT_SEEN,
		.level = (uint8_t)write->level,
		.a = write->old,
		.b = write->new,
	};
	uint64_t held;
	bool path_missing;

	/* A root's first entry finds nothing, too, and needs no explanation. */
	if ((spot.fit == KVM_FIT_NONE || (!spot.root->valid && is_nothing(write->old, write->level))) && vm->begun &&
	    !(is_nothing(write->old, write->level) && write->level >= vm->tables.level) &&
	    ahead_take_earlier(kvm, event, machine_vm_number(kvm, vm)))
		spot = best_spot(kvm, vm, thread, event, write, &ambiguous);
	if (spot.fit == KVM_FIT_NONE && infer_fast(kvm, event, thread, vm, write))
		spot = best_spot(kvm, vm, thread, event, write, &ambiguous);
	if (spot.fit == KVM_FIT_NONE)
		spot = other_spot(kvm, vm, write, &unexplained);
	path_missing = !spot.table && !kvm_root_find(spot.root, write->gfn, write->level);
	if (!spot.table)
		spot.table = kvm_root_table(&vm->tables, spot.root, write->gfn, write->level);
	held = kvm_table_get(&vm->tables, spot.table, index, &known);
	begin(vm, spot.root->born);

	fact.was_known = known & ~KVM_STALE;
	if (unexplained) {
		counts->unexplained++;
		fact.flags |= FACT_UNEXPLAINED;
		keep_example(kvm, event, write, held, !path_missing);
	} else if (spot.fit == KVM_FIT_STALE) {
		counts->after_loss++;
		fact.flags |= FACT_AFTER_LOSS;
	} else if (fact.was_known == FACT_UNKNOWN) {
		counts->never_seen++;
		fact.flags |= FACT_NEVER_SEEN;
	} else if (fact.was_known == FACT_INFERRED) {
		counts->inferred_confirmed++;
	}
	if (ambiguous || tie || may_begin_root(kvm, &spot, write)) {
		counts->ambiguous++;
		fact.flags |= FACT_AMBIGUOUS;
	}
	if (!of_fault)
		fact.origin = origin_of(thread, event) & 31;
	fact.cause = cause_of(thread, event, &spot, write->level, write->old, write->new, of_fault, fact.origin);
	fact.address = write->gfn << VMMU_PAGE_SHIFT;
	fact.root = spot.root->id;
	fact.table = spot.table->hpa;
	if (of_fault)
		fact.fault = (uint32_t)(kvm->count - thread->fault);
	split = fact.cause == FACT_CAUSE_SPLIT;

	thread->collapse_level = of_fault && fact.cause == FACT_CAUSE_COLLAPSE ? write->level : of_fault ? thread->collapse_level
	                                                                                                 : 0;
	thread->root = spot.root->id;
	thread->wrote_gfn = write->gfn;
	thread->wrote_level = write->level;
	thread->wrote_value = write->new;
	thread->wrote_table = spot.table->hpa;
	kvm_table_uncover(&vm->tables, spot.table, index, write->old);
	follow_work(kvm, thread, vm, &spot, write, of_fault);
	kvm_table_set(&vm->tables, spot.root, spot.table, index,
	              &(struct kvm_put){.value = write->new, .known = FACT_SEEN, .fresh = true, .take = thread->take});
	kvm_emit(kvm, event, thread, vm, &fact);
	if (split)
		fill_split(kvm, event, thread, vm, spot.root, write, fact.fault);
	if (write->level >= 4 && is_nothing(write->new, write->level))
		kvm_roots_sweep(&vm->tables);
}

/* A root begins where one is used: in a VM of its own, when another thread runs this vCPU's number in that one. */
static struct vm *vm_that_begins(struct kvm *kvm, struct thread *thread, const struct source_event *event,
                                 struct vm *vm, const struct write *write)
{
	bool ambiguous;

	if (!vm->tables.level || write->level < vm->tables.level || !is_nothing(write->old, write->level) ||
	    is_nothing(write->new, write->level) ||
	    best_spot(kvm, vm, thread, event, write, &ambiguous).fit != KVM_FIT_NONE)
		return vm;
	return machine_split(kvm, thread, vm, write->as_id);
}

static void take_write(struct kvm *kvm, const struct source_event *event)
{
	struct thread *thread = machine_thread(kvm, event);
	struct write write = {
		.gfn = event->field[FIELD_GFN], .old = event->field[FIELD_OLD], .new = event->field[FIELD_NEW], .level = (unsigned)event->field[FIELD_LEVEL], .as_id = event_has(event, FIELD_AS_ID) ? event->field[FIELD_AS_ID] & 0xff : 0};
	struct vm *vm;
	bool tie;

	if (write.level < 1 || write.level > VMMU_LEVEL_MAX || write.gfn >> 45)
		return;
	write.gfn &= ~(vmmu_level_pages(write.level) - 1);
	vm = vm_of_write(kvm, thread, event, &write, &tie);
	vm = vm_that_begins(kvm, thread, event, vm, &write);
	vm->pub.counts.writes++;
	learn(vm, &write);
	if (is_nothing(write.old, write.level) && is_nothing(write.new, write.level)) {
		vm->pub.counts.without_effect++;
		return;
	}
	apply_write(kvm, event, thread, vm, &write, tie);
	vm->pub.levels = vm->tables.level;
}

/* fast_page_fault: a write of its own, to the leaf that translates the address. */
static void take_fast_fault(struct kvm *kvm, const struct source_event *event)
{
	struct thread *thread = machine_thread(kvm, event);
	uint16_t vcpu = event_has(event, FIELD_VCPU) ? (uint16_t)event->field[FIELD_VCPU] : FACT_NO_VCPU;
	struct vm *vm = machine_join(kvm, thread, vcpu, event->time);
	uint64_t gfn = event->field[FIELD_ADDRESS] >> VMMU_PAGE_SHIFT, old = event->field[FIELD_OLD];
	unsigned index = 0, level = 1, known = 0;
	struct kvm_root *root = NULL;
	struct kvm_table *table = NULL;
	struct fact fact = {
		.kind = FACT_WRITE,
		.cause = FACT_CAUSE_FAST,
		.known = FACT_SEEN,
		.a = old,
		.b = event->field[FIELD_NEW],
		.level = 1,
	};

	kvm->fast_seen = true;
	if (!event->field[FIELD_FIXED] || gfn >> 45)
		return;
	vm->pub.counts.fast++;
	for (size_t i = vm->tables.root_count; i-- > 0 && !table;) {
		struct kvm_table *here;
		unsigned at;

		root = vm->tables.roots[i];
		if (!root->valid || !kvm_root_leaf(&vm->tables, root, gfn, &here, &at))
			continue;
		if (kvm_entry_same(vm->tables.mode, kvm_table_get(&vm->tables, here, at, &known), old, here->level,
		                   (known & ~KVM_STALE) == FACT_INFERRED)) {
			table = here;
			index = at;
			level = here->level;
		}
	}
	if (thread->fault != MAP_NONE && entry_covers(gfn, 1, thread->fault_gfn))
		fact.fault = (uint32_t)(kvm->count - thread->fault);
	if (!table && vm->pub.tdp) {
		struct write write = {.gfn = gfn, .old = old, .new = fact.b, .level = 1};
		bool ambiguous;
		struct kvm_spot spot = best_spot(kvm, vm, thread, event, &write, &ambiguous);

		if (spot.fit == KVM_FIT_NONE) {
			vm->pub.counts.unexplained++;
			fact.flags |= FACT_UNEXPLAINED;
			keep_example(kvm, event, &write, 0, false);
		} else {
			root = spot.root;
			table = kvm_root_table(&vm->tables, root, gfn, 1);
			index = kvm_index(gfn, 1);
			fact.flags |= spot.fit == KVM_FIT_STALE ? FACT_AFTER_LOSS : FACT_NEVER_SEEN;
			if (spot.fit == KVM_FIT_STALE)
				vm->pub.counts.after_loss++;
			else
				vm->pub.counts.never_seen++;
		}
	}
	if (table) {
		kvm_table_get(&vm->tables, table, index, &known);
		fact.was_known = known & ~KVM_STALE;
		vm->pub.counts.inferred_confirmed += fact.was_known == FACT_INFERRED;
		fact.root = root->id;
		fact.table = table->hpa;
		kvm_table_set(&vm->tables, root, table, index, &(struct kvm_put){.value = fact.b, .known = FACT_SEEN});
	}
	fact.level = (uint8_t)level;
	fact.address = (gfn & ~(vmmu_level_pages(level) - 1)) << VMMU_PAGE_SHIFT;
	kvm_emit(kvm, event, thread, vm, &fact);
}

/* ---- the legacy and the shadow MMU --------------------------------------------------------------------- */

static void take_set(struct kvm *kvm, const struct source_event *event)
{
	struct thread *thread = machine_thread(kvm, event);
	struct vm *vm = machine_join(kvm, thread, FACT_NO_VCPU, event->time);
	uint64_t gfn = event->field[FIELD_GFN], at = event->field[FIELD_SPTEP], value = event->field[FIELD_SPTE];
	unsigned level = (unsigned)event->field[FIELD_LEVEL];
	struct fact fact = {
		.kind = FACT_SET,
		.known = FACT_MAYBE,
		.level = (uint8_t)level,
		.b = value,
		.table = at,
		.cause = FACT_CAUSE_FAULT,
	};
	uint64_t *place;

	if (level < 1 || level > VMMU_LEVEL_MAX || gfn >> 45)
		return;
	if (vm->pub.tdp) {
		/* It repeats what kvm_tdp_mmu_spte_changed has said, and names the table. */
		if (thread->wrote_value == value && thread->wrote_level == level &&
		    entry_covers(gfn, level, thread->wrote_gfn)) {
			uint64_t expected = thread->wrote_table + 8 * kvm_index(gfn, level);

			if (thread->wrote_table)
				*(at == expected ? &vm->pub.counts.addresses_equal : &vm->pub.counts.addresses_differ) += 1;
		} else if (thread->wrote_level) {
			/* Of a guest's guest: gfn counts in another address space, which no event names. */
			vm->pub.counts.nested++;
		}
		return;
	}
	vm->pub.legacy = true;
	vm->pub.mode = KVM_MODE_SHADOW;
	vm->pub.counts.set++;
	place = map_at(&vm->legacy, at);
	if (*place != MAP_NONE) {
		fact.a = *place;
		fact.was_known = FACT_MAYBE;
		if (*place == value) {
			vm->pub.counts.set_again_same++;
			fact.flags |= FACT_ZAPPED_UNSEEN;
		} else if (kvm_entry_hpa(*place, level) != kvm_entry_hpa(value, level)) {
			vm->pub.counts.set_again_other++;
			fact.flags |= FACT_ZAPPED_UNSEEN;
		}
	}
	*place = value;
	fact.address = (gfn & ~(vmmu_level_pages(level) - 1)) << VMMU_PAGE_SHIFT;
	if (thread->fault != MAP_NONE)
		fact.fault = (uint32_t)(kvm->count - thread->fault);
	kvm_emit(kvm, event, thread, vm, &fact);
}

static void take_table(struct kvm *kvm, const struct source_event *event)
{
	struct thread *thread = machine_thread(kvm, event);
	uint64_t role = event->field[FIELD_ROLE];
	unsigned level = role & ROLE_LEVEL;
	unsigned as_id = role >> ROLE_SMM_SHIFT & 0xff ? 1 : 0;
	bool zap = event->id == EVENT_ZAP_PAGE, root;
	struct vm *vm = zap && thread->kernel ? machine_vm_of(kvm, thread) : machine_join(kvm, thread, FACT_NO_VCPU, event->time);
	struct fact fact = {
		.kind = zap ? FACT_TABLE_ZAP : FACT_TABLE,
		.level = (uint8_t)level,
		.a = role,
		.b = event_has(event, FIELD_CREATED) ? event->field[FIELD_CREATED] : 1,
		.address = event->field[FIELD_GFN] << VMMU_PAGE_SHIFT,
	};

	if (level < 1 || level > VMMU_LEVEL_MAX)
		return;
	/* A root that begins: its tables are all empty. */
	root = vm && !zap && fact.b && role & ROLE_DIRECT && !(role & ROLE_GUEST_MODE) && level >= 4 &&
	       event->field[FIELD_GFN] == 0 && (!vm->tables.level || vm->tables.level == level) && !vm->pub.legacy;
	if (root) {
		kvm->root_seen = true;
		vm = machine_split(kvm, thread, vm, as_id);
	}
	if (vm && zap)
		vm->pub.counts.zapped_tables++;
	if (thread->fault != MAP_NONE && !zap)
		fact.fault = (uint32_t)(kvm->count - thread->fault);
	kvm_emit(kvm, event, thread, vm, &fact);
	if (root) {
		begin(vm, vm->faults_before <= vm->pub.vcpus + 1);
		kvm_roots_presume_invalid(&vm->tables, as_id, vm_root_add(kvm, vm, as_id, level, true));
		vm->pub.levels = level;
	}
}

/* ---- everything else --------------------------------------------------------------------------------------- */

static void take_fault(struct kvm *kvm, const struct source_event *event)
{
	struct thread *thread = machine_thread(kvm, event);
	uint16_t vcpu = event_has(event, FIELD_VCPU) ? (uint16_t)event->field[FIELD_VCPU] : FACT_NO_VCPU;
	struct vm *vm = machine_join(kvm, thread, vcpu, event->time);
	struct fact fact = {
		.kind = FACT_FAULT,
		.address = event->field[FIELD_ADDRESS],
		.a = event_has(event, FIELD_ERROR) ? event->field[FIELD_ERROR] : 0,
		.b = event_has(event, FIELD_RIP) ? event->field[FIELD_RIP] : 0,
	};

	vm->pub.counts.faults++;
	vm->faults_before += !vm->begun;
	thread->fault = kvm_emit(kvm, event, thread, vm, &fact);
	thread->fault_gfn = event->field[FIELD_ADDRESS] >> VMMU_PAGE_SHIFT;
	thread->collapse_level = 0;
	thread->unmap_time = 0;
	thread->origin = FACT_ORIGIN_NONE;
	thread->tearing = false;
}

static void take_vcpu_event(struct kvm *kvm, const struct source_event *event, enum fact_kind kind)
{
	struct thread *thread = machine_thread(kvm, event);
	uint16_t vcpu = event_has(event, FIELD_VCPU) ? (uint16_t)event->field[FIELD_VCPU] : FACT_NO_VCPU;
	struct vm *vm = machine_join(kvm, thread, vcpu, event->time);
	struct fact fact = {.kind = (uint8_t)kind,
	                    .a = event_has(event, FIELD_REASON) ? event->field[FIELD_REASON] : 0,
	                    .b = event_has(event, FIELD_RIP) ? event->field[FIELD_RIP] : 0};

	if (event_has(event, FIELD_ISA) && vm->tables.mode == KVM_MODE_UNKNOWN && vm->pub.tdp)
		vm->pub.mode = vm->tables.mode = event->field[FIELD_ISA] == ISA_VMX ? KVM_MODE_EPT : KVM_MODE_NPT;
	/* The fault is over when its thread enters the guest again, or leaves KVM_RUN. */
	if (kind != FACT_EXIT && thread->fault != MAP_NONE)
		fact.fault = (uint32_t)(kvm->count - thread->fault);
	thread->fault = MAP_NONE;
	thread->origin = FACT_ORIGIN_NONE;
	if (event_has(event, FIELD_ERRNO))
		fact.b = event->field[FIELD_ERRNO];
	kvm_emit(kvm, event, thread, vm, &fact);
}

static void take_range(struct kvm *kvm, const struct source_event *event, enum fact_kind kind)
{
	struct thread *thread = machine_thread(kvm, event);
	struct fact fact = {
		.kind = (uint8_t)kind,
		.address = event->field[FIELD_START],
		.a = event_has(event, FIELD_END) ? event->field[FIELD_END] : 0,
		.origin = origin_from_here(thread, event) & 31,
	};

	kvm_emit(kvm, event, thread, machine_vm_of(kvm, thread), &fact);
	if (kind == FACT_UNMAP) {
		thread->unmap_time = event->time;
		/* A notifier's call in a system call of this thread: its fault is over, or its memory goes. */
		thread->collapse_level = 0;
	}
}

static void take_zap_all(struct kvm *kvm, const struct source_event *event)
{
	struct thread *thread = machine_thread(kvm, event);
	struct vm *vm = machine_vm_of(kvm, thread);
	bool is_vcpu = thread->pub.vcpu != FACT_NO_VCPU;
	struct fact fact = {.kind = FACT_ZAP_ALL, .origin = origin_from_here(thread, event) & 31};

	thread->fault = MAP_NONE;
	thread->unmap_time = 0;
	thread->tearing = true;
	if (!vm && thread->pub.tgid < 0 && kvm->vm_count == 1)
		vm = kvm->vms[0];
	kvm->zap_all_seen = true;
	kvm_emit(kvm, event, thread, vm, &fact);
	/* Of which of several VMs, that their next writes tell. */
	if (!vm || (!is_vcpu && machine_has_several(kvm, thread->pub.tgid)))
		return;
	vm->taken_down = false;
	kvm_roots_invalidate(&vm->tables);
	for (size_t i = vm->pub.root_count; i-- > 0 && vm->pub.roots[i].until == UINT64_MAX;)
		vm->pub.roots[i].until = kvm->count;
}

static void take_mmio(struct kvm *kvm, const struct source_event *event)
{
	struct thread *thread = machine_thread(kvm, event);
	struct vm *vm = machine_join(kvm, thread, FACT_NO_VCPU, event->time);
	struct fact fact = {
		.kind = FACT_MMIO,
		.address = event->field[FIELD_ADDRESS],
		.a = event_has(event, FIELD_LENGTH) ? event->field[FIELD_LENGTH] : 0,
		.b = event_has(event, FIELD_VALUE) ? event->field[FIELD_VALUE] : 0,
		.cause = FACT_MMIO_FAST,
	};

	if (event->id == EVENT_MMIO)
		fact.cause = event_has(event, FIELD_TYPE) && event->field[FIELD_TYPE] <= FACT_MMIO_WRITE
		                     ? (uint8_t)event->field[FIELD_TYPE]
		                     : FACT_MMIO_READ;
	if (thread->fault != MAP_NONE)
		fact.fault = (uint32_t)(kvm->count - thread->fault);
	kvm_emit(kvm, event, thread, vm, &fact);
}

/* From here on nothing that is known has to be so. */
static void take_loss(struct kvm *kvm, const struct source_event *event)
{
	struct fact fact = {.kind = FACT_LOST, .a = event->field[FIELD_COUNT_LOST], .b = event->cpu};

	for (size_t i = 0; i < kvm->vm_count; i++)
		kvm->vms[i]->tables.epoch++;
	for (size_t i = 0; i < kvm->thread_count; i++) {
		kvm->threads[i].fault = MAP_NONE;
		kvm->threads[i].take = 0;
		kvm->threads[i].tearing = false;
	}
	kvm_emit(kvm, event, NULL, NULL, &fact);
}

void kvm_take_now(struct kvm *kvm, const struct source_event *event)
{
	struct source_event late;

	if (event->time < kvm->latest) {
		late = *event;
		late.time = kvm->latest;
		event = &late;
		kvm->late++;
	}
	kvm->latest = event->time;
	switch (event->id) {
	case EVENT_SPTE_CHANGED:
		take_write(kvm, event);
		break;
	case EVENT_FAST_FAULT:
		take_fast_fault(kvm, event);
		break;
	case EVENT_SET_SPTE:
		take_set(kvm, event);
		break;
	case EVENT_GET_PAGE:
	case EVENT_ZAP_PAGE:
		take_table(kvm, event);
		break;
	case EVENT_PAGE_FAULT:
		take_fault(kvm, event);
		break;
	case EVENT_EXIT:
		take_vcpu_event(kvm, event, FACT_EXIT);
		break;
	case EVENT_ENTRY:
		take_vcpu_event(kvm, event, FACT_ENTRY);
		break;
	case EVENT_USER_EXIT:
		take_vcpu_event(kvm, event, FACT_USER_EXIT);
		break;
	case EVENT_UNMAP:
		take_range(kvm, event, FACT_UNMAP);
		break;
	case EVENT_AGE:
		take_range(kvm, event, FACT_AGE);
		break;
	case EVENT_ZAP_ALL:
		take_zap_all(kvm, event);
		break;
	case EVENT_MMIO:
	case EVENT_FAST_MMIO:
		take_mmio(kvm, event);
		break;
	case EVENT_LOST:
		take_loss(kvm, event);
		break;
	case EVENT_NOTE:
		note_take(kvm, event);
		break;
	case EVENT_SPLIT: /* the write beside it says the same */
	case EVENT_STACK: /* of an event that nothing is made of */
	case EVENT_OTHER:
	case EVENT_ID_COUNT:
		break;
	}
}

struct kvm *kvm_new(kvm_fact_fn fact, void *arg)
{
	struct kvm *kvm = allocate(sizeof(*kvm));

	kvm->fact = fact;
	kvm->arg = arg;
	kvm->seed = map_random_seed();
	map_init(&kvm->thread_by_pid, kvm->seed);
	map_init(&kvm->vm_by_tgid, kvm->seed);
	map_init(&kvm->tgid_by_pid, kvm->seed);
	map_init(&kvm->runner, kvm->seed);
	return kvm;
}

void kvm_free(struct kvm *kvm)
{
	for (size_t i = 0; i < kvm->vm_count; i++) {
		kvm_tables_free(&kvm->vms[i]->tables);
		map_free(&kvm->vms[i]->legacy);
		map_free(&kvm->vms[i]->legacy_gfn);
		free(kvm->vms[i]->pub.roots);
		free(kvm->vms[i]);
	}
	for (size_t i = 0; i < kvm->example_count; i++)
		free(kvm->examples[i]);
	map_free(&kvm->thread_by_pid);
	map_free(&kvm->vm_by_tgid);
	map_free(&kvm->tgid_by_pid);
	map_free(&kvm->runner);
	ahead_free(kvm->ahead);
	free(kvm->record_line);
	free(kvm->vms);
	free(kvm->threads);
	free(kvm);
}

uint64_t kvm_late(const struct kvm *kvm)
{
	return kvm->late;
}

size_t kvm_vm_count(const struct kvm *kvm)
{
	return kvm->vm_count;
}

const struct kvm_vm *kvm_vm_at(const struct kvm *kvm, size_t i)
{
	return &kvm->vms[i]->pub;
}

size_t kvm_thread_count(const struct kvm *kvm)
{
	return kvm->thread_count;
}

const struct kvm_thread *kvm_thread_at(const struct kvm *kvm, size_t i)
{
	return &kvm->threads[i].pub;
}

struct kvm_counts kvm_counts_all(const struct kvm *kvm)
{
	struct kvm_counts sum = {0};
	uint64_t *to = (uint64_t *)&sum;

	for (size_t i = 0; i < kvm->vm_count; i++) {
		const uint64_t *from = (const uint64_t *)&kvm->vms[i]->pub.counts;

		for (size_t n = 0; n < sizeof(sum) / sizeof(*to); n++)
			to[n] += from[n];
	}
	return sum;
}

size_t kvm_examples(const struct kvm *kvm, const char *const **texts)
{
	*texts = (const char *const *)kvm->examples;
	return kvm->example_count;
}

const char *kvm_record_line(const struct kvm *kvm)
{
	return kvm->record_line;
}
