/* SPDX-License-Identifier: BSD-2-Clause */
/* L1's VMX instructions but for entries: each in the order of its description in SDM vol. 3, chapter 31. */
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/vm/memory.h"
#include "visor/vm/vm.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"
#include "visor/vmx/nested.h"
#include "visor/vmx/nested_operand.h"

#define REVISION_MASK 0x7fffffffu

static void say_result(struct vcpu *v, uint64_t flag)
{
	v->state.rflags = (v->state.rflags & ~NVMX_RESULT_FLAGS) | flag;
	exit_skip(v);
}

static void succeed(struct vcpu *v)
{
	say_result(v, 0);
}

/* VMfail: with an error number where there is a VMCS to say it in (31.2). */
void nvmx_fail(struct vcpu *v, enum nvmx_error error)
{
	struct nvmx *n = v->vmx.nested;

	if (n->current != NVMX_NONE)
		nvmx_set(n, VMCS_INSTRUCTION_ERROR, error);
	say_result(v, n->current != NVMX_NONE ? X86_FLAG_ZF : X86_FLAG_CF);
}

static void fail_without_vmcs(struct vcpu *v)
{
	say_result(v, X86_FLAG_CF);
}

static uint32_t revision_at(struct vcpu *v, uint64_t gpa)
{
	uint32_t revision = UINT32_MAX;

	memory_read(v->vm, gpa, &revision, sizeof(revision));
	return revision;
}

static void do_vmxon(struct vcpu *v)
{
	struct nvmx *n = v->vmx.nested;
	uint64_t region;

	if (n->on) {
		nvmx_fail(v, NVMX_VMXON_TWICE);
		return;
	}
	if (!nvmx_cr0_fits(v, v->state.cr0, false) || !nvmx_cr4_fits(v, v->state.cr4)) {
		exit_raise(v, X86_GP, true, 0);
		return;
	}
	if (!nvmx_operand_read(v, &region, sizeof(region)))
		return;
	if (!nested_page_fits(v, region) || revision_at(v, region) != NVMX_REVISION) {
		fail_without_vmcs(v);
		return;
	}
	nvmx_keep_capabilities(v);
	n->on = true;
	n->vmxon = region;
	n->current = NVMX_NONE;
	succeed(v);
}

static void do_vmxoff(struct vcpu *v)
{
	struct nvmx *n = v->vmx.nested;

	nvmx_store_page(v);
	n->on = false;
	n->vmxon = n->current = NVMX_NONE;
	succeed(v);
}

static void do_vmclear(struct vcpu *v)
{
	struct nvmx *n = v->vmx.nested;
	const uint32_t clear[2] = {0, 0}; /* launch state, and what stands behind it */
	uint64_t region;

	if (!nvmx_operand_read(v, &region, sizeof(region)))
		return;
	if (!nested_page_fits(v, region)) {
		nvmx_fail(v, NVMX_CLEAR_ADDRESS);
	} else if (region == n->vmxon) {
		nvmx_fail(v, NVMX_CLEAR_VMXON);
	} else {
		if (region == n->current) {
			nvmx_store_page(v);
			n->current = NVMX_NONE;
		}
		memory_write(v->vm, region + 8, clear, sizeof(clear));
		succeed(v);
	}
}

static void do_vmptrld(struct vcpu *v)
{
	struct nvmx *n = v->vmx.nested;
	uint64_t region;

	if (!nvmx_operand_read(v, &region, sizeof(region)))
		return;
	if (!nested_page_fits(v, region)) {
		nvmx_fail(v, NVMX_LOAD_ADDRESS);
	} else if (region == n->vmxon) {
		nvmx_fail(v, NVMX_LOAD_VMXON);
	} else if (revision_at(v, region) != NVMX_REVISION) { /* bit 31 would be a shadow VMCS, which there is none of */
		nvmx_fail(v, NVMX_LOAD_REVISION);
	} else {
		if (region != n->current) {
			nvmx_store_page(v);
			nvmx_load_page(v, region);
		}
		succeed(v);
	}
}

static void do_vmptrst(struct vcpu *v)
{
	if (nvmx_operand_write(v, &v->vmx.nested->current, sizeof(uint64_t)))
		succeed(v);
}

static void do_vmread(struct vcpu *v)
{
	struct nvmx *n = v->vmx.nested;
	uint64_t encoding = nvmx_operand_register(v), value;
	int place = nvmx_place(encoding);

	if (n->current == NVMX_NONE) {
		fail_without_vmcs(v);
		return;
	}
	if (place < 0) {
		nvmx_fail(v, NVMX_NO_FIELD);
		return;
	}
	value = n->vmcs12.value[place];
	if (nvmx_operand_write_value(v, encoding & 1 ? value >> 32 : value))
		succeed(v);
}

static void do_vmwrite(struct vcpu *v)
{
	struct nvmx *n = v->vmx.nested;
	uint64_t encoding = nvmx_operand_register(v), value, *field;
	int place = nvmx_place(encoding);
	bool narrow = !vmx_in_64bit_code(v) && nvmx_field_bytes(encoding) == 8;

	if (n->current == NVMX_NONE) {
		fail_without_vmcs(v);
		return;
	}
	if (!nvmx_operand_read_value(v, &value))
		return;
	if (place < 0) {
		nvmx_fail(v, NVMX_NO_FIELD);
		return;
	}
	if (nvmx_field_read_only(encoding)) { /* IA32_VMX_MISC bit 29 is 0 */
		nvmx_fail(v, NVMX_READ_ONLY);
		return;
	}
	field = &n->vmcs12.value[place];
	if (encoding & 1)
		*field = (uint32_t)*field | value << 32;
	else if (narrow && NVMX_ENCODING_WIDTH(encoding) == 1) /* the low half of a 64-bit field alone */
		*field = (*field & ~(uint64_t)UINT32_MAX) | value;
	else
		nvmx_set(n, (enum vmcs_field)encoding, value);
	succeed(v);
}

bool nvmx_quick_access(struct vcpu *v, uint32_t reason)
{
	const uint64_t shadows = INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS;
	struct nvmx *n = v->vmx.nested;
	uint32_t info = (uint32_t)vmread(VMCS_EXIT_INSTRUCTION_INFO);
	unsigned operand = NVMX_INFO_REGISTER1(info), named = NVMX_INFO_REGISTER2(info);
	uint64_t flags = vmread(VMCS_GUEST_RFLAGS), encoding = v->state.gpr[named];
	int place = nvmx_place(encoding);

	/* RSP is not among the registers that are there; in VMX operation, L1's mode is what the exit has not looked at. */
	if (!n->on || n->current == NVMX_NONE || place < 0 || encoding & 1 || !(info & NVMX_INFO_IS_REGISTER) || operand == X86_RSP ||
	    named == X86_RSP || flags & (X86_FLAG_TF | X86_FLAG_RF) || !vmx_in_64bit_code(v) || vmread(VMCS_GUEST_SS_ACCESS) >> 5 & 3 ||
	    vmread(VMCS_GUEST_INTERRUPTIBILITY) & shadows)
		return false;
	if (reason == VMX_EXIT_VMREAD)
		v->state.gpr[operand] = n->vmcs12.value[place];
	else if (!nvmx_field_read_only(encoding))
		n->vmcs12.value[place] = nvmx_cut(encoding, v->state.gpr[operand]);
	else
		return false;
	exit_count(v, EXIT_NESTED_INSTRUCTION);
	vmwrite(VMCS_GUEST_RFLAGS, flags & ~NVMX_RESULT_FLAGS);
	vmwrite(VMCS_GUEST_RIP, vmread(VMCS_GUEST_RIP) + vmread(VMCS_EXIT_INSTRUCTION_LENGTH));
	return true;
}

/* Nothing that a CPU can reach lags behind L1's tables (include/vmmu/nested.h). */
static void do_invept(struct vcpu *v)
{
	uint64_t type = nvmx_operand_register(v), descriptor[2];
	enum { SINGLE = 1,
	       ALL = 2 };

	if (type != SINGLE && type != ALL) {
		nvmx_fail(v, NVMX_INVALIDATE_OPERAND);
		return;
	}
	if (!nvmx_operand_read(v, descriptor, sizeof(descriptor)))
		return;
	if (type == SINGLE && !nvmx_eptp_fits(v, descriptor[0])) /* as for a VM entry */
		nvmx_fail(v, NVMX_INVALIDATE_OPERAND);
	else
		succeed(v);
}

static void do_invvpid(struct vcpu *v)
{
	static const enum vmmu_nested_flush of[] = {VMMU_NESTED_FLUSH_ADDRESS, VMMU_NESTED_FLUSH_TAG, VMMU_NESTED_FLUSH_ALL,
	                                            VMMU_NESTED_FLUSH_TAG};
	uint64_t type = nvmx_operand_register(v), descriptor[2];
	enum { ADDRESS = 0,
	       ALL = 2 };

	if (type >= sizeof(of) / sizeof(of[0])) {
		nvmx_fail(v, NVMX_INVALIDATE_OPERAND);
		return;
	}
	if (!nvmx_operand_read(v, descriptor, sizeof(descriptor)))
		return;
	if (descriptor[0] >> 16 || (type != ALL && !descriptor[0]) || (type == ADDRESS && !x86_is_canonical(descriptor[1]))) {
		nvmx_fail(v, NVMX_INVALIDATE_OPERAND);
		return;
	}
	nested_ask_flush(v, of[type], (uint16_t)descriptor[0]);
	succeed(v);
}

/* False: it is #UD, or #GP. In this order for all of them; VMXON begins VMX operation, the others need it. */
static bool may_execute(struct vcpu *v, uint32_t reason)
{
	const struct x86_cpu_state *s = &v->state;

	if (!(s->cr0 & X86_CR0_PE) || !(s->cr4 & X86_CR4_VMXE) || s->rflags & X86_FLAG_VM ||
	    (s->efer & X86_EFER_LMA && !(s->segment[X86_CS].access & X86_ACCESS_LONG)) ||
	    (reason != VMX_EXIT_VMXON && !v->vmx.nested->on)) {
		exit_raise(v, X86_UD, false, 0);
		return false;
	}
	if (s->cpl) {
		exit_raise(v, X86_GP, true, 0);
		return false;
	}
	return true;
}

void nvmx_instruction(struct vcpu *v, uint32_t reason)
{
	bool entry = reason == VMX_EXIT_VMLAUNCH || reason == VMX_EXIT_VMRESUME;

	exit_count(v, entry ? EXIT_NESTED_ENTRY : EXIT_NESTED_INSTRUCTION);
	vmx_read_state(v);
	if (!may_execute(v, reason))
		return;
	switch (reason) {
	case VMX_EXIT_VMXON: do_vmxon(v); break;
	case VMX_EXIT_VMXOFF: do_vmxoff(v); break;
	case VMX_EXIT_VMCLEAR: do_vmclear(v); break;
	case VMX_EXIT_VMPTRLD: do_vmptrld(v); break;
	case VMX_EXIT_VMPTRST: do_vmptrst(v); break;
	case VMX_EXIT_VMREAD: do_vmread(v); break;
	case VMX_EXIT_VMWRITE: do_vmwrite(v); break;
	case VMX_EXIT_INVEPT: do_invept(v); break;
	case VMX_EXIT_INVVPID: do_invvpid(v); break;
	case VMX_EXIT_VMLAUNCH:
	case VMX_EXIT_VMRESUME:
		if (v->vmx.nested->current == NVMX_NONE)
			fail_without_vmcs(v);
		else
			nvmx_enter(v, reason == VMX_EXIT_VMLAUNCH);
		break;
	}
}
