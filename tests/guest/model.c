/* SPDX-License-Identifier: BSD-2-Clause */
#include "model.h"
#include "user.h"

enum { ERROR_P = 1,
       ERROR_RESERVED = 8,
       EFLAGS_AC = 1 << 18 };

static uint64_t pdpte[4];

enum { USER_CODE_BYTES = 4 };
static uint64_t user_code;

/* Each access and UD2. The bytes mean the same in 32-bit and in 64-bit code. */
void model_user_code(uint64_t gpa, uint64_t linear)
{
	static const uint8_t code[ACCESS_KINDS][USER_CODE_BYTES] = {
		[ACCESS_LOAD] = {0x8b, 0x02, 0x0f, 0x0b},  /* mov (%edx), %eax */
		[ACCESS_STORE] = {0x89, 0x02, 0x0f, 0x0b}, /* mov %eax, (%edx) */
		[ACCESS_CALL] = {0xff, 0xe2},              /* jmp *%edx */
	};

	memcpy((void *)(uintptr_t)gpa, code, sizeof(code));
	user_code = linear;
}

void model_load_cr3(uint64_t cr3)
{
	if (paging->levels == 3)
		for (unsigned i = 0; i < 4; i++)
			pdpte[i] = load((cr3 & 0xffffffe0) + 8 * i);
	write_cr3(cr3);
}

/* ---- The registers as the model wants them ------------------------------------------ */

/* What CPUID says, asked once: under a hypervisor each costs an exit. */
static const struct sim_guest_cpu *abilities(void)
{
	static struct sim_guest_cpu cpu;

	if (!cpu.maxphyaddr)
		cpu = (struct sim_guest_cpu){
			.maxphyaddr = cpuid(0x80000008, 0).a & 0xff,
			.pse36 = cpuid(1, 0).d & 1u << 17,
			.page_1g = cpuid(0x80000001, 0).d & 1u << 26,
			.amd = cpuid(0, 0).b == 0x68747541, /* "Auth" */
		};
	return &cpu;
}

static struct sim_guest_cpu present_cpu(void)
{
	uintptr_t cr0 = read_cr0(), cr4 = read_cr4();
	uint64_t efer = read_msr(MSR_EFER);
	struct sim_guest_cpu cpu = *abilities();

	cpu.pg = true;
	cpu.wp = cr0 & CR0_WP;
	cpu.pse = cr4 & CR4_PSE;
	cpu.pae = cr4 & CR4_PAE;
	cpu.la57 = cr4 & CR4_LA57;
	cpu.smep = cr4 & CR4_SMEP;
	cpu.smap = cr4 & CR4_SMAP;
	cpu.lma = efer & 1u << 10;
	cpu.nxe = efer & EFER_NXE;
	cpu.cr3 = read_cr3();
	memcpy(cpu.pdpte, pdpte, sizeof(pdpte));
	return cpu;
}

static bool read_memory(void *ctx, uint64_t gpa, unsigned size, uint64_t *value)
{
	(void)ctx;
	if (gpa + size > ram_end())
		return false;
	*value = size == 4 ? *word_at(gpa) : load(gpa);
	return true;
}

void foretell(struct foretold *f)
{
	struct sim_guest_cpu cpu = present_cpu();
	struct sim_guest_access access = {
		.write = f->access == ACCESS_STORE, .fetch = f->access == ACCESS_CALL, .ac = f->ac, .user = f->user};

	sim_guest_translate(&cpu, read_memory, NULL, f->linear, &access, &f->result);
}

/* ---- Comparing -------------------------------------------------------------------------- */

/*
 * Some emulated CPUs leave P out of the error code of a reserved bit (QEMU's TCG
 * does). A shadowed guest gets its codes from the hypervisor, which may not.
 */
static uint32_t error_without_quirk(uint32_t told, uint32_t seen)
{
	if (told & ERROR_RESERVED && !on_shadow_tables() && !(seen & ERROR_P))
		return seen | ERROR_P;
	return seen;
}

static bool overlaps(const struct sim_guest_mark *m, uint64_t gpa)
{
	return gpa + 4 > m->gpa && gpa < m->gpa + m->size;
}

/* The entries on the way: as they were, with A and D set that had to be. */
static void check_entries(const struct foretold *f)
{
	const struct sim_guest_result *r = &f->result;

	for (unsigned i = 0; i < r->marks; i++) {
		const struct sim_guest_mark *m = &r->mark[i];

		if (f->access == ACCESS_STORE && overlaps(m, r->gpa))
			continue;
		check((*word_at(m->gpa) & m->bits) == m->bits, "%s: the entry at 0x%lx has no bits 0x%lx but is 0x%x",
		      paging->name, m->gpa, m->bits, *word_at(m->gpa));
	}
}

static uintptr_t read_flags(void)
{
	uintptr_t v;

	__asm__ volatile("pushf; pop %0"
	                 : "=r"(v));
	return v;
}

static void write_flags(uintptr_t v)
{
	__asm__ volatile("push %0; popf"
	                 :
	                 : "r"(v)
	                 : "memory", "cc");
}

static bool make_user_access(const struct foretold *f, uint32_t *value)
{
	bool done = run_as_user(user_code + f->access * USER_CODE_BYTES, f->linear, value);

	check(done || (last_trap.vector == VECTOR_PF && last_trap.cr2 == f->linear),
	      "%s: vector %lu, error 0x%lx, CR2 0x%lx by an access of a user to 0x%lx", paging->name, last_trap.vector,
	      last_trap.error, last_trap.cr2, f->linear);
	return done;
}

static bool make_access(const struct foretold *f, uint32_t *value)
{
	uintptr_t flags = read_flags();
	bool done;

	if (f->user)
		return make_user_access(f, value);
	if (f->ac)
		write_flags(flags | EFLAGS_AC);
	done = f->access == ACCESS_LOAD    ? try_load(f->linear, value)
	       : f->access == ACCESS_STORE ? try_store(f->linear, *value)
	                                   : try_call(f->linear);
	write_flags(flags);
	return done;
}

void check_foretold(const struct foretold *f, uint32_t value)
{
	static const char *const name[] = {"load", "store", "call"};
	const struct sim_guest_result *r = &f->result;
	bool done, told = r->end == SIM_GUEST_DONE;

	invalidate_page(f->linear);
	done = make_access(f, &value);
	check(done == told, "%s: a %s%s at 0x%lx by CR3 0x%lx: %s (code 0x%lx), must %s (code 0x%x), gpa 0x%lx",
	      paging->name, f->user ? "user's " : "", name[f->access], f->linear, read_cr3(),
	      done ? "done" : "fault", done ? 0 : last_trap.error, told ? "be done" : "fault", told ? 0 : r->code, r->gpa);
	if (done != told)
		return;
	if (!done) {
		check_equal(error_without_quirk(r->code, (uint32_t)last_trap.error), r->code, "error code of a page fault");
		return;
	}
	if (f->access != ACCESS_CALL)
		check_equal(*word_at(r->gpa), value, "the word at its physical address");
	check_entries(f);
}
