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

#include <bpf/btf.h>

#include "../../tool/record/kernel_memory.h"
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
	NAME("qemu\0-m\0"
	     "512\0-name\0web1\0",
	     "web1");
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
		vms.vm[i] = (struct vm){
			.pid = 10 + i,
			.fd = 4,
			.comm = strdup("qemu"),
			.name = strdup(i ? "b" : "a"),
		};
	vms_keep(&vms, 0, "b");
	assert_int_equal(vms.count, 2);
	vms_keep(&vms, 12, "qemu");
	assert_int_equal(vms.count, 1);
	assert_int_equal(vms.vm[0].pid, 12);
	vms_free(&vms);
}

static uint64_t symbol_in(const char *text, const char *name, const char *module)
{
	FILE *from = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	uint64_t found = kernel_symbol_in(from, name, module);

	fclose(from);
	return found;
}

static void symbols(void **state)
{
	static const char text[] =
		"ffffffff82a00000 D page_offset_base\n"
		"ffffffffc0100000 d vm_list_other\t[kvm]\n"
		"ffffffffc0100010 d vm_list\t[vfio]\n"
		"ffffffffc0a5e2c0 d vm_list\t[kvm]\n"
		"garbage\n";

	(void)state;
	assert_int_equal(symbol_in(text, "page_offset_base", NULL), 0xffffffff82a00000ull);
	assert_int_equal(symbol_in(text, "vm_list", "kvm"), 0xffffffffc0a5e2c0ull);
	assert_int_equal(symbol_in(text, "vm_list", NULL), 0);
	assert_int_equal(symbol_in(text, "page_offset_base", "kvm"), 0);
	/* What one sees who may not. */
	assert_int_equal(symbol_in("0000000000000000 d vm_list\t[kvm]\n", "vm_list", "kvm"), 0);
}

/* struct kvm { long a; union { int x; struct { int y; int z; }; }; arch_t arch; }; arch: struct { char p[40]; long roots; } */
static void members(void **state)
{
	struct btf *types = btf__new_empty();
	int integer = btf__add_int(types, "int", 4, BTF_INT_SIGNED), wide = btf__add_int(types, "long", 8, BTF_INT_SIGNED);
	int inner, either, arch, name;
	uint32_t at = 99;

	(void)state;
	inner = btf__add_struct(types, NULL, 8);
	btf__add_field(types, "y", integer, 0, 0);
	btf__add_field(types, "z", integer, 32, 0);
	either = btf__add_union(types, NULL, 8);
	btf__add_field(types, "x", integer, 0, 0);
	btf__add_field(types, NULL, inner, 0, 0);
	arch = btf__add_struct(types, "kvm_arch", 48);
	btf__add_field(types, "roots", wide, 40 * 8, 0);
	name = btf__add_typedef(types, "arch_t", arch);
	btf__add_struct(types, "kvm", 64);
	btf__add_field(types, "a", wide, 0, 0);
	btf__add_field(types, NULL, either, 64, 0);
	btf__add_field(types, "arch", name, 128, 0);
	assert_true(kernel_member_in(types, "kvm", "a", &at));
	assert_int_equal(at, 0);
	assert_true(kernel_member_in(types, "kvm", "x", &at));
	assert_int_equal(at, 8);
	assert_true(kernel_member_in(types, "kvm", "z", &at));
	assert_int_equal(at, 12);
	assert_true(kernel_member_in(types, "kvm", "arch.roots", &at));
	assert_int_equal(at, 16 + 40);
	at = 99;
	assert_false(kernel_member_in(types, "kvm", "arch.root", &at));
	assert_false(kernel_member_in(types, "kvm", "a.b", &at));
	assert_false(kernel_member_in(types, "kvm", "", &at));
	assert_false(kernel_member_in(types, "kvm_vcpu", "a", &at));
	assert_int_equal(at, 99);
	btf__free(types);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(qemu_names),
		cmocka_unit_test(quoting),
		cmocka_unit_test(processes),
		cmocka_unit_test(symbols),
		cmocka_unit_test(members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
