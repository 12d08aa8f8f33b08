/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VMM that boots a Linux kernel on KVM and shows its console: no more than a kernel needs to reach user
 * space. KVM has interrupt controllers and PIT, the serial port is the visor's own model.
 *
 *   linux [--memory MIB] [--initrd FILE] [--append WORDS] [--until TEXT] [--stats FILE] KERNEL
 *
 * Ends with 0 when the console has shown TEXT, with 1 when the guest ends otherwise. --stats: what KVM has
 * counted by then, which is gone with the VM. How a kernel is entered: Documentation/x86/boot.rst, "64-bit boot protocol".
 */
#include <asm/bootparam.h>
#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kvm.h"
#include "visor/device/uart16550.h"

#define MIB (1ul << 20)
#define PAGE 4096ul

/* Where things are in the guest's memory. */
#define GDT_GPA 0x6000ul
#define PARAMS_GPA 0x7000ul
#define TABLES_GPA 0x9000ul
#define WORDS_GPA 0x20000ul
#define LOW_RAM_END 0x9fc00ul
#define IDENTITY_GPA 0xfffbc000ul
#define TSS_GPA 0xfffbd000ul

#define ENTRY_64 0x200ul
#define BOOT_CS 0x10
#define BOOT_DS 0x18
#define CPUID_ENTRIES 200u

#define COM1 0x3f8
#define COM1_IRQ 4
#define CMOS_INDEX 0x70
#define KEYBOARD 0x64
#define PULSE_RESET 0xfe

#define STATS "/sys/kernel/debug/kvm"

static struct {
	int kvm, fd, vcpu;
	uint8_t *memory;
	size_t bytes;
	struct uart uart;
	bool line_level;
	uint8_t cmos_index;
	char line[512];
	size_t length;
	const char *until;
	bool seen;
} vm;

static uint8_t *read_file(const char *path, size_t *bytes)
{
	int fd = open(path, O_RDONLY);
	struct stat status;
	uint8_t *content;

	if (fd < 0 || fstat(fd, &status))
		fail(path);
	*bytes = (size_t)status.st_size;
	content = malloc(*bytes + 1);
	if (!content)
		fail("malloc");
	for (size_t n = 0; n < *bytes;) {
		ssize_t part = read(fd, content + n, *bytes - n);

		if (part <= 0)
			fail(path);
		n += (size_t)part;
	}
	close(fd);
	return content;
}

static __attribute__((noreturn)) void refuse(const char *what)
{
	fprintf(stderr, "linux: %s\n", what);
	exit(1);
}

/* ---- what the guest finds in its memory --------------------------------------------------- */

static void put(uint64_t gpa, const void *from, size_t bytes)
{
	if (gpa > vm.bytes || bytes > vm.bytes - gpa)
		refuse("it does not fit into the guest's memory");
	memcpy(vm.memory + gpa, from, bytes);
}

/* The first GiB, linear to physical, by 2 MiB. */
static void build_tables(void)
{
	uint64_t *table = (uint64_t *)(vm.memory + TABLES_GPA);

	table[0] = (TABLES_GPA + PAGE) | 3;
	table[512] = (TABLES_GPA + 2 * PAGE) | 3;
	for (uint64_t i = 0; i < 512; i++)
		table[1024 + i] = i * 2 * MIB | 0x83;
}

static void add_range(struct boot_params *p, uint64_t first, uint64_t end)
{
	p->e820_table[p->e820_entries++] = (struct boot_e820_entry){.addr = first, .size = end - first, .type = 1};
}

/* Returns where it begins. */
static uint64_t load(const char *kernel, const char *initrd, const char *words)
{
	size_t bytes, initrd_bytes = 0;
	uint8_t *image = read_file(kernel, &bytes), *archive = initrd ? read_file(initrd, &initrd_bytes) : NULL;
	struct boot_params p = {0};
	size_t setup;
	uint64_t at;

	if (bytes < 0x400)
		refuse("this is no kernel");
	memcpy(&p.hdr, image + 0x1f1, sizeof(p.hdr));
	setup = ((p.hdr.setup_sects ? p.hdr.setup_sects : 4) + 1) * 512ul;
	if (p.hdr.header != 0x53726448 || p.hdr.version < 0x20c || !(p.hdr.xloadflags & XLF_KERNEL_64) || setup > bytes)
		refuse("this is no kernel with a 64-bit entry");
	put(p.hdr.pref_address, image + setup, bytes - setup);
	at = (vm.bytes - initrd_bytes) & ~(PAGE - 1);
	if (initrd && at < p.hdr.pref_address + p.hdr.init_size)
		refuse("the initrd does not fit into the guest's memory");
	if (initrd)
		put(at, archive, initrd_bytes);
	p.hdr.type_of_loader = 0xff;
	p.hdr.ramdisk_image = (uint32_t)at;
	p.hdr.ramdisk_size = (uint32_t)initrd_bytes;
	p.hdr.cmd_line_ptr = WORDS_GPA;
	add_range(&p, 0, LOW_RAM_END);
	add_range(&p, MIB, vm.bytes);
	put(PARAMS_GPA, &p, sizeof(p));
	put(WORDS_GPA, words, strlen(words) + 1);
	put(GDT_GPA, (uint64_t[]){0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff}, 32);
	build_tables();
	free(image);
	free(archive);
	return p.hdr.pref_address + ENTRY_64;
}

/* ---- devices --------------------------------------------------------------------------------- */

static void transmit(void *ctx, uint8_t byte)
{
	(void)ctx;
	if (vm.length < sizeof(vm.line) - 1)
		vm.line[vm.length++] = (char)byte;
	if (byte != '\n' && vm.length < sizeof(vm.line) - 1)
		return;
	vm.line[vm.length] = '\0';
	fputs(vm.line, stdout);
	fflush(stdout);
	vm.seen |= vm.until && strstr(vm.line, vm.until);
	vm.length = 0;
}

static void update_line(void)
{
	bool level = uart_interrupt(&vm.uart);
	struct kvm_irq_level line = {.irq = COM1_IRQ, .level = level};

	if (level != vm.line_level)
		ASK(vm.fd, KVM_IRQ_LINE, &line);
	vm.line_level = level;
}

/* The clock's registers, in BCD; status D: the battery is good. */
static uint8_t cmos_read(void)
{
	time_t now = time(NULL);
	const struct tm *t = gmtime(&now);
	unsigned value = 0;

	switch (vm.cmos_index & 0x7f) {
	case 0: value = (unsigned)t->tm_sec; break;
	case 2: value = (unsigned)t->tm_min; break;
	case 4: value = (unsigned)t->tm_hour; break;
	case 7: value = (unsigned)t->tm_mday; break;
	case 8: value = (unsigned)t->tm_mon + 1; break;
	case 9: value = (unsigned)t->tm_year % 100; break;
	case 11: return 2; /* 24 hours */
	case 13: return 0x80;
	}
	return (uint8_t)(value / 10 << 4 | value % 10);
}

/* One byte of an access. False: the guest ends itself. */
static bool port(uint16_t number, uint8_t *data, bool out)
{
	if (number >= COM1 && number < COM1 + 8) {
		if (out)
			uart_write(&vm.uart, number - COM1, *data);
		else
			*data = uart_read(&vm.uart, number - COM1);
		update_line();
	} else if (number == CMOS_INDEX && out) {
		vm.cmos_index = *data;
	} else if (number == CMOS_INDEX + 1 && !out) {
		*data = cmos_read();
	} else if (number == KEYBOARD && out && *data == PULSE_RESET) {
		return false;
	} else if (!out) {
		*data = 0xff;
	}
	return true;
}

static bool ports(struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (unsigned i = 0; i < run->io.count; i++) {
		for (unsigned j = 0; j < run->io.size; j++, data++) {
			if (!port((uint16_t)(run->io.port + j), data, run->io.direction == KVM_EXIT_IO_OUT))
				return false;
		}
	}
	return true;
}

/* ---- the VM ------------------------------------------------------------------------------------- */

static void create(size_t bytes)
{
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
	struct kvm_userspace_memory_region region = {.memory_size = bytes};
	uint64_t identity = IDENTITY_GPA;

	vm.kvm = open("/dev/kvm", O_RDWR);
	if (vm.kvm < 0)
		fail("/dev/kvm");
	vm.fd = ASK(vm.kvm, KVM_CREATE_VM, NULL);
	ASK(vm.fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	if (ioctl(vm.fd, KVM_SET_TSS_ADDR, TSS_GPA) < 0)
		fail("KVM_SET_TSS_ADDR");
	ASK(vm.fd, KVM_CREATE_IRQCHIP, NULL);
	ASK(vm.fd, KVM_CREATE_PIT2, &pit);
	vm.bytes = bytes;
	vm.memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm.memory == MAP_FAILED)
		fail("mmap");
	region.userspace_addr = (uintptr_t)vm.memory;
	ASK(vm.fd, KVM_SET_USER_MEMORY_REGION, &region);
	vm.vcpu = ASK(vm.fd, KVM_CREATE_VCPU, NULL);
	uart_init(&vm.uart, transmit, NULL);
}

/* What KVM leaves to the VMM to say: that there is a hypervisor, with its clock, and the APIC timer's deadlines. */
#define CPUID_1C_HYPERVISOR (1u << 31)
#define CPUID_1C_TSC_DEADLINE (1u << 24)

static void set_cpuid(void)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(cpuid->entries[0]));

	if (!cpuid)
		fail("calloc");
	cpuid->nent = CPUID_ENTRIES;
	ASK(vm.kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
	for (unsigned i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == 1)
			cpuid->entries[i].ecx |= CPUID_1C_HYPERVISOR | CPUID_1C_TSC_DEADLINE;
	}
	ASK(vm.vcpu, KVM_SET_CPUID2, cpuid);
	free(cpuid);
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool wide)
{
	return (struct kvm_segment){
		.limit = UINT32_MAX, .selector = selector, .type = type, .present = 1, .s = 1, .g = 1, .l = wide, .db = !wide};
}

static void set_registers(uint64_t entry)
{
	struct kvm_regs registers = {.rip = entry, .rsi = PARAMS_GPA, .rflags = 2};
	struct kvm_sregs s;

	ASK(vm.vcpu, KVM_GET_SREGS, &s);
	s.cs = segment(BOOT_CS, 11, true);
	s.ds = s.es = s.fs = s.gs = s.ss = segment(BOOT_DS, 3, false);
	s.gdt.base = GDT_GPA;
	s.gdt.limit = 31;
	s.cr3 = TABLES_GPA;
	s.cr4 = 1u << 5;             /* PAE */
	s.cr0 = 1u << 31 | 0x31;     /* PG, NE, ET, PE */
	s.efer = 1u << 10 | 1u << 8; /* LMA, LME */
	ASK(vm.vcpu, KVM_SET_SREGS, &s);
	ASK(vm.vcpu, KVM_SET_REGS, &registers);
}

/* Until the console has shown what is waited for. False: the guest has ended otherwise. */
static bool run(void)
{
	size_t bytes = (size_t)ASK(vm.kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);
	struct kvm_run *run = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vm.vcpu, 0);

	if (run == MAP_FAILED)
		fail("mmap");
	while (!vm.seen) {
		if (ioctl(vm.vcpu, KVM_RUN, NULL) < 0 && errno != EINTR)
			fail("KVM_RUN");
		switch (run->exit_reason) {
		case KVM_EXIT_IO:
			if (!ports(run)) {
				fprintf(stderr, "linux: the guest resets the machine\n");
				return false;
			}
			break;
		case KVM_EXIT_MMIO:
			if (!run->mmio.is_write)
				memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
			break;
		case KVM_EXIT_INTR:
			break;
		default:
			fprintf(stderr, "linux: the guest ends by exit %u\n", run->exit_reason);
			return false;
		}
	}
	return true;
}

/* Of all VMs, of which there is this one. A line has a name and a number. */
static void write_stats(const char *path)
{
	FILE *out = fopen(path, "w");
	DIR *folder = opendir(STATS);
	const struct dirent *entry;

	if (!out)
		fail(path);
	if (!folder)
		fail(STATS);
	while ((entry = readdir(folder))) {
		char name[sizeof(STATS) + sizeof(entry->d_name)];
		unsigned long long value;
		FILE *in;

		snprintf(name, sizeof(name), STATS "/%s", entry->d_name);
		in = entry->d_type == DT_REG ? fopen(name, "r") : NULL;
		if (in && fscanf(in, "%llu", &value) == 1)
			fprintf(out, "%s %llu\n", entry->d_name, value);
		if (in)
			fclose(in);
	}
	closedir(folder);
	if (fclose(out))
		fail(path);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"memory", required_argument, NULL, 'm'},
	                                        {"initrd", required_argument, NULL, 'i'},
	                                        {"append", required_argument, NULL, 'a'},
	                                        {"until", required_argument, NULL, 'u'},
	                                        {"stats", required_argument, NULL, 's'},
	                                        {NULL, 0, NULL, 0}};
	const char *initrd = NULL, *stats = NULL, *words = "console=ttyS0 panic=-1";
	size_t memory = 128;
	bool seen;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'm': memory = strtoul(optarg, NULL, 10); break;
		case 'i': initrd = optarg; break;
		case 'a': words = optarg; break;
		case 'u': vm.until = optarg; break;
		case 's': stats = optarg; break;
		default: return 2;
		}
	}
	if (optind + 1 != argc || memory < 32 || memory > 1024) {
		fprintf(stderr, "usage: linux [--memory 32..1024] [--initrd FILE] [--append WORDS] [--until TEXT] [--stats FILE] KERNEL\n");
		return 2;
	}
	create(memory * MIB);
	set_cpuid();
	set_registers(load(argv[optind], initrd, words));
	seen = run();
	if (stats)
		write_stats(stats);
	return seen ? 0 : 1;
}
