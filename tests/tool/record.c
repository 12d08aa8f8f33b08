/* SPDX-License-Identifier: BSD-2-Clause */
/* Parts of `vmmu record` that need no kernel: names, quoting, options. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../tool/record/marker.h"
#include "../../tool/record/vms.h"

static void expect_name(const char *arguments, size_t size, const char *name)
{
	/* A copy of that very size, so that the sanitizer sees a read beyond it. One NUL may follow (vms.c). */
	char *copy = malloc(size + 1), *got;

	memcpy(copy, arguments, size);
	copy[size] = 0;
	got = qemu_name(copy, size);
	if (name)
		assert_string_equal(got, name);
	else
		assert_null(got);
	free(got);
	free(copy);
}

static void qemu_names(void **state)
{
	(void)state;
#define NAME(arguments, name) expect_name(arguments, sizeof(arguments) - 1, name)
	NAME("qemu\0-m\0" "512\0-name\0web1\0", "web1");
	NAME("qemu\0-name\0guest=db,debug-threads=on\0-m\0", "db");
	NAME("qemu\0--name\0a b\0", "a b");
	NAME("qemu\0-m\0", NULL);
	NAME("qemu\0-name\0", NULL);
	NAME("qemu\0-name", NULL);
	NAME("", NULL);
#undef NAME
}

static void expect_quoted(const char *text, const char *quoted)
{
	char *got = marker_quoted(text);

	assert_string_equal(got, quoted);
	free(got);
}

static void quoting(void **state)
{
	(void)state;
	expect_quoted("CPU 0/KVM", "\"CPU 0/KVM\"");
	expect_quoted("", "\"\"");
	expect_quoted("a\"b\\c\n\x1b[31m\x7f", "\"a\\x22b\\x5cc\\x0a\\x1b[31m\\x7f\"");
}

/* Descriptors of this process that look like a VM: none. Its threads: at least itself. */
static void processes(void **state)
{
	struct vms vms = {.vm = calloc(3, sizeof(struct vm)), .count = 3};
	size_t count;
	pid_t *threads = threads_of(getpid(), &count);
	char *comm = comm_of(getpid());

	(void)state;
	assert_true(count >= 1);
	assert_string_not_equal(comm, "?");
	free(threads);
	free(comm);
	for (int i = 0; i < 3; i++)
		vms.vm[i] = (struct vm){.pid = 10 + i, .fd = 4, .comm = strdup("qemu"), .name = strdup(i ? "b" : "a")};
	vms_keep(&vms, 0, "b");
	assert_int_equal(vms.count, 2);
	vms_keep(&vms, 12, "qemu");
	assert_int_equal(vms.count, 1);
	assert_int_equal(vms.vm[0].pid, 12);
	vms_free(&vms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(qemu_names),
		cmocka_unit_test(quoting),
		cmocka_unit_test(processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
