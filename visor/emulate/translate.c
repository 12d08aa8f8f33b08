/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/emulate/translate.h"

#include "visor/lib/string.h"

#define PAGE 4096u
/* A walk begins anew when an entry changes under it; with one vCPU only a self-map makes that happen. */
#define TRIES 8

static void init_mode(const struct x86_cpu_state *cpu, const struct guest_memory *memory)
{
	struct vmmu_paging r = {
		.cr0 = cpu->cr0,
		.cr3 = cpu->cr3,
		.cr4 = cpu->cr4,
		.efer = cpu->efer,
		.pdpte = {cpu->pdpte[0], cpu->pdpte[1], cpu->pdpte[2], cpu->pdpte[3]},
		.pkru = cpu->pkru,
		.cpu = memory->cpu,
	};

	vmmu_guest_mode_init(memory->mode, &r);
}

/* CR3 and the PDPTEs say where the tables are, and nothing of what they mean. */
static const struct vmmu_guest_mode *translate_mode_of(const struct x86_cpu_state *cpu, const struct guest_memory *memory)
{
	struct vmmu_paging *known = &memory->mode->registers;

	if (known->cr0 != cpu->cr0 || known->cr4 != cpu->cr4 || known->efer != cpu->efer || known->pkru != cpu->pkru)
		init_mode(cpu, memory);
	known->cr3 = cpu->cr3;
	for (unsigned i = 0; i < 4; i++)
		known->pdpte[i] = cpu->pdpte[i];
	return memory->mode;
}

static void tell_stored(const struct guest_memory *memory, const struct vmmu_guest_walk *walk)
{
	for (unsigned i = 0; memory->stored && i < walk->steps; i++) {
		if (walk->step[i].stored)
			memory->stored(memory->ctx, walk->step[i].where.v);
	}
}

enum vmmu_guest_result guest_translate(const struct x86_cpu_state *cpu, const struct guest_memory *memory,
                                       uint64_t gva, unsigned access, struct vmmu_guest_walk *out)
{
	enum vmmu_guest_result result = VMMU_GUEST_BUSY;

	if (!(cpu->efer & X86_EFER_LMA))
		gva &= UINT32_MAX;
	if (!(cpu->cr0 & X86_CR0_PG) && !memory->walk) {
		*out = (struct vmmu_guest_walk){.gpa = {gva}};
		return VMMU_GUEST_OK;
	}
	access |= (cpu->cpl == 3 ? VMMU_ACCESS_USER : 0) | (cpu->rflags & X86_FLAG_AC ? VMMU_ACCESS_AC : 0);
	for (unsigned i = 0; result == VMMU_GUEST_BUSY && i < TRIES; i++) {
		const struct vmmu_guest_mode *mode = translate_mode_of(cpu, memory);

		result = memory->walk ? memory->walk(memory->ctx, mode, vmmu_gva_of(gva), access, out)
		                      : vmmu_guest_walk(memory->host, memory->ctx, mode, vmmu_gva_of(gva), access, out);
		tell_stored(memory, out);
	}
	return result;
}

/* The largest access of a bus: a power of two up to 8 that is not more than `n`. */
static unsigned translate_access_size(uint64_t n)
{
	return n >= 8 ? 8 : n >= 4 ? 4
	            : n >= 2       ? 2
	                           : 1;
}

/* `n` bytes that lie in one page. */
static bool fetch_part(const struct guest_memory *memory, uint64_t gpa, uint8_t *bytes, unsigned n)
{
	const uint8_t *page = memory->page ? memory->page(memory->ctx, gpa - gpa % PAGE, false) : NULL;
	uint64_t value;
	unsigned size;

	if (page) {
		memcpy(bytes, page + gpa % PAGE, n);
		return true;
	}
	for (unsigned i = 0; i < n; i += size) {
		size = translate_access_size(n - i);
		if (!memory->read(memory->ctx, gpa + i, size, &value))
			return false;
		memcpy(bytes + i, &value, size);
	}
	return true;
}

uint64_t guest_code_address(const struct x86_cpu_state *cpu, unsigned offset)
{
	bool long_mode = (cpu->efer & X86_EFER_LMA) && (cpu->segment[X86_CS].access & X86_ACCESS_LONG);

	return long_mode ? cpu->rip + offset : (uint32_t)(cpu->segment[X86_CS].base + cpu->rip + offset);
}

unsigned guest_fetch(const struct x86_cpu_state *cpu, const struct guest_memory *memory,
                     uint8_t *bytes, unsigned max)
{
	struct vmmu_guest_walk w;
	unsigned part;

	for (unsigned i = 0; i < max; i += part) {
		uint64_t gva = guest_code_address(cpu, i), left = PAGE - gva % PAGE;

		part = left < max - i ? (unsigned)left : max - i;
		if (guest_translate(cpu, memory, gva, VMMU_X, &w) != VMMU_GUEST_OK ||
		    !fetch_part(memory, w.gpa.v, bytes + i, part))
			return i;
	}
	return max;
}
