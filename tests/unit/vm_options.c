/* SPDX-License-Identifier: BSD-2-Clause */
/* The visor's command line and modules: what is taken and what is refused, with the word at fault. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/unit.h"

#include <vmmu/types.h>

#include "visor/vm/options.h"

static struct boot_info boot;
static struct options options;
static char reason[256];

static bool read_line(const char *line, unsigned modules, const char *const *texts)
{
	memset(&boot, 0, sizeof(boot));
	boot.command_line = line;
	for (unsigned i = 0; i < modules; i++)
		boot.modules[boot.module_count++] = (struct boot_module){0x1000 * (i + 1), 0x1000 * (i + 1) + 10 + i, texts[i]};
	memset(reason, 0, sizeof(reason));
	return options_read(&boot, &options, reason, sizeof(reason));
}

static bool read_with_kernel(const char *line)
{
	static const char *const kernel[] = {"file vmmu:kernel"};

	return read_line(line, 1, kernel);
}

static void defaults(void **state)
{
	(void)state;
	assert_true(read_with_kernel(""));
	assert_int_equal(options.memory_bytes, 256u << 20);
	assert_int_equal(options.mmu, OPTIONS_MMU_AUTO);
	assert_int_equal(options.max_level, VMMU_LEVEL_2M);
	assert_false(options.trace || options.prealloc || options.test_device || options.require_isolation);
	assert_int_equal(options.fault_around, 0);
	assert_true(options.run_ahead);
	assert_false(options.nested || options.exit_at_end);
	assert_false(options.intercept_cr3 || options.intercept_invlpg);
	assert_string_equal(options.guest_command_line, "");
	assert_int_equal(options.kernel.size, 10);
}

static void every_word(void **state)
{
	(void)state;
	assert_true(read_with_kernel("/boot/visor=1.elf memory=1G mmu=npt page-size=1g trace=disk  prealloc=on "
	                             "test-device=on run-ahead=off require-isolation=on nested=on at-end=exit -- console=ttyS0 memory=x -- y"));
	assert_int_equal(options.memory_bytes, 1u << 30);
	assert_int_equal(options.mmu, OPTIONS_MMU_NPT);
	assert_int_equal(options.max_level, VMMU_LEVEL_1G);
	assert_true(options.trace && options.prealloc && options.test_device && options.require_isolation);
	assert_false(options.run_ahead);
	assert_true(options.nested && options.exit_at_end);
	assert_string_equal(options.guest_command_line, "console=ttyS0 memory=x -- y");
}

static void pages_around_a_fault(void **state)
{
	static const char *const bad[] = {"fault-around=", "fault-around=0", "fault-around=3", "fault-around=65", "fault-around=128",
	                                  "fault-around=016", "fault-around=-1", "fault-around=on"};
	char line[32];

	(void)state;
	for (unsigned log2 = 0; log2 <= 6; log2++) {
		snprintf(line, sizeof(line), "fault-around=%u", 1u << log2);
		assert_true(read_with_kernel(line));
		assert_int_equal(options.fault_around, log2);
	}
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(read_with_kernel(bad[i]));
}

static void intercepts(void **state)
{
	static const char *const bad[] = {"intercept=", "intercept=cr3,", "intercept=,invlpg", "intercept=cr0", "intercept=cr3;invlpg"};

	(void)state;
	assert_true(read_with_kernel("intercept=cr3"));
	assert_true(options.intercept_cr3 && !options.intercept_invlpg);
	assert_true(read_with_kernel("intercept=invlpg"));
	assert_true(!options.intercept_cr3 && options.intercept_invlpg);
	assert_true(read_with_kernel("intercept=cr3,invlpg trace=off"));
	assert_true(options.intercept_cr3 && options.intercept_invlpg);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(read_with_kernel(bad[i]));
}

static void sizes(void **state)
{
	static const struct {
		const char *line;
		uint64_t bytes;
	} good[] = {
		{"memory=2M", 2 << 20},
		{"memory=0x400000", 4 << 20},
		{"memory=4096K", 4 << 20},
		{"memory=8388608", 8 << 20},
		{"memory=1024G", 1ull << 40},
	};
	static const char *const bad[] = {
		"memory=",
		"memory=M",
		"memory=1M",
		"memory=3000001",
		"memory=1025G",
		"memory=64X",
		"memory=64MM",
		"memory=99999999999999999999",
		"memory=18446744073709551615G",
		"memory=-1",
		"memory=0x",
		"memory=64 M",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(read_with_kernel(good[i].line));
		assert_int_equal(options.memory_bytes, good[i].bytes);
	}
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(read_with_kernel(bad[i]));
}

static void names_the_word(void **state)
{
	(void)state;
	assert_false(read_with_kernel("visor.elf memroy=64M"));
	assert_non_null(strstr(reason, "\"memroy=64M\""));
	assert_false(read_with_kernel("visor.elf page-size=3m trace=off"));
	assert_non_null(strstr(reason, "\"page-size=3m\""));
	assert_false(read_with_kernel("mmu=ep"));
	assert_non_null(strstr(reason, "\"mmu=ep\""));
	assert_false(read_with_kernel("trace=disks"));
}

static void roles(void **state)
{
	static const char *const all[] = {"/a vmmu:module /m1 x y", "vmmu:kernel", "/c vmmu:initrd", "vmmu:module"};
	static const char *const inner[] = {"vmmu:kernel", "/k vmmu:module vmmu:kernel k", "vmmu:module vmmu:initrd"};

	(void)state;
	assert_true(read_line("", 3, inner)); /* the guest is a visor: its own modules' roles are not ours */
	assert_int_equal((uintptr_t)options.kernel.bytes, 0x1000);
	assert_null(options.initrd.bytes);
	assert_string_equal(options.modules[0].command_line, "vmmu:kernel k");
	assert_string_equal(options.modules[1].command_line, "vmmu:initrd");
	assert_true(read_line("", 4, all));
	assert_int_equal((uintptr_t)options.kernel.bytes, 0x2000);
	assert_int_equal((uintptr_t)options.initrd.bytes, 0x3000);
	assert_int_equal(options.module_count, 2);
	assert_string_equal(options.modules[0].command_line, "/m1 x y");
	assert_string_equal(options.modules[1].command_line, "");
	assert_int_equal(options.modules[1].size, 13);
}

static void wrong_roles(void **state)
{
	static const char *const two[] = {"vmmu:kernel", "x vmmu:kernel"};
	static const char *const initrds[] = {"vmmu:initrd", "vmmu:initrd", "vmmu:kernel"};
	static const char *const none[] = {"vmmu:kernel", "kernel"};
	static const char *const part[] = {"vmmu:kernels"};
	const char *many[BOOT_MAX_MODULES];

	(void)state;
	assert_false(read_line("", 2, two));
	assert_false(read_line("", 3, initrds));
	assert_false(read_line("", 2, none));
	assert_non_null(strstr(reason, "\"kernel\""));
	assert_false(read_line("", 1, part));
	assert_false(read_line("", 0, NULL));
	assert_non_null(strstr(reason, "vmmu:kernel"));
	for (unsigned i = 0; i < BOOT_MAX_MODULES; i++)
		many[i] = "vmmu:module";
	assert_false(read_line("", BOOT_MAX_MODULES, many));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(every_word),
		cmocka_unit_test(pages_around_a_fault),
		cmocka_unit_test(intercepts),
		cmocka_unit_test(sizes),
		cmocka_unit_test(names_the_word),
		cmocka_unit_test(roles),
		cmocka_unit_test(wrong_roles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
