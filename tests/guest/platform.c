/* SPDX-License-Identifier: BSD-2-Clause */
/* fw_cfg, ports, CPUID, and what the loader hands over. */
#include "guest.h"

/* ---- fw_cfg (QEMU's docs/specs/fw_cfg) ---------------------------------------------------- */

enum { FW_SELECT = 0x510,
       FW_DATA = 0x511,
       FW_SIGNATURE = 0,
       FW_RAM_SIZE = 3,
       FW_CPUS = 5 };

static uint64_t fw_read(uint16_t key, unsigned bytes)
{
	uint64_t value = 0;

	out16(FW_SELECT, key);
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)in8(FW_DATA) << 8 * i;
	return value;
}

static void firmware_configuration(uint64_t page)
{
	void *to = (void *)(uintptr_t)page;
	uintptr_t n = 4;

	check_equal(fw_read(FW_SIGNATURE, 4), 0x554d4551, "fw_cfg signature (QEMU)");
	check_equal(fw_read(FW_CPUS, 2), 1, "fw_cfg number of CPUs");
	check(fw_read(FW_RAM_SIZE, 8) >= ram_end(), "fw_cfg RAM size 0x%lx below the memory map's end 0x%lx",
	      fw_read(FW_RAM_SIZE, 8), ram_end());
	out16(FW_SELECT, FW_SIGNATURE);
	__asm__ volatile("rep insb"
	                 : "+D"(to), "+c"(n)
	                 : "d"(FW_DATA)
	                 : "memory");
	check(n == 0 && (uint32_t)load(page) == 0x554d4551, "REP INSB of the fw_cfg signature: 0x%lx", load(page));
}

/* ---- Ports --------------------------------------------------------------------------------- */

static void unknown_ports(uint64_t page)
{
	static const uint16_t ports[] = {0x0e8, 0x1f0 + 0x500, 0x234, 0x1234, 0x7ffc, 0xfffc};
	uintptr_t n = 32;
	void *to = (void *)(uintptr_t)(page + PAGE - 16);
	const void *from = (const void *)(uintptr_t)(page + PAGE - 16);

	for (unsigned i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		out8(ports[i], 0);
		out16(ports[i], 0);
		out32(ports[i], 0);
		check_equal(in8(ports[i]), 0xff, "a byte from an unknown port");
		check_equal(in16(ports[i]), 0xffff, "a word from an unknown port");
		check_equal(in32(ports[i]), 0xffffffff, "a double word from an unknown port");
	}
	__asm__ volatile("rep insb"
	                 : "+D"(to), "+c"(n)
	                 : "d"(0x1234)
	                 : "memory");
	check(n == 0 && load(page + PAGE - 16) == ALL_ONES && load(page + PAGE + 8) == ALL_ONES &&
	              load(page + PAGE + 16) == 0,
	      "REP INSB from an unknown port across two fresh pages");
	n = 8;
	__asm__ volatile("rep outsl"
	                 : "+S"(from), "+c"(n)
	                 : "d"(0x1234)
	                 : "memory");
	check(n == 0 && (uintptr_t)from == page + PAGE + 16, "REP OUTSD to an unknown port");
}

static void serial_port(void)
{
	out8(0x3ff, 0x5a);
	check_equal(in8(0x3ff), 0x5a, "COM1's scratch register");
	check_equal(in8(0x3fd) & 0x20, 0x20, "COM1's transmitter is ready");
}

/* ---- CPUID ------------------------------------------------------------------------------------ */

static void cpu(void)
{
	struct cpuid features = cpuid(1, 0), extended = cpuid(0x80000001, 0);
	unsigned width = cpuid(0x80000008, 0).a & 0xff;

	check(features.d & 1 << 9, "CPUID shows no local APIC");
	check(features.d & 1 << 4, "CPUID shows no TSC");
	check(extended.d & 1 << 29, "CPUID shows no long mode");
	check(width >= 36 && width <= 52, "CPUID: physical addresses of %u bits", width);
	if (!device_present())
		return;
	check(!(features.c & 1 << 5), "CPUID shows VMX to the guest");
	check(!(extended.c & 1 << 2), "CPUID shows SVM to the guest");
	check(features.c & 1u << 31, "CPUID does not show the hypervisor bit");
}

/* ---- The loader ---------------------------------------------------------------------------------- */

static void handed_over(void)
{
	check(option("tests") != NULL, "the command line lacks the word that started this test");
	check(ram_end() >= 32 * MIB, "the memory map ends at 0x%lx", ram_end());
	check(option_number("modules", 0) == module_count(), "%u modules instead of %lu", module_count(),
	      option_number("modules", 0));
	for (unsigned i = 0; i < module_count(); i++) {
		struct range r = module(i);
		const uint8_t *p = (const void *)(uintptr_t)r.base;

		check((r.base & (PAGE - 1)) == 0, "module %u at 0x%lx is not page aligned", i, r.base);
		check_equal(r.bytes, option_number("module-bytes", 0), "size of a module");
		for (uint64_t at_byte = 0; at_byte < r.bytes; at_byte++)
			check(p[at_byte] == (uint8_t)(at_byte * 7 + at_byte / 256), "module %u differs at byte %lu", i,
			      at_byte);
	}
}

void test_platform(void)
{
	uint64_t page = take_ram(2 * MIB);

	handed_over();
	firmware_configuration(page);
	unknown_ports(page + 4 * PAGE);
	serial_port();
	cpu();
	if (device_present())
		audit("after the platform's ports");
}
