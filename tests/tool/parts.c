/* SPDX-License-Identifier: BSD-2-Clause */
/* The small parts of the command: numbers, keys, the visor's log, statuses, guest files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <vmmu/trace.h>

#include "../../tool/base/map.h"
#include "../../tool/base/text.h"
#include "../../tool/machine/machine.h"
#include "../../tool/run/guest_files.h"
#include "../../tool/run/status.h"
#include "../../tool/run/terminal.h"
#include "../../tool/run/trace_disk.h"
#include "../../tool/run/visor_log.h"
#include "../../tool/source/format_text.h"
#include "../../tool/trace/trace_file.h"

static void sizes(void **state)
{
	uint64_t n;

	(void)state;
	assert_true(parse_size("256M", &n));
	assert_int_equal(n, 256ull << 20);
	assert_true(parse_size("1g", &n));
	assert_int_equal(n, 1ull << 30);
	assert_true(parse_size("0x1000", &n));
	assert_int_equal(n, 4096);
	assert_true(parse_size("77", &n));
	assert_int_equal(n, 77);
	for (const char *const *bad = (const char *const[]){"", "M", "1.5G", "-1", "1GB", "99999999999999T", " 1",
	                                                    "1 M", NULL};
	     *bad; bad++)
		assert_false(parse_size(*bad, &n));
}

static void ranges_levels_and_causes(void **state)
{
	uint64_t first, last;
	unsigned value;

	(void)state;
	assert_true(parse_range("0x1000-0x1fff", &first, &last));
	assert_int_equal(first, 0x1000);
	assert_int_equal(last, 0x1fff);
	assert_true(parse_range("7", &first, &last));
	assert_int_equal(last, 7);
	assert_false(parse_range("9-3", &first, &last));
	assert_false(parse_range("1-", &first, &last));
	assert_false(parse_range("-1", &first, &last));
	assert_true(parse_level("2m", &value));
	assert_int_equal(value, 2);
	assert_true(parse_level("5", &value));
	assert_int_equal(value, 5);
	assert_false(parse_level("6", &value));
	assert_false(parse_level("0", &value));
	for (unsigned cause = 0; cause < VMMU_CAUSE_COUNT; cause++) {
		assert_true(parse_cause(vmmu_cause_name(cause), &value));
		assert_int_equal(value, cause);
	}
	assert_false(parse_cause("because", &value));
}

static void numbers_for_people(void **state)
{
	(void)state;
	assert_string_equal(text_count(0).text, "0");
	assert_string_equal(text_count(999).text, "999");
	assert_string_equal(text_count(23405).text, "23,405");
	assert_string_equal(text_count(UINT64_MAX).text, "18,446,744,073,709,551,615");
	assert_string_equal(text_bytes(4096).text, "4 KiB");
	assert_string_equal(text_bytes(3 << 19).text, "1.5 MiB");
}

static void keys(void **state)
{
	struct keys k = {0};
	char out;
	bool pass;

	(void)state;
	assert_int_equal(keys_take(&k, true, 'a', &out, &pass), KEY_NONE);
	assert_true(pass);
	assert_int_equal(keys_take(&k, true, 1, &out, &pass), KEY_NONE);
	assert_false(pass);
	assert_int_equal(keys_take(&k, true, 'x', &out, &pass), KEY_QUIT);
	keys_take(&k, true, 1, &out, &pass);
	assert_int_equal(keys_take(&k, true, 1, &out, &pass), KEY_NONE);
	assert_true(pass);
	assert_int_equal(out, 1);
	keys_take(&k, true, 1, &out, &pass);
	assert_int_equal(keys_take(&k, true, 'h', &out, &pass), KEY_HELP);
	assert_false(pass);
	/* A pipe's bytes all go to the guest. */
	assert_int_equal(keys_take(&k, false, 1, &out, &pass), KEY_NONE);
	assert_true(pass);
	assert_int_equal(keys_take(&k, false, 'x', &out, &pass), KEY_NONE);
	assert_true(pass);
}

static unsigned lines;

static void count_line(void *arg, const char *line)
{
	(void)arg;
	assert_null(strstr(line, "@vmmu"));
	lines++;
}

static void feed(struct visor_log *log, const char *text)
{
	/* As a serial line brings it: in any pieces. */
	for (; *text; text++)
		visor_log_take(log, text, 1, count_line, NULL);
}

static void the_visors_log(void **state)
{
	struct visor_log log = {0};

	(void)state;
	lines = 0;
	feed(&log, "\033[2J\033[1;1H@vmmu {\"event\":\"boot\",\"stage\":\"kernel\"}\n\r");
	assert_string_equal(log.stage, "kernel");
	assert_false(log.visor_spoke);
	feed(&log, "@vmmu {\"event\":\"boot\",\"stage\":\"visor\"}\r\nvisor: EPT\r\n");
	assert_true(log.visor_spoke);
	assert_int_equal(lines, 1);
	feed(&log, "@vmmu {\"event\":\"start\",\"mmu\":\"ept\"}\n");
	assert_non_null(log.start);
	assert_null(log.end);
	assert_null(log.phases);
	feed(&log, "@vmmu {\"event\":\"phase\",\"number\":2}\n@vmmu {\"event\":\"phase\",\"number\":1}\n");
	assert_int_equal(json_array_size(log.phases), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(log.phases, 1), "number")), 1);
	feed(&log, "@vmmu {\"event\":\"end\",\"status\":\"debug-exit\",\"code\":7}\n");
	assert_int_equal(json_integer_value(json_object_get(log.end, "code")), 7);
	visor_log_free(&log);
}

static void broken_events_are_lines(void **state)
{
	struct visor_log log = {0};

	(void)state;
	lines = 0;
	visor_log_take(&log, "@vmmu {\"event\":\n", 16, NULL, NULL);
	visor_log_take(&log, "@vmmu 7\n", 8, NULL, NULL);
	assert_null(log.end);
	assert_int_equal(log.next, 2);
	/* More lines than are kept. */
	for (unsigned i = 0; i < 2 * LOG_LINES_KEPT; i++)
		visor_log_take(&log, "x\n", 2, count_line, NULL);
	assert_int_equal(lines, 2 * LOG_LINES_KEPT);
	visor_log_free(&log);
}

static void exit_statuses(void **state)
{
	(void)state;
	assert_int_equal(run_status_of("power-off", 0), 0);
	assert_int_equal(run_status_of("debug-exit", 0), 0);
	assert_int_equal(run_status_of("debug-exit", 99), 99);
	assert_int_equal(run_status_of("debug-exit", 256), 100);
	assert_int_equal(run_status_of("reboot", 0), 101);
	assert_int_equal(run_status_of("triple-fault", 0), 102);
	assert_int_equal(run_status_of("halted", 0), 103);
	assert_int_equal(run_status_of("failed", 0), 104);
	assert_int_equal(run_status_of("refused", 0), 105);
	assert_int_equal(run_status_of("no such word", 0), 104);
}

static void machines_that_are_refused(void **state)
{
	enum machine_kind kind = MACHINE_QEMU;
	enum mmu_kind mmu = MMU_EPT;
	char *why = NULL, *error = NULL;
	uint64_t bytes;

	(void)state;
	assert_false(machine_choose(&kind, &mmu, &why, &error));
	assert_non_null(strstr(error, "--machine bochs"));
	free(error);
	mmu = MMU_AUTO;
	assert_true(machine_choose(&kind, &mmu, &why, &error));
	assert_int_equal(mmu, MMU_NPT);
	free(why);
	assert_false(machine_memory(MACHINE_BOCHS, 2ull << 30, 1 << 20, false, &bytes, &error));
	assert_non_null(strstr(error, "--machine qemu"));
	free(error);
	assert_true(machine_memory(MACHINE_BOCHS, 1ull << 30, 1 << 20, true, &bytes, &error));
	assert_int_equal(bytes, 2048ull << 20);
	assert_true(machine_memory(MACHINE_QEMU, 4ull << 30, 1 << 20, false, &bytes, &error));
	assert_true(bytes > 4ull << 30);
	assert_int_equal(bytes % (1 << 20), 0);
}

static char *file_with(const void *data, size_t size)
{
	char *path = strdup("/tmp/vmmu-test-XXXXXX");
	int fd = mkstemp(path);

	assert_int_equal(write(fd, data, size), size);
	close(fd);
	return path;
}

static void assert_kernel_refused(const void *data, size_t size, const char *part)
{
	char *path = file_with(data, size), *error = NULL;
	struct guest_image image;

	assert_false(guest_kernel_check(path, &image, &error));
	assert_non_null(strstr(error, part));
	assert_non_null(strstr(error, path));
	free(error);
	unlink(path);
	free(path);
}

static void kernels(void **state)
{
	static uint8_t image[0x400];
	const uint32_t multiboot[] = {0x1badb002, 3, 0u - 0x1badb002 - 3};
	struct guest_image out;
	char *path, *error = NULL;

	(void)state;
	assert_kernel_refused("", 0, "empty");
	assert_kernel_refused("hello", 5, "no Linux bzImage");
	assert_kernel_refused("\x1f\x8b\x08", 3, "gzip");
	/* A bzImage that says it is longer than the file. */
	image[0x1f1] = 1;
	image[0x1f4] = 0xff;
	image[0x1fe] = 0x55;
	image[0x1ff] = 0xaa;
	memcpy(image + 0x202, "HdrS", 4);
	image[0x206] = 0x0f;
	image[0x207] = 0x02;
	assert_kernel_refused(image, sizeof(image), "cut short");

	memset(image, 0, sizeof(image));
	memcpy(image + 64, multiboot, sizeof(multiboot));
	path = file_with(image, sizeof(image));
	assert_true(guest_kernel_check(path, &out, &error));
	assert_int_equal(out.kind, GUEST_MULTIBOOT);
	unlink(path);
	free(path);
	assert_false(guest_kernel_check("/no/such/file", &out, &error));
	assert_non_null(strstr(error, "/no/such/file: No such file"));
	free(error);
	error = NULL;
	assert_false(guest_kernel_check("/tmp", &out, &error));
	assert_non_null(strstr(error, "directory"));
	free(error);
}

static void initrds_and_memory(void **state)
{
	struct guest_image kernel = {.kind = GUEST_LINUX, .bytes = 14 << 20, .needs = 70ull << 20};
	char *good = file_with("070701xxxx", 10), *bad = file_with("zzzz", 4), *error = NULL;
	uint64_t bytes;

	(void)state;
	assert_true(guest_initrd_check(good, &bytes, &error));
	assert_int_equal(bytes, 10);
	assert_false(guest_initrd_check(bad, &bytes, &error));
	assert_non_null(strstr(error, "no initrd that Linux can unpack"));
	free(error);
	error = NULL;
	assert_true(guest_memory_check(&kernel, 0, 256ull << 20, &error));
	assert_false(guest_memory_check(&kernel, 0, 64ull << 20, &error));
	assert_non_null(strstr(error, "--memory 86M"));
	free(error);
	unlink(good);
	unlink(bad);
	free(good);
	free(bad);
}

static void a_trace_disk_that_was_never_written_is_empty(void **state)
{
	char *path = file_with("", 0), *error = NULL;
	uint64_t records, dropped;
	struct trace_file trace;
	struct trace_disk disk;

	(void)state;
	assert_true(trace_disk_make(&disk, path, 10 << 20, "bochs-ept", &error));
	assert_true(trace_disk_finish(&disk, &records, &dropped, &error));
	trace_disk_release(&disk);
	assert_int_equal(records, 0);
	assert_true(trace_open(&trace, path, &error));
	assert_int_equal(trace.ending, TRACE_OPEN);
	assert_string_equal(trace.header.machine, "bochs-ept");
	assert_int_equal(lseek(trace.fd, 0, SEEK_END), 512);
	trace_close(&trace);
	unlink(path);
	free(path);
}

static void is_shown_as(const char *text, const char *shown)
{
	char *got = printable(text);

	assert_string_equal(got, shown);
	free(got);
}

/* Against an array, with keys that crowd and the one that marks free places. */
static void maps(void **state)
{
	enum { KEYS = 300 };
	struct map map = {0};
	uint64_t held[KEYS], x = 1, count = 0;

	(void)state;
	memset(held, 0xff, sizeof(held));
	for (unsigned i = 0; i < 20000; i++) {
		unsigned n;
		uint64_t key;

		x = x * 6364136223846793005ull + 1442695040888963407ull;
		n = (unsigned)(x >> 40) % KEYS;
		key = n ? n * 4096ull : UINT64_MAX;
		if (x >> 63) {
			*map_at(&map, key) = held[n] = i;
		} else {
			map_remove(&map, key);
			held[n] = MAP_NONE;
		}
		for (unsigned k = 0; k < KEYS; k += i % 50 ? 37 : 1)
			assert_int_equal(map_get(&map, k ? k * 4096ull : UINT64_MAX), held[k]);
	}
	for (unsigned k = 0; k < KEYS; k++)
		count += held[k] != MAP_NONE;
	assert_int_equal(map.count, count);
	map_free(&map);
}

/* Nothing that a terminal takes for an order, and every letter of every script. */
static void what_may_be_shown(void **state)
{
	char *some = printable_n("ab\033cd", 3);

	(void)state;
	is_shown_as("memset_erms+0x7", "memset_erms+0x7");
	is_shown_as("\033]0;title\007", "\\x1b]0;title\\x07");
	is_shown_as("a\r\n\tb\x7f", "a\\x0d\\x0a\tb\\x7f");
	is_shown_as("Grüße, 世界 😀", "Grüße, 世界 😀");
	is_shown_as("\x9b"
	            "31m",
	            "\\x9b31m"); /* CSI of 8 bits */
	is_shown_as("\xc2\x9b"
	            "31m",
	            "\\xc2\\x9b31m");                                     /* the same in UTF-8 */
	is_shown_as("\xc0\x9b\xe0\x80\x9b", "\\xc0\\x9b\\xe0\\x80\\x9b"); /* and longer than need be */
	is_shown_as("\xe2\x80\xae", "\\xe2\\x80\\xae");                   /* right to left from here */
	is_shown_as("\xed\xa0\x80\xf5\x80\x80\x80\xff\xc3", "\\xed\\xa0\\x80\\xf5\\x80\\x80\\x80\\xff\\xc3");
	assert_string_equal(some, "ab\\x1b");
	free(some);
}

static void addresses_are_hexadecimal(void **state)
{
	uint64_t value, last;

	(void)state;
	assert_true(parse_address("1000", &value) && value == 0x1000);
	assert_true(parse_address("0x1a3C000", &value) && value == 0x1a3c000);
	assert_true(parse_address("000000000d3a1000", &value) && value == 0xd3a1000);
	assert_true(parse_address("ffffffffffffffff", &value) && value == UINT64_MAX);
	assert_true(parse_address_range("1000-0x1fff", &value, &last) && value == 0x1000 && last == 0x1fff);
	assert_false(parse_address("", &value) || parse_address("0x", &value) || parse_address("12g", &value) ||
	             parse_address("-1", &value) || parse_address(" 1", &value) || parse_address("0x-1", &value) ||
	             parse_address("10000000000000000", &value) || parse_address_range("2000-1000", &value, &last));
}

#define HEAD "name: bprint\nID: 6\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n"

static bool field_is_sound(const char *declaration)
{
	char *text = formatted(HEAD "\tfield:%s;\toffset:8;\tsize:8;\tsigned:0;\n", declaration);
	bool is_sound = format_text_is_sound(text);

	free(text);
	return is_sound;
}

/* libtraceevent trusts what it is given: it read through NULL for what ended inside brackets. */
static void formats_of_events(void **state)
{
	static const char *const sound[] = {
		"u64 gpa",
		"unsigned char  comm[16]",
		"const char * fmt",
		"__data_loc char[] name",
		"int level_3",
		"const char __attribute__((user)) * filename",
		"u32 words[(16 + 4) * 2 - 1]",
		"struct kvm_vcpu *vcpu",
	};
	static const char *const broken[] = {
		"",
		"gpa",
		"u64",
		" u64 gpa",
		"[ a",
		"u64 gpa[",
		"u64 gpa]",
		"u64 gpa[8)",
		"u64 (gpa[8)]",
		"u64 gpa[8]]",
		"u64 \"gpa\"",
		"u64 {gpa}",
		"u64 g,pa",
		"u64\tgpa",
		"u64\ngpa",
		"u64 gpa\x1b",
		"u64 \xffgpa",
		"u64 [[[[[[[[[[1]]]]]]]]]] gpa",
	};
	static const char *const texts[] = {
		"",
		"name: ",
		"name: x",
		"name: x\nID: 1",
		"name: x\nID: \nformat:\n",
		"name: x y\nID: 1\nformat:\n",
		"ID: 1\nname: x\nformat:\n",
		HEAD "\tfield:u64 gpa",
		HEAD "\tfield:u64 gpa;",
		HEAD "\tfield:u64 gpa;\toffset:8;",
		HEAD "\tfield:u64 gpa;\toffset:-8;\tsize:8;",
		HEAD "\tfield:u64 gpa;\toffset:8;\tsize:;",
		HEAD "\tfield:u64 gpa;\toffset:8;\tsize:8;\tsigned:0;\tmore",
		HEAD "more",
	};
	char *longest = formatted("u64 gpa%01000d", 0);

	(void)state;
	assert_true(format_text_is_sound(HEAD));
	assert_true(format_text_is_sound(HEAD "\tfield:u64 gpa;\toffset:8;\tsize:8;")); /* before "signed" was there */
	for (size_t i = 0; i < sizeof(sound) / sizeof(*sound); i++)
		assert_true(field_is_sound(sound[i]));
	for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++)
		assert_false(field_is_sound(broken[i]));
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_false(format_text_is_sound(texts[i]));
	assert_false(field_is_sound(longest));
	free(longest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(ranges_levels_and_causes),
		cmocka_unit_test(numbers_for_people),
		cmocka_unit_test(maps),
		cmocka_unit_test(what_may_be_shown),
		cmocka_unit_test(addresses_are_hexadecimal),
		cmocka_unit_test(keys),
		cmocka_unit_test(formats_of_events),
		cmocka_unit_test(the_visors_log),
		cmocka_unit_test(broken_events_are_lines),
		cmocka_unit_test(exit_statuses),
		cmocka_unit_test(machines_that_are_refused),
		cmocka_unit_test(kernels),
		cmocka_unit_test(initrds_and_memory),
		cmocka_unit_test(a_trace_disk_that_was_never_written_is_empty),
	};

	return cmocka_run_group_tests_name("tool: parts", tests, NULL, NULL);
}
