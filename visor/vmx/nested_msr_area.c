/* SPDX-License-Identifier: BSD-2-Clause */
/* MSR areas of VM entries and exits (SDM vol. 3, 25.8.2, 27.4, 28.4, 28.6). */
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/vm/memory.h"
#include "visor/vm/msr.h"
#include "visor/vm/vm.h"
#include "visor/vmx/instructions.h"
#include "visor/vmx/internal.h"
#include "visor/vmx/nested.h"

#define MSR_BIOS_UPDATE_TRIGGER 0x79u
#define MSR_BIOS_SIGN_ID 0x8bu
#define MSR_X2APIC_FIRST 0x800u
#define MSR_X2APIC_LAST 0x8ffu

struct msr_entry {
	uint32_t msr, reserved;
	uint64_t value;
};

/* What a guest reads and writes without an exit: fields of the VMCS that runs, or registers that stay in the CPU. */
enum msr_home { PLACE_NONE,
	        PLACE_FIELD,
	        PLACE_CPU };
static enum msr_home msr_place(uint32_t msr, enum vmcs_field *field, bool *address)
{
	*address = msr != MSR_SYSENTER_CS && msr != MSR_STAR && msr != MSR_SFMASK;
	switch (msr) {
	case MSR_SYSENTER_CS: *field = VMCS_GUEST_SYSENTER_CS; return PLACE_FIELD;
	case MSR_SYSENTER_ESP: *field = VMCS_GUEST_SYSENTER_ESP; return PLACE_FIELD;
	case MSR_SYSENTER_EIP: *field = VMCS_GUEST_SYSENTER_EIP; return PLACE_FIELD;
	case MSR_FS_BASE: *field = VMCS_GUEST_ES_BASE + 2 * X86_FS; return PLACE_FIELD;
	case MSR_GS_BASE: *field = VMCS_GUEST_ES_BASE + 2 * X86_GS; return PLACE_FIELD;
	case MSR_STAR:
	case MSR_LSTAR:
	case MSR_CSTAR:
	case MSR_SFMASK:
	case MSR_KERNEL_GS_BASE: return PLACE_CPU;
	}
	return PLACE_NONE;
}

static bool write_one(struct vcpu *v, uint32_t msr, uint64_t value)
{
	enum vmcs_field field;
	bool address;
	enum msr_home place = msr_place(msr, &field, &address);

	if (place == PLACE_NONE)
		return msr_write(v, msr, value);
	/* What WRMSR itself would refuse, and that to the visor. */
	if ((address && !x86_is_canonical(value)) || (msr == MSR_SFMASK && value >> 32))
		return false;
	if (place == PLACE_FIELD)
		vmwrite(field, value);
	else
		wrmsr(msr, value);
	return true;
}

static bool read_one(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	enum vmcs_field field;
	bool address;

	switch (msr_place(msr, &field, &address)) {
	case PLACE_NONE: return msr_read(v, msr, value);
	case PLACE_FIELD: *value = vmread(field); return true;
	case PLACE_CPU: *value = rdmsr(msr); return true;
	}
	__builtin_unreachable();
}

static bool may_be_in_area(const struct msr_entry *e)
{
	return !e->reserved && !(e->msr >= MSR_X2APIC_FIRST && e->msr <= MSR_X2APIC_LAST);
}

/* These two belong to segments that an entry loads by themselves (27.4); updates of the microcode may not come so. */
static bool may_be_loaded(const struct msr_entry *e)
{
	return may_be_in_area(e) && e->msr != MSR_FS_BASE && e->msr != MSR_GS_BASE && e->msr != MSR_BIOS_UPDATE_TRIGGER &&
	       e->msr != MSR_BIOS_SIGN_ID;
}

uint64_t nvmx_load_msrs(struct vcpu *v, uint64_t gpa, uint64_t count)
{
	struct msr_entry e;

	for (uint64_t i = 0; i < count; i++) {
		if (i == NVMX_MSR_AREA || !memory_read(v->vm, gpa + i * sizeof(e), &e, sizeof(e)) || !may_be_loaded(&e) ||
		    !write_one(v, e.msr, e.value))
			return i + 1;
	}
	return 0;
}

bool nvmx_store_msrs(struct vcpu *v, uint64_t gpa, uint64_t count)
{
	struct msr_entry e;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t at = gpa + i * sizeof(e);

		if (i == NVMX_MSR_AREA || !memory_read(v->vm, at, &e, sizeof(e)) || !may_be_in_area(&e) ||
		    !read_one(v, e.msr, &e.value) || !memory_write(v->vm, at + offsetof(struct msr_entry, value), &e.value, sizeof(e.value)))
			return false;
	}
	return true;
}
