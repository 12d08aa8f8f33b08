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
	uint16_t take_vm;        /* whose tables these are */
	uint16_t serves;         /* from 1: a VM for which it has written, without doubt; 0 = none */
	uint16_t vcpu_ahead;     /* that it will show soon; FACT_NO_VCPU = none */
	bool ran;                /* it has shown one, as far as is looked ahead */
	bool beside_other;       /* another thread of its process runs that number at the same time */
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
	bool taken_down;        /* its last root went, without a zap-all */
	uint64_t last_time;     /* of its last fact */
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
	struct map runner; /* process and vCPU number -> the thread that ran it last, as far as is looked ahead */
	struct ahead *ahead;
	char *examples[KVM_EXAMPLES];
	size_t example_count;
	char *record_line;
	bool fast_seen;    /* the trace has fast_page_fault */
	bool zap_all_seen; /* it has kvm_mmu_zap_all_fast */
	bool root_seen;    /* it has kvm_mmu_get_page of a root */
	bool removed_seen; /* entries of an unlinked table go to "being removed", as they do since Linux 5.12 */
	uint64_t latest;   /* time of the last event taken */
	uint64_t late;     /* events that came with an earlier one */
	uint32_t takes;    /* pieces of work so far in which a thread has unlinked tables */
};

struct thread *machine_thread(struct kvm *kvm, const struct source_event *event);
/* The VM of a thread; NULL: not known yet, or a thread that works for many. */
struct vm *machine_vm_of(struct kvm *kvm, const struct thread *thread);
/* The thread has shown, at that time, that it is a vCPU (or FACT_NO_VCPU: some thread) of a VM. */
struct vm *machine_join(struct kvm *kvm, struct thread *thread, uint16_t vcpu, uint64_t time);
/*
 * The thread makes a root although the VM has one that is used. KVM shares roots within a VM: if
 * another thread runs this one's vCPU number, it runs it for another VM, which this is now.
 */
struct vm *machine_split(struct kvm *kvm, struct thread *thread, struct vm *vm, unsigned as_id);
/* The VMs of a process (or with process -1 all whose process is not known) are more than one. */
bool machine_has_several(const struct kvm *kvm, int64_t tgid);
/* Does this thread run a vCPU number at the same time as another one of its process? (tool/kvm/ahead.c) */
void ahead_learn(struct kvm *kvm, const struct source_event *event);
/*
 * A write has found what no write left there. KVM records a write after it is done, so another
 * CPU may have found it and recorded that before: if its event comes soon, it is taken now. True: it was.
 */
bool ahead_take_earlier(struct kvm *kvm, const struct source_event *found, uint16_t vm);
void ahead_free(struct ahead *ahead);
/* What is looked at is taken, in its turn. */
void kvm_take_now(struct kvm *kvm, const struct source_event *event);
void machine_move(struct kvm *kvm, struct thread *thread, struct vm *vm);
uint16_t machine_vm_number(const struct kvm *kvm, const struct vm *vm);

/* A root, written down with the number of the fact that comes next. */
struct kvm_root *vm_root_add(struct kvm *kvm, struct vm *vm, unsigned as_id, unsigned level, bool born);

/* A line that vmmu record wrote (tool/kvm/note.c). */
void note_take(struct kvm *kvm, const struct source_event *event);

/* Emit; fills in vm, thread, vcpu, time. Returns the fact's number. */
uint64_t kvm_emit(struct kvm *kvm, const struct source_event *event, const struct thread *thread,
                  struct vm *vm, struct fact *fact);

#endif
