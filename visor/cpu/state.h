/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state of one virtual CPU in the terms of the architecture, for code that
 * must not know whether a VMCS or a VMCB holds it: the loader fills one in for
 * the first instruction, the instruction emulator reads and changes one.
 */
#ifndef VISOR_CPU_STATE_H
#define VISOR_CPU_STATE_H

#include <stdint.h>

/* Numbered as ModRM and REX encode them (SDM vol. 2, table 2-2). */
enum x86_gpr {
	X86_RAX,
	X86_RCX,
	X86_RDX,
	X86_RBX,
	X86_RSP,
	X86_RBP,
	X86_RSI,
	X86_RDI,
	X86_R8,
	X86_R9,
	X86_R10,
	X86_R11,
	X86_R12,
	X86_R13,
	X86_R14,
	X86_R15,
	X86_GPR_COUNT
};

/* Numbered as MOV Sreg encodes them. */
enum x86_segment_register { X86_ES,
	                    X86_CS,
	                    X86_SS,
	                    X86_DS,
	                    X86_FS,
	                    X86_GS,
	                    X86_SEGMENT_COUNT };

/*
 * `access` in the layout of the VMX guest-state field (SDM vol. 3, 25.4.1,
 * table 25-2): type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15,
 * unusable 16. `limit` in bytes. A VMCB wants (access & 0xff) | (access >> 4 & 0xf00).
 */
struct x86_segment {
	uint16_t selector;
	uint32_t access;
	uint32_t limit;
	uint64_t base;
};

#define X86_ACCESS_LONG (1u << 13)
#define X86_ACCESS_BIG (1u << 14)
#define X86_ACCESS_UNUSABLE (1u << 16)

struct x86_table_register {
	uint16_t limit;
	uint64_t base;
};

struct x86_cpu_state {
	uint64_t gpr[X86_GPR_COUNT];
	uint64_t rip;
	uint64_t rflags;
	uint64_t cr0, cr3, cr4, efer; /* as the guest sees them */
	struct x86_segment segment[X86_SEGMENT_COUNT];
	struct x86_segment ldtr, tr;
	struct x86_table_register gdtr, idtr;
	uint64_t pdpte[4]; /* PAE paging: the top table, which the CPU keeps in registers */
	uint32_t pkru;     /* 0 where the CPU has no protection keys */
	uint8_t cpl;
};

#define X86_CR0_PE (1ull << 0)
#define X86_CR0_ET (1ull << 4)
#define X86_CR0_NE (1ull << 5)
#define X86_CR0_WP (1ull << 16)
#define X86_CR0_PG (1ull << 31)
#define X86_CR4_PSE (1ull << 4)
#define X86_CR4_PAE (1ull << 5)
#define X86_CR4_LA57 (1ull << 12)
#define X86_CR4_SMEP (1ull << 20)
#define X86_CR4_SMAP (1ull << 21)
#define X86_CR4_PKE (1ull << 22)
#define X86_EFER_LME (1ull << 8)
#define X86_EFER_LMA (1ull << 10)
#define X86_EFER_NXE (1ull << 11)

#define X86_FLAG_CF (1ull << 0)
#define X86_FLAG_PF (1ull << 2)
#define X86_FLAG_AF (1ull << 4)
#define X86_FLAG_ZF (1ull << 6)
#define X86_FLAG_SF (1ull << 7)
#define X86_FLAG_DF (1ull << 10)
#define X86_FLAG_OF (1ull << 11)
#define X86_FLAG_RF (1ull << 16)
#define X86_FLAG_NT (1ull << 14)
#define X86_FLAG_VM (1ull << 17)
#define X86_FLAG_AC (1ull << 18)

#endif
