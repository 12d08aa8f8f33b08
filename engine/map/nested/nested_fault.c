/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fault in a VM with a nested map: of L1, whose addresses are gpas, or of L2, whose
 * addresses go through L1's tables first. Whose is it? What the slots or the merged
 * tables lack is mended here; what L1's tables refuse is L1's to know.
 */
#include "map/nested/nested.h"
#include "map/shadow/shadow_build.h"
#include "table/trace.h"

/* PAE's four entries at the top are walked from registers; the CPU has read them from here (APM vol. 2, 15.25.10). */
static uint64_t place_of(const struct vmmu_build *b, const struct vmmu_guest_step *step)
{
	if (b->mode->format->top_in_registers && step->level == b->mode->levels)
		return (b->mode->registers.cr3 & VMMU_BITS(31, 5)) + sizeof(uint64_t) * step->where.v;
	return step->where.v;
}

/* The path in L1's tables: what the merged entries come from, and where the walk ended. */
static void trace_path(struct vmmu_op *op, const struct vmmu_build *b)
{
	for (unsigned i = 0; op->tracing && i < b->walk.steps; i++) {
		const struct vmmu_guest_step *step = &b->walk.step[i];
		bool is_last = i + 1 == b->walk.steps;

		vmmu_trace_element(op, step->level, VMMU_CAUSE_VIOLATION,
		                   (struct vmmu_trace_element){.address = b->input,
		                                               .where = place_of(b, step),
		                                               .pte = step->entry,
		                                               .gpa = is_last ? b->walk.gpa.v : 0});
	}
}

/* Would the CPU have a flag of L1's to set (SDM vol. 3, 29.3.6)? Only then does it look at the log's index. */
static bool has_flags_to_set(struct vmmu_op *op, const struct vmmu_build *b)
{
	struct vmmu_guest_guard guard;
	const struct vmmu_guest_format *f = b->mode->format;
	enum vmmu_guest_result result;
	struct vmmu_guest_walk walk;
	struct vmmu_inside inside;

	if (!f->dirty)
		return false;
	inside = vmmu_op_enter(op);
	guard = vmmu_shadow_guard(b->vcpu, inside);
	result = vmmu_guest_walk_guarded(op->tables->host, op->tables->ctx, b->mode, vmmu_gva_of(b->input),
	                                 b->f->access | VMMU_ACCESS_PEEK, &guard, &walk);
	vmmu_op_leave(op, inside);
	if (result != VMMU_GUEST_OK)
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
	trace_path(op, b);
	f->dirtied = b->dirtied;
	if (result != VMMU_FAULT_INJECT_PF)
		return result;
	vmmu_shadow_expect_write(b, false);
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
