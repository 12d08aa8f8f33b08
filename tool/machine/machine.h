/* SPDX-License-Identifier: BSD-2-Clause */
/* The machines that a guest can run on, and what each needs to start. */
#ifndef TOOL_MACHINE_H
#define TOOL_MACHINE_H

#include "../base/base.h"

enum machine_kind { MACHINE_AUTO,
	            MACHINE_BOCHS,
	            MACHINE_QEMU,
	            MACHINE_KVM };
enum mmu_kind { MMU_AUTO,
	        MMU_EPT,
	        MMU_NPT,
	        MMU_SHADOW };

bool parse_machine(const char *text, enum machine_kind *kind);
bool parse_mmu(const char *text, enum mmu_kind *mmu);
const char *machine_name(enum machine_kind kind); /* "bochs" */
const char *mmu_name(enum mmu_kind mmu);          /* "ept" */
const char *mmu_title(enum mmu_kind mmu);         /* "EPT" */

struct boot_module {
	const char *path;
	const char *command_line; /* "" when there is none */
};

/* What the visor boots, whichever way it is started (docs/visor.md). */
struct boot_plan {
	const char *visor;
	const char *kernel;
	const char *initrd; /* NULL: none */
	struct boot_module *modules;
	size_t module_count;
	const char *visor_words; /* "memory=... mmu=ept" */
	const char *guest_line;  /* the guest's command line */
};

/*
 * The name by which the guest is told of a file: its last part, in characters that GRUB and QEMU hand over as
 * they are. The caller frees it.
 */
char *boot_name(const char *path);

struct machine_plan {
	enum machine_kind kind; /* never MACHINE_AUTO */
	enum mmu_kind mmu;      /* never MMU_AUTO */
	struct boot_plan boot;
	uint64_t memory;         /* of the emulated machine, bytes, whole MiB */
	const char *work;        /* the emulator's working directory, ours alone */
	const char *trace;       /* trace disk, absolute path; NULL: none */
	const char *console_tty; /* COM1 */
	const char *log_tty;     /* COM2 */
	bool count_instructions; /* QEMU: virtual time counts instructions */
	const char *cpu;         /* the emulator's name for a processor; NULL: one that fits `mmu` */
};

/*
 * Settle `kind` and `mmu` where the user left them open. *why says in a
 * sentence what was taken and why (caller frees). False: *error says why it
 * cannot be done and what to do (caller frees).
 */
bool machine_choose(enum machine_kind *kind, enum mmu_kind *mmu, char **why, char **error);

/*
 * Make what the machine needs inside plan->work and the command line that
 * starts it. False: *error.
 */
bool machine_prepare(const struct machine_plan *plan, struct arguments *command, char **error);

/* Memory the emulated machine needs for a guest of this size. False: it cannot have that much; *error. */
bool machine_memory(enum machine_kind kind, uint64_t guest_bytes, uint64_t image_bytes, bool huge_pages,
                    uint64_t *bytes, char **error);

/*
 * For QEMU's -sandbox: system calls that no machine of ours needs are refused
 * (seccomp), so that a guest which breaks out of the emulator starts no program
 * and changes no user.
 */
#define QEMU_SANDBOX "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

/* One per emulator. */
bool qemu_prepare(const struct machine_plan *plan, struct arguments *command, char **error);
bool bochs_prepare(const struct machine_plan *plan, struct arguments *command, char **error);
char *qemu_program(char **error);
char *bochs_program(char **error);

/*
 * Does QEMU start a VM here whose CPU has SVM with NPT or VMX with EPT? Looks
 * at the host first and then really starts one. False: *why_not (caller frees).
 */
bool kvm_probe(enum mmu_kind *mmu, char **why_not);

/* A bootable image with GRUB in it; `progress`: GRUB tells its steps on COM2. */
bool boot_iso_make(const struct boot_plan *boot, const char *work, const char *iso, bool progress,
                   char **error);

#endif
