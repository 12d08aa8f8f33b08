/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs the tests that the command line names, and counts what fails. */
#include "guest.h"
#include "multiboot.h"

const struct multiboot_info *boot_info;

/* ---- Checks --------------------------------------------------------------- */

#define LINES_PER_TEST 20u

static unsigned checks, failures, failures_before;

bool check_count(bool passed)
{
	checks++;
	if (!passed)
		failures++;
	return passed;
}

void check_failed(const char *file, int line, const char *format, ...)
{
	va_list args;

	if (failures - failures_before > LINES_PER_TEST)
		return;
	print("  %s:%d: ", file, line);
	va_start(args, format);
	print_list(format, args);
	va_end(args);
	print("\n");
}

void skip(const char *format, ...)
{
	va_list args;

	print("SKIP ");
	va_start(args, format);
	print_list(format, args);
	va_end(args);
	print("\n");
}

/* ---- Main --------------------------------------------------------------------------- */

static void run_test(const struct test *test)
{
	unsigned checks_before = checks;

	failures_before = failures;
	/* Each begins alike: how many numbers another one takes may depend on the time (a timer's ticks). */
	random_seed(option_number("seed", 1));
	test->run();
	if (failures == failures_before)
		print("PASS %s %u checks\n", test->name, checks - checks_before);
	else
		print("FAIL %s %u of %u checks\n", test->name, failures - failures_before,
		      checks - checks_before);
}

/* Run the test whose name `list` begins with; returns what stands after it. */
static const char *run_first(const char *list)
{
	for (const struct test *test = all_tests; test->name; test++) {
		const char *n = test->name, *p = list;

		while (*n && *n == *p) {
			n++;
			p++;
		}
		if (!*n && (!*p || *p == ',')) {
			run_test(test);
			return *p ? p + 1 : p;
		}
	}
	print("FAIL no test is called %s\n", list);
	guest_exit(GUEST_NO_SUCH_TEST);
}

void guest_main(uint32_t magic, const struct multiboot_info *info);
void guest_main(uint32_t magic, const struct multiboot_info *info)
{
	static char list[256];
	const char *names;

	boot_info = info;
	if (magic != MULTIBOOT_LOADED || !(info->flags & MULTIBOOT_MAP)) {
		print("FAIL boot: no multiboot memory map (magic 0x%x, flags 0x%x)\n", magic, info->flags);
		guest_exit(GUEST_UNFIT);
	}
	console_setup();
	interrupts_setup();
	names = option("tests");
	memcpy(list, names ? names : "touch", sizeof(list) - 1);
	for (names = list; *names;)
		names = run_first(names);
	guest_exit(failures > GUEST_FAILURES_MAX ? GUEST_FAILURES_MAX : failures);
}
