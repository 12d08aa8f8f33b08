/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One virtual CPU, and what VMX and SVM have in common behind it.
 *
 * The back end (vmx/, svm/) owns the control block (VMCS or VMCB), enters the
 * guest, and turns exits into calls of exit/exit.h. The memory fault comes first and is
 * the only exit that is handled without fetching guest state.
 */
#ifndef VISOR_CPU_VCPU_H
#define VISOR_CPU_VCPU_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmu/guest.h>
#include <vmmu/nested.h>
#include <vmmu/vmmu.h>

#include "visor/cpu/event.h"
#include "visor/cpu/state.h"
#include "visor/cpu/x86.h"

struct vm;
struct vcpu;
struct cpu_nested;

/* Control block state that is no part of struct x86_cpu_state. */
enum cpu_special {
	CPU_SPECIAL_PAT,
	CPU_SPECIAL_TSC_OFFSET,
	CPU_SPECIAL_CR2,
	CPU_SPECIAL_DR6,
	CPU_SPECIAL_DR7,
};

/* What a guest has only where the back end can give it. */
enum cpu_feature {
	CPU_FEATURE_RDTSCP,
	CPU_FEATURE_INVPCID,
	CPU_FEATURE_LA57,
	CPU_FEATURE_UMIP_BY_EXITS, /* where the CPU has none: SGDT, SIDT, SLDT, STR, and SMSW under SVM, exit while CR4.UMIP is set */
};

/*
 * Exceptions that no guest may keep to itself: the delivery of these two can raise
 * them again, for ever and with no exit in between, since each push onto a stack may
 * be misaligned or watched by a breakpoint. A guest could so hold the CPU for good.
 */
#define ENDLESS_EXCEPTIONS (1u << 1 /* #DB */ | 1u << 17 /* #AC */)

struct cpu_backend {
	const char *name;       /* "ept", "npt", "shadow" */
	const char *machine;    /* "VMX with EPT" */
	const char *fault_exit; /* name of the memory fault among the exits */
	enum vmmu_mode mode;
	bool intel;        /* VMX */
	bool walks_pdptes; /* PAE: the CPU keeps no copy of the top table */

	/* The CPU is of this make and has the extension at all, enabled or not. */
	bool (*present)(void);
	/* Turn it on. False: *reason names what is missing or locked. */
	bool (*enable)(const char **reason);
	/* Why a guest is not kept off the visor's memory here; NULL = it is (docs/security.md). Valid after enable. */
	const char *(*leak)(void);
	/* What the engine must know. Valid after enable. */
	void (*describe)(struct vmmu_cpu *out);

	bool (*allows)(enum cpu_feature feature);

	/* False: no memory. The state is all zeros until write_state. */
	bool (*vcpu_init)(struct vcpu *vcpu);
	void (*vcpu_free)(struct vcpu *vcpu);
	/* Shadow paging: with it, the CPU's own control registers for vcpu->paging. */
	void (*set_root)(struct vcpu *vcpu, const struct vmmu_root *root);

	/* Run the guest until vcpu->stop. */
	void (*run)(struct vcpu *vcpu);

	/* All of vcpu->state from the control block, and back. */
	void (*read_state)(struct vcpu *vcpu);
	void (*write_state)(struct vcpu *vcpu);
	/* Of it only the general registers, RIP and RFLAGS. */
	void (*write_registers)(struct vcpu *vcpu);
	uint64_t (*read_special)(struct vcpu *vcpu, enum cpu_special which);
	void (*write_special)(struct vcpu *vcpu, enum cpu_special which, uint64_t value);
	uint64_t (*read_cr0)(struct vcpu *vcpu);
	uint64_t (*read_cr4)(struct vcpu *vcpu);
	/* EFER as the guest sees it. */
	uint64_t (*read_efer)(struct vcpu *vcpu);
	/* CR0, CR3, CR4, EFER and PDPTEs as the guest sees them; what is written has been checked already. */
	void (*read_paging)(struct vcpu *vcpu, struct vmmu_paging *out);
	void (*write_paging)(struct vcpu *vcpu, const struct vmmu_paging *next);

	bool (*in_64bit_code)(struct vcpu *vcpu);
	/* STI or MOV SS shadow, or NMI blocking: nothing maskable can be delivered now. */
	bool (*interrupts_shadowed)(struct vcpu *vcpu);
	void (*clear_shadow)(struct vcpu *vcpu);
	/* Exit as soon as the guest could take a maskable interrupt. */
	void (*want_window)(struct vcpu *vcpu, bool on);
	/* An NMI cannot be delivered now: one is being handled, or MOV SS holds it back. */
	bool (*nmi_blocked)(struct vcpu *vcpu);
	/* From an NMI's delivery until IRET. Injection sees to it by itself. */
	void (*block_nmi)(struct vcpu *vcpu, bool on);
	/* Exit as soon as it can. Said again before each entry as long as one waits. */
	void (*want_nmi_window)(struct vcpu *vcpu, bool on);
	/* Bytes of the instruction that exited, for exits that belong to one; 0 = cannot tell. */
	unsigned (*instruction_length)(struct vcpu *vcpu);
	/* Before the next entry, forget all translations made through the second level. */
	void (*flush)(struct vcpu *vcpu);
	/* CR3, CPL, CR0.PG and EFER.LMA as docs/visor.md puts them in the fault record. */
	uint64_t (*trace_word)(struct vcpu *vcpu);
	/* Lines on the log about the control block and the last exit. */
	void (*dump)(struct vcpu *vcpu);

	/* For guests with guests of their own (vm/nested.h); NULL: this back end has none. */
	const struct cpu_nested *nested;
};

/* An answer of CPUID that holds for good (vm/cpuid.c). */
struct cpuid_kept {
	uint32_t leaf, subleaf;
	bool valid;
	struct cpuid answer;
};
enum { CPUID_KEPT = 32 };

/* A guest's guest (vm/nested.h). All zeros: L1 runs. */
struct nested_state {
	bool l2;                         /* it is L2 that runs */
	bool as_given;                   /* vcpu->event is one that L1 injects, and no instruction or device of L2's stands for it */
	unsigned ends_told;              /* lines on the log */
	unsigned busy;                   /* entries of L2, in a row, that the engine could not prepare yet */
	uint64_t faults, faults_before;  /* memory faults of L2's until it ran last; of all, when L2 began to run */
	uint64_t tsc_offset;             /* its TSC is L1's and this */
	struct vmmu_nested_walk refused; /* an access made for it has met what L1's tables refuse; .reflect NONE: no */
	enum vmmu_nested_flush flush;    /* asked for by L1 since L2 ran last, ... */
	uint16_t flushed;                /* ... and for which tag */
};

/* Offset 0 and the order of `state.gpr` are known to the entry code (vmx/entry.S, svm/entry.S). */
/* What each exit has to do beside its own: {svm,vmx}/loop.c. */
enum exit_guard { GUARD_NONE,
	          GUARD_TRACE, /* say what the guest was doing, for the trace, and no more */
	          GUARD_ALL };

struct vcpu {
	struct x86_cpu_state state; /* gpr always; rip, rsp, rflags, rax in slow exits; the rest
	                               * between read_state and write_state */
	const struct cpu_backend *backend;
	struct vm *vm;
	struct vmmu_vcpu *mmu;
	struct vmmu_paging paging; /* shadow paging: the guest's own registers (exit/shadow.h) */

	bool stop;    /* leave run() */
	bool tracing; /* fill in the trace's words */
	bool window_wanted, nmi_window_wanted;
	bool nmi_pending; /* the CPU keeps one (SDM vol. 3, 6.7.1) */
	uint32_t event;   /* deliver this at the next entry; EVENT_VALID or 0 */
	uint32_t event_error;
	uint32_t event_length;             /* VMX: of the software interrupt's instruction */
	uint32_t kept_event;               /* an interrupt whose delivery met a fault of the guest's own: it is
	                               * delivered when the guest takes interrupts again; or 0 */
	uint64_t memory_faults;            /* exits counted on the hot path */
	uint64_t refused_rip, refused_gva; /* shadow paging: where the CPU refuses what its tables allow ... */
	unsigned refused;                  /* ... and how many times in a row */
	uint64_t spec_ctrl;                /* the guest's SPEC_CTRL: in the CPU while it runs, 0 there else */
	uint64_t xcr0;                     /* the guest's, live in the CPU */
	uint8_t quick_exits;               /* in a row, of those that look at no device (vm/cpuid.h) */
	uint64_t timer_armed;              /* TSC value the host timer is set to; 0 = not set */
	struct cpuid_kept cpuid_kept[CPUID_KEPT];
	uint64_t timer_event; /* what for: guest time, ns, of an event or of a look at the console */
	bool timer_busy;      /* the console was busy then */
	struct nested_state nested;

	union {
		struct {
			uint64_t vmcs, msr_bitmap; /* physical addresses */
			uint32_t entry_work;       /* vmx/loop.c */
			uint64_t eptp;
			uint8_t guard;         /* enum exit_guard */
			uint32_t cpu_based;    /* primary processor-based controls as written */
			uint32_t secondary;    /* secondary ones, but for UMIP's */
			bool launched;         /* the VMCS that is current has been; ... */
			bool switched;         /* ... it has become so since the last entry */
			uint32_t kept_windows; /* window exits that L1 asks for */
			struct nvmx *nested;   /* NULL: the guest has no VMX */
		} vmx;
		struct {
			struct vmcb *vmcb;
			uint64_t io_bitmap, msr_bitmap;
			uint64_t root;             /* shadow paging: what CR3 must hold */
			uint8_t guard;             /* enum exit_guard */
			bool injected;             /* the last entry had an event, ... */
			uint64_t injected_faults;  /* ... and so many memory faults had been then */
			bool umip;                 /* the guest's CR4.UMIP, which the CPU has not */
			bool svme;                 /* the guest's EFER.SVME; the CPU's is always set */
			struct svm_nested *nested; /* NULL: the guest has no SVM */
			/* svm/nmi.c */
			bool nmi_blocked, before_iret;
			bool stepping, guest_tf, step_done;
			uint64_t iret_rip;
		} svm;
	};
};

#endif
