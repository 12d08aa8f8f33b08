/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/exit_kind.h"

#include "visor/cpu/vcpu.h"
#include "visor/vm/vm.h"

static const char *const exit_names[EXIT_KIND_COUNT] = {
	[EXIT_MISCONFIGURATION] = "ept-misconfiguration",
	[EXIT_CR3_WRITE] = "cr3-write",
	[EXIT_CR3_READ] = "cr3-read",
	[EXIT_INVLPG] = "invlpg",
	[EXIT_CR_ACCESS] = "cr-access",
	[EXIT_CR8_ACCESS] = "cr8-access",
	[EXIT_IO] = "io",
	[EXIT_CPUID] = "cpuid",
	[EXIT_MSR_READ] = "msr-read",
	[EXIT_MSR_WRITE] = "msr-write",
	[EXIT_HLT] = "hlt",
	[EXIT_EXTERNAL_INTERRUPT] = "external-interrupt",
	[EXIT_INTERRUPT_WINDOW] = "interrupt-window",
	[EXIT_NMI] = "nmi",
	[EXIT_EXCEPTION] = "exception",
	[EXIT_INIT] = "init",
	[EXIT_XSETBV] = "xsetbv",
	[EXIT_CACHE] = "invd-wbinvd",
	[EXIT_UNDEFINED] = "undefined-instruction",
	[EXIT_RDPMC] = "rdpmc",
	[EXIT_TRIPLE_FAULT] = "triple-fault",
	[EXIT_OTHER] = "other",
};

const char *exit_kind_name(const struct vcpu *vcpu, enum exit_kind kind)
{
	return kind == EXIT_MEMORY_FAULT ? vcpu->backend->fault_exit : exit_names[kind];
}

void exit_count(struct vcpu *vcpu, enum exit_kind kind)
{
	vcpu->vm->exits[kind]++;
}
