/* SPDX-License-Identifier: BSD-2-Clause */
/* The VM: memory, guest page tables, vCPUs in 64-bit mode, their threads. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "kvm.h"
#include "machine.h"

#define PAGE 4096ul
#define LARGE (512 * PAGE)
/* SDM vol. 3, tables 4-15 to 4-20: present, writable, accessed, dirty, page size. */
#define TABLE_ENTRY 0x23ul
#define PAGE_ENTRY 0x63ul
#define LARGE_ENTRY 0xe3ul

extern const char guest_image[], guest_image_end[];

/* Aligned to 2 MiB, but for the offset, and touched, so that no fault of the guest waits for the host's. */
static uint8_t *guest_memory(size_t bytes, size_t offset, bool huge)
{
	uint8_t *at = mmap(NULL, bytes + offset + LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		fail("mmap");
	at += (-(uintptr_t)at & (LARGE - 1)) + offset;
	if (madvise(at, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		fail("madvise");
	for (size_t i = 0; i < bytes; i += PAGE)
		at[i] = 0;
	return at;
}

static void set_slot(struct machine *m, uint32_t slot, uint64_t gpa, size_t bytes, void *memory, uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)memory,
	};

	ASK(m->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

void machine_set_window(struct machine *m, bool there, uint32_t flags)
{
	set_slot(m, 1, WINDOW_GPA, there ? m->window_bytes : 0, m->window, flags);
}

void machine_allow(struct machine *m, size_t first, size_t bytes, bool allowed)
{
	if (mprotect(m->window + first, bytes, allowed ? PROT_READ | PROT_WRITE : PROT_NONE))
		fail("mprotect");
}

uint64_t machine_dirty_pages(struct machine *m)
{
	size_t words = m->window_bytes / PAGE / 64 + 1;
	uint64_t *bitmap = calloc(words, sizeof(*bitmap)), pages = 0;
	struct kvm_dirty_log log = {.slot = 1, .dirty_bitmap = bitmap};

	if (!bitmap)
		fail("calloc");
	ASK(m->fd, KVM_GET_DIRTY_LOG, &log);
	for (size_t i = 0; i < words; i++)
		pages += (uint64_t)__builtin_popcountll(bitmap[i]);
	free(bitmap);
	return pages;
}

/* ---- the guest's page tables ------------------------------------------------ */

static uint64_t *table_at(struct machine *m, uint64_t gpa)
{
	return (uint64_t *)(m->low + gpa);
}

/* Entries of one level from `gpa` on, for consecutive pages. */
static void fill(struct machine *m, uint64_t table, uint64_t from, size_t count, uint64_t step, uint64_t bits)
{
	for (size_t i = 0; i < count; i++)
		table_at(m, table)[i] = (from + i * step) | bits;
}

/* 0..1 GiB and 3..4 GiB identity by 2 MiB, the window by 4 KiB at 1 GiB and by 2 MiB at 2 GiB. */
static uint64_t build_tables(struct machine *m)
{
	uint64_t root = TABLES_GPA, directory = root + PAGE, low = directory + PAGE, small = low + PAGE,
		 large = small + PAGE, device = large + PAGE, pages = device + PAGE;
	size_t regions = (m->window_bytes + LARGE - 1) / LARGE;

	table_at(m, root)[0] = directory | TABLE_ENTRY;
	fill(m, directory, low, 4, PAGE, TABLE_ENTRY);
	fill(m, low, 0, LOW_BYTES / LARGE, LARGE, LARGE_ENTRY);
	fill(m, small, pages, regions, PAGE, TABLE_ENTRY);
	fill(m, pages, WINDOW_GPA, regions * 512, PAGE, PAGE_ENTRY);
	fill(m, large, WINDOW_GPA, regions, LARGE, LARGE_ENTRY);
	fill(m, device, 0xc0000000ul, 512, LARGE, LARGE_ENTRY);
	return root;
}

/* ---- vCPUs ------------------------------------------------------------------ */

static void set_registers(struct vcpu *v, uint64_t root)
{
	struct kvm_segment data = {
		.limit = 0xffffffff,
		.selector = 8,
		.type = 3,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
	struct kvm_segment code = {
		.limit = 0xffffffff,
		.selector = 16,
		.type = 11,
		.present = 1,
		.s = 1,
		.l = 1,
		.g = 1,
	};
	struct kvm_regs registers = {
		.rip = CODE_GPA,
		.rflags = 2,
		.rdi = MAILBOX_GPA + v->index * PAGE,
		.rsp = STACK_GPA + (v->index + 1) * PAGE - 8,
	};
	struct kvm_sregs special;

	ASK(v->fd, KVM_GET_SREGS, &special);
	special.cr0 = 0x80010033; /* PG, WP, NE, ET, MP, PE */
	special.cr4 = 0x2a0;      /* OSFXSR, PGE, PAE */
	special.efer = 0xd00;     /* NXE, LMA, LME */
	special.cr3 = root;
	special.cs = code;
	special.ds = special.es = special.fs = special.gs = special.ss = data;
	/* No gate: an exception of the guest's becomes a triple fault, which ends the run. */
	special.idt.limit = 0;
	ASK(v->fd, KVM_SET_SREGS, &special);
	ASK(v->fd, KVM_SET_REGS, &registers);
}

static void set_cpuid(struct machine *m, struct vcpu *v)
{
	enum { ENTRIES = 256 };
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + ENTRIES * sizeof(cpuid->entries[0]));

	if (!cpuid)
		fail("calloc");
	cpuid->nent = ENTRIES;
	ASK(m->kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
	ASK(v->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
}

/* Run until the guest has carried out its order. Reads of the device window give zero. */
static void run_to_done(struct vcpu *v)
{
	for (;;) {
		if (ioctl(v->fd, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			if (errno == EFAULT && v->machine->endure) {
				if (!--v->machine->endure)
					machine_allow(v->machine, 0, v->machine->window_bytes, true);
				continue;
			}
			fail("KVM_RUN");
		}
		switch (v->run->exit_reason) {
		case KVM_EXIT_IO:
			if (v->run->io.port == PORT_DONE)
				return;
			break;
		case KVM_EXIT_MMIO:
			memset(v->run->mmio.data, 0, sizeof(v->run->mmio.data));
			continue;
		}
		fprintf(stderr, "vmm: vCPU %u stopped, exit reason %u\n", v->index, v->run->exit_reason);
		exit(1);
	}
}

static void *vcpu_thread(void *argument)
{
	struct vcpu *v = argument;
	char name[16];

	snprintf(name, sizeof(name), "CPU %u/KVM", v->index % VCPUS_MAX);
	pthread_setname_np(pthread_self(), name);
	for (;;) {
		run_to_done(v);
		sem_post(&v->done);
		while (sem_wait(&v->go))
			;
	}
	return NULL;
}

static void start_vcpu(struct machine *m, unsigned index, uint64_t root)
{
	struct vcpu *v = &m->vcpu[index];
	int bytes = ASK(m->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);

	v->machine = m;
	v->index = index;
	v->fd = ioctl(m->fd, KVM_CREATE_VCPU, (unsigned long)index);
	if (v->fd < 0)
		fail("KVM_CREATE_VCPU");
	v->run = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED)
		fail("mmap of the vCPU");
	set_cpuid(m, v);
	set_registers(v, root);
	sem_init(&v->go, 0, 0);
	sem_init(&v->done, 0, 0);
	if (pthread_create(&v->thread, NULL, vcpu_thread, v))
		fail("pthread_create");
	while (sem_wait(&v->done))
		;
}

void machine_start(struct machine *m, size_t window_bytes, size_t offset, bool huge, bool irqchip, unsigned vcpus)
{
	uint64_t root, identity_map = 0xfffbc000;

	memset(m, 0, sizeof(*m));
	m->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m->kvm < 0)
		fail("/dev/kvm");
	m->fd = ioctl(m->kvm, KVM_CREATE_VM, 0ul);
	if (m->fd < 0)
		fail("KVM_CREATE_VM");
	/* What Intel's CPUs without unrestricted guests need; harmless elsewhere. */
	if (ioctl(m->fd, KVM_SET_TSS_ADDR, 0xfffbd000ul) < 0)
		fail("KVM_SET_TSS_ADDR");
	ASK(m->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	if (irqchip)
		ASK(m->fd, KVM_CREATE_IRQCHIP, NULL);
	m->window_bytes = window_bytes;
	m->low = guest_memory(LOW_BYTES, 0, false);
	m->window = guest_memory(window_bytes, offset, huge);
	memcpy(m->low + CODE_GPA, guest_image, (size_t)(guest_image_end - guest_image));
	root = build_tables(m);
	set_slot(m, 0, 0, LOW_BYTES, m->low, 0);
	machine_set_window(m, true, 0);
	m->vcpus = vcpus;
	for (unsigned i = 0; i < vcpus; i++)
		start_vcpu(m, i, root);
}

static struct mailbox *mailbox_of(const struct machine *m, unsigned vcpu)
{
	return (struct mailbox *)(m->low + MAILBOX_GPA + vcpu * PAGE);
}

void machine_order(struct machine *m, unsigned mask, enum order order, uint64_t address, uint64_t step,
                   uint64_t count)
{
	for (unsigned i = 0; i < m->vcpus; i++) {
		struct mailbox *box = mailbox_of(m, i);

		if (!(mask & 1u << i))
			continue;
		box->order = order;
		box->address = address;
		box->step = step;
		box->count = count;
		box->results = RESULTS_GPA + i * RESULTS_MAX * sizeof(uint32_t);
	}
	for (unsigned i = 0; i < m->vcpus; i++)
		if (mask & 1u << i)
			sem_post(&m->vcpu[i].go);
	for (unsigned i = 0; i < m->vcpus; i++)
		if (mask & 1u << i)
			while (sem_wait(&m->vcpu[i].done))
				;
}

const uint32_t *machine_results(const struct machine *m, unsigned vcpu)
{
	return (const uint32_t *)(m->low + RESULTS_GPA) + vcpu * RESULTS_MAX;
}
