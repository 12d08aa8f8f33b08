/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiboot kernels with load addresses, ELF kernels of both classes, and what is wrong with others. */
#include <elf.h>

#include "tests/unit/load_fixture.h"

#define HEADER_OFFSET 64
#define LOAD_ADDRESS 0x200000u
#define IMAGE_BYTES 4096u
#define MULTIBOOT_MAGIC 0x1badb002u

static uint8_t image[IMAGE_BYTES];

static void put_header(uint8_t *at, uint32_t flags)
{
	put32(at, MULTIBOOT_MAGIC);
	put32(at + 4, flags);
	put32(at + 8, -(MULTIBOOT_MAGIC + flags));
}

/* A flat image whose header gives its addresses; 8 KiB of bss behind it. */
static struct guest *flat_guest(uint64_t memory)
{
	struct guest *g = guest_new(memory);

	for (unsigned i = 0; i < IMAGE_BYTES; i++)
		image[i] = i * 5 + 3;
	put_header(image + HEADER_OFFSET, 1u << 16 | 3);
	put32(image + HEADER_OFFSET + 12, LOAD_ADDRESS + HEADER_OFFSET);
	put32(image + HEADER_OFFSET + 16, LOAD_ADDRESS);
	put32(image + HEADER_OFFSET + 20, LOAD_ADDRESS + IMAGE_BYTES);
	put32(image + HEADER_OFFSET + 24, LOAD_ADDRESS + IMAGE_BYTES + 8192);
	put32(image + HEADER_OFFSET + 28, LOAD_ADDRESS + 256);
	g->request.kernel = blob(image, sizeof(image));
	return g;
}

static void machine_state(void **state)
{
	struct guest *g = flat_guest(16 * MIB);
	const struct x86_cpu_state *cpu = &g->result.cpu;

	(void)state;
	expect_loaded(g, LOAD_MULTIBOOT);
	assert_int_equal(cpu->rip, LOAD_ADDRESS + 256);
	assert_int_equal(cpu->gpr[X86_RAX], 0x2badb002);
	assert_int_equal(cpu->cr0 & (X86_CR0_PE | X86_CR0_PG), X86_CR0_PE);
	assert_int_equal(cpu->rflags, 2);
	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++) {
		assert_int_equal(cpu->segment[i].base, 0);
		assert_int_equal(cpu->segment[i].limit, 0xffffffff);
	}
	assert_memory_equal(g->memory + LOAD_ADDRESS, image, IMAGE_BYTES);
	/* As qemu -kernel has them, for kernels that load a GDT of their own and do not jump (xv6). */
	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		assert_int_equal(cpu->segment[i].selector, i == X86_CS ? 0x08 : 0x10);
	assert_true(get64(g->memory + cpu->gdtr.base + 0x08) == 0x00cf9b000000ffff);
	assert_true(get64(g->memory + cpu->gdtr.base + 0x10) == 0x00cf93000000ffff);
	guest_free(g);
}

/* The command line begins with the image's name, whether there are other words or not. */
static void names(void **state)
{
	static const uint8_t initrd[3] = {1};
	struct guest *g = flat_guest(16 * MIB);
	const uint8_t *info;

	(void)state;
	g->request.initrd = blob(initrd, sizeof(initrd));
	expect_loaded(g, LOAD_MULTIBOOT);
	info = g->memory + g->result.cpu.gpr[X86_RBX];
	assert_string_equal((char *)g->memory + get32(info + 16), "kernel");
	assert_string_equal((char *)g->memory + get32(g->memory + get32(info + 24) + 8), "initrd");
	g->request.kernel.name = "xen-4.17.gz";
	g->request.initrd.name = "vmlinuz";
	g->request.command_line = "";
	expect_loaded(g, LOAD_MULTIBOOT);
	info = g->memory + g->result.cpu.gpr[X86_RBX];
	assert_string_equal((char *)g->memory + get32(info + 16), "xen-4.17.gz");
	assert_string_equal((char *)g->memory + get32(g->memory + get32(info + 24) + 8), "vmlinuz");
	g->request.command_line = "dom0_mem=64M com1=115200";
	expect_loaded(g, LOAD_MULTIBOOT);
	info = g->memory + g->result.cpu.gpr[X86_RBX];
	assert_string_equal((char *)g->memory + get32(info + 16), "xen-4.17.gz dom0_mem=64M com1=115200");
	guest_free(g);
}

/* Where a module lies must be nobody else's. */
static void assert_apart(uint32_t start, uint32_t end, uint32_t other_start, uint32_t other_end)
{
	assert_true(end <= other_start || other_end <= start);
}

static void information(void **state)
{
	static const uint8_t first[5000] = {11}, second[3] = {22, 23, 24};
	struct guest *g = flat_guest(16 * MIB);
	const uint8_t *info, *list, *map;
	uint64_t ram = 0;

	(void)state;
	g->request.command_line = "kernel words";
	g->request.initrd = blob(first, sizeof(first));
	g->request.modules[0] = blob(second, sizeof(second));
	g->request.modules[0].command_line = "module words";
	g->request.module_count = 1;
	expect_loaded(g, LOAD_MULTIBOOT);
	info = g->memory + g->result.cpu.gpr[X86_RBX];
	assert_int_equal(get32(info), 1 | 4 | 8 | 64 | 512);
	assert_int_equal(get32(info + 4), 639);
	assert_int_equal(get32(info + 8), 15 * 1024);
	assert_string_equal((char *)g->memory + get32(info + 16), "kernel kernel words");
	assert_string_equal((char *)g->memory + get32(info + 64), "vmmu");

	assert_int_equal(get32(info + 20), 2);
	list = g->memory + get32(info + 24);
	assert_int_equal(get32(list + 4) - get32(list), sizeof(first));
	assert_memory_equal(g->memory + get32(list), first, sizeof(first));
	assert_string_equal((char *)g->memory + get32(list + 8), "initrd");
	assert_int_equal(get32(list + 16) % 4096, 0);
	assert_memory_equal(g->memory + get32(list + 16), second, sizeof(second));
	assert_string_equal((char *)g->memory + get32(list + 24), "module words");
	assert_apart(get32(list), get32(list + 4), get32(list + 16), get32(list + 20));
	assert_apart(get32(list), get32(list + 4), LOAD_ADDRESS, LOAD_ADDRESS + IMAGE_BYTES + 8192);

	map = g->memory + get32(info + 48);
	for (uint32_t at = 0; at < get32(info + 44); at += get32(map + at) + 4)
		if (get32(map + at + 20) == 1)
			ram += get64(map + at + 12);
	assert_true(ram == 16 * MIB - (GUEST_FIRMWARE_END - GUEST_EBDA));
	guest_free(g);
}

static void bad_addresses(void **state)
{
	struct guest *g = flat_guest(16 * MIB);

	(void)state;
	put32(image + HEADER_OFFSET + 20, LOAD_ADDRESS + IMAGE_BYTES + 1);
	expect_refused(g, "multiboot kernel is cut short: its header promises 4097 bytes, 4096 are there");
	put32(image + HEADER_OFFSET + 20, LOAD_ADDRESS);
	expect_refused(g, "multiboot load addresses end at 0x200000, before they begin at 0x200000");
	put32(image + HEADER_OFFSET + 20, 0);
	put32(image + HEADER_OFFSET + 24, LOAD_ADDRESS + 16);
	expect_refused(g, "multiboot bss ends at 0x200010, before the data at 0x201000");
	put32(image + HEADER_OFFSET + 24, LOAD_ADDRESS + 15 * MIB);
	expect_refused(g, "multiboot kernel of 15 MiB at 0x200000 does not fit in 16 MiB of guest memory");
	put32(image + HEADER_OFFSET + 24, 0);
	put32(image + HEADER_OFFSET + 28, LOAD_ADDRESS + IMAGE_BYTES);
	expect_refused(g, "multiboot entry point 0x201000 lies outside the kernel");
	put32(image + HEADER_OFFSET + 12, LOAD_ADDRESS + HEADER_OFFSET + 4);
	expect_refused(g, "multiboot header at 0x200044 does not fit a load address of 0x200000");
	guest_free(g);
}

static void bad_requests(void **state)
{
	struct guest *g = flat_guest(16 * MIB);
	uint8_t *module = calloc(1, 14 * MIB);

	(void)state;
	g->request.initrd = blob(module, 14 * MIB);
	expect_refused(g, "initrd of 14 MiB does not fit in 16 MiB of guest memory");
	g->request.initrd.size = 0;
	g->request.module_count = LOAD_MAX_MODULES + 1;
	expect_refused(g, "17 modules given; 16 are possible");
	put_header(image + HEADER_OFFSET, 1u << 16 | 8);
	expect_refused(g, "multiboot kernel requires unknown features 0x8");
	put_header(image + HEADER_OFFSET, 0);
	expect_refused(g, "multiboot kernel is not an ELF file and gives no load addresses");
	image[HEADER_OFFSET + 8]++;
	expect_refused(g, "kernel is not a Linux bzImage, a multiboot image or an ELF file");
	free(module);
	guest_free(g);
}

/* ---- ELF --------------------------------------------------------------------------- */

#define ELF_DATA 512
#define ELF_FILE_BYTES 100
#define ELF_MEMORY_BYTES 8192
#define ELF_PADDR 0x300000u
#define ELF_VADDR32 0xc0300000u
#define ELF_VADDR64 0xffffffff80300000u

static void make_elf32(void)
{
	Elf32_Ehdr h = {
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = EM_386,
		.e_entry = ELF_VADDR32 + 16,
		.e_phoff = 64,
		.e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = 1,
	};
	Elf32_Phdr p = {
		.p_type = PT_LOAD,
		.p_offset = ELF_DATA,
		.p_vaddr = ELF_VADDR32,
		.p_paddr = ELF_PADDR,
		.p_filesz = ELF_FILE_BYTES,
		.p_memsz = ELF_MEMORY_BYTES,
	};

	memset(image, 0xee, sizeof(image));
	memcpy(image, &h, sizeof(h));
	memcpy(image + 64, &p, sizeof(p));
}

static void make_elf64(void)
{
	Elf64_Ehdr h = {
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_entry = ELF_VADDR64 + 16,
		.e_phoff = 64,
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 1,
	};
	Elf64_Phdr p = {
		.p_type = PT_LOAD,
		.p_offset = ELF_DATA,
		.p_vaddr = ELF_VADDR64,
		.p_paddr = ELF_PADDR,
		.p_filesz = ELF_FILE_BYTES,
		.p_memsz = ELF_MEMORY_BYTES,
	};

	memset(image, 0xee, sizeof(image));
	memcpy(image, &h, sizeof(h));
	memcpy(image + 64, &p, sizeof(p));
}

static struct guest *elf_guest(void (*make)(void))
{
	struct guest *g = guest_new(16 * MIB);

	make();
	g->request.kernel = blob(image, sizeof(image));
	return g;
}

/* The entry point is where the byte at the entry's virtual address was loaded. */
static void elf32(void **state)
{
	struct guest *g = elf_guest(make_elf32);

	(void)state;
	expect_loaded(g, LOAD_ELF32);
	assert_int_equal(g->result.cpu.rip, ELF_PADDR + 16);
	assert_int_equal(g->result.cpu.gpr[X86_RAX], 0);
	assert_int_equal(g->result.cpu.efer, 0);
	assert_memory_equal(g->memory + ELF_PADDR, image + ELF_DATA, ELF_FILE_BYTES);
	assert_int_equal(g->memory[ELF_PADDR + ELF_FILE_BYTES], 0);
	assert_int_equal(guest32(g, g->result.cpu.gpr[X86_RBX]) & 1, 1);

	put_header(image + 256, 3);
	expect_loaded(g, LOAD_MULTIBOOT);
	assert_int_equal(g->result.cpu.gpr[X86_RAX], 0x2badb002);
	assert_int_equal(g->result.cpu.rip, ELF_PADDR + 16);
	guest_free(g);
}

/* Long mode: walk the tables that the loader wrote, as the CPU will. */
static void elf64(void **state)
{
	struct guest *g = elf_guest(make_elf64);
	const struct x86_cpu_state *cpu = &g->result.cpu;

	(void)state;
	expect_loaded(g, LOAD_ELF64);
	assert_int_equal(cpu->rip, ELF_PADDR + 16);
	assert_int_equal(cpu->efer, X86_EFER_LME | X86_EFER_LMA);
	assert_int_equal(cpu->cr0, X86_CR0_PE | X86_CR0_ET | X86_CR0_PG);
	assert_int_equal(cpu->cr4, X86_CR4_PAE);
	assert_int_equal(cpu->segment[X86_CS].access, 0xa09b);
	assert_int_equal(cpu->gpr[X86_RSP] % 16, 8);
	for (uint64_t gva = 0; gva < 4ull << 30; gva += 2 * MIB) {
		uint64_t e4 = get64(g->memory + cpu->cr3), e3 = get64(g->memory + (e4 & ~4095ull) + 8 * (gva >> 30));
		uint64_t e2 = get64(g->memory + (e3 & ~4095ull) + 8 * (gva >> 21 & 511));

		assert_int_equal(e4 & 3, 3);
		assert_int_equal(e3 & 3, 3);
		assert_true(e2 == (gva | 0x83));
	}
	guest_free(g);
}

static Elf64_Phdr *segment64(void)
{
	return (Elf64_Phdr *)(void *)(image + 64);
}

static void bad_elf(void **state)
{
	struct guest *g = elf_guest(make_elf64);
	Elf64_Ehdr *h = (Elf64_Ehdr *)(void *)image;

	(void)state;
	h->e_machine = EM_AARCH64;
	expect_refused(g, "ELF file is for machine 183, not for x86");
	make_elf64();
	h->e_type = ET_DYN;
	expect_refused(g, "ELF file of type 3 is not an executable with fixed addresses");
	make_elf64();
	h->e_ident[EI_DATA] = ELFDATA2MSB;
	expect_refused(g, "ELF file is not little endian");
	make_elf64();
	h->e_ident[EI_CLASS] = 3;
	expect_refused(g, "ELF file has unknown class 3");
	make_elf64();
	h->e_phnum = 65;
	expect_refused(g, "ELF file has 65 program headers; 1 to 64 are possible");
	make_elf64();
	h->e_phoff = IMAGE_BYTES - 8;
	expect_refused(g, "ELF file is cut short: program headers at 4088, file has 4096 bytes");
	make_elf64();
	h->e_phentsize = 8;
	expect_refused(g, "ELF program headers of 8 bytes are too small");
	make_elf64();
	h->e_entry = 0x1000;
	expect_refused(g, "ELF entry point 0x1000 lies in no segment");
	guest_free(g);
}

static void bad_segments(void **state)
{
	struct guest *g = elf_guest(make_elf64);

	(void)state;
	segment64()->p_filesz = ELF_MEMORY_BYTES + 1;
	expect_refused(g, "ELF segment at 0x300000 has more bytes in the file than in memory");
	make_elf64();
	segment64()->p_offset = IMAGE_BYTES - 99;
	expect_refused(g, "ELF file is cut short: segment at 0x300000 ends beyond the file's 4096 bytes");
	make_elf64();
	segment64()->p_memsz = 14 * MIB;
	expect_refused(g, "ELF segment of 14 MiB at 0x300000 does not fit in 16 MiB of guest memory");
	make_elf64();
	segment64()->p_paddr = UINT64_MAX - 16;
	expect_refused(g, "ELF segment of 1 MiB at 0xffffffffffffffef does not fit in 16 MiB of guest memory");
	make_elf64();
	segment64()->p_paddr = 0x9e000; /* runs into the EBDA */
	expect_refused(g, "ELF segment of 1 MiB at 0x9e000 does not fit in 16 MiB of guest memory");
	guest_free(g);
}

/* A kernel may sit where the loader's own structures would go: those move. */
static void low_kernel(void **state)
{
	struct guest *g = elf_guest(make_elf32);
	Elf32_Phdr *p = (Elf32_Phdr *)(void *)(image + 64);

	(void)state;
	p->p_paddr = 0x1000;
	p->p_memsz = 0x90000;
	expect_loaded(g, LOAD_ELF32);
	assert_true(g->result.cpu.gpr[X86_RBX] >= 0x91000);
	assert_true(g->result.cpu.gdtr.base >= 0x91000);
	assert_memory_equal(g->memory + 0x1000, image + ELF_DATA, ELF_FILE_BYTES);
	guest_free(g);
}

static void every_length(void **state)
{
	struct guest *g = elf_guest(make_elf64);

	(void)state;
	for (size_t n = 0; n < ELF_DATA + ELF_FILE_BYTES; n++) {
		uint8_t *copy = malloc(n ? n : 1);

		memcpy(copy, image, n);
		g->request.kernel = blob(copy, n);
		assert_false(load_guest(&g->request, &g->result));
		free(copy);
	}
	guest_free(g);
}

static void kind_names(void **state)
{
	(void)state;
	assert_string_equal(load_kind_name(LOAD_LINUX), "linux");
	assert_string_equal(load_kind_name(LOAD_MULTIBOOT), "multiboot");
	assert_string_equal(load_kind_name(LOAD_ELF32), "elf32");
	assert_string_equal(load_kind_name(LOAD_ELF64), "elf64");
	assert_string_equal(load_kind_name(LOAD_UNKNOWN), "unknown");
}

static unsigned writes_left;

static bool write_until(void *ctx, uint64_t gpa, const void *bytes, size_t n)
{
	return writes_left-- && guest_write(ctx, gpa, bytes, n);
}

/* The host runs out of frames at the first write, at the second, and so on to the last. */
static unsigned count_refused_writes(struct guest *g)
{
	unsigned n = 0;

	g->request.write = write_until;
	for (;; n++) {
		writes_left = n;
		if (load_guest(&g->request, &g->result))
			return n;
		if (strncmp(g->result.reason, "no host memory for the guest's image at 0x", 42))
			fail_msg("%s", g->result.reason);
	}
}

static void no_host_memory(void **state)
{
	static const uint8_t module[10];
	struct guest *g = elf_guest(make_elf64);

	(void)state;
	g->request.initrd = blob(module, sizeof(module));
	g->request.modules[0] = blob(module, sizeof(module));
	g->request.module_count = 1;
	assert_true(count_refused_writes(g) > 25); /* every one was refused in turn */
	guest_free(g);
}

static void two_segments(struct guest *g, uint64_t low, uint64_t low_end, uint64_t high, uint64_t high_end)
{
	Elf64_Phdr *p = segment64();

	make_elf64();
	((Elf64_Ehdr *)(void *)image)->e_phnum = 3;
	p[1] = p[0];
	p[2] = (Elf64_Phdr){.p_type = PT_NOTE, .p_paddr = UINT64_MAX}; /* not loaded, not looked at */
	p[0].p_paddr = low;
	p[0].p_memsz = low_end - low;
	p[1].p_paddr = high;
	p[1].p_memsz = high_end - high;
	g->request.kernel = blob(image, sizeof(image));
}

/* Kernels that leave little room: the loader's own structures move up, or say that they cannot. */
static void crowded_memory(void **state)
{
	struct guest *g = elf_guest(make_elf64);

	(void)state;
	two_segments(g, 0x1000, GUEST_EBDA, MIB, 15 * MIB);
	expect_loaded(g, LOAD_ELF64);
	assert_true(g->result.cpu.cr3 >= 15 * MIB);
	assert_true(g->result.cpu.gdtr.base >= 15 * MIB);
	two_segments(g, 0x1000, GUEST_EBDA, MIB, 16 * MIB);
	expect_refused(g, "multiboot information of 1 MiB does not fit in 16 MiB of guest memory");
	two_segments(g, 0x1000, GUEST_EBDA, MIB, 16 * MIB - 0x2000);
	expect_refused(g, "kernel leaves no room for page tables in guest memory");
	two_segments(g, 0x1000, GUEST_EBDA, MIB, 16 * MIB - 0x8000);
	expect_refused(g, "kernel leaves no room for a stack in guest memory");
	guest_free(g);
}

/* e_entry may be a physical address; linked for paging on, as Linux' vmlinux is. */
static void physical_entry(void **state)
{
	struct guest *g = elf_guest(make_elf64);

	(void)state;
	((Elf64_Ehdr *)(void *)image)->e_entry = ELF_PADDR + 32;
	expect_loaded(g, LOAD_ELF64);
	assert_int_equal(g->result.entry, ELF_PADDR + 32);
	guest_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(machine_state),
		cmocka_unit_test(names),
		cmocka_unit_test(information),
		cmocka_unit_test(bad_addresses),
		cmocka_unit_test(bad_requests),
		cmocka_unit_test(elf32),
		cmocka_unit_test(elf64),
		cmocka_unit_test(bad_elf),
		cmocka_unit_test(bad_segments),
		cmocka_unit_test(low_kernel),
		cmocka_unit_test(every_length),
		cmocka_unit_test(kind_names),
		cmocka_unit_test(no_host_memory),
		cmocka_unit_test(crowded_memory),
		cmocka_unit_test(physical_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
