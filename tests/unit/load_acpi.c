/* SPDX-License-Identifier: BSD-2-Clause */
/* The ACPI tables and BIOS data that the loader leaves in guest memory, found as a guest finds them. */
#include "tests/unit/load_fixture.h"
#include "visor/device/wiring.h"

/* Any refused kernel will do: the tables are written first. */
static struct guest *guest_with_tables(uint32_t cpus)
{
	static const uint8_t raw[16];
	struct guest *g = guest_new(16 * MIB);

	g->request.kernel = blob(raw, sizeof(raw));
	g->request.cpus = cpus;
	assert_false(load_guest(&g->request, &g->result));
	return g;
}

static uint8_t sum(const uint8_t *bytes, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *bytes++;
	return s;
}

/* ACPI 5.2.5.1: on a 16-byte boundary between E0000h and FFFFFh. */
static const uint8_t *find_rsdp(const struct guest *g)
{
	for (uint32_t at = 0xe0000; at < 0x100000; at += 16)
		if (!memcmp(g->memory + at, "RSD PTR ", 8))
			return g->memory + at;
	fail_msg("no RSDP");
	return NULL;
}

static const uint8_t *find_table(const struct guest *g, const char *signature)
{
	const uint8_t *xsdt = g->memory + get64(find_rsdp(g) + 24);

	for (uint32_t at = 36; at < get32(xsdt + 4); at += 8) {
		const uint8_t *table = g->memory + get64(xsdt + at);

		if (!memcmp(table, signature, 4))
			return table;
	}
	fail_msg("no %s", signature);
	return NULL;
}

static void checksums(void **state)
{
	struct guest *g = guest_with_tables(1);
	const uint8_t *rsdp = find_rsdp(g), *rsdt = g->memory + get32(rsdp + 16), *xsdt = g->memory + get64(rsdp + 24);

	(void)state;
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
	assert_memory_equal(rsdt, "RSDT", 4);
	assert_memory_equal(xsdt, "XSDT", 4);
	assert_int_equal(sum(rsdt, get32(rsdt + 4)), 0);
	assert_int_equal(sum(xsdt, get32(xsdt + 4)), 0);
	assert_int_equal((get32(rsdt + 4) - 36) / 4, (get32(xsdt + 4) - 36) / 8);
	for (uint32_t at = 36, at32 = 36; at < get32(xsdt + 4); at += 8, at32 += 4) {
		const uint8_t *table = g->memory + get64(xsdt + at);

		assert_int_equal(get32(rsdt + at32), get64(xsdt + at));
		assert_int_equal(sum(table, get32(table + 4)), 0);
	}
	guest_free(g);
}

static void fixed_description(void **state)
{
	struct guest *g = guest_with_tables(1);
	const uint8_t *fadt = find_table(g, "FACP"), *dsdt = g->memory + get32(fadt + 40);

	(void)state;
	assert_int_equal(get32(fadt + 56), PORT_PM1A_EVENT);
	assert_int_equal(get32(fadt + 64), PORT_PM1A_CONTROL);
	assert_int_equal(get32(fadt + 76), PORT_PM_TIMER);
	assert_int_equal(get32(fadt + 48), 0);      /* no SMI command port */
	assert_int_equal(get16(fadt + 109) & 2, 0); /* no 8042 keyboard */
	assert_int_equal(get64(fadt + 120), PORT_RESET);
	assert_int_equal(fadt[128], RESET_VALUE);
	assert_memory_equal(dsdt, "DSDT", 4);
	assert_int_equal(sum(dsdt, get32(dsdt + 4)), 0);
	assert_int_equal(get32(fadt + 36) % 64, 0); /* FACS is aligned on 64 bytes */
	assert_memory_equal(g->memory + get32(fadt + 36), "FACS", 4);
	guest_free(g);
}

/* Walk the MADT's entries: three CPUs, one I/O APIC, two overrides, one NMI. */
static void apic_description(void **state)
{
	struct guest *g = guest_with_tables(3);
	const uint8_t *madt = find_table(g, "APIC");
	unsigned count[5] = {0};
	uint32_t at = 44;

	(void)state;
	assert_int_equal(get32(madt + 36), LAPIC_DEFAULT_BASE);
	for (; at < get32(madt + 4); at += madt[at + 1]) {
		assert_true(madt[at] < 5 && madt[at + 1] >= 6);
		count[madt[at]]++;
		if (madt[at] == 1)
			assert_int_equal(get32(madt + at + 4), IOAPIC_BASE);
		if (madt[at] == 2 && madt[at + 3] == IRQ_PIT)
			assert_int_equal(get32(madt + at + 4), IOAPIC_PIN_PIT);
	}
	assert_int_equal(at, get32(madt + 4));
	assert_int_equal(count[0], 3);
	assert_int_equal(count[1], 1);
	assert_int_equal(count[2], 2);
	assert_int_equal(count[4], 1);
	guest_free(g);
}

static void bios_data_area(void **state)
{
	struct guest *g = guest_with_tables(1);

	(void)state;
	assert_int_equal(get16(g->memory + 0x400), PORT_COM1);
	assert_int_equal(get16(g->memory + 0x40e) << 4, GUEST_EBDA);
	assert_int_equal(get16(g->memory + 0x413), 639);
	guest_free(g);
}

/* MultiProcessor Specification 1.4, 4: found as xv6 finds it, by its letters on 16 bytes. */
static void mp_table(void **state)
{
	static const unsigned entry_bytes[] = {20, 8, 8, 8, 8};
	struct guest *g = guest_with_tables(2);
	const uint8_t *pointer = NULL, *table, *at;
	unsigned seen[5] = {0}, pins = 0;

	(void)state;
	for (uint32_t base = 0xf0000; base < 0x100000 && !pointer; base += 16)
		if (!memcmp(g->memory + base, "_MP_", 4))
			pointer = g->memory + base;
	assert_non_null(pointer);
	assert_int_equal(pointer[8], 1);
	assert_int_equal(sum(pointer, 16), 0);
	assert_int_equal(pointer[11], 0); /* a table, not one of the default configurations */
	table = g->memory + get32(pointer + 4);
	assert_memory_equal(table, "PCMP", 4);
	assert_int_equal(sum(table, get16(table + 4)), 0);
	assert_int_equal(get32(table + 36), LAPIC_DEFAULT_BASE);
	at = table + 44;
	for (unsigned i = 0; i < get16(table + 34); i++) {
		assert_in_range(at[0], 0, 4);
		seen[at[0]]++;
		if (at[0] == 0)
			assert_int_equal(at[3], at[1] ? 1 : 3); /* usable; the first one boots */
		if (at[0] == 2)
			assert_int_equal(get32(at + 4), IOAPIC_BASE);
		if (at[0] == 3 && at[1] == 0) {
			assert_int_equal(at[6], IOAPIC_ID);
			assert_int_equal(at[7], at[5] == 0 ? 2 : at[5]);
			assert_int_equal(get16(at + 2), at[5] == 9 ? 0xd : 0);
			pins |= 1u << at[7];
		}
		at += entry_bytes[at[0]];
	}
	assert_ptr_equal(at, table + get16(table + 4));
	assert_int_equal(seen[0], 2);
	assert_int_equal(seen[1], 1);
	assert_int_equal(seen[2], 1);
	assert_int_equal(seen[4], 2);
	assert_int_equal(pins, 0xfffe); /* each ISA interrupt has one; pin 0 has the 8259's */
	guest_free(g);
}

/* Each real-mode vector leads to code that names it at the port where the VM ends. */
static void bios_vectors(void **state)
{
	struct guest *g = guest_with_tables(1);

	(void)state;
	for (unsigned vector = 0; vector < 256; vector++) {
		const uint8_t *code = g->memory + get16(g->memory + 4 * vector) + get16(g->memory + 4 * vector + 2) * 16u;

		assert_int_equal(code[0], 0xb0);
		assert_int_equal(code[1], vector);
		assert_int_equal(code[2], 0xe7);
		assert_int_equal(code[3], PORT_BIOS_CALL);
		assert_int_equal(code[4], 0xf4);
	}
	assert_int_equal(g->memory[0xffff0], 0xba); /* FFFF:0000 resets the machine */
	assert_int_equal(get16(g->memory + 0xffff1), PORT_RESET);
	guest_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksums),
		cmocka_unit_test(fixed_description),
		cmocka_unit_test(apic_description),
		cmocka_unit_test(bios_data_area),
		cmocka_unit_test(mp_table),
		cmocka_unit_test(bios_vectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
