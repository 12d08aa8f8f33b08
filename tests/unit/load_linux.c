/* SPDX-License-Identifier: BSD-2-Clause */
/* bzImages, good and bad, built here field by field from the boot protocol. */
#include "tests/unit/load_fixture.h"

#define SETUP_SECTORS 3
#define SETUP_BYTES ((SETUP_SECTORS + 1) * 512)
#define CODE_BYTES 8192
#define IMAGE_BYTES (SETUP_BYTES + CODE_BYTES)
#define PREF_ADDRESS (16 * MIB)
#define INIT_SIZE (4 * MIB)

static uint8_t image[IMAGE_BYTES];

static void make_image(void)
{
	memset(image, 0, sizeof(image));
	image[0x1f1] = SETUP_SECTORS;
	put32(image + 0x1f4, CODE_BYTES / 16);
	put16(image + 0x1fe, 0xaa55);
	image[0x200] = 0xeb;
	image[0x201] = 0x6a;
	put32(image + 0x202, 0x53726448);
	put16(image + 0x206, 0x20f);
	image[0x211] = 1;
	put32(image + 0x214, 0x100000);
	put32(image + 0x22c, 0x7fffffff);
	image[0x234] = 1;
	put32(image + 0x238, 2047);
	put64(image + 0x258, PREF_ADDRESS);
	put32(image + 0x260, INIT_SIZE);
	for (unsigned i = 0; i < CODE_BYTES; i++)
		image[SETUP_BYTES + i] = i * 7 + 1;
}

static struct guest *linux_guest(uint64_t memory)
{
	struct guest *g = guest_new(memory);

	make_image();
	g->request.kernel = blob(image, sizeof(image));
	return g;
}

/* Entry state of the 32-bit boot protocol. */
static void entry_state(void **state)
{
	struct guest *g = linux_guest(64 * MIB);
	const struct x86_cpu_state *cpu = &g->result.cpu;
	const uint8_t *gdt;

	(void)state;
	expect_loaded(g, LOAD_LINUX);
	assert_int_equal(g->result.entry, PREF_ADDRESS);
	assert_int_equal(cpu->rip, PREF_ADDRESS);
	assert_int_equal(cpu->rflags, 2);
	assert_int_equal(cpu->cr0, X86_CR0_PE | X86_CR0_ET);
	assert_int_equal(cpu->efer, 0);
	assert_int_equal(cpu->gpr[X86_RBP] | cpu->gpr[X86_RDI] | cpu->gpr[X86_RBX], 0);
	assert_int_equal(cpu->segment[X86_CS].selector, 0x10);
	assert_int_equal(cpu->segment[X86_CS].access, 0xc09b);
	assert_int_equal(cpu->segment[X86_CS].limit, 0xffffffff);
	assert_int_equal(cpu->segment[X86_SS].selector, 0x18);
	assert_int_equal(cpu->segment[X86_DS].access, 0xc093);
	gdt = g->memory + cpu->gdtr.base;
	assert_true(get64(gdt + 0x10) == 0x00cf9b000000ffff);
	assert_true(get64(gdt + 0x18) == 0x00cf93000000ffff);
	assert_memory_equal(g->memory + PREF_ADDRESS, image + SETUP_BYTES, CODE_BYTES);
	guest_free(g);
}

static void zero_page(void **state)
{
	static const uint8_t initrd[5000] = {1, 2, 3};
	struct guest *g = linux_guest(64 * MIB);
	const uint8_t *page;
	uint64_t sum = 0;

	(void)state;
	g->request.command_line = "console=ttyS0 panic=-1";
	g->request.initrd = blob(initrd, sizeof(initrd));
	expect_loaded(g, LOAD_LINUX);
	page = g->memory + g->result.cpu.gpr[X86_RSI];
	assert_int_equal(get32(page + 0x202), 0x53726448);
	assert_int_equal(page[0x210], 0xff);
	assert_string_equal((char *)g->memory + get32(page + 0x228), "console=ttyS0 panic=-1");
	assert_int_equal(get32(page + 0x21c), sizeof(initrd));
	assert_int_equal(get32(page + 0x218) % 4096, 0);
	assert_memory_equal(g->memory + get32(page + 0x218), initrd, sizeof(initrd));
	assert_memory_equal(g->memory + get64(page + 0x070), "RSD PTR ", 8);
	for (unsigned i = 0; i < page[0x1e8]; i++)
		if (get32(page + 0x2d0 + 20 * i + 16) == GUEST_MEMORY_RAM)
			sum += get64(page + 0x2d0 + 20 * i + 8);
	assert_true(sum == 64 * MIB - (GUEST_FIRMWARE_END - GUEST_EBDA));
	guest_free(g);
}

/* The highest place below both the end of memory and the kernel's own limit. */
static void initrd_limit(void **state)
{
	static const uint8_t initrd[5000];
	struct guest *g = linux_guest(64 * MIB);

	(void)state;
	put32(image + 0x22c, 0x1ffffff);
	g->request.initrd = blob(initrd, sizeof(initrd));
	expect_loaded(g, LOAD_LINUX);
	assert_int_equal(guest32(g, g->result.cpu.gpr[X86_RSI] + 0x218), 0x2000000 - 8192);
	guest_free(g);
}

/* Without relocation the kernel goes where code32_start says. */
static void fixed_address(void **state)
{
	struct guest *g = linux_guest(64 * MIB);

	(void)state;
	image[0x234] = 0;
	expect_loaded(g, LOAD_LINUX);
	assert_int_equal(g->result.entry, 0x100000);
	guest_free(g);
}

static void initrd_too_large(void **state)
{
	struct guest *g = linux_guest(32 * MIB);
	uint8_t *initrd = calloc(1, 45 * MIB);

	(void)state;
	g->request.initrd = blob(initrd, 45 * MIB);
	expect_refused(g, "initrd of 45 MiB does not fit in 32 MiB of guest memory "
	                  "(the kernel takes the first 20 MiB)");
	g->request.initrd.size = 12 * MIB + 1;
	expect_refused(g, "initrd of 13 MiB does not fit in 32 MiB of guest memory "
	                  "(the kernel takes the first 20 MiB)");
	g->request.initrd.size = 12 * MIB;
	expect_loaded(g, LOAD_LINUX);
	free(initrd);
	guest_free(g);
}

static void kernel_too_large(void **state)
{
	struct guest *g = linux_guest(16 * MIB);

	(void)state;
	expect_refused(g, "Linux kernel of 4 MiB at 0x1000000 does not fit in 16 MiB of guest memory");
	guest_free(g);
}

static void cut_short(void **state)
{
	struct guest *g = linux_guest(64 * MIB);

	(void)state;
	g->request.kernel.size = IMAGE_BYTES - 16;
	expect_refused(g, "Linux kernel is cut short: its header promises 10240 bytes, 10224 are there");
	g->request.kernel.size = 0x280;
	expect_refused(g, "Linux kernel is cut short inside its setup header, after 640 bytes");
	guest_free(g);
}

/* syssize counts 16 bytes, rounded up: an image need not fill the last of them (memtest86+, iPXE). */
static void last_unit_not_whole(void **state)
{
	struct guest *g = linux_guest(64 * MIB);

	(void)state;
	for (unsigned missing = 1; missing < 16; missing++) {
		uint8_t *copy = malloc(IMAGE_BYTES - missing); /* not a byte more may be read */

		memcpy(copy, image, IMAGE_BYTES - missing);
		g->request.kernel = blob(copy, IMAGE_BYTES - missing);
		memset(g->memory + PREF_ADDRESS, 0, CODE_BYTES);
		expect_loaded(g, LOAD_LINUX);
		assert_memory_equal(g->memory + PREF_ADDRESS, image + SETUP_BYTES, CODE_BYTES - missing);
		assert_int_equal(g->memory[PREF_ADDRESS + CODE_BYTES - 1], 0);
		free(copy);
	}
	guest_free(g);
}

/* A program for real mode in a bzImage's clothes (iPXE). */
static void no_32_bit_entry(void **state)
{
	struct guest *g = linux_guest(64 * MIB);

	(void)state;
	put16(image + 0x206, 0x207);
	put32(image + 0x214, 0);
	expect_refused(g, "Linux kernel image has no 32-bit entry point: it starts in real mode and calls the "
	                  "BIOS, and there is none");
	guest_free(g);
}

static void bad_headers(void **state)
{
	struct guest *g = linux_guest(64 * MIB);

	(void)state;
	put16(image + 0x206, 0x205);
	expect_refused(g, "Linux kernel speaks boot protocol 2.05; 2.06 is the oldest supported");
	make_image();
	image[0x211] = 0;
	expect_refused(g, "Linux kernel is a zImage, which loads below 1 MiB; a bzImage is needed");
	make_image();
	put32(image + 0x1f4, 0);
	expect_refused(g, "Linux kernel's header gives its code a size of 0");
	make_image();
	put64(image + 0x258, UINT64_MAX - 4096);
	expect_refused(g, "Linux kernel of 4 MiB at 0xffffffffffffefff does not fit in 64 MiB of guest memory");
	guest_free(g);
}

static void command_line_too_long(void **state)
{
	struct guest *g = linux_guest(64 * MIB);
	char text[2050] = {0};

	(void)state;
	memset(text, 'x', 2048);
	g->request.command_line = text;
	expect_refused(g, "command line of 2048 bytes is longer than the 2047 that this kernel takes");
	text[2047] = 0;
	expect_loaded(g, LOAD_LINUX);
	guest_free(g);
}

static void modules(void **state)
{
	struct guest *g = linux_guest(64 * MIB);

	(void)state;
	g->request.module_count = 1;
	expect_refused(g, "a Linux kernel takes an initrd, but no multiboot modules");
	guest_free(g);
}

static void guest_memory_sizes(void **state)
{
	struct guest *g = linux_guest(64 * MIB);

	(void)state;
	g->request.memory_bytes = 64 * MIB + 1;
	expect_refused(g, "guest memory of 67108865 bytes is not a multiple of 4096");
	g->request.memory_bytes = MIB;
	expect_refused(g, "guest memory of 1024 KiB is too little: 2 MiB is the least");
	g->request.memory_bytes = 64 * MIB;
	g->request.cpus = 17;
	expect_refused(g, "17 CPUs asked for; 1 to 16 are possible");
	guest_free(g);
}

static void not_a_kernel(void **state)
{
	struct guest *g = linux_guest(64 * MIB);
	uint8_t raw[1024] = {0};

	(void)state;
	g->request.kernel = blob(raw, sizeof(raw));
	expect_refused(g, "kernel is not a Linux bzImage, a multiboot image or an ELF file");
	g->request.kernel = blob(raw, 1);
	expect_refused(g, "kernel is not a Linux bzImage, a multiboot image or an ELF file");
	g->request.kernel = blob(raw, 0);
	expect_refused(g, "kernel is empty");
	guest_free(g);
}

/* Every length from nothing to whole: never a read beyond the image (the sanitizer watches). */
static void every_length(void **state)
{
	struct guest *g = linux_guest(64 * MIB);

	(void)state;
	for (size_t n = 0; n <= IMAGE_BYTES - 16; n += 7) {
		uint8_t *copy = malloc(n ? n : 1);

		memcpy(copy, image, n);
		g->request.kernel = blob(copy, n);
		assert_false(load_guest(&g->request, &g->result));
		assert_true(g->result.reason[0]);
		free(copy);
	}
	guest_free(g);
}

/* RAM above the device hole continues at 4 GiB. */
static void large_memory_map(void **state)
{
	struct guest_memory_range r[GUEST_MEMORY_RANGES];
	unsigned n = guest_memory_map(5ull << 30, r);

	(void)state;
	assert_int_equal(n, 5);
	assert_true(r[3].base == MIB && r[3].base + r[3].bytes == GUEST_DEVICE_HOLE_BASE);
	assert_true(r[4].base == GUEST_HIGH_BASE && r[4].bytes == 2ull << 30);
	n = guest_memory_slots(5ull << 30, r);
	assert_int_equal(n, 3);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal((r[i].base | r[i].bytes) % 4096, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entry_state),
		cmocka_unit_test(zero_page),
		cmocka_unit_test(initrd_limit),
		cmocka_unit_test(fixed_address),
		cmocka_unit_test(initrd_too_large),
		cmocka_unit_test(kernel_too_large),
		cmocka_unit_test(cut_short),
		cmocka_unit_test(last_unit_not_whole),
		cmocka_unit_test(no_32_bit_entry),
		cmocka_unit_test(bad_headers),
		cmocka_unit_test(command_line_too_long),
		cmocka_unit_test(modules),
		cmocka_unit_test(guest_memory_sizes),
		cmocka_unit_test(not_a_kernel),
		cmocka_unit_test(every_length),
		cmocka_unit_test(large_memory_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
