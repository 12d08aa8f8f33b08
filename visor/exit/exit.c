/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/exit/exit.h"

#include "visor/host/interrupts.h"
#include "visor/cpu/x86.h"
#include "visor/emulate/emulate.h"
#include "visor/host/clock.h"
#include "visor/host/serial.h"
#include "visor/host/timer.h"
#include "visor/lib/string.h"
#include "visor/vm/cpuid.h"
#include "visor/exit/delivery.h"
#include "visor/exit/descriptor.h"
#include "visor/cpu/event.h"
#include "visor/vm/msr.h"
#include "visor/exit/shadow.h"
#include "visor/vm/trace_disk.h"
#include "visor/vm/vm.h"

/* How long the guest may run before the visor looks at the console again. */
#define POLL_IDLE_NS 10000000ull
#define POLL_BUSY_NS 1000000ull

#define CONSOLE_CHUNK 16
#define OPCODE_HLT 0xf4

static const char *const exit_names[EXIT_KIND_COUNT] = {
	[EXIT_MISCONFIGURATION] = "ept-misconfiguration",
	[EXIT_CR3_WRITE] = "cr3-write",
	[EXIT_CR3_READ] = "cr3-read",
	[EXIT_INVLPG] = "invlpg",
	[EXIT_CR_ACCESS] = "cr-access",
	[EXIT_CR8_ACCESS] = "cr8-access",
	[EXIT_IO] = "io",
	[EXIT_CPUID] = "cpuid",
	[EXIT_MSR_READ] = "msr-read",
	[EXIT_MSR_WRITE] = "msr-write",
	[EXIT_HLT] = "hlt",
	[EXIT_EXTERNAL_INTERRUPT] = "external-interrupt",
	[EXIT_INTERRUPT_WINDOW] = "interrupt-window",
	[EXIT_NMI] = "nmi",
	[EXIT_EXCEPTION] = "exception",
	[EXIT_INIT] = "init",
	[EXIT_XSETBV] = "xsetbv",
	[EXIT_CACHE] = "invd-wbinvd",
	[EXIT_UNDEFINED] = "undefined-instruction",
	[EXIT_RDPMC] = "rdpmc",
	[EXIT_TRIPLE_FAULT] = "triple-fault",
	[EXIT_OTHER] = "other",
};

const char *exit_kind_name(const struct vcpu *vcpu, enum exit_kind kind)
{
	return kind == EXIT_MEMORY_FAULT ? vcpu->backend->fault_exit : exit_names[kind];
}

void exit_count(struct vcpu *vcpu, enum exit_kind kind)
{
	vcpu->vm->exits[kind]++;
}

/* ---- instructions ----------------------------------------------------------- */

static bool in_64bit_code(struct vcpu *v)
{
	return v->backend->in_64bit_code(v);
}

void exit_raise(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
	uint32_t first = v->event;

	v->event = 0;
	switch (event_meets(first, vector)) {
	case EVENT_SHUTDOWN:
		exit_triple_fault(v);
		return;
	case EVENT_DOUBLE_FAULT:
		vector = X86_DF;
		has_error = true;
		error = 0;
		break;
	case EVENT_DELIVER_SECOND:
		if (event_must_be_kept(first))
			v->kept_event = first;
		break;
	}
	/* There are no error codes in real mode (SDM vol. 3, 27.2.1.3). */
	has_error = has_error && v->backend->read_cr0(v) & X86_CR0_PE;
	v->event = EVENT_VALID | EVENT_EXCEPTION | vector | (has_error ? EVENT_HAS_ERROR : 0);
	v->event_error = error;
}

/* The visor carried an instruction out: shadows end, and a debugger gets its trap (SDM vol. 3, 18.3.1.4). */
static void instruction_done(struct vcpu *v)
{
	v->state.rflags &= ~X86_FLAG_RF;
	v->backend->clear_shadow(v);
	if (v->state.rflags & X86_FLAG_TF) {
		uint64_t dr6 = v->backend->read_special(v, CPU_SPECIAL_DR6);

		v->backend->write_special(v, CPU_SPECIAL_DR6, dr6 | X86_DR6_SINGLE_STEP);
		exit_raise(v, X86_DB, false, 0);
	}
}

void exit_skip_bytes(struct vcpu *v, unsigned length)
{
	v->state.rip += length;
	if (!in_64bit_code(v))
		v->state.rip &= UINT32_MAX;
	instruction_done(v);
}

void exit_skip(struct vcpu *v)
{
	unsigned length = v->backend->instruction_length(v);

	if (length)
		exit_skip_bytes(v, length);
	else
		exit_fail(v, "the instruction that caused the exit cannot be read");
}

void exit_cpuid(struct vcpu *v)
{
	uint64_t *gpr = v->state.gpr;
	struct cpuid r = cpuid_for_guest(v, (uint32_t)gpr[X86_RAX], (uint32_t)gpr[X86_RCX]);

	exit_count(v, EXIT_CPUID);
	gpr[X86_RAX] = r.eax;
	gpr[X86_RBX] = r.ebx;
	gpr[X86_RCX] = r.ecx;
	gpr[X86_RDX] = r.edx;
	exit_skip(v);
}

void exit_msr(struct vcpu *v, bool write)
{
	uint64_t *gpr = v->state.gpr, value = (uint32_t)gpr[X86_RAX] | gpr[X86_RDX] << 32;
	uint32_t msr = (uint32_t)gpr[X86_RCX];

	exit_count(v, write ? EXIT_MSR_WRITE : EXIT_MSR_READ);
	if (!(write ? msr_write(v, msr, value) : msr_read(v, msr, &value))) {
		exit_raise(v, X86_GP, true, 0);
		return;
	}
	if (!write) {
		gpr[X86_RAX] = (uint32_t)value;
		gpr[X86_RDX] = value >> 32;
	}
	exit_skip(v);
}

/* SDM vol. 1, 13.3: x87 always; AVX needs SSE; the three parts of AVX-512 come together, with AVX. */
static bool xcr0_valid(uint64_t value)
{
	uint64_t supported = cpuid(0xd, 0).eax & CPUID_XCR0_ALLOWED;
	uint64_t avx512 = value & 0xe0;

	return !(value & ~supported) && value & 1 && !((value & 4) && !(value & 2)) &&
	       !(avx512 && (avx512 != 0xe0 || !(value & 4)));
}

void exit_xsetbv(struct vcpu *v)
{
	uint64_t *gpr = v->state.gpr, value = (uint32_t)gpr[X86_RAX] | gpr[X86_RDX] << 32;

	exit_count(v, EXIT_XSETBV);
	v->backend->read_state(v);
	if (!(v->state.cr4 & X86_CR4_OSXSAVE)) {
		exit_raise(v, X86_UD, false, 0);
		return;
	}
	if ((uint32_t)gpr[X86_RCX] != 0 || v->state.cpl || !xcr0_valid(value)) {
		exit_raise(v, X86_GP, true, 0);
		return;
	}
	xsetbv0(value); /* the visor has no extended state: the guest's XCR0 stays in the CPU */
	exit_skip(v);
}

void exit_cr8(struct vcpu *v, bool write, unsigned gpr)
{
	exit_count(v, EXIT_CR8_ACCESS);
	if (write) {
		if (v->state.gpr[gpr] & ~15ull) {
			exit_raise(v, X86_GP, true, 0);
			return;
		}
		platform_set_cr8(v->vm->platform, (uint8_t)v->state.gpr[gpr]);
	} else {
		v->state.gpr[gpr] = platform_cr8(v->vm->platform);
	}
	exit_skip(v);
}

static void stop_with(struct vcpu *v, enum vm_end end)
{
	v->vm->end = end;
	v->stop = true;
}

void exit_triple_fault(struct vcpu *v)
{
	exit_count(v, EXIT_TRIPLE_FAULT);
	stop_with(v, VM_TRIPLE_FAULT);
}

/* The switch would have to be carried out here; no system of today makes one. */
void exit_task_switch(struct vcpu *v)
{
	exit_count(v, EXIT_OTHER);
	exit_fail(v, "the guest switches tasks by hardware, which %s leaves to the visor, who cannot", v->backend->machine);
}

/* ---- memory ----------------------------------------------------------------- */

/* REP STOS or REP MOVS, behind whatever other prefixes (SDM vol. 2, 2.1.1). */
static bool is_repeated_store(const uint8_t *bytes, unsigned count)
{
	bool rep = false;

	for (unsigned i = 0; i < count; i++) {
		switch (bytes[i]) {
		case 0xf2: case 0xf3:
			rep = true;
			break;
		case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64 ... 0x67: case 0x40 ... 0x4f:
			break;
		default:
			return rep && (bytes[i] == 0xa4 || bytes[i] == 0xa5 || bytes[i] == 0xaa || bytes[i] == 0xab);
		}
	}
	return false;
}

/*
 * The CPU came here on its way to the instruction itself: its page tables lie
 * where nothing is. `fetched` bytes of it could be read. False: that is not so.
 */
static bool raise_fetch_fault(struct vcpu *v, unsigned fetched)
{
	uint64_t gva = guest_code_address(&v->state, fetched);
	struct vmmu_guest_walk walk;
	enum vmmu_guest_result result = guest_translate(&v->state, &v->vm->bus, gva, VMMU_X, &walk);

	if (result != VMMU_GUEST_FAULT && result != VMMU_GUEST_NO_MEMORY)
		return false;
	v->backend->write_special(v, CPU_SPECIAL_CR2, gva);
	exit_raise(v, X86_PF, true, walk.error_code);
	return true;
}

/*
 * The guest can make the write to RAM at gpa after all: it is one to a shadowed
 * table, which is released, or what the CPU wanted to write is there now.
 */
static bool make_unneeded(struct vcpu *v, uint64_t gpa, enum vmmu_fault_result why)
{
	if (why != VMMU_FAULT_WRITE_TABLE && why != VMMU_FAULT_EMULATE_WRITE)
		return false;
	return descriptor_mark_accessed(v, v->vm->fault.gva.v, gpa) ||
	       (why == VMMU_FAULT_WRITE_TABLE && shadow_release(v, gpa));
}

/* `why` the engine leaves the access to us. */
static bool carry_out(struct vcpu *v, uint64_t gpa, enum vmmu_fault_result why)
{
	uint8_t bytes[EMULATE_MAX_INSTRUCTION];
	struct emulate_info info;
	enum emulate_result result;
	unsigned count;

	count = guest_fetch(&v->state, &v->vm->bus, bytes, sizeof(bytes));
	/* Who fills a whole page has something else in mind for it, and does so faster without us. */
	if (why == VMMU_FAULT_WRITE_TABLE && is_repeated_store(bytes, count) && shadow_release(v, gpa))
		return false;
	result = emulate_instruction(&v->state, &v->vm->bus, bytes, count, gpa, &info);
	switch (result) {
	case EMULATE_DONE:
		v->backend->write_state(v);
		instruction_done(v);
		break;
	case EMULATE_AGAIN:
		v->backend->write_state(v);
		break;
	case EMULATE_PAGE_FAULT:
	case EMULATE_NO_MEMORY: /* of a page table: the bus answers everywhere else */
		v->backend->write_state(v);
		v->backend->write_special(v, CPU_SPECIAL_CR2, info.fault_gva);
		exit_raise(v, X86_PF, true, info.error_code);
		break;
	case EMULATE_GENERAL_PROTECTION:
		exit_raise(v, X86_GP, true, 0);
		break;
	case EMULATE_INVALID:
		exit_raise(v, X86_UD, false, 0);
		break;
	case EMULATE_UNSUPPORTED:
	case EMULATE_TRUNCATED:
		if (result == EMULATE_TRUNCATED && raise_fetch_fault(v, count))
			break;
		if (make_unneeded(v, gpa, why))
			break;
		exit_fail(v, "cannot emulate an access to gpa %llx: %s", (unsigned long long)gpa, info.reason);
		break;
	}
	return result == EMULATE_DONE;
}

bool exit_emulate(struct vcpu *v, uint64_t gpa)
{
	return carry_out(v, gpa, VMMU_FAULT_EMULATE_MMIO);
}

/* When the guest's own walk made the access, gpa is one of its tables and not the operand. */
static void emulate(struct vcpu *v, const struct vmmu_fault *fault)
{
	v->backend->read_state(v);
	carry_out(v, fault->access & VMMU_ACCESS_WALK ? UINT64_MAX : fault->gpa.v, VMMU_FAULT_EMULATE_MMIO);
}

/* A write to RAM that the CPU cannot make: to a shadowed table, or against what an entry can say. */
static void write_ram(struct vcpu *v, const struct vmmu_fault *fault, enum vmmu_fault_result why)
{
	v->backend->read_state(v);
	if (!(v->event & EVENT_VALID))
		carry_out(v, fault->gpa.v, why);
	else if (!delivery_carry_out(v) && !make_unneeded(v, fault->gpa.v, why))
		exit_fail(v, "delivering event %x to the guest writes gpa %llx, which %s", v->event,
		          (unsigned long long)fault->gpa.v,
		          why == VMMU_FAULT_WRITE_TABLE ? "is one of its page tables" : "CR0.WP alone lets it write");
}

/* The handler's stack, or a table that leads to it, is in a read-only slot or where nothing is. */
static void deliver_past_ram(struct vcpu *v, const struct vmmu_fault *fault)
{
	v->backend->read_state(v);
	if (!delivery_carry_out(v))
		exit_fail(v, "delivering event %x to the guest touches gpa %llx, which is no RAM", v->event,
		          (unsigned long long)fault->gpa.v);
}

void exit_memory_rest(struct vcpu *v, const struct vmmu_fault *fault, enum vmmu_fault_result result)
{
	unsigned long long gpa = fault->gpa.v;

	v->vm->fault = *fault;
	switch (result) {
	case VMMU_FAULT_EMULATE_MMIO:
	case VMMU_FAULT_READ_ONLY:
		if (v->event & EVENT_VALID)
			deliver_past_ram(v, fault);
		else if (fault->access & VMMU_X && !(fault->access & VMMU_ACCESS_WALK))
			exit_fail(v, "the guest executes at gpa %llx, where there is no memory", gpa);
		else
			emulate(v, fault);
		break;
	case VMMU_FAULT_INJECT_PF:
		shadow_inject(v, fault);
		break;
	case VMMU_FAULT_WRITE_TABLE:
	case VMMU_FAULT_EMULATE_WRITE:
		write_ram(v, fault, result);
		break;
	case VMMU_FAULT_NO_MEMORY:
		exit_fail(v, "the machine has no free memory for gpa %llx: give the machine more, or the guest less",
		          gpa);
		break;
	case VMMU_FAULT_BAD_ENTRY:
		exit_fail(v, "the CPU met a damaged entry on the way to gpa %llx", gpa);
		break;
	default:
		exit_fail(v, "memory fault at gpa %llx: %s", gpa, vmmu_fault_result_name(result));
	}
}

/* ---- time and interrupts ------------------------------------------------------ */

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

/* Set the host's timer for whatever comes first. Left alone when it is set for that or earlier. */
static void arm_timer(struct vcpu *v)
{
	struct vm *vm = v->vm;
	uint64_t now = rdtsc(), now_ns = vm_now_ns(vm), next = platform_next_event(vm->platform);
	uint64_t poll = now_ns + (serial_console_busy() || vm->input_count ? POLL_BUSY_NS : POLL_IDLE_NS);
	uint64_t wait, deadline;

	next = next < poll ? next : poll;
	wait = next > now_ns ? clock_ns_to_ticks(next - now_ns) : 0;
	deadline = now + wait;
	if (v->timer_armed && v->timer_armed <= deadline)
		return;
	timer_set(wait);
	v->timer_armed = deadline;
}

/* What is done whenever the host's timer has come. */
static void tick(struct vcpu *v)
{
	v->timer_armed = 0;
	serial_console_poll();
	take_console_input(v->vm);
	if (v->tracing)
		trace_disk_tick();
}

void exit_external_interrupt(struct vcpu *v)
{
	exit_count(v, EXIT_EXTERNAL_INTERRUPT);
	interrupts_take_pending();
	tick(v);
}

/* An interrupt for the guest's CPU is waiting. */
static bool interrupt_waits(struct vcpu *v)
{
	return v->kept_event || platform_interrupt_pending(v->vm->platform);
}

void exit_hlt(struct vcpu *v)
{
	struct platform *p = v->vm->platform;
	uint32_t code;

	exit_count(v, EXIT_HLT);
	exit_skip(v);
	if (!(v->state.rflags & X86_FLAG_IF)) {
		stop_with(v, VM_HALTED);
		return;
	}
	for (;;) {
		platform_advance(p);
		if (interrupt_waits(v) || platform_end(p, &code))
			return;
		serial_console_poll();
		arm_timer(v);
		interrupts_wait();
		tick(v);
	}
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

/* The next one, which the guest can take now: acknowledged already, or from the interrupt controllers. */
static uint32_t take_interrupt(struct vcpu *v)
{
	uint32_t kept = v->kept_event;
	int vector;

	v->kept_event = 0;
	if (kept)
		return kept;
	vector = platform_interrupt_acknowledge(v->vm->platform);
	return vector >= 0 ? EVENT_VALID | EVENT_EXTERNAL | (uint32_t)vector : 0;
}

static void deliver_interrupt(struct vcpu *v)
{
	bool free = !(v->event & EVENT_VALID);

	if (interrupt_waits(v) && free)
		finish_sti_hlt(v);
	if (interrupt_waits(v) && free && v->state.rflags & X86_FLAG_IF && !v->backend->interrupts_shadowed(v))
		v->event = take_interrupt(v);
	set_window(v, interrupt_waits(v));
}

void exit_finish(struct vcpu *v)
{
	struct vm *vm = v->vm;
	enum vm_end end;

	if (v->stop)
		return;
	platform_advance(vm->platform);
	end = platform_end(vm->platform, &vm->end_code);
	if (end != VM_RUNNING) {
		stop_with(v, end);
		return;
	}
	serial_console_poll();
	deliver_interrupt(v);
	arm_timer(v);
}
