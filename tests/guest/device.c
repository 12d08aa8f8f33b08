/* SPDX-License-Identifier: BSD-2-Clause */
/* The visor's test device, seen from the guest. */
#include "guest.h"
#include "space.h"

struct test_command last_command;

bool device_present(void)
{
	static bool asked, present;

	if (!asked)
		present = in32(TEST_DEVICE_PORT) == TEST_DEVICE_SIGNATURE;
	asked = true;
	return present;
}

uint32_t device(uint32_t code, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
	last_command = (struct test_command){.code = code, .status = ~0u, .arg = {a0, a1, a2, a3}};
	out32(TEST_DEVICE_PORT, (uint32_t)(uintptr_t)&last_command);
	return *(volatile uint32_t *)&last_command.status;
}

void device_ok(const char *what, uint32_t code, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
	uint32_t status = device(code, a0, a1, a2, a3);

	check(status == 0, "%s: status %u", what, status);
}

void audit(const char *when)
{
	uint32_t status = device(TEST_AUDIT, 0, 0, 0, 0);

	check(status == 0 && last_command.result[0] == 0, "audit %s: status %u, %lu findings", when,
	      status, last_command.result[0]);
}

uint64_t violations(void)
{
	device_ok("statistics", TEST_STAT, 0, 0, 0, 0);
	return last_command.result[0];
}

unsigned path_level(uint64_t gpa, bool *leaf)
{
	device_ok("path", TEST_PATH, gpa, 0, 0, 0);
	if (leaf)
		*leaf = last_command.result[2] == 2; /* VMMU_ENTRY_LEAF */
	return (unsigned)last_command.result[0];
}

bool on_shadow_tables(void)
{
	const char *mmu = option("mmu");

	return mmu && mmu[0] == 's';
}

bool tables_know_gpas(void)
{
	return !on_shadow_tables() || !(read_cr0() & CR0_PG);
}
