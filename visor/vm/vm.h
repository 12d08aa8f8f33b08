/* SPDX-License-Identifier: BSD-2-Clause */
/* One virtual machine: what belongs together from its start to its summary. */
#ifndef VISOR_VM_VM_H
#define VISOR_VM_VM_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmu/vmmu.h>

#include "visor/cpu/vcpu.h"
#include "visor/device/platform.h"
#include "visor/emulate/translate.h"
#include "visor/vm/ahead_state.h"
#include "visor/vm/code_state.h"
#include "visor/vm/exit_kind.h"
#include "visor/vm/msr_list.h"
#include "visor/vm/options.h"
#include "visor/vm/watch_state.h"

#define VM_REASON_BYTES 200

#define MSR_REFUSALS 64u

/* Registers whose first refusal has been told. */
struct msr_refusals {
	unsigned count;
	uint32_t msr[MSR_REFUSALS];
	bool write[MSR_REFUSALS];
};

/* A range under vmmu_invalidate_begin, and the slow exits until its end: the test device's. */
struct taken_back {
	uint64_t base, bytes, exits;
};

struct vm {
	const struct options *options;
	struct vmmu_host host;
	struct vmmu_vm *mmu;
	struct platform *platform;
	struct guest_memory bus;     /* what the guest's CPU sees: RAM, then devices */
	struct vmmu_guest_mode mode; /* of bus */
	struct region *regions;
	uint64_t slot_changes; /* slots made, moved and deleted */
	struct code_path code_path[CODE_PATHS];
	uint64_t frames; /* guest frames in use */
	struct vcpu vcpu;
	struct ahead ahead; /* shadow paging: loops of the guest's that touch new pages */

	struct msr_list_state msrs;
	struct msr_refusals refusals;
	bool told_refusal; /* of an instruction of a program (exit/memory.c) */

	uint64_t start_tsc, end_tsc;
	uint64_t exits[EXIT_KIND_COUNT];
	uint64_t l2_exits[EXIT_KIND_COUNT]; /* of these: by a guest's guest */
	struct watch watch;
	struct vmmu_trace_ring vcpu_ring, manage_ring;
	struct phases *phases; /* NULL until the guest marks one (vm/phases.h) */
	unsigned audit_findings;
	struct vmmu_fault fault; /* the last one that took the slow path */
	struct taken_back taken_back;
	enum vm_end end;
	uint32_t end_code;
	uint8_t input[16]; /* console input that the guest's UART has no room for yet */
	size_t input_count;
	char reason[VM_REASON_BYTES]; /* why it failed or was refused */
};

/* Guest time in ns: 0 at the first instruction. */
uint64_t vm_now_ns(const struct vm *vm);

/* `{"event":"end","status":"refused"}` with this reason. */
void vm_refuse(const char *reason);

#endif
