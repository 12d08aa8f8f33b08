/* SPDX-License-Identifier: BSD-2-Clause */
/* Time, interrupts and the console: what is done between an exit and the next entry. */
#include "visor/cpu/x86.h"
#include "visor/emulate/emulate.h"
#include "visor/exit/exit.h"
#include "visor/exit/test_commands.h"
#include "visor/host/clock.h"
#include "visor/host/frame.h"
#include "visor/host/interrupts.h"
#include "visor/host/order.h"
#include "visor/host/serial.h"
#include "visor/host/timer.h"
#include "visor/lib/string.h"
#include "visor/vm/nested.h"
#include "visor/vm/trace_disk.h"
#include "visor/vm/vm.h"
#include "visor/vm/watch.h"

/* How long the guest may run before the visor looks at the console again. */
#define POLL_IDLE_NS 10000000ull
#define POLL_BUSY_NS 1000000ull

#define CONSOLE_CHUNK 16
#define OPCODE_HLT 0xf4

static void take_console_input(struct vm *vm)
{
	uint8_t bytes[CONSOLE_CHUNK];
	size_t n;

	if (!vm->input_count)
		vm->input_count = serial_console_read(vm->input, sizeof(vm->input));
	if (!vm->input_count)
		return;
	n = platform_console_in(vm->platform, vm->input, vm->input_count);
	vm->input_count -= n;
	memcpy(bytes, vm->input + n, vm->input_count);
	memcpy(vm->input, bytes, vm->input_count);
}

static bool console_is_busy(const struct vm *vm)
{
	return serial_console_busy() || vm->input_count;
}

/* Set the host's timer for whatever comes first. Left alone when it is set for that or earlier. */
static void arm_timer(struct vcpu *v)
{
	struct vm *vm = v->vm;
	uint64_t next = platform_next_event(vm->platform);
	bool busy = console_is_busy(vm);
	uint64_t now, now_ns, poll, wait, deadline;

	/* The time of the next look at the console only moves on while it is as idle as then. */
	if (v->timer_armed && v->timer_event <= next && v->timer_busy >= busy)
		return;
	now = rdtsc();
	now_ns = vm_now_ns(vm);
	poll = now_ns + (busy ? POLL_BUSY_NS : POLL_IDLE_NS);
	next = next < poll ? next : poll;
	wait = next > now_ns ? clock_ns_to_ticks(next - now_ns) : 0;
	deadline = now + wait;
	if (v->timer_armed && v->timer_armed <= deadline)
		return;
	timer_set(wait);
	v->timer_armed = deadline;
	v->timer_event = next;
	v->timer_busy = busy;
}

void exit_soon(struct vcpu *v)
{
	timer_set(0);
	v->timer_armed = rdtsc();
}

/* What is done whenever the host's timer has come. */
static void tick(struct vcpu *v)
{
	v->timer_armed = 0;
	timer_fired = false;
	serial_console_poll();
	take_console_input(v->vm);
	if (order_to_end())
		exit_stop(v, VM_KILLED);
	if (v->tracing) {
		uint64_t begun = rdtsc();

		trace_disk_tick();
		watch_leave_out(v, rdtsc() - begun);
	}
}

void exit_external_interrupt(struct vcpu *v)
{
	exit_count(v, EXIT_EXTERNAL_INTERRUPT);
	tick(v);
}

/* An interrupt for the guest's CPU is waiting. */
static bool interrupt_waits(struct vcpu *v)
{
	return v->kept_event || platform_interrupt_pending(v->vm->platform);
}

static bool nmi_waits(struct vcpu *v)
{
	v->nmi_pending |= platform_take_nmi(v->vm->platform);
	return v->nmi_pending;
}

bool exit_event_waits(struct vcpu *v)
{
	return interrupt_waits(v) || nmi_waits(v);
}

/* Frames cleared in one turn while the guest sleeps: a wake-up waits for no more. */
enum { STOCK_AT_ONCE = 4 };

void exit_hlt(struct vcpu *v)
{
	struct platform *p = v->vm->platform;
	bool l2 = v->nested.l2;
	uint32_t code;

	exit_count(v, EXIT_HLT);
	exit_skip(v);
	/* A trap behind HLT, or #UD in its place, ends it; L1 may have got either. */
	if (v->stop || v->event & EVENT_VALID || v->nested.l2 != l2 || nmi_waits(v))
		return;
	/* L2's flag may not decide about L1's interrupts. */
	if (!(v->state.rflags & X86_FLAG_IF) && !v->nested.l2) {
		exit_stop(v, VM_HALTED);
		return;
	}
	interrupts_off(); /* none may slip in between the last look and the sleep */
	watch_pause();    /* the guest has asked for that time */
	for (;;) {
		platform_advance(p);
		if (interrupt_waits(v) || nmi_waits(v) || platform_end(p, &code))
			break;
		serial_console_poll();
		frame_stock_refill(STOCK_AT_ONCE);
		arm_timer(v);
		interrupts_wait();
		tick(v);
		if (v->stop)
			break;
	}
	watch_resume(v);
}

static void set_window(struct vcpu *v, bool on)
{
	if (v->window_wanted != on) {
		v->backend->want_window(v, on);
		v->window_wanted = on;
	}
}

/*
 * STI; HLT with an interrupt pending, and this exit came in between: the HLT
 * would end at once, so it counts as executed. Entering the guest before it
 * relies on the CPU to keep the shadow of STI over the entry. QEMU's SVM does
 * not; the interrupt then comes before the HLT, and the guest sleeps for ever.
 */
static void finish_sti_hlt(struct vcpu *v)
{
	uint8_t byte = 0;

	if (!(v->state.rflags & X86_FLAG_IF) || !v->backend->interrupts_shadowed(v))
		return;
	v->backend->read_state(v); /* with a shadow on, no instruction was carried out: nothing to lose */
	if (guest_fetch(&v->state, &v->vm->bus, &byte, 1) != 1 || byte != OPCODE_HLT)
		return;
	exit_count(v, EXIT_HLT);
	v->state.rip++;
	v->backend->clear_shadow(v);
}

uint32_t exit_take_interrupt(struct vcpu *v)
{
	uint32_t kept = v->kept_event;
	int vector;

	v->kept_event = 0;
	if (kept)
		return kept;
	vector = platform_interrupt_acknowledge(v->vm->platform);
	return vector >= 0 ? EVENT_VALID | EVENT_EXTERNAL | (uint32_t)vector : 0;
}

/*
 * May the guest that runs get it, as far as L1's hypervisor has a say? Where L2 has exited to L1 for
 * it, L1 is that guest.
 */
static bool gate_open(struct vcpu *v, enum nested_event event)
{
	enum nested_gate gate = NESTED_LEFT;

	if (likely(!v->vm->options->nested))
		return true;
	while (gate == NESTED_LEFT)
		gate = v->backend->nested->gate(v, event);
	return gate == NESTED_OPEN;
}

/* Before any interrupt (SDM vol. 3, table 6-2). */
static void deliver_nmi(struct vcpu *v)
{
	if (nmi_waits(v) && !gate_open(v, NESTED_NMI))
		return;
	if (nmi_waits(v) && !(v->event & EVENT_VALID) && !v->backend->nmi_blocked(v)) {
		v->event = EVENT_VALID | EVENT_NMI | X86_NMI;
		v->nmi_pending = false;
	}
	if (v->nmi_pending || v->nmi_window_wanted)
		v->backend->want_nmi_window(v, v->nmi_pending);
	v->nmi_window_wanted = v->nmi_pending;
}

static void deliver_interrupt(struct vcpu *v)
{
	bool waits = interrupt_waits(v) && gate_open(v, NESTED_INTERRUPT), free = !(v->event & EVENT_VALID);

	if (waits && free) {
		finish_sti_hlt(v);
		if (v->state.rflags & X86_FLAG_IF && !v->backend->interrupts_shadowed(v)) {
			v->event = exit_take_interrupt(v);
			waits = interrupt_waits(v);
		}
	}
	set_window(v, waits);
}

void exit_begin(struct vcpu *v)
{
	arm_timer(v);
}

/* Devices go on to where the guest's time is now; one of them may end the VM. */
static inline void advance_devices(struct vcpu *v)
{
	struct vm *vm = v->vm;
	enum vm_end end;

	platform_advance(vm->platform);
	end = platform_end(vm->platform, &vm->end_code);
	if (end != VM_RUNNING) {
		if (end == VM_FAILED)
			vm_fail(v, "%s", platform_end_reason(vm->platform));
		exit_stop(v, end);
		return;
	}
	serial_console_poll();
}

/* Interrupts are off: what the timer is set for stays true until the entry. */
static inline void prepare_entry(struct vcpu *v)
{
	/* It has come meanwhile, or cannot: Bochs lets no interrupt out of a guest that has them off. */
	if (timer_fired || (v->timer_armed && v->timer_armed <= rdtsc()))
		tick(v);
	if (v->stop)
		return;
	deliver_nmi(v);
	deliver_interrupt(v);
	arm_timer(v);
}

void exit_finish(struct vcpu *v)
{
	if (!v->stop)
		advance_devices(v);
	interrupts_off();
	if (!v->stop)
		prepare_entry(v);
	if (unlikely(v->vm->taken_back.exits))
		test_exit_done(v->vm);
	if (v->stop)
		watch_pause(); /* no guest waits for what is said about its end */
	else
		watch_end(v);
}
