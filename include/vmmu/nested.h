/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nested guests: a guest hypervisor (L1) runs a guest of its own (L2) and builds
 * EPT or NPT for it. The CPU walks two levels of tables and not three, so the engine
 * merges L1's tables with the VM's slots, on faults, into tables for L2's addresses.
 * docs/nested.md explains it. The VM's mode says which: EPT for an L1 with VMX, NPT
 * for an L1 with SVM.
 *
 *   config.nested           when the VM is made; the host must have guest_read and _cmpxchg
 *   vmmu_vcpu_set_nested    L1 enters L2 (its EPTP or nCR3), or L1 itself runs again (NULL)
 *   vmmu_vcpu_load          the EPTP or nCR3 to enter with, for L1 and for L2 alike
 *   vmmu_fault              a violation or nested page fault of whichever runs
 *   vmmu_nested_walk        no tables: L2 gva -> L2 gpa -> L1 gpa, for an emulator
 *   vmmu_guest_written      L1's memory was written otherwise than by a guest CPU
 *
 * Faults of L1 end as they do without nesting, and besides in
 *   WRITE_TABLE   L1 writes one of its tables that is in use: emulate the write, then call
 *                 vmmu_guest_written; or vmmu_guest_release, and run L1 again
 * Faults of L2 (fault.gpa is L2's on entry; afterwards L1's, and fault.l2_gpa has L2's):
 *   FIXED, SPURIOUS, RETRY   run L2 again
 *   REFLECT       L1's to know: the exit fault.reflect names, with fault.error_code as the
 *                 exit qualification or EXITINFO1, and fault.l2_gpa as the address
 *   EMULATE_MMIO  L1's tables lead to fault.gpa, where no slot is: emulate L2's instruction
 *   READ_ONLY, WRITE_TABLE   as for L1
 *   others        as for L1
 * A plain #PF of L2 is none of these: the CPU delivers it, or L1 intercepts it.
 *
 * What L1 flushes. An entry that a CPU can reach never lags behind L1's tables: the write
 * to L1's table took what followed from it out of reach, and that is flushed, by whichever
 * vCPU has done it, before vmmu_vcpu_set_nested enters L2. So INVEPT (single, global) has
 * nothing to do with the engine's tables, and the host nothing to flush for it. The four top entries of a PAE nCR3 are registers of the CPU (APM vol. 2,
 * 15.25.3): they are as vmmu_vcpu_set_nested has read them, until it is called again. What is
 * left is L2's own linear translations, which the CPU keeps under
 * the tag (VPID, ASID) that the host runs L2 with: vmmu_nested_tag says when they must go.
 *
 * An L1 that uses no nested paging for L2 (its own shadow tables below our EPT or NPT)
 * needs nothing of this: L2 runs on L1's root, vmmu_vcpu_set_nested(vcpu, NULL).
 */
#ifndef VMMU_NESTED_H
#define VMMU_NESTED_H

#include <vmmu/guest.h>

#ifdef __cplusplus
extern "C" {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* a struct and a function of one name, as stat is */
#endif

/* What L1 has made of its guest's second level, and what decides how a CPU reads it. */
struct vmmu_nested {
	/* EPTP (SDM vol. 3, 25.6.11) or nCR3 (APM vol. 2, 15.25.3), as L1 has written it. */
	uint64_t root;
	/* NPT: L1's own at VMRUN, whose mode is that of nCR3's tables (APM vol. 2, 15.25.3). EPT: not read. */
	uint64_t cr0, cr4, efer;
	/*
	 * The CPU as L1 was promised it: maxphyaddr, page_2m, page_1g, exec_only, ad, levels5.
	 * It must be the same on all vCPUs of a VM, and cannot have what config.cpu lacks, but for
	 * page sizes: of a larger page than the CPU has, parts are mapped.
	 */
	struct vmmu_cpu cpu;
};

/*
 * [vcpu] L2 runs from now on under L1's tables as `nested` says; NULL: L1 itself runs.
 * Call it at every entry of L2 and at every exit to L1; then vmmu_vcpu_load names the
 * root. The last eight roots are remembered with what belongs to them, so that a switch
 * builds nothing. L2 and L1 have different translations of the same addresses: the host
 * runs them under different tags, or flushes the TLB with each switch.
 * VMMU_ERR_INVALID: the VM is not nested; or a CPU would refuse the EPTP or nCR3 (VM entry
 * fails with error 7, SDM vol. 3, 27.2.1.1; VMEXIT_INVALID, APM vol. 2, 15.5.1).
 * VMMU_ERR_UNSUPPORTED: nested->cpu has what config.cpu lacks. VMMU_ERR_NO_MEMORY.
 * VMMU_ERR_BUSY: the four top entries of PAE cannot be read just now, or the host takes their
 * page back, or another vCPU's flush is still under way: answer what it may need of this CPU, and call again. After any of these the vCPU is as before. Calls host.guest_read, and host.flush if a root is let go.
 */
enum vmmu_status vmmu_vcpu_set_nested(struct vmmu_vcpu *vcpu, const struct vmmu_nested *nested);

/* Which exit L1 is to see after VMMU_FAULT_REFLECT: fault.reflect. */
enum vmmu_reflect {
	VMMU_REFLECT_NONE = 0,
	VMMU_REFLECT_EPT_VIOLATION = 1, /* exit reason 48; qualification in error_code, gpa in l2_gpa */
	VMMU_REFLECT_EPT_MISCONFIG = 2, /* exit reason 49; no qualification */
	VMMU_REFLECT_NPF = 3,           /* exit code 400h; EXITINFO1 in error_code, EXITINFO2 in l2_gpa */
	VMMU_REFLECT_PML_FULL = 4,      /* exit reason 62: only with VMMU_ACCESS_PML_FULL */
};

/* ---- walk only --------------------------------------------------------------------- */

enum vmmu_nested_result {
	VMMU_NESTED_OK = 0,
	VMMU_NESTED_PF,       /* L2's own tables refuse it: #PF with error_code for L2 */
	VMMU_NESTED_GP,       /* gva is not canonical */
	VMMU_NESTED_REFLECT,  /* L1's tables refuse it: the exit that `reflect` names, for L1 */
	VMMU_NESTED_NO_TABLE, /* a table of L2 lies where L1 has no memory */
	VMMU_NESTED_BUSY,     /* an entry has changed, or the host is busy or takes its page back: execute
	                       * the instruction again */
};

struct vmmu_nested_walk {
	vmmu_gpa l2_gpa;     /* after OK; after REFLECT the address for L1 */
	vmmu_gpa l1_gpa;     /* after OK */
	uint64_t error_code; /* PF: of the #PF; REFLECT: exit qualification or EXITINFO1 */
	enum vmmu_reflect reflect;
	bool dirtied;   /* whatever the result: a D flag of L1's EPT was set for l2_gpa, or for a table of
	                 * L2: see struct vmmu_fault */
	uint8_t rights; /* VMMU_PAGE_* in both dimensions */
};

/*
 * [vcpu] Translate gva for `access` (as vmmu_guest_walk) as L2 would whose registers are
 * `l2`, with vmmu_vcpu_set_nested's tables below; with vmmu_vcpu_set_nested(vcpu, NULL) L2's
 * physical addresses are L1's. No table is read or made but L2's and L1's; accessed and
 * dirty bits are set in both as the CPU would, unless VMMU_ACCESS_PEEK. Calls
 * host.guest_read and _cmpxchg.
 */
enum vmmu_nested_result vmmu_nested_walk(struct vmmu_vcpu *vcpu, const struct vmmu_guest_mode *l2,
                                         vmmu_gva gva, unsigned access, struct vmmu_nested_walk *out);

/* ---- tags ----------------------------------------------------------------------------- */

enum vmmu_nested_flush {
	VMMU_NESTED_FLUSH_NONE = 0,
	VMMU_NESTED_FLUSH_ADDRESS, /* INVVPID type 0, INVLPGA: one linear address of the tag */
	VMMU_NESTED_FLUSH_TAG,     /* INVVPID type 1 or 3; TLB_CONTROL 3 or 7 */
	VMMU_NESTED_FLUSH_ALL,     /* INVVPID type 2; TLB_CONTROL 1 */
	VMMU_NESTED_FLUSH_TABLES,  /* INVEPT, single or global: nothing, as told above */
};

/*
 * [vcpu] The host runs all guests of L1 under one tag of its own. L1 enters L2 with `tag`
 * (VPID or ASID; 0: without VPID) and has asked since for `flush` (the widest; of `flushed`,
 * a tag, where the request names one). True: what the CPU keeps under the host's tag for L2 must be
 * flushed before the entry, since it is another tag's, or L1 has asked for it, or `flush` is
 * none of the above. Remembers
 * `tag` for the next time. [vcpu] alone; takes no lock, allocates nothing.
 */
bool vmmu_nested_tag(struct vmmu_vcpu *vcpu, uint16_t tag, enum vmmu_nested_flush flush, uint16_t flushed);

#ifdef __cplusplus
#pragma GCC diagnostic pop
}
#endif

#endif
