/* SPDX-License-Identifier: BSD-2-Clause */
/* The fields that VMCS12 has, as data, and L1's page in the visor's format (SDM vol. 3, 25.11 and appendix B). */
#include "visor/cpu/vcpu.h"
#include "visor/lib/string.h"
#include "visor/vm/memory.h"
#include "visor/vm/vm.h"
#include "visor/vmx/nested.h"

/* Of an encoding (table 25-21): access 0, index 9:1, type 11:10, width 14:13. */
#define ENCODING_INDEX(e) ((e) >> 1 & 0x1ff)
#define ENCODING_TYPE(e) ((e) >> 10 & 3)
#define ENCODING_WIDTH(e) ((e) >> 13 & 3)
#define ENCODING_DEFINED 0x6fffu
enum { TYPE_CONTROL,
       TYPE_READ_ONLY,
       TYPE_GUEST,
       TYPE_HOST };
#define INDEX_ROOM 64u

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

static uint8_t places[4 * 4 * INDEX_ROOM]; /* by width, type and index: 1 and up; 0: none */
static uint16_t encodings[NVMX_FIELDS];
static uint16_t guest_fields[NVMX_FIELDS];
static unsigned field_count, guest_count, highest;

static unsigned field_key(uint64_t encoding)
{
	return (unsigned)((ENCODING_WIDTH(encoding) * 4 + ENCODING_TYPE(encoding)) * INDEX_ROOM + ENCODING_INDEX(encoding));
}

bool nvmx_fields_init(void)
{
	field_count = guest_count = highest = 0;
	for (unsigned i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		for (unsigned j = 0; j < runs[i].count; j++) {
			uint16_t encoding = (uint16_t)(runs[i].first + 2 * j);

			if (field_count == NVMX_FIELDS || ENCODING_INDEX(encoding) >= INDEX_ROOM)
				return false;
			if (ENCODING_TYPE(encoding) == TYPE_GUEST)
				guest_fields[guest_count++] = encoding;
			encodings[field_count] = encoding;
			places[field_key(encoding)] = (uint8_t)++field_count;
			highest = highest > ENCODING_INDEX(encoding) ? highest : ENCODING_INDEX(encoding);
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
	if (encoding & ~(uint64_t)ENCODING_DEFINED || ENCODING_INDEX(encoding) >= INDEX_ROOM ||
	    (encoding & 1 && ENCODING_WIDTH(encoding) != 1))
		return -1;
	return (int)places[field_key(encoding)] - 1;
}

unsigned nvmx_field_bytes(uint64_t encoding)
{
	static const uint8_t bytes[] = {2, 8, 4, 8};

	return bytes[ENCODING_WIDTH(encoding)];
}

bool nvmx_field_read_only(uint64_t encoding)
{
	return ENCODING_TYPE(encoding) == TYPE_READ_ONLY;
}

uint32_t nvmx_guest_field(unsigned i)
{
	return i < guest_count ? guest_fields[i] : 0;
}

uint64_t nvmx_get(const struct nvmx *n, enum vmcs_field field)
{
	return n->vmcs12.value[nvmx_place(field)];
}

static uint64_t cut_to_width(uint64_t encoding, uint64_t value)
{
	unsigned bytes = nvmx_field_bytes(encoding);

	return bytes == 8 ? value : value & ((1ull << 8 * bytes) - 1);
}

void nvmx_set(struct nvmx *n, enum vmcs_field field, uint64_t value)
{
	n->vmcs12.value[nvmx_place(field)] = cut_to_width(field, value);
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
		n->vmcs12.value[i] = cut_to_width(encodings[i], page_copy.value[i]);
}

void nvmx_store_page(struct vcpu *v)
{
	struct nvmx *n = v->vmx.nested;

	if (n->current == NVMX_NONE)
		return;
	memset(&page_copy, 0, sizeof(page_copy));
	page_copy.launched = n->vmcs12.launched;
	memcpy(page_copy.value, n->vmcs12.value, sizeof(page_copy.value));
	memory_write(v->vm, n->current + LAUNCHED_AT, &page_copy.launched, sizeof(page_copy) - LAUNCHED_AT);
}
