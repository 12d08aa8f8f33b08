/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long the guest's CPU stands still for an exit: the longest one is named in the
 * summary, and what takes longer than WATCH_LIMIT_NS has a line on the log. Exits that
 * are settled at once (memory faults that the engine answers) are not measured.
 */
#ifndef VISOR_VM_WATCH_H
#define VISOR_VM_WATCH_H

#define WATCH_LIMIT_NS 10000000ull
#define WATCH_LINES 5u /* on the log, for one VM */

struct vcpu;

/* An exit begins; or what it has waited for is over, which is not its own time. */
void watch_begin(struct vcpu *vcpu);
/* It is over, but for the entry. */
void watch_end(struct vcpu *vcpu);
/* The member `longest_exit` of the event that is being written. */
void watch_write(struct vcpu *vcpu);

#endif
