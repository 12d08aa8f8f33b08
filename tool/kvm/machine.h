/* SPDX-License-Identifier: BSD-2-Clause */
/* Within tool/kvm: the VMs and threads of a host, and which belongs to which. */
#ifndef TOOL_KVM_MACHINE_H
#define TOOL_KVM_MACHINE_H

#include "../base/map.h"
#include "kvm.h"
#include "tables.h"

struct thread {
	struct kvm_thread pub;
	bool kernel;    /* by its name it works for many VMs */
	uint64_t fault; /* number of its fault that is not over; MAP_NONE = none */
	uint64_t fault_gfn;
	uint16_t root;           /* that it wrote to last; 0 = none */
	unsigned collapse_level; /* the fault has just replaced a table by a leaf of this level */
	uint64_t unmap_time;     /* of its last kvm_unmap_hva_range; 0 = none */
	unsigned origin;         /* enum fact_origin: of its last stack, as far as that goes on */
	uint64_t origin_time;    /* when it was last true */
	uint32_t take;           /* the piece of work in which it takes unlinked tables down; 0 = none */
	bool tearing;            /* it takes down a root that is not used any more */
	/* The last leaf it wrote, for kvm_mmu_set_spte to be compared with. */
	uint64_t wrote_gfn, wrote_value, wrote_table;
	unsigned wrote_level;
};

struct vm {
	struct kvm_vm pub;
	struct kvm_tables tables;
	struct map legacy; /* shadow and legacy: address of an entry -> its value */
	struct map legacy_gfn;
	unsigned faults_before; /* seen before the first root */
	bool begun;             /* some root is known */
};

struct kvm {
	kvm_fact_fn fact;
	void *arg;
	uint64_t count; /* facts so far */
	uint64_t seed;
	struct vm **vms;
	size_t vm_count;
	struct thread *threads;
	size_t thread_count;
	struct map thread_by_pid, vm_by_tgid, tgid_by_pid;
	char *examples[KVM_EXAMPLES];
	size_t example_count;
	char *record_line;
	bool fast_seen;    /* the trace has fast_page_fault */
	bool removed_seen; /* entries of an unlinked table go to "being removed", as they do since Linux 5.12 */
	uint32_t takes;    /* pieces of work so far in which a thread has unlinked tables */
};

struct thread *machine_thread(struct kvm *kvm, const struct source_event *event);
/* The VM of a thread; NULL: not known yet, or a thread that works for many. */
struct vm *machine_vm_of(struct kvm *kvm, const struct thread *thread);
/* The thread has shown that it is a vCPU (or FACT_NO_VCPU: some thread) of a VM. */
struct vm *machine_join(struct kvm *kvm, struct thread *thread, uint16_t vcpu);
void machine_move(struct kvm *kvm, struct thread *thread, const struct vm *vm);
uint16_t machine_vm_number(const struct kvm *kvm, const struct vm *vm);

/* A root, written down with the number of the fact that comes next. */
struct kvm_root *vm_root_add(struct kvm *kvm, struct vm *vm, unsigned as_id, unsigned level, bool born);

/* A line that vmmu record wrote (tool/kvm/note.c). */
void note_take(struct kvm *kvm, const struct source_event *event);

/* Emit; fills in vm, thread, vcpu, time. Returns the fact's number. */
uint64_t kvm_emit(struct kvm *kvm, const struct source_event *event, const struct thread *thread,
                  const struct vm *vm, struct fact *fact);

#endif
