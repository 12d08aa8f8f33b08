/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VMX for a guest that runs guests (SDM vol. 3, 24 to 31). L1 runs on VMCS01, L2 on VMCS02; both are
 * the visor's. What L1 says of its guest (VMCS12) is copied from L1's page at VMPTRLD and written back
 * when another VMCS becomes current, or at VMCLEAR. In between only the copy is read and written. L1's
 * page is never trusted again: its format is the visor's own affair (25.2).
 */
#ifndef VISOR_VMX_NESTED_H
#define VISOR_VMX_NESTED_H

#include <stdbool.h>
#include <stdint.h>

#include "visor/vm/nested.h"
#include "visor/vmx/vmcs.h"

struct cpuid;
struct vcpu;

#define NVMX_REVISION 0x766d6d75u /* "vmmu": VMCS12's revision identifier */
#define NVMX_NONE UINT64_MAX      /* no current VMCS; no VMXON region */
#define NVMX_FIELDS 160u          /* room for them in L1's page */
#define NVMX_INDEXES 32u          /* encodings have indexes below that */
#define NVMX_PLACES (4u * 4u * NVMX_INDEXES)
#define NVMX_CAPABILITIES 17u /* IA32_VMX_BASIC to IA32_VMX_TRUE_ENTRY_CTLS */
#define NVMX_PASSED_WORDS 16u
#define NVMX_CR3_TARGETS 4u
#define NVMX_HALTED 1u     /* the activity state of a CPU behind HLT (25.4.2) */
#define NVMX_MSR_AREA 512u /* entries of an MSR area at most: IA32_VMX_MISC 27:25 (appendix A.6) */

/* VM-instruction error numbers (31.4). */
enum nvmx_error {
	NVMX_OK = 0,
	NVMX_CLEAR_ADDRESS = 2,
	NVMX_CLEAR_VMXON = 3,
	NVMX_LAUNCH_NOT_CLEAR = 4,
	NVMX_RESUME_NOT_LAUNCHED = 5,
	NVMX_CONTROLS = 7,
	NVMX_HOST_STATE = 8,
	NVMX_LOAD_ADDRESS = 9,
	NVMX_LOAD_VMXON = 10,
	NVMX_LOAD_REVISION = 11,
	NVMX_NO_FIELD = 12,
	NVMX_READ_ONLY = 13,
	NVMX_VMXON_TWICE = 15,
	NVMX_MOV_SS = 26,
	NVMX_INVALIDATE_OPERAND = 28,
};

/* Of a field's encoding (table 25-21): access 0, index 9:1, type 11:10, width 14:13. */
#define NVMX_ENCODING_INDEX(e) ((e) >> 1 & 0x1ff)
#define NVMX_ENCODING_TYPE(e) ((e) >> 10 & 3)
#define NVMX_ENCODING_WIDTH(e) ((e) >> 13 & 3)
#define NVMX_PLACE(e) ((NVMX_ENCODING_WIDTH(e) * 4 + NVMX_ENCODING_TYPE(e)) * NVMX_INDEXES + NVMX_ENCODING_INDEX(e))

/* VMCS12. Each field stands at the place of its encoding, so that the compiler knows it. */
struct vmcs12 {
	uint32_t launched;
	uint64_t value[NVMX_PLACES];
};

/* A field by encoding and place. */
struct nvmx_field {
	uint16_t encoding, place;
};

struct nvmx {
	bool on;                 /* L1 is in VMX operation */
	uint64_t vmxon, current; /* L1's gpas; NVMX_NONE */
	struct vmcs12 vmcs12;    /* of `current` */
	uint64_t vmcs01, vmcs02; /* frames */
	uint64_t msr_bitmap;     /* L2's: ones, but for these words of 64 bits */
	uint16_t passed_word[NVMX_PASSED_WORDS];
	unsigned passed_words;
	uint64_t capability[NVMX_CAPABILITIES]; /* from the first VMXON on, ... */
	bool capability_known;                  /* ... which this says */
	uint32_t cpu_based, secondary;          /* of the VMCS that does not run */
	bool launched;                          /* that one has been */
	bool host_written;                      /* VMCS02 has the visor's state */
	uint64_t eptp01;
	uint64_t cr0, cr4;   /* L2's, as VMCS12 will have them */
	bool was_launched;   /* VMCS12, before this entry */
	bool nmi_blocked;    /* for L1, at the entry */
	bool halted;         /* L2 waits, and nothing has been given to it since */
	uint64_t timer_left; /* of L1's preemption timer beyond VMCS02's; UINT64_MAX: it has none */
};

extern const struct cpu_nested nvmx_ops;

/* nested_control.c */
bool nvmx_init(struct vcpu *v);
void nvmx_free(struct vcpu *v);
/* The other VMCS becomes the one that runs. */
void nvmx_switch(struct vcpu *v, bool to_l2);
/* VMCS02's preemption timer, for the visor's and L1's: whichever ends first. */
void nvmx_arm_timer(struct vcpu *v);
void nvmx_stop_timer(struct vcpu *v);

/* nested_fields.c */
bool nvmx_fields_init(void);
/* Where a field's value stands; negative: L1's CPU has no such field. Bit 0 of the encoding plays no part. */
int nvmx_place(uint64_t encoding);
unsigned nvmx_fields_highest(void); /* index: IA32_VMX_VMCS_ENUM */
static inline uint64_t nvmx_get(const struct nvmx *n, enum vmcs_field field)
{
	return n->vmcs12.value[NVMX_PLACE(field)];
}
static inline unsigned nvmx_field_bytes(uint64_t encoding)
{
	return NVMX_ENCODING_WIDTH(encoding) == 0 ? 2 : NVMX_ENCODING_WIDTH(encoding) == 2 ? 4
	                                                                                   : 8;
}
static inline uint64_t nvmx_cut(uint64_t encoding, uint64_t value)
{
	unsigned bytes = nvmx_field_bytes(encoding);

	return bytes == 2 ? (uint16_t)value : bytes == 4 ? (uint32_t)value
	                                                 : value;
}
static inline void nvmx_set(struct nvmx *n, enum vmcs_field field, uint64_t value)
{
	n->vmcs12.value[NVMX_PLACE(field)] = nvmx_cut(field, value);
}
bool nvmx_field_read_only(uint64_t encoding);
/* Fields of the guest-state area that VMCS02 has just as VMCS12: loaded by each entry and saved by each exit. */
const struct nvmx_field *nvmx_same_fields(unsigned *count);
void nvmx_load_page(struct vcpu *v, uint64_t gpa);
void nvmx_store_page(struct vcpu *v);

/* nested_capability.c */
uint64_t nvmx_capability(struct vcpu *v, uint32_t msr);
/* They stay as they are from now on. */
void nvmx_keep_capabilities(struct vcpu *v);
bool nvmx_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value);
bool nvmx_msr_write(struct vcpu *v, uint32_t msr, uint64_t value);
void nvmx_cpuid(struct vcpu *v, uint32_t leaf, struct cpuid *answer);
uint64_t nvmx_efer_bits(struct vcpu *v);
void nvmx_describe(struct vcpu *v, struct vmmu_cpu *out);
/* An activity state that L1 may enter its guest in. Whether it goes with the rest of the state the CPU's own entry checks. */
bool nvmx_activity_fits(struct vcpu *v, uint64_t activity);
/* CR0 and CR4 as VMX operation has them fixed (24.8). `unrestricted`: PE and PG may be 0. */
bool nvmx_cr0_fits(struct vcpu *v, uint64_t cr0, bool unrestricted);
bool nvmx_cr4_fits(struct vcpu *v, uint64_t cr4);

/* nested_instruction.c */
/* A VMX instruction of L1's. */
void nvmx_instruction(struct vcpu *v, uint32_t reason);
/* VMREAD or VMWRITE between registers with nothing to it, before anything of a slow exit. False: it is none of these. */
bool nvmx_quick_access(struct vcpu *v, uint32_t reason);
void nvmx_fail(struct vcpu *v, enum nvmx_error error);
/* What a VMX instruction says of its success (31.2). */
#define NVMX_RESULT_FLAGS (X86_FLAG_CF | X86_FLAG_PF | X86_FLAG_AF | X86_FLAG_ZF | X86_FLAG_SF | X86_FLAG_OF)

/* nested_check.c */
bool nvmx_eptp_fits(struct vcpu *v, uint64_t eptp);
enum nvmx_error nvmx_check_controls(struct vcpu *v);
enum nvmx_error nvmx_check_host(struct vcpu *v);
/* What the CPU cannot check on the visor's behalf. False: *qualification says what of it (27.8). */
bool nvmx_check_guest(struct vcpu *v, uint64_t *qualification);

/* nested_entry.c */
void nvmx_enter(struct vcpu *v, bool launch);
/* L1's secondary controls for L2: none where the primary ones do not say that they count. */
uint32_t nvmx_secondary(const struct nvmx *n);
/* VMCS02's masks and shadows for L2's CR0 and CR4. */
uint64_t nvmx_cr0_shadow(const struct nvmx *n, uint64_t value);
uint64_t nvmx_cr4_shadow(const struct nvmx *n, uint64_t value);

/* nested_exit.c */
/* What L1 is told of an exit (28.2). */
struct nvmx_report {
	uint32_t reason;
	uint64_t qualification;
	uint32_t event, error; /* VM-exit interruption information */
	uint64_t gpa;
	bool as_is; /* all but reason and qualification as VMCS02's last exit has it */
};
/* L2 exits to L1. What was being delivered to L2 is in vcpu->event. */
void nvmx_exit(struct vcpu *v, const struct nvmx_report *report);
/* The CPU has refused VMCS02: nothing of L2 was executed. True: L1 knows. */
bool nvmx_refused(struct vcpu *v, uint64_t error);
void nvmx_entry_failed(struct vcpu *v, uint32_t reason, uint64_t qualification);

/* nested_msr_area.c */
/* From the area at gpa into the registers of whoever runs. 0: done; else the number of the entry that fails, from 1 on. */
uint64_t nvmx_load_msrs(struct vcpu *v, uint64_t gpa, uint64_t count);
bool nvmx_store_msrs(struct vcpu *v, uint64_t gpa, uint64_t count);

/* nested_intercept.c */
/* L2's exit; L1 gets it if it wants it. False: it is the visor's to handle. */
bool nvmx_take_exit(struct vcpu *v, uint32_t reason);
/* HLT of L2's that L1 does not intercept. False: the visor must wait in L2's place. */
bool nvmx_halt(struct vcpu *v);
/* Before L2 is entered with vcpu->event: does it still wait? Not every CPU tells so at an exit by an interrupt (Bochs does not). */
void nvmx_keep_halted(struct vcpu *v);
void nvmx_merge_bitmap(struct vcpu *v);
enum nested_gate nvmx_gate(struct vcpu *v, enum nested_event event);
bool nvmx_exception(struct vcpu *v, unsigned vector, bool has_error, uint32_t error);
void nvmx_reflect(struct vcpu *v, enum vmmu_reflect reflect, uint64_t code, uint64_t l2_gpa);
bool nvmx_shutdown(struct vcpu *v);
bool nvmx_control(struct vcpu *v, uint64_t cr0, uint64_t cr4);
uint64_t nvmx_cr_written(struct vcpu *v, unsigned cr, uint64_t value);

#endif
