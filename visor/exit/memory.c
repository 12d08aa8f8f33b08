/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory faults that the engine leaves to the visor: devices, writes that no entry may allow, the guest's own #PF. */
#include "visor/cpu/x86.h"
#include "visor/emulate/emulate.h"
#include "visor/exit/delivery.h"
#include "visor/exit/descriptor.h"
#include "visor/exit/exit.h"
#include "visor/exit/shadow.h"
#include "visor/host/log.h"
#include "visor/lib/format.h"
#include "visor/vm/nested.h"
#include "visor/vm/vm.h"

/*
 * An instruction that is not carried out. A program gets #UD, and its kernel goes on: it may have
 * been given a device, and no means to end the machine. A kernel's own ends it, with the reason.
 * The first of each VM is one line of the log. With the guest's registers read.
 */
static __attribute__((format(printf, 2, 3))) void refuse_instruction(struct vcpu *v, const char *why, ...)
{
	char text[VM_REASON_BYTES];
	va_list args;

	va_start(args, why);
	vsnprintf(text, sizeof(text), why, args);
	va_end(args);
	if (v->state.cpl < 3) {
		exit_give_up(v, "%s", text);
		return;
	}
	if (!v->vm->told_refusal)
		log_line("visor: #UD to a program of the guest: %s", text);
	v->vm->told_refusal = true;
	exit_raise(v, X86_UD, false, 0);
}

/* REP STOS or REP MOVS, behind whatever other prefixes (SDM vol. 2, 2.1.1). */
static bool is_repeated_store(const uint8_t *bytes, unsigned count)
{
	bool rep = false;

	for (unsigned i = 0; i < count; i++) {
		switch (bytes[i]) {
		case 0xf2:
		case 0xf3:
			rep = true;
			break;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x64 ... 0x67:
		case 0x40 ... 0x4f:
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

	if (nested_tell_refusal(v))
		return true;
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
static bool memory_carry_out(struct vcpu *v, uint64_t gpa, enum vmmu_fault_result why)
{
	uint8_t bytes[EMULATE_MAX_INSTRUCTION];
	struct emulate_info info;
	enum emulate_result result;
	unsigned count;

	count = guest_fetch(&v->state, &v->vm->bus, bytes, sizeof(bytes));
	/* Who fills a whole page has something else in mind for it, and does so faster without us. */
	if (why == VMMU_FAULT_WRITE_TABLE && is_repeated_store(bytes, count) && shadow_release(v, gpa))
		return false;
	nested_forget_refusal(v); /* more was fetched than the instruction may have */
	result = emulate_instruction(&v->state, &v->vm->bus, bytes, count, gpa, &info);
	if (unlikely(v->nested.l2) && nested_tell_refusal(v))
		return false;
	switch (result) {
	case EMULATE_DONE:
		v->backend->write_state(v);
		exit_instruction_done(v);
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
	case EMULATE_EXCEPTION:
		exit_raise(v, info.vector, info.has_error, info.error_code);
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
		refuse_instruction(v, "cannot emulate an access to gpa %llx: %s", (unsigned long long)gpa, info.reason);
		break;
	}
	return result == EMULATE_DONE;
}

bool exit_emulate(struct vcpu *v, uint64_t gpa)
{
	return memory_carry_out(v, gpa, VMMU_FAULT_EMULATE_MMIO);
}

/* When the guest's own walk made the access, gpa is one of its tables and not the operand. */
static void memory_emulate(struct vcpu *v, const struct vmmu_fault *fault)
{
	v->backend->read_state(v);
	memory_carry_out(v, fault->access & VMMU_ACCESS_WALK ? UINT64_MAX : fault->gpa.v, VMMU_FAULT_EMULATE_MMIO);
}

/* A write to RAM that the CPU cannot make: to a shadowed table, or against what an entry can say. */
static void write_ram(struct vcpu *v, const struct vmmu_fault *fault, enum vmmu_fault_result why)
{
	/* The walk of L2's tables, or of L1's own, and no instruction, writes what is a table of L1's for L2. */
	if (fault->access & VMMU_ACCESS_WALK && why == VMMU_FAULT_WRITE_TABLE && shadow_release(v, fault->gpa.v))
		return;
	v->backend->read_state(v);
	if (!(v->event & EVENT_VALID))
		memory_carry_out(v, fault->access & VMMU_ACCESS_WALK ? UINT64_MAX : fault->gpa.v, why);
	else if (!delivery_carry_out(v) && !make_unneeded(v, fault->gpa.v, why))
		exit_give_up(v, "delivering event %x to the guest writes gpa %llx, which %s", v->event,
		             (unsigned long long)fault->gpa.v,
		             why == VMMU_FAULT_WRITE_TABLE ? "is one of its page tables" : "CR0.WP alone lets it write");
}

/* The handler's stack, or a table that leads to it, is in a read-only slot or where nothing is. */
static void deliver_past_ram(struct vcpu *v, const struct vmmu_fault *fault)
{
	v->backend->read_state(v);
	if (!delivery_carry_out(v))
		exit_give_up(v, "delivering event %x to the guest touches gpa %llx, which is no RAM", v->event,
		             (unsigned long long)fault->gpa.v);
}

static void execute_nothing(struct vcpu *v, unsigned long long gpa)
{
	v->backend->read_state(v);
	refuse_instruction(v, "the guest executes at gpa %llx, where there is no memory", gpa);
}

void exit_memory_rest(struct vcpu *v, const struct vmmu_fault *fault, enum vmmu_fault_result result)
{
	unsigned long long gpa = fault->gpa.v;

	v->vm->fault = *fault;
	v->vm->watch.kind = EXIT_MEMORY_FAULT;
	switch (result) {
	case VMMU_FAULT_EMULATE_MMIO:
	case VMMU_FAULT_READ_ONLY:
		if (v->event & EVENT_VALID)
			deliver_past_ram(v, fault);
		else if (fault->access & VMMU_X && !(fault->access & VMMU_ACCESS_WALK))
			execute_nothing(v, gpa);
		else
			memory_emulate(v, fault);
		break;
	case VMMU_FAULT_REFLECT:
		v->backend->nested->reflect(v, fault->reflect, fault->error_code, fault->l2_gpa.v);
		break;
	case VMMU_FAULT_INJECT_PF:
		shadow_inject(v, fault);
		break;
	case VMMU_FAULT_WRITE_TABLE:
	case VMMU_FAULT_EMULATE_WRITE:
		write_ram(v, fault, result);
		break;
	case VMMU_FAULT_NO_MEMORY:
		vm_fail(v, "the machine has no free memory for gpa %llx: give the machine more, or the guest less",
		        gpa);
		break;
	case VMMU_FAULT_BAD_ENTRY:
		vm_fail(v, "the CPU met a damaged entry on the way to gpa %llx", gpa);
		break;
	default:
		vm_fail(v, "memory fault at gpa %llx: %s", gpa, vmmu_fault_result_name(result));
	}
}
