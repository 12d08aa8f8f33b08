/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the visor does about each exit, the same for VMX and SVM. Called by the
 * back ends with rip, rsp, rflags and the general registers in vcpu->state.
 */
#ifndef VISOR_EXIT_EXIT_H
#define VISOR_EXIT_EXIT_H

#include <stdbool.h>
#include <stdint.h>

#include "visor/cpu/vcpu.h"
#include "visor/device/platform.h"
#include "visor/emulate/task_switch.h"
#include "visor/vm/counters.h"
#include "visor/vm/fail.h"

/* A port access. Strings: rep, and what address the memory side has. */
struct io_access {
	uint16_t port;
	uint8_t size; /* 1, 2 or 4 bytes */
	bool in, string, rep;
	uint8_t address_size; /* 2, 4 or 8 bytes, strings only */
	uint8_t segment;      /* of OUTS; INS always has ES */
};

/* A memory fault that vmmu_fault did not settle with FIXED, SPURIOUS or RETRY. */
void exit_memory_rest(struct vcpu *vcpu, const struct vmmu_fault *fault, enum vmmu_fault_result result);

void exit_cpuid(struct vcpu *vcpu);
void exit_msr(struct vcpu *vcpu, bool write);
void exit_io(struct vcpu *vcpu, const struct io_access *io);
void exit_hlt(struct vcpu *vcpu);
/* VMCALL, VMMCALL */
void exit_hypercall(struct vcpu *vcpu);
/* #UD, which one of the two raises on the CPU that has only the other; anything else gets it. */
void exit_invalid_opcode(struct vcpu *vcpu);
void exit_xsetbv(struct vcpu *vcpu);
void exit_cr8(struct vcpu *vcpu, bool write, unsigned gpr);
/* The host's own interrupt has ended the guest, and its handler has run. */
void exit_external_interrupt(struct vcpu *vcpu);
void exit_triple_fault(struct vcpu *vcpu);
/* The VM ends in this way. */
void exit_stop(struct vcpu *vcpu, enum vm_end end);
/* To the task of this TSS. In vcpu->event stands what came through a task gate of the IDT. */
void exit_task_switch(struct vcpu *vcpu, uint16_t selector, enum task_switch_source source);
/* Deliver an exception to the guest; or what it makes together with the event that is being delivered. */
void exit_raise(struct vcpu *vcpu, unsigned vector, bool has_error, uint32_t error);
/* What the guest does cannot be carried out. L2 alone ends by that where L1 takes shutdowns; else the VM. */
__attribute__((format(printf, 2, 3))) void exit_give_up(struct vcpu *vcpu, const char *why, ...);
/* The instruction is done: go on behind it. Where nothing can be decoded that may be executed, it raises #UD. */
void exit_skip(struct vcpu *vcpu);
/* The visor carried an instruction out; RIP is behind it already. */
void exit_instruction_done(struct vcpu *vcpu);
void exit_skip_bytes(struct vcpu *vcpu, unsigned length);

/*
 * Carry out the instruction at CS:RIP, of which the CPU has seen the access at
 * gpa (UINT64_MAX: not known), after read_state. True: done; false: the guest
 * gets an exception, runs it again, or the VM has failed.
 */
bool exit_emulate(struct vcpu *vcpu, uint64_t gpa);

/* Before the first entry: the timer that gets the visor back from a guest without exits. */
void exit_begin(struct vcpu *v);

/* The next entry is to end as soon as the guest has got what it is given with it. */
void exit_soon(struct vcpu *vcpu);

/* An interrupt or an NMI waits for the guest's CPU. */
bool exit_event_waits(struct vcpu *vcpu);

/*
 * An interrupt that the guest can take now: acknowledged already, or from the interrupt
 * controllers. As an event to be delivered (cpu/event.h); 0: it was gone.
 */
uint32_t exit_take_interrupt(struct vcpu *vcpu);

/* Last thing before an entry that follows a slow exit: timers, interrupts, console. Interrupts are off behind it. */
void exit_finish(struct vcpu *vcpu);

#endif
