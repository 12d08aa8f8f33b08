/* SPDX-License-Identifier: BSD-2-Clause */
/* What an exit reports, for every value of the bits that matter, beside what the manuals say of each bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <vmmu/exit.h>

/* SDM vol. 3, table 28-7. */
static uint32_t access_of_qualification(uint64_t q)
{
	uint32_t access = 0;

	access |= q & 1 ? VMMU_R : 0;
	access |= q & 2 ? VMMU_W : 0;
	access |= q & 4 ? VMMU_X : 0;
	access |= q >> 3 & 7 ? VMMU_ACCESS_PRESENT : 0;
	access |= (q >> 7 & 1) && !(q >> 8 & 1) ? VMMU_ACCESS_WALK : 0;
	return access;
}

/* APM vol. 2, 15.25.6. */
static uint32_t access_of_error(uint64_t e)
{
	uint32_t access = e & 1u << 4 ? VMMU_X : VMMU_R;

	if (access != VMMU_X && e & 1u << 1)
		access = VMMU_W;
	access |= e & 1u << 0 ? VMMU_ACCESS_PRESENT : 0;
	access |= e & 1u << 3 ? VMMU_ACCESS_RESERVED : 0;
	access |= e & 1u << 2 ? VMMU_ACCESS_USER : 0;
	access |= e >> 33 & 1 ? VMMU_ACCESS_WALK : 0;
	return access;
}

/* The outputs begin as nothing, whatever stood there. */
static void judge(const struct vmmu_fault *f, uint32_t access, uint64_t error_code)
{
	assert_int_equal(f->access, access);
	assert_int_equal(f->error_code, error_code);
	assert_int_equal(f->gpa.v, 0x1234567000);
	assert_int_equal(f->rip, 0xffffffff81000000);
	assert_int_equal(f->gva.v, 0);
	assert_int_equal(f->word, 0);
	assert_int_equal(f->entry, 0);
	assert_int_equal(f->level, 0);
}

static void every_ept_violation_says_its_access(void **unused)
{
	(void)unused;
	for (uint64_t q = 0; q < 1u << 13; q++) {
		struct vmmu_fault f = vmmu_fault_from_ept_violation(q, vmmu_gpa_of(0x1234567000), 0xffffffff81000000);

		judge(&f, access_of_qualification(q), q);
	}
}

static void every_nested_page_fault_says_its_access(void **unused)
{
	(void)unused;
	for (uint64_t e = 0; e < 1u << 10; e++) {
		uint64_t info = (e & 63) | e >> 6 << 31;
		struct vmmu_fault f = vmmu_fault_from_npf(info, vmmu_gpa_of(0x1234567000), 0xffffffff81000000);

		judge(&f, access_of_error(info), info);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_ept_violation_says_its_access),
		cmocka_unit_test(every_nested_page_fault_says_its_access),
	};

	return cmocka_run_group_tests_name("exit", tests, NULL, NULL);
}
