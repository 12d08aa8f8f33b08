/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/nested.h"

#include "visor/host/log.h"
#include "visor/vm/fail.h"
#include "visor/vm/memory.h"
#include "visor/vm/vm.h"

uint64_t nested_faults_of_l2(const struct vcpu *v)
{
	return v->nested.faults + (v->nested.l2 ? v->memory_faults - v->nested.faults_before : 0);
}

bool nested_runs_l2(const struct vcpu *v)
{
	return v->nested.l2;
}

/* As vmmu_guest_walk, through L1's tables, too. What these refuse is kept for nested_tell_refusal. */
static enum vmmu_guest_result walk_l2(void *ctx, const struct vmmu_guest_mode *mode, vmmu_gva gva, unsigned access,
                                      struct vmmu_guest_walk *out)
{
	struct vcpu *v = &((struct vm *)ctx)->vcpu;
	struct vmmu_nested_walk walk;
	enum vmmu_nested_result result = vmmu_nested_walk(v->mmu, mode, gva, access, &walk);

	*out = (struct vmmu_guest_walk){.gpa = walk.l1_gpa, .rights = walk.rights};
	switch (result) {
	case VMMU_NESTED_OK:
		return VMMU_GUEST_OK;
	case VMMU_NESTED_PF:
		out->error_code = (uint32_t)walk.error_code;
		return VMMU_GUEST_FAULT;
	case VMMU_NESTED_GP:
		return VMMU_GUEST_NONCANONICAL;
	case VMMU_NESTED_BUSY:
		return VMMU_GUEST_BUSY;
	case VMMU_NESTED_REFLECT:
		v->nested.refused = walk;
		return VMMU_GUEST_NO_MEMORY;
	case VMMU_NESTED_NO_TABLE:
		break;
	}
	return VMMU_GUEST_NO_MEMORY;
}

#define EPT_LINEAR_ADDRESS (UINT64_C(3) << 7) /* SDM vol. 3, table 28-7: there is one, and it is what is accessed */

/*
 * An entry of L2's that no walk leads to: of a load of the PDPTEs, which is a read (SDM vol. 3, 4.4.1 and 29.3.3.2). It lies where L1's
 * tables say, too.
 */
static enum vmmu_guest_read read_for_l2(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	static const struct vmmu_guest_mode physical = {.levels = 0};
	struct vcpu *v = &((struct vm *)ctx)->vcpu;
	struct vmmu_nested_walk walk;

	switch (vmmu_nested_walk(v->mmu, &physical, vmmu_gva_of(gpa.v), VMMU_R, &walk)) {
	case VMMU_NESTED_OK:
		return memory_guest_read(ctx, walk.l1_gpa, size, value);
	case VMMU_NESTED_BUSY:
		return VMMU_GUEST_READ_BUSY;
	case VMMU_NESTED_REFLECT:
		v->nested.refused = walk;
		v->nested.refused.error_code &= ~EPT_LINEAR_ADDRESS;
		return VMMU_GUEST_READ_NONE;
	default:
		return VMMU_GUEST_READ_NONE;
	}
}

static const struct vmmu_host host_of_l2 = {.guest_read = read_for_l2};

static enum vmmu_status load_root(struct vcpu *v, const struct vmmu_nested *tables, struct vmmu_root *root)
{
	enum vmmu_status status = vmmu_vcpu_set_nested(v->mmu, tables);

	return status == VMMU_OK ? vmmu_vcpu_load(v->mmu, root) : status;
}

enum vmmu_status nested_enter(struct vcpu *v, const struct vmmu_nested *tables, uint64_t tsc_offset, struct vmmu_root *root)
{
	enum vmmu_status status = load_root(v, tables, root);

	if (status != VMMU_OK)
		return status;
	v->nested.l2 = true;
	v->nested.faults_before = v->memory_faults;
	v->nested.tsc_offset = tsc_offset;
	v->nested.refused.reflect = VMMU_REFLECT_NONE;
	if (tables) {
		v->vm->bus.walk = walk_l2;
		v->vm->bus.host = &host_of_l2;
	}
	return VMMU_OK;
}

bool nested_is_tried_again(struct vcpu *v, enum vmmu_status status)
{
	const unsigned tries_max = 1000000; /* exits, of some thousand instructions each: seconds */

	if (status != VMMU_ERR_BUSY) {
		v->nested.busy = 0;
		return false;
	}
	return ++v->nested.busy < tries_max;
}

void nested_leave(struct vcpu *v, struct vmmu_root *root)
{
	enum vmmu_status status = load_root(v, NULL, root);

	v->nested.faults = nested_faults_of_l2(v);
	v->nested.l2 = false;
	v->nested.tsc_offset = 0;
	v->vm->bus.walk = NULL;
	v->vm->bus.host = &v->vm->host;
	if (status != VMMU_OK)
		vm_fail(v, "the guest that runs guests has no tables any more: %s", vmmu_status_name(status));
}

/* Two different tags in one go are more than the engine is told of at once: then all. */
void nested_ask_flush(struct vcpu *v, enum vmmu_nested_flush flush, uint16_t tag)
{
	struct nested_state *s = &v->nested;

	if (s->flush != VMMU_NESTED_FLUSH_NONE && s->flushed != tag)
		flush = VMMU_NESTED_FLUSH_ALL;
	if (flush > s->flush)
		s->flush = flush;
	s->flushed = tag;
}

bool nested_page_fits(const struct vcpu *v, uint64_t gpa)
{
	return gpa % VMMU_PAGE_SIZE == 0 && gpa >> v->vm->bus.cpu.maxphyaddr == 0;
}

void nested_forget_refusal(struct vcpu *v)
{
	v->nested.refused.reflect = VMMU_REFLECT_NONE;
}

bool nested_tell_refusal(struct vcpu *v)
{
	struct vmmu_nested_walk refused = v->nested.refused;

	v->nested.refused.reflect = VMMU_REFLECT_NONE;
	if (!v->nested.l2 || !refused.reflect)
		return false;
	v->backend->nested->reflect(v, refused.reflect, refused.error_code, refused.l2_gpa.v);
	return true;
}

void nested_note_end(struct vcpu *v, const char *why)
{
	const unsigned told_max = 8;

	if (v->nested.ends_told >= told_max)
		return;
	v->nested.ends_told++;
	log_line("visor: a shutdown for the guest's guest: %s%s", why, v->nested.ends_told == told_max ? "; further ones are not told" : "");
}

bool nested_read(struct vcpu *v, uint64_t l2_gpa, unsigned size, uint64_t *value)
{
	static const struct vmmu_guest_mode physical = {.levels = 0};
	struct vmmu_nested_walk walk = {.l1_gpa = {l2_gpa}};

	if (v->vm->bus.walk && vmmu_nested_walk(v->mmu, &physical, vmmu_gva_of(l2_gpa), VMMU_R | VMMU_ACCESS_PEEK, &walk) != VMMU_NESTED_OK)
		return false;
	return memory_guest_read(v->vm, walk.l1_gpa, size, value) == VMMU_GUEST_READ_OK;
}
