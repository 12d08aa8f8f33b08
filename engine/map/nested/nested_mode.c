/* SPDX-License-Identifier: BSD-2-Clause */
/* L1's EPTP or nCR3 as a mode for the walk, and what a refused walk makes L1 see. */
#include "map/nested/nested.h"

#define CR0_WP VMMU_BIT(16)
#define CR0_PG VMMU_BIT(31)
#define CR4_PSE VMMU_BIT(4)
#define CR4_PAE VMMU_BIT(5)
#define CR4_LA57 VMMU_BIT(12)
#define EFER_LMA VMMU_BIT(10)
#define EFER_NXE VMMU_BIT(11)
#define EPTP_AD VMMU_BIT(6)
#define EPTP_LEVELS(p) (((p) >> 3 & 7) + 1)
#define EPTP_MEMTYPE(p) ((p)&7)

static uint64_t beyond(const struct vmmu_cpu *cpu)
{
	return VMMU_BITS(63, 12) & ~VMMU_BITS(cpu->maxphyaddr - 1, 12);
}

/* ---- EPT: SDM vol. 3, 25.6.11, table 25-9, and 27.2.1.1 ---- */

static enum vmmu_status ept_format(const struct vmmu_nested *n, const struct vmmu_guest_format **format)
{
	unsigned levels = (unsigned)EPTP_LEVELS(n->root), type = EPTP_MEMTYPE(n->root);
	bool ad = n->root & EPTP_AD;

	if ((type != VMMU_MEMTYPE_UC && type != VMMU_MEMTYPE_WB) || (levels != 4 && !(levels == 5 && n->cpu.levels5)) ||
	    (ad && !n->cpu.ad) || (n->root & (VMMU_BITS(11, 7) | beyond(&n->cpu))))
		return VMMU_ERR_INVALID;
	*format = vmmu_guest_format_of((enum vmmu_guest_format_number)(
		VMMU_GUEST_EPT | (ad ? VMMU_GUEST_EPT_AD : 0u) | (n->cpu.exec_only ? VMMU_GUEST_EPT_EXEC_ONLY : 0u) |
		(levels == 5 ? VMMU_GUEST_EPT_5LEVEL : 0u)));
	return VMMU_OK;
}

/* ---- NPT: APM vol. 2, 15.25.3 ---- */

static enum vmmu_status npt_format(const struct vmmu_nested *n, const struct vmmu_guest_format **format)
{
	enum vmmu_guest_format_number number = VMMU_GUEST_NPT_32BIT;

	if (n->root & beyond(&n->cpu))
		return VMMU_ERR_INVALID;
	if (n->efer & EFER_LMA)
		number = n->cr4 & CR4_LA57 ? VMMU_GUEST_NPT_5LEVEL : VMMU_GUEST_NPT_4LEVEL;
	else if (n->cr4 & CR4_PAE)
		number = VMMU_GUEST_NPT_PAE;
	*format = vmmu_guest_format_of(number);
	return VMMU_OK;
}

/* What L1 was promised beyond what the CPU can. */
static bool promises_too_much(const struct vmmu_cpu *l1, const struct vmmu_layout *l)
{
	const struct vmmu_cpu *cpu = &l->cpu;

	return l1->maxphyaddr > cpu->maxphyaddr || (l1->exec_only && !cpu->exec_only) || (l1->ad && !cpu->ad) ||
	       (l1->levels5 && !cpu->levels5);
}

/* Read with each entry of L2, as the CPU reads them while it runs (APM vol. 2, 15.25.10); none there: not present. */
static bool read_pdptes_inside(struct vmmu_vcpu *vcpu, struct vmmu_paging *r)
{
	const struct vmmu_tables *t = &vcpu->vm->tables;
	uint64_t table = r->cr3 & VMMU_BITS(31, 5);
	enum vmmu_guest_read judged = vmmu_shadow_judge(vcpu, vmmu_gpa_of(table));

	for (unsigned i = 0; i < VMMU_PAE_ENTRIES; i++) {
		enum vmmu_guest_read read = judged;
		uint64_t value = 0;

		if (read == VMMU_GUEST_READ_OK)
			read = t->host->guest_read(t->ctx, vmmu_gpa_of(table + 8 * i), 8, &value);
		switch (read) {
		case VMMU_GUEST_READ_OK:
			r->pdpte[i] = value;
			break;
		case VMMU_GUEST_READ_NONE:
			r->pdpte[i] = 0;
			break;
		default:
			return false;
		}
	}
	return true;
}

static bool read_pdptes(struct vmmu_vcpu *vcpu, struct vmmu_paging *r)
{
	struct vmmu_inside inside;
	struct vmmu_op op;
	bool read;

	vmmu_vcpu_op(&op, vcpu);
	inside = vmmu_op_enter(&op);
	read = read_pdptes_inside(vcpu, r);
	vmmu_op_leave(&op, inside);
	return read;
}

static bool promises_alike(const struct vmmu_cpu *a, const struct vmmu_cpu *b)
{
	return a->maxphyaddr == b->maxphyaddr && a->page_2m == b->page_2m && a->page_1g == b->page_1g && a->exec_only == b->exec_only &&
	       a->ad == b->ad && a->nx == b->nx && a->levels5 == b->levels5;
}

static bool is_asked_again(const struct vmmu_nested_vcpu *nv, const struct vmmu_nested *n)
{
	const struct vmmu_nested *a = &nv->asked;

	return nv->mode.levels && a->root == n->root && a->cr0 == n->cr0 && a->cr4 == n->cr4 && a->efer == n->efer &&
	       promises_alike(&a->cpu, &n->cpu);
}

static enum vmmu_status make_mode(struct vmmu_vcpu *vcpu, const struct vmmu_nested *n, struct vmmu_guest_mode *mode)
{
	const struct vmmu_layout *l = &vcpu->map->layout;
	const struct vmmu_guest_format *format;
	struct vmmu_paging r = {.cr0 = CR0_PG | CR0_WP, .cr3 = n->root};
	enum vmmu_status status;

	if (n->cpu.maxphyaddr < 32 || n->cpu.maxphyaddr > 52)
		return VMMU_ERR_INVALID;
	if (promises_too_much(&n->cpu, l))
		return VMMU_ERR_UNSUPPORTED;
	status = l->format->has_memtype ? ept_format(n, &format) : npt_format(n, &format);
	if (status != VMMU_OK)
		return status;
	if (vcpu->map->root_levels && vmmu_guest_our_levels(format) > vcpu->map->root_levels)
		return VMMU_ERR_UNSUPPORTED;
	r.cpu = (struct vmmu_guest_cpu){
		.maxphyaddr = n->cpu.maxphyaddr, .pse36 = true, .page_1g = n->cpu.page_1g, .bit8_reserved = true};
	if (!format->has_memtype) {
		r.cr4 = n->cr4 & (CR4_PSE | CR4_PAE | CR4_LA57);
		r.efer = n->efer & (EFER_LMA | EFER_NXE);
	}
	if (format->top_in_registers && !read_pdptes(vcpu, &r))
		return VMMU_ERR_BUSY;
	vmmu_guest_mode_of(mode, &r, format,
	                   format->has_memtype && !n->cpu.page_2m ? VMMU_LEVEL_4K : VMMU_LEVEL_1G);
	return VMMU_OK;
}

const struct vmmu_guest_mode *vmmu_nested_mode(struct vmmu_vcpu *vcpu, const struct vmmu_nested *n, enum vmmu_status *status)
{
	struct vmmu_nested_vcpu *nv = (struct vmmu_nested_vcpu *)vcpu;

	*status = VMMU_OK;
	if (is_asked_again(nv, n) && !nv->mode.format->top_in_registers)
		return &nv->mode;
	nv->mode.levels = 0; /* it stays so if what L1 says now makes none */
	*status = make_mode(vcpu, n, &nv->mode);
	nv->asked = *n;
	return &nv->mode;
}

/* SDM vol. 3, 28.2.1, table 28-7: bits 5:3 are R, W and X of all entries used, AND. */
static uint64_t ept_rights(const struct vmmu_guest_walk *walk)
{
	unsigned rights = walk->steps ? VMMU_PAGE_ALL : 0;

	for (unsigned i = 0; i < walk->steps; i++)
		rights &= walk->step[i].rights;
	return (rights & VMMU_PAGE_READ ? VMMU_BIT(3) : 0) | (rights & VMMU_PAGE_WRITE ? VMMU_BIT(4) : 0) |
	       (rights & VMMU_PAGE_EXEC ? VMMU_BIT(5) : 0);
}

enum vmmu_reflect vmmu_nested_exit(const struct vmmu_guest_mode *mode, const struct vmmu_guest_walk *walk,
                                   uint64_t *code)
{
	if (!mode->format->has_memtype) {
		/* APM vol. 2, 15.25.6: bits 4:0 as in a #PF; 32 and 33 as the CPU has reported them. */
		*code = (*code & ~0x1full) | (walk->error_code & 0x1f);
		return VMMU_REFLECT_NPF;
	}
	if (walk->error_code & VMMU_PF_RESERVED) {
		*code = 0;
		return VMMU_REFLECT_EPT_MISCONFIG;
	}
	*code = (*code & ~VMMU_BITS(5, 3)) | ept_rights(walk);
	return VMMU_REFLECT_EPT_VIOLATION;
}
