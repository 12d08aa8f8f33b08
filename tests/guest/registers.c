/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registers that software takes for granted: those that every CPU of the vendor has,
 * the APIC's base and its CPUID bit, IA32_MISC_ENABLE; hypercalls; and the resume flag
 * in what a fault saves.
 */
#include "guest.h"

#define MSR_APIC_BASE 0x1bu
#define MSR_MISC_ENABLE 0x1a0u
#define BASE_ENABLE (1u << 11)
#define RFLAGS_RF (1u << 16)

/* Without a feature bit: what Xen, NOVA, Linux and their tests read by vendor alone. */
static const uint32_t intel_registers[] = {
	0x0,
	0x1,
	0x17,
	0x2a,
	0x34,
	0x8b,
	0xcd,
	0xce,
	0xe2,
	0x11e,
	0x140,
	0x179,
	0x17a,
	0x198,
	0x199,
	0x19a,
	0x19b,
	0x19c,
	0x1a0,
	0x1a2,
	0x1ad,
	0x1b0,
	0x1c8,
	0x1c9,
	0x1d9,
	0x1db,
	0x1dc,
	0x1dd,
	0x1de,
	0x277,
	0x2ff,
};
static const uint32_t amd_registers[] = {
	0x0,
	0x1,
	0x8b,
	0x179,
	0x17a,
	0x1d9,
	0x1db,
	0x1dc,
	0x1dd,
	0x1de,
	0x277,
	0x2ff,
	0xc0010000,
	0xc0010001,
	0xc0010002,
	0xc0010003,
	0xc0010004,
	0xc0010005,
	0xc0010006,
	0xc0010007,
	0xc0010010,
	0xc0010015,
	0xc0010016,
	0xc0010017,
	0xc0010018,
	0xc0010019,
	0xc001001a,
	0xc001001d,
	0xc001001f,
	0xc0010022,
	0xc0010030,
	0xc0010035,
	0xc0010044,
	0xc0010050,
	0xc0010053,
	0xc0010054,
	0xc0010055,
	0xc0010056,
	0xc0010058,
	0xc0010061,
	0xc0010062,
	0xc0010063,
	0xc0010064,
	0xc0010070,
	0xc0010071,
	0xc0010111,
	0xc0010112,
	0xc0010113,
	0xc0011004,
	0xc0011005,
	0xc0011020,
	0xc0011022,
	0xc0011023,
	0xc0011029,
	0xc001102a,
};

static bool is_intel(void)
{
	return cpuid(0, 0).b == 0x756e6547; /* "Genu" */
}

struct msr_access {
	uint32_t msr;
	uint64_t value;
};

static void try_read(void *argument)
{
	struct msr_access *a = argument;

	a->value = read_msr(a->msr);
}

static void try_write(void *argument)
{
	const struct msr_access *a = argument;

	write_msr(a->msr, a->value);
}

static void vendor_lists(void)
{
	const uint32_t *list = is_intel() ? intel_registers : amd_registers;
	size_t count = is_intel() ? sizeof(intel_registers) / 4 : sizeof(amd_registers) / 4;

	for (size_t i = 0; i < count; i++) {
		struct msr_access a = {list[i], 0};

		check(vector_of(try_read, &a) == -1, "MSR 0x%x cannot be read", list[i]);
	}
}

/* Written back as it was: that is what a kernel does before it changes a bit. */
static void kept(uint32_t msr, uint64_t changed)
{
	uint64_t before = read_msr(msr);

	write_msr(msr, before ^ changed);
	check_equal(read_msr(msr), before ^ changed, "an MSR that keeps what is written");
	write_msr(msr, before);
	check_equal(read_msr(msr), before, "the same, written back");
}

static void kept_values(void)
{
	if (is_intel()) {
		uint64_t before = read_msr(MSR_MISC_ENABLE);

		kept(MSR_MISC_ENABLE, 1u << 0);
		kept(MSR_MISC_ENABLE, 1u << 18);
		write_msr(MSR_MISC_ENABLE, before ^ (1u << 11 | 1u << 12));
		check_equal(read_msr(MSR_MISC_ENABLE), before, "IA32_MISC_ENABLE, written in its read-only bits");
		kept(0x199, 0x1234);
	} else {
		struct msr_access a = {MSR_MISC_ENABLE, 0};

		check(vector_of(try_read, &a) == VECTOR_GP, "IA32_MISC_ENABLE, which is Intel's, can be read");
		for (uint32_t msr = 0xc0010000; msr < 0xc0010008 && device_present(); msr++) {
			write_msr(msr, 0xffff);
			check_equal(read_msr(msr), 0, "a performance counter that counts nothing");
		}
		kept(0xc0010015, 1u << 24);
	}
}

static void apic_base(void)
{
	uint64_t base = read_msr(MSR_APIC_BASE);
	struct msr_access beyond = {MSR_APIC_BASE, base | physical_end()};

	check(cpuid(1, 0).d & 1u << 9, "CPUID shows no APIC");
	if (physical_end() < 1ull << 52)
		check(vector_of(try_write, &beyond) == VECTOR_GP, "IA32_APIC_BASE takes an address beyond MAXPHYADDR");
	write_msr(MSR_APIC_BASE, base & ~(uint64_t)BASE_ENABLE);
	check(!(cpuid(1, 0).d & 1u << 9), "CPUID shows an APIC that is switched off");
	write_msr(MSR_APIC_BASE, base);
	check(cpuid(1, 0).d & 1u << 9, "CPUID shows no APIC after it is switched on");
}

static uint64_t vmcall(uint64_t number)
{
	uint64_t result = number;

	__asm__ volatile("vmcall"
	                 : "+a"(result)
	                 :
	                 : "memory");
	return result;
}

static uint64_t vmmcall(uint64_t number)
{
	uint64_t result = number;

	__asm__ volatile("vmmcall"
	                 : "+a"(result)
	                 :
	                 : "memory");
	return result;
}

struct hypercall {
	uint64_t (*instruction)(uint64_t number);
	uint64_t number, result;
};

static void try_hypercall(void *argument)
{
	struct hypercall *h = argument;

	h->result = h->instruction(h->number);
}

static void try_ud2(void *unused)
{
	(void)unused;
	__asm__ volatile("ud2");
}

static void hypercalls_by(uint64_t (*instruction)(uint64_t number), const char *name)
{
	static const struct {
		uint64_t number, answer;
	} calls[] = {{1, 0}, {9, (uint64_t)-1000}, {0x7777777777777777, (uint64_t)-1000}};

	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct hypercall h = {instruction, calls[i].number, 0};
		int vector = vector_of(try_hypercall, &h);

		check(vector == -1, "%s ends with vector %d", name, vector);
		check_equal(h.result, calls[i].answer, name);
	}
}

/* As "KVMKVMKVM" in CPUID promises: either vendor's instruction on every CPU. */
static void hypercalls(void)
{
	check_equal(cpuid(0x40000100, 0).b, 0x4b4d564b, "the hypervisor's name");
	hypercalls_by(vmcall, "VMCALL");
	hypercalls_by(vmmcall, "VMMCALL");
	check(vector_of(try_ud2, NULL) == VECTOR_UD, "UD2 does not end with #UD");
}

static uint64_t saved_flags;
static uint64_t resume_at;

static void note_flags(struct frame *f)
{
	saved_flags = f->rflags;
	f->rflags &= ~(uint64_t)RFLAGS_RF;
	f->rip = resume_at;
}

static void fault_saves_rf(unsigned vector, const char *what)
{
	on_interrupt(vector, note_flags);
	saved_flags = 0;
	if (vector == VECTOR_GP) /* an intercepted instruction: the visor raises it */
		__asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; xor %%eax, %%eax; xor %%edx, %%edx\n\t"
		                 "mov $0x7fffffff, %%ecx; wrmsr; 1:"
		                 : "=m"(resume_at)
		                 :
		                 : "rax", "rcx", "rdx", "memory");
	else
		__asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; mov (%1), %%eax; 1:"
		                 : "=m"(resume_at)
		                 : "r"(0x400000000000ull)
		                 : "rax", "memory");
	check(saved_flags & RFLAGS_RF, "%s saves flags 0x%lx without RF", what, saved_flags);
	on_interrupt(vector, NULL);
}

/* SDM vol. 3, 18.3.1.1: every fault but an instruction breakpoint's sets RF in the flags that it saves. */
static void resume_flag(void)
{
	fault_saves_rf(VECTOR_GP, "#GP by WRMSR");
	if (on_shadow_tables() || is_intel())
		fault_saves_rf(VECTOR_PF, "#PF");
	else
		skip("registers: RF saved by #PF, which is QEMU's affair under NPT");
}

#define CR0_WP (1u << 16)
#define CR4_MCE (1u << 6)
#define CR4_SMEP (1u << 20)
#define CR4_SMAP (1u << 21)
#define EFER_NXE (1u << 11)

/* What the visor keeps itself from, where the CPU can. SMEP and SMAP are shown to guests as the CPU has them. */
static void visor_state(void)
{
	uint32_t features = cpuid(7, 0).b, cr4;

	device_ok("the visor's own registers", TEST_VISOR_STATE, 0, 0, 0, 0);
	cr4 = (uint32_t)last_command.result[1];
	check(last_command.result[0] & CR0_WP, "the visor runs with CR0.WP off");
	check(last_command.result[2] & EFER_NXE, "the visor runs with EFER.NXE off");
	check(!(features & 1u << 7) || cr4 & CR4_SMEP, "the visor runs without SMEP: CR4 0x%x", cr4);
	check(!(features & 1u << 20) || cr4 & CR4_SMAP, "the visor runs without SMAP: CR4 0x%x", cr4);
	check(cr4 & CR4_MCE, "the visor runs without CR4.MCE: CR4 0x%x", cr4);
}

void test_registers(void)
{
	if (!device_present()) {
		skip("registers: a bare machine has what it has");
		return;
	}
	vendor_lists();
	kept_values();
	apic_base();
	hypercalls();
	visor_state();
	resume_flag();
}
