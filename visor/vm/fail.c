/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/fail.h"

#include "visor/emulate/emulate.h"
#include "visor/host/log.h"
#include "visor/lib/format.h"
#include "visor/vm/vm.h"

#define ULL(x) ((unsigned long long)(x))

static void dump_segment(const char *name, const struct x86_segment *s)
{
	log_line("  %-4s %04x base %016llx limit %08x access %05x", name, s->selector, ULL(s->base), s->limit, s->access);
}

static void dump_registers(const struct x86_cpu_state *s)
{
	static const char *const gpr[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	                                  "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
	static const char *const segment[] = {"es", "cs", "ss", "ds", "fs", "gs"};

	log_line("  rip  %016llx rflags %08llx cpl %u", ULL(s->rip), ULL(s->rflags), s->cpl);
	for (unsigned i = 0; i < X86_GPR_COUNT; i += 4)
		log_line("  %-4s %016llx %-4s %016llx %-4s %016llx %-4s %016llx", gpr[i], ULL(s->gpr[i]), gpr[i + 1],
		         ULL(s->gpr[i + 1]), gpr[i + 2], ULL(s->gpr[i + 2]), gpr[i + 3], ULL(s->gpr[i + 3]));
	log_line("  cr0  %016llx cr3  %016llx cr4  %016llx efer %016llx", ULL(s->cr0), ULL(s->cr3), ULL(s->cr4),
	         ULL(s->efer));
	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		dump_segment(segment[i], &s->segment[i]);
	dump_segment("ldtr", &s->ldtr);
	dump_segment("tr", &s->tr);
	log_line("  gdtr base %016llx limit %04x  idtr base %016llx limit %04x", ULL(s->gdtr.base), s->gdtr.limit,
	         ULL(s->idtr.base), s->idtr.limit);
}

static void dump_code(struct vcpu *v)
{
	uint8_t bytes[EMULATE_MAX_INSTRUCTION];
	unsigned count = guest_fetch(&v->state, &v->vm->bus, bytes, sizeof(bytes));
	char text[3 * EMULATE_MAX_INSTRUCTION + 1] = "";

	for (unsigned i = 0; i < count; i++)
		snprintf(text + 3 * i, sizeof(text) - 3 * i, "%02x ", bytes[i]);
	log_line("  code %s", count ? text : "cannot be read");
}

/* EPT leaves have one of their own; under NPT the guest's PAT and MTRRs decide. */
static const char *memory_type(enum vmmu_mode mode, const struct vmmu_entry_info *e)
{
	static const char *const names[] = {" UC", " WC", " ?", " ?", " WT", " WP", " WB", " ?"};

	return mode == VMMU_MODE_EPT && e->kind == VMMU_ENTRY_LEAF ? names[e->memtype & 7] : "";
}

static void dump_step(enum vmmu_mode mode, const struct vmmu_path_step *s)
{
	static const char *const kinds[] = {"empty", "table", "leaf", "MMIO", "BAD"};
	const struct vmmu_entry_info *e = &s->info;

	log_line("  level %u table %llx index %3u entry %016llx %s %c%c%c pfn %llx%s%s%s%s", s->level,
	         ULL(s->table.v), s->index, ULL(s->entry), kinds[e->kind], e->rights & VMMU_R ? 'r' : '-',
	         e->rights & VMMU_W ? 'w' : '-', e->rights & VMMU_X ? 'x' : '-', ULL(e->pfn.v), memory_type(mode, e),
	         e->ignore_pat ? " ignore-pat" : "", e->accessed ? " accessed" : "", e->dirty ? " dirty" : "");
}

static void dump_walk(struct vm *vm, vmmu_gpa gpa)
{
	struct vmmu_path path;

	vmmu_path_of(vm->mmu, gpa, &path);
	log_line("  walk of gpa %llx:", ULL(gpa.v));
	for (unsigned i = 0; i < path.steps; i++)
		dump_step(vm->vcpu.backend->mode, &path.step[i]);
}

void vm_fail(struct vcpu *v, const char *why, ...)
{
	struct vm *vm = v->vm;
	va_list args;

	if (v->stop && vm->end == VM_FAILED)
		return; /* one failure led to another: the first one tells */
	va_start(args, why);
	vsnprintf(vm->reason, sizeof(vm->reason), why, args);
	va_end(args);
	vm->end = VM_FAILED;
	v->stop = true;

	log_line("visor: the VM has failed: %s", vm->reason);
	v->backend->dump(v);
	v->backend->read_state(v);
	dump_registers(&v->state);
	dump_code(v);
	if (vm->fault.access)
		dump_walk(vm, vm->fault.gpa);
}
