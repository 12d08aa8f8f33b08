/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KVM's rules: from the events of a host's kernel to facts about the tables of
 * each VM. What no document states and a replay needs: a write belongs to the
 * root whose entry holds its old value; fast_page_fault is the only event of its
 * own write; a split fills 512 entries before the table is linked, without one.
 */
#ifndef TOOL_KVM_H
#define TOOL_KVM_H

#include "../fact/fact.h"
#include "../source/event.h"
#include "entry.h"

/* Takes a fact, of which all but `before` is filled in. */
typedef void (*kvm_fact_fn)(void *arg, const struct fact *fact);

/* How the writes of a VM, or of all, went in. */
struct kvm_counts {
	uint64_t writes;                            /* kvm_tdp_mmu_spte_changed */
	uint64_t without_effect;                    /* of them: an empty entry marked as being removed */
	uint64_t fast;                              /* fast_page_fault that wrote */
	uint64_t inferred;                          /* entries filled in by splits */
	uint64_t inferred_fast;                     /* W was given back in between: fast page faults that were not recorded */
	uint64_t unexplained;                       /* the entry held something else */
	uint64_t never_seen;                        /* what it held was never seen; the old value tells */
	uint64_t after_loss;                        /* it held something else before events were lost */
	uint64_t ambiguous;                         /* more than one root held the old value */
	uint64_t inferred_confirmed;                /* inferred entries that a later old value confirmed */
	uint64_t addresses_equal, addresses_differ; /* kvm_mmu_set_spte's `at` against the parent's entry */
	uint64_t set;                               /* legacy: kvm_mmu_set_spte */
	uint64_t set_again_other;                   /* legacy: ... of an entry that held another frame: dropped unseen */
	uint64_t set_again_same;                    /* legacy: ... or the same value: dropped unseen, or set twice */
	uint64_t zapped_tables;                     /* legacy: kvm_mmu_prepare_zap_page */
	uint64_t found;                             /* entries of a snapshot */
	uint64_t found_differ;                      /* ... that contradict what was seen */
	uint64_t faults;
	uint64_t machines; /* VMs that vmmu record found in its process; its events tell none from the other */
	uint64_t mixed;    /* 1: two threads ran one vCPU number at the same time: two VMs are counted as one */
	uint64_t nested;   /* leaves of a nested guest's shadow tables set, beside the TDP MMU's */
};

/* A top table: where it is in no event, so it has a number. */
struct kvm_root_info {
	uint16_t id;           /* from 1 in its VM */
	uint8_t as_id, level;  /* as_id 1: system management mode */
	bool born;             /* made under the trace, so all that was not written is empty */
	uint64_t since, until; /* numbers of facts; until: it became invalid; UINT64_MAX = it has not */
	uint64_t hpa;          /* 0 = not known */
};

struct kvm_vm {
	int64_t tgid;  /* -1: not known */
	char name[64]; /* "" = none */
	char comm[64]; /* of its first thread; an index has it as a terminal may show it */
	enum kvm_mode mode;
	unsigned levels;
	bool tdp, legacy; /* which events there were */
	bool born;        /* it began under the trace */
	bool restarted;   /* ... when the tables of VM `beside` had gone, and that one was heard of no more */
	uint16_t beside;  /* a VM of the same process, from 1, that was there before; 0 = none */
	unsigned vcpus;
	struct kvm_root_info *roots;
	size_t root_count;
	uint64_t empty; /* what an empty entry holds */
	struct kvm_counts counts;
	uint64_t pages_begin[3], pages_end[3]; /* KVM's own counts of 4 KiB, 2 MiB, 1 GiB entries */
	bool has_begin, has_end;
};

struct kvm_thread {
	uint32_t pid;
	int64_t tgid;      /* -1: not known */
	char comm[64];     /* 15 bytes in the kernel; likewise */
	uint16_t vm, vcpu; /* FACT_NO_VM, FACT_NO_VCPU */
};

struct kvm;

struct kvm *kvm_new(kvm_fact_fn fact, void *arg);
void kvm_free(struct kvm *kvm);
void kvm_take(struct kvm *kvm, const struct source_event *event);
/*
 * Threads show late which vCPU they run, so events are looked at some time before they are
 * taken: those that still wait are taken now. Until kvm_look_ahead is called none waits.
 */
void kvm_look_ahead(struct kvm *kvm);
void kvm_finish(struct kvm *kvm);
/*
 * vmmu record notices a thread some time after it began. So what its lines say of
 * threads (EVENT_NOTE) is better known before the events are taken: true when this
 * line shows that there are such.
 */
bool kvm_is_record_line(const struct source_event *event);
void kvm_learn_thread(struct kvm *kvm, const struct source_event *event);

/* Events whose time was before that of others which had been taken: they count as that late. */
uint64_t kvm_late(const struct kvm *kvm);
size_t kvm_vm_count(const struct kvm *kvm);
const struct kvm_vm *kvm_vm_at(const struct kvm *kvm, size_t i);
size_t kvm_thread_count(const struct kvm *kvm);
const struct kvm_thread *kvm_thread_at(const struct kvm *kvm, size_t i);
/* Of all VMs together. */
struct kvm_counts kvm_counts_all(const struct kvm *kvm);
/* The first writes that nothing explains, one sentence each. */
enum { KVM_EXAMPLES = 5 };
size_t kvm_examples(const struct kvm *kvm, const char *const **texts);
/* What vmmu record said of the machine: "kernel=... tdp_mmu=Y"; NULL = nothing. */
const char *kvm_record_line(const struct kvm *kvm);

#endif
