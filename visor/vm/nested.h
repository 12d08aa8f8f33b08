/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest (L1) that runs guests of its own (L2), as far as VMX and SVM have it in common: which of
 * them runs, on which tables, and whose affair an event, an exception or a refused access
 * is. What L1's control block says is the back ends' (svm/nested.h, vmx/nested.h, and what struct
 * cpu_nested names). docs/nested.md tells of the tables.
 *
 * While L2 runs, vcpu->state and the back end's control block are L2's: everything in exit/ and
 * emulate/ then works for L2 as for any guest, since bus.walk goes through L1's tables, too.
 */
#ifndef VISOR_VM_NESTED_H
#define VISOR_VM_NESTED_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmu/nested.h>

struct cpuid;
struct vcpu;

/* What waits for the guest's CPU. */
enum nested_event {
	NESTED_INTERRUPT,
	NESTED_NMI,
};

enum nested_gate {
	NESTED_OPEN,   /* it goes to whichever guest runs, by that one's flags */
	NESTED_CLOSED, /* it must wait, and what ends the waiting is an exit in any case */
	NESTED_LEFT,   /* L2 has exited to L1 for it, which runs next: ask again */
};

/* What a back end does for L1. Called in slow exits, with the guest's registers read. */
struct cpu_nested {
	enum nested_gate (*gate)(struct vcpu *v, enum nested_event event);
	/* An exception of L2's, with CR2 written for a #PF. True: L1 intercepts it, and runs next. */
	bool (*exception)(struct vcpu *v, unsigned vector, bool has_error, uint32_t error);
	/* L1's tables refuse an access of L2's: the exit for that. L1 runs next. */
	void (*reflect)(struct vcpu *v, enum vmmu_reflect reflect, uint64_t code, uint64_t l2_gpa);
	/* L2 has come to a shutdown, or triple fault. True: L1 has been told, and runs next. */
	bool (*shutdown)(struct vcpu *v);
	/* What L1 has of the extension: changes to a leaf of CPUID as all guests see it; registers (false: #GP, or none of these); bits of EFER. */
	void (*cpuid)(struct vcpu *v, uint32_t leaf, struct cpuid *answer);
	bool (*msr_read)(struct vcpu *v, uint32_t msr, uint64_t *value);
	bool (*msr_write)(struct vcpu *v, uint32_t msr, uint64_t value);
	uint64_t (*efer_bits)(struct vcpu *v);
	/* Of CR0 and CR4 that are to be loaded: false for #GP, as the extension has bits fixed. NULL: it has none. */
	bool (*control)(struct vcpu *v, uint64_t cr0, uint64_t cr4);
	/* What a write of `value` to CR0 or CR4 leaves there, as L1 keeps bits to itself. NULL: `value`. */
	uint64_t (*cr_written)(struct vcpu *v, unsigned cr, uint64_t value);
};

/*
 * L2 runs from now on: under L1's tables as `tables` says, or, NULL, with L1's gpas for its own.
 * `tsc_offset` is what L1 adds to its TSC for it. On success *root is for L2's control block.
 * Otherwise L1 runs as before, and VMMU_ERR_INVALID is for L1 to know.
 */
enum vmmu_status nested_enter(struct vcpu *v, const struct vmmu_nested *tables, uint64_t tsc_offset, struct vmmu_root *root);

/*
 * nested_enter has ended with `status`. True: it was VMMU_ERR_BUSY, which passes, and L1 executes its
 * VMRUN, VMLAUNCH or VMRESUME again; whatever waits for it or for the visor comes in between.
 * False: another status, or it has been that one for too long.
 */
bool nested_is_tried_again(struct vcpu *v, enum vmmu_status status);

/* L1 runs again. *root is for its control block. */
void nested_leave(struct vcpu *v, struct vmmu_root *root);

/* L1 asks for linear translations of L2's to be forgotten before it runs again. `tag`: ASID or VPID. */
void nested_ask_flush(struct vcpu *v, enum vmmu_nested_flush flush, uint16_t tag);

/* Can `gpa` be the address of a page, in a control block or a register of L1's? Whether one is there is not looked at. */
bool nested_page_fits(const struct vcpu *v, uint64_t gpa);

/* L2 runs. */
bool nested_runs_l2(const struct vcpu *v);

/* How many memory faults have been L2's. */
uint64_t nested_faults_of_l2(const struct vcpu *v);

/* What an access made for L2 has met until now is of no account. */
void nested_forget_refusal(struct vcpu *v);

/* An access made for L2 has met what L1's tables refuse: L1 gets its exit. True: L1 runs next. */
bool nested_tell_refusal(struct vcpu *v);

/* L2 has ended by a shutdown, because of something that the visor cannot carry out: a line on the log, a few times. */
void nested_note_end(struct vcpu *v, const char *why);

/* Of L2's physical memory below 4 GiB. False: nothing is there, or L1's tables refuse it; then no exit follows. */
bool nested_read(struct vcpu *v, uint64_t l2_gpa, unsigned size, uint64_t *value);

#endif
