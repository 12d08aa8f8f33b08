/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fault in a VM with a nested map: of L1, whose addresses are gpas, or of L2, whose
 * addresses go through L1's tables first. Whose is it? What the slots or the merged
 * tables lack is mended here; what L1's tables refuse is L1's to know.
 */
#include "map/nested/nested.h"
#include "map/shadow/shadow_build.h"
#include "table/trace.h"

/* The entry of L1's that the merged one comes from, or at which the walk ended. */
static void trace_element(struct vmmu_op *op, const struct vmmu_build *b)
{
	const struct vmmu_guest_step *last;
	struct vmmu_trace_record *r;

	if (!op->tracing || !b->walk.steps)
		return;
	last = &b->walk.step[b->walk.steps - 1];
	r = vmmu_trace_begin(op, VMMU_TRACE_PAGING_ELEMENT);
	if (!r)
		return;
	r->level = last->level;
	r->element = (struct vmmu_trace_element){
		.address = b->input, .where = last->where.v, .pte = last->entry, .gpa = b->walk.gpa.v};
	vmmu_trace_end(op);
}

/* Would the CPU have a flag of L1's to set (SDM vol. 3, 29.3.6)? Only then does it look at the log's index. */
static bool has_flags_to_set(struct vmmu_op *op, const struct vmmu_build *b)
{
	const struct vmmu_guest_format *f = b->mode->format;
	struct vmmu_guest_walk walk;

	if (!f->dirty || vmmu_guest_walk(op->tables->host, op->tables->ctx, b->mode, vmmu_gva_of(b->input),
	                                 b->f->access | VMMU_ACCESS_PEEK, &walk) != VMMU_GUEST_OK)
		return false;
	for (unsigned i = 0; i < walk.steps; i++)
		if (!vmmu_guest_is_accessed(f, walk.step[i].entry))
			return true;
	return (b->f->access & VMMU_W) && !walk.dirty;
}

static enum vmmu_fault_result reflect(struct vmmu_build *b)
{
	struct vmmu_fault *f = b->f;
	uint64_t code = b->reported;

	f->reflect = (uint8_t)vmmu_nested_exit(b->mode, &b->walk, &code);
	f->error_code = code;
	f->gpa = f->l2_gpa;
	return VMMU_FAULT_REFLECT;
}

static enum vmmu_fault_result fault_of_l2(struct vmmu_build *b)
{
	struct vmmu_op *op = b->op;
	struct vmmu_fault *f = b->f;
	enum vmmu_fault_result result;

	/* APM vol. 2, 15.25.5: every nested access is a user's. */
	f->access = (f->access | VMMU_ACCESS_USER) & ~(unsigned)VMMU_ACCESS_IMPLICIT;
	if ((f->access & VMMU_ACCESS_PML_FULL) && has_flags_to_set(op, b)) {
		f->reflect = VMMU_REFLECT_PML_FULL;
		return VMMU_FAULT_REFLECT;
	}
	result = vmmu_shadow_attempts(b);
	trace_element(op, b);
	f->dirtied = b->dirtied;
	if (result != VMMU_FAULT_INJECT_PF)
		return result;
	vmmu_shadow_expect_write(b);
	if (op->flush.pending)
		vmmu_op_flush(op);
	return reflect(b);
}

enum vmmu_fault_result vmmu_nested_fault(struct vmmu_vcpu *vcpu, struct vmmu_op *op, struct vmmu_fault *f)
{
	struct vmmu_build b = {
		.vcpu = vcpu,
		.op = op,
		.f = f,
		.mode = &vmmu_shadow_vcpu_of(vcpu)->mode,
		.input = f->gpa.v,
		.reported = f->error_code,
	};
	enum vmmu_fault_result result;

	f->l2_gpa = f->gpa;
	f->reflect = VMMU_REFLECT_NONE;
	f->dirtied = false;
	result = vmmu_in_l2(vcpu) ? fault_of_l2(&b) : vmmu_shadow_attempts(&b);
	/* The entry was right already, but could not be reached. */
	if (result == VMMU_FAULT_SPURIOUS && (b.linked || b.parked))
		result = VMMU_FAULT_FIXED;
	return result == VMMU_FAULT_AGAIN ? VMMU_FAULT_RETRY : result;
}
