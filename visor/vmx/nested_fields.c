/* SPDX-License-Identifier: BSD-2-Clause */
/* The fields that VMCS12 has, as data, and L1's page in the visor's format (SDM vol. 3, 25.11 and appendix B). */
#include "visor/cpu/vcpu.h"
#include "visor/lib/string.h"
#include "visor/vm/memory.h"
#include "visor/vm/vm.h"
#include "visor/vmx/nested.h"

#define ENCODING_DEFINED 0x6fffu
enum { TYPE_CONTROL,
       TYPE_READ_ONLY,
       TYPE_GUEST,
       TYPE_HOST };

/* `count` fields, whose encodings are 2 apart. All that a control of nested_capability.c asks for, and no other. */
static const struct {
	uint16_t first, count;
} runs[] = {
	{VMCS_VPID, 1},
	{VMCS_GUEST_ES_SELECTOR, 8},
	{VMCS_HOST_ES_SELECTOR, 7},
	{VMCS_IO_BITMAP_A, 7}, /* to the executive-VMCS pointer */
	{VMCS_TSC_OFFSET, 1},
	{VMCS_EPT_POINTER, 1},
	{VMCS_GUEST_PHYSICAL_ADDRESS, 1},
	{VMCS_LINK_POINTER, 1},
	{VMCS_GUEST_DEBUGCTL, 3}, /* PAT, EFER */
	{VMCS_GUEST_PDPTE0, 4},
	{VMCS_HOST_PAT, 2},      /* EFER */
	{VMCS_PIN_CONTROLS, 14}, /* to the instruction length of an event */
	{VMCS_CPU_CONTROLS2, 1},
	{VMCS_INSTRUCTION_ERROR, 8}, /* to the instruction information */
	{VMCS_GUEST_ES_LIMIT, 10},   /* GDTR, IDTR */
	{VMCS_GUEST_ES_ACCESS, 8},
	{VMCS_GUEST_INTERRUPTIBILITY, 4}, /* activity, SMBASE, SYSENTER_CS */
	{VMCS_PREEMPTION_TIMER, 1},
	{VMCS_HOST_SYSENTER_CS, 1},
	{VMCS_CR0_MASK, 4 + NVMX_CR3_TARGETS}, /* CR4, shadows, CR3 targets */
	{VMCS_QUALIFICATION, 6},               /* to the linear address */
	{VMCS_GUEST_CR0, 20},                  /* to SYSENTER_EIP */
	{VMCS_HOST_CR0, 12},                   /* to RIP */
};

static bool exists[NVMX_PLACES];
static uint16_t encodings[NVMX_FIELDS];
static struct nvmx_field same[NVMX_FIELDS];
static unsigned field_count, same_count, highest;

/* Of the guest's state: fields that VMCS02 has in another way than L1 wrote them, or that go by vcpu->state. */
static bool is_made(uint32_t field)
{
	switch (field) {
	case VMCS_LINK_POINTER:
	case VMCS_GUEST_DEBUGCTL:
	case VMCS_GUEST_PAT:
	case VMCS_GUEST_EFER:
	case VMCS_GUEST_DR7:
	case VMCS_GUEST_CR0:
	case VMCS_GUEST_CR3:
	case VMCS_GUEST_CR4:
	case VMCS_GUEST_RSP:
	case VMCS_GUEST_RIP:
	case VMCS_GUEST_RFLAGS:
	case VMCS_GUEST_SMBASE:
	case VMCS_PREEMPTION_TIMER:
	case VMCS_GUEST_PDPTE0:
	case VMCS_GUEST_PDPTE0 + 2:
	case VMCS_GUEST_PDPTE0 + 4:
	case VMCS_GUEST_PDPTE0 + 6: return true;
	}
	return false;
}

bool nvmx_fields_init(void)
{
	field_count = same_count = highest = 0;
	for (unsigned i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		for (unsigned j = 0; j < runs[i].count; j++) {
			uint16_t encoding = (uint16_t)(runs[i].first + 2 * j);

			if (field_count == NVMX_FIELDS || NVMX_ENCODING_INDEX(encoding) >= NVMX_INDEXES)
				return false;
			if (NVMX_ENCODING_TYPE(encoding) == TYPE_GUEST && !is_made(encoding))
				same[same_count++] = (struct nvmx_field){encoding, (uint16_t)NVMX_PLACE(encoding)};
			encodings[field_count++] = encoding;
			exists[NVMX_PLACE(encoding)] = true;
			highest = highest > NVMX_ENCODING_INDEX(encoding) ? highest : NVMX_ENCODING_INDEX(encoding);
		}
	}
	return true;
}

unsigned nvmx_fields_highest(void)
{
	return highest;
}

/* Bit 0 names the upper half of a 64-bit field, and is reserved in others. */
int nvmx_place(uint64_t encoding)
{
	if (encoding & ~(uint64_t)ENCODING_DEFINED || NVMX_ENCODING_INDEX(encoding) >= NVMX_INDEXES ||
	    (encoding & 1 && NVMX_ENCODING_WIDTH(encoding) != 1))
		return -1;
	return exists[NVMX_PLACE(encoding)] ? (int)NVMX_PLACE(encoding) : -1;
}

bool nvmx_field_read_only(uint64_t encoding)
{
	return NVMX_ENCODING_TYPE(encoding) == TYPE_READ_ONLY;
}

const struct nvmx_field *nvmx_same_fields(unsigned *count)
{
	*count = same_count;
	return same;
}

/* L1's page: revision, abort indicator, launch state, values. */
struct vmcs12_page {
	uint32_t revision, abort, launched, reserved;
	uint64_t value[NVMX_FIELDS];
};
#define LAUNCHED_AT offsetof(struct vmcs12_page, launched) /* what is before it is L1's (25.2) */
_Static_assert(sizeof(struct vmcs12_page) <= VMMU_PAGE_SIZE, "IA32_VMX_BASIC 44:32");

static struct vmcs12_page page_copy; /* one vCPU, one instruction at a time */

void nvmx_load_page(struct vcpu *v, uint64_t gpa)
{
	struct nvmx *n = v->vmx.nested;

	memset(&page_copy, 0, sizeof(page_copy));
	memory_read(v->vm, gpa, &page_copy, sizeof(page_copy));
	n->current = gpa;
	n->vmcs12.launched = page_copy.launched != 0;
	for (unsigned i = 0; i < field_count; i++)
		n->vmcs12.value[NVMX_PLACE(encodings[i])] = nvmx_cut(encodings[i], page_copy.value[i]);
}

void nvmx_store_page(struct vcpu *v)
{
	struct nvmx *n = v->vmx.nested;

	if (n->current == NVMX_NONE)
		return;
	memset(&page_copy, 0, sizeof(page_copy));
	page_copy.launched = n->vmcs12.launched;
	for (unsigned i = 0; i < field_count; i++)
		page_copy.value[i] = n->vmcs12.value[NVMX_PLACE(encodings[i])];
	memory_write(v->vm, n->current + LAUNCHED_AT, &page_copy.launched, sizeof(page_copy) - LAUNCHED_AT);
}
