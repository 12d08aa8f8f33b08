/* SPDX-License-Identifier: BSD-2-Clause */
/* The VMCB (APM vol. 2, appendix B, tables B-1 and B-2) and exit codes (appendix C). */
#ifndef VISOR_SVM_VMCB_H
#define VISOR_SVM_VMCB_H

#include <stddef.h>
#include <stdint.h>

struct vmcb_segment {
	uint16_t selector, attributes;
	uint32_t limit;
	uint64_t base;
};

struct vmcb {
	uint16_t cr_read, cr_write; /* intercepts: bit n = CRn */
	uint16_t dr_read, dr_write;
	uint32_t exceptions;
	uint32_t intercept1, intercept2, intercept3;
	uint8_t reserved1[0x040 - 0x018];
	uint64_t io_bitmap, msr_bitmap, tsc_offset;
	uint32_t asid;
	uint8_t tlb_control, reserved2[3];
	uint64_t virtual_interrupt;
	uint64_t interrupt_shadow;
	uint64_t exit_code, exit_info1, exit_info2, exit_interrupt_info;
	uint64_t nested_control;
	uint8_t reserved3[0x0a8 - 0x098];
	uint64_t event_injection;
	uint64_t nested_cr3;
	uint64_t lbr_control;
	uint64_t clean;
	uint64_t next_rip;
	uint8_t reserved4[0x3e8 - 0x0d0];
	/* 3E0h-3FFh are left to the hypervisor. svm/entry.S knows these three: */
	uint64_t armed_dr7;
	uint64_t host_stack;
	uint64_t host_state; /* a VMCB for VMLOAD: the visor's own */

	struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	uint8_t reserved6[0x4cb - 0x4a0];
	uint8_t cpl;
	uint32_t reserved7;
	uint64_t efer;
	uint8_t reserved8[0x548 - 0x4d8];
	uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
	uint8_t reserved9[0x5d8 - 0x580];
	uint64_t rsp;
	uint8_t reserved10[0x5f8 - 0x5e0];
	uint64_t rax, star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip, cr2;
	uint8_t reserved11[0x668 - 0x648];
	uint64_t pat, debugctl;
	uint8_t reserved12[0x1000 - 0x678];
};
_Static_assert(offsetof(struct vmcb, io_bitmap) == 0x040, "VMCB layout");
_Static_assert(offsetof(struct vmcb, asid) == 0x058, "VMCB layout");
_Static_assert(offsetof(struct vmcb, exit_code) == 0x070, "VMCB layout");
_Static_assert(offsetof(struct vmcb, event_injection) == 0x0a8, "VMCB layout");
_Static_assert(offsetof(struct vmcb, next_rip) == 0x0c8, "VMCB layout");
_Static_assert(offsetof(struct vmcb, armed_dr7) == 0x3e8, "VMCB layout");
_Static_assert(offsetof(struct vmcb, es) == 0x400, "VMCB layout");
_Static_assert(offsetof(struct vmcb, efer) == 0x4d0, "VMCB layout");
_Static_assert(offsetof(struct vmcb, rip) == 0x578, "VMCB layout");
_Static_assert(offsetof(struct vmcb, rax) == 0x5f8, "VMCB layout");
_Static_assert(offsetof(struct vmcb, cr2) == 0x640, "VMCB layout");
_Static_assert(offsetof(struct vmcb, pat) == 0x668, "VMCB layout");
_Static_assert(sizeof(struct vmcb) == 4096, "VMCB layout");

/* intercept1, VMCB offset 00Ch */
enum {
	INTERCEPT_INTR = 1u << 0,
	INTERCEPT_NMI = 1u << 1,
	INTERCEPT_INIT = 1u << 3,
	INTERCEPT_VINTR = 1u << 4,
	INTERCEPT_CR0_SELECTIVE = 1u << 5,
	INTERCEPT_IDTR_READ = 1u << 6,
	INTERCEPT_GDTR_READ = 1u << 7,
	INTERCEPT_LDTR_READ = 1u << 8,
	INTERCEPT_TR_READ = 1u << 9,
	INTERCEPT_RDPMC = 1u << 15,
	INTERCEPT_CPUID = 1u << 18,
	INTERCEPT_IRET = 1u << 20,
	INTERCEPT_INVD = 1u << 22,
	INTERCEPT_HLT = 1u << 24,
	INTERCEPT_INVLPG = 1u << 25,
	INTERCEPT_INVLPGA = 1u << 26,
	INTERCEPT_IO = 1u << 27,
	INTERCEPT_MSR = 1u << 28,
	INTERCEPT_TASK_SWITCH = 1u << 29,
	INTERCEPT_FERR = 1u << 30,
	INTERCEPT_SHUTDOWN = 1u << 31,
};
/* intercept2, VMCB offset 010h */
enum {
	INTERCEPT_VMRUN = 1u << 0,
	INTERCEPT_VMMCALL = 1u << 1,
	INTERCEPT_VMLOAD = 1u << 2,
	INTERCEPT_VMSAVE = 1u << 3,
	INTERCEPT_STGI = 1u << 4,
	INTERCEPT_CLGI = 1u << 5,
	INTERCEPT_SKINIT = 1u << 6,
	INTERCEPT_WBINVD = 1u << 9,
	INTERCEPT_MONITOR = 1u << 10,
	INTERCEPT_MWAIT = 1u << 11,
	INTERCEPT_XSETBV = 1u << 13,
	INTERCEPT_RDPRU = 1u << 14,
};
/* intercept3, VMCB offset 014h */
enum { INTERCEPT_INVLPGB = 1u << 0,
       INTERCEPT_INVLPGB_ILLEGAL = 1u << 1,
       INTERCEPT_TLBSYNC = 1u << 4 };

#define TLB_FLUSH_ALL 1u /* TLB_CONTROL */
#define VIRTUAL_INTERRUPT_REQUEST (1ull << 8)
#define VIRTUAL_INTERRUPT_PRIORITY (0xfull << 16)
#define VIRTUAL_INTERRUPT_IGNORE_TPR (1ull << 20)
#define VIRTUAL_INTERRUPT_MASKING (1ull << 24)
#define VIRTUAL_INTERRUPT_VECTOR_SHIFT 32
#define NESTED_PAGING 1ull
#define TASK_SWITCH_BY_IRET (1ull << 36) /* EXITINFO2 */
#define TASK_SWITCH_BY_JUMP (1ull << 38)

enum {
	SVM_EXIT_CR_READ = 0x00,
	SVM_EXIT_CR_WRITE = 0x10, /* + the register's number, up to 15 */
	SVM_EXIT_CR_LAST = 0x1f,
	SVM_EXIT_DR_WRITE = 0x30,
	SVM_EXIT_DR_WRITE_LAST = 0x3f,
	SVM_EXIT_EXCEPTION = 0x40,
	SVM_EXIT_INTR = 0x60,
	SVM_EXIT_NMI = 0x61,
	SVM_EXIT_INIT = 0x63,
	SVM_EXIT_VINTR = 0x64,
	SVM_EXIT_CR0_SELECTIVE = 0x65,
	SVM_EXIT_IDTR_READ = 0x66,
	SVM_EXIT_GDTR_READ = 0x67,
	SVM_EXIT_LDTR_READ = 0x68,
	SVM_EXIT_TR_READ = 0x69,
	SVM_EXIT_RDPMC = 0x6f,
	SVM_EXIT_CPUID = 0x72,
	SVM_EXIT_IRET = 0x74,
	SVM_EXIT_INVD = 0x76,
	SVM_EXIT_HLT = 0x78,
	SVM_EXIT_INVLPG = 0x79,
	SVM_EXIT_INVLPGA = 0x7a,
	SVM_EXIT_IO = 0x7b,
	SVM_EXIT_MSR = 0x7c,
	SVM_EXIT_TASK_SWITCH = 0x7d,
	SVM_EXIT_FERR = 0x7e,
	SVM_EXIT_SHUTDOWN = 0x7f,
	SVM_EXIT_VMRUN = 0x80,
	SVM_EXIT_VMMCALL = 0x81,
	SVM_EXIT_VMLOAD = 0x82,
	SVM_EXIT_VMSAVE = 0x83,
	SVM_EXIT_STGI = 0x84,
	SVM_EXIT_CLGI = 0x85,
	SVM_EXIT_SKINIT = 0x86,
	SVM_EXIT_WBINVD = 0x89,
	SVM_EXIT_MONITOR = 0x8a,
	SVM_EXIT_MWAIT = 0x8b,
	SVM_EXIT_XSETBV = 0x8d,
	SVM_EXIT_RDPRU = 0x8e,
	SVM_EXIT_INVLPGB = 0xa0,
	SVM_EXIT_INVLPGB_ILLEGAL = 0xa1,
	SVM_EXIT_TLBSYNC = 0xa4,
	SVM_EXIT_NPF = 0x400,
};
#define SVM_EXIT_INVALID UINT32_MAX /* -1; QEMU writes 32 bits of it */

#endif
