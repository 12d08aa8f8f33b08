/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The entry code saves the guest's general registers, and leaves the visor's C code none of
 * them: the very code, with a guest that stands in for VMRUN and VMLAUNCH (tests/unit/entry).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "visor/cpu/gpr.h"
#include "visor/cpu/vcpu.h"

enum { GPR_COUNT = 16,
       VMCB_BYTES = 4096 };

#define GUEST_WORD 0x6775657374212121ull

uint64_t entry_registers[GPR_COUNT];

void svm_loop(struct vcpu *v, uint64_t vmcb);
bool vmx_loop(struct vcpu *v);

static struct vcpu vcpu;
static _Alignas(VMCB_BYTES) uint8_t vmcb[VMCB_BYTES];

/* RSP is the visor's own at all times; under SVM the guest's RAX is in the VMCB. */
static void check_registers(unsigned saved_from)
{
	const uint64_t *saved = (const uint64_t *)&vcpu;

	for (unsigned i = saved_from; i < GPR_COUNT; i++)
		if (i != GPR_RSP / 8)
			assert_int_equal(saved[i], GUEST_WORD);
	for (unsigned i = 0; i < GPR_COUNT; i++)
		assert_int_not_equal(entry_registers[i], GUEST_WORD);
	assert_int_equal(entry_registers[GPR_RDI / 8], (uintptr_t)&vcpu);
}

static int clear(void **state)
{
	(void)state;
	vcpu = (struct vcpu){0};
	for (unsigned i = 0; i < GPR_COUNT; i++)
		entry_registers[i] = GUEST_WORD;
	return 0;
}

static void svm(void **state)
{
	(void)state;
	svm_loop(&vcpu, (uintptr_t)vmcb);
	check_registers(GPR_RCX / 8);
}

static void vmx(void **state)
{
	(void)state;
	assert_true(vmx_loop(&vcpu));
	check_registers(GPR_RAX / 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(svm, clear),
		cmocka_unit_test_setup(vmx, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
