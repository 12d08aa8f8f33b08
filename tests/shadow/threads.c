/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vCPUs on real threads share shadow tables: they fault, write tables, switch
 * roots, and a host moves and protects their memory meanwhile. Afterwards the
 * audit must find nothing. Meant for ThreadSanitizer.
 */
#include <vmmu/guest.h>

#include "shared_tables.h"

enum { ROUNDS = 600 };

static uint64_t some_entry(uint64_t *random)
{
	uint64_t frame = some_frame(random) << 12;

	frame |= 0x27 | (sim_random(random) & 0x40) |
	         (sim_random_below(random, 60) ? 0 : 0x80);
	return m.levels == 2 ? frame << 32 | frame : frame;
}

static void fault(struct vmmu_vcpu *vcpu, uint64_t *random)
{
	uint64_t gva = 0;
	enum vmmu_fault_result result;
	struct vmmu_fault f;

	for (unsigned level = 0; level < m.levels; level++)
		gva = m.levels == 2 ? gva << 10 | places[sim_random_below(random, 4)] * 2u
		                    : gva << 9 | places[sim_random_below(random, 4)];
	gva <<= 12;
	if (m.levels < 4)
		gva = (uint32_t)gva;
	else
		gva = (uint64_t)((int64_t)(gva << (m.levels == 4 ? 16 : 7)) >> (m.levels == 4 ? 16 : 7));
	f = vmmu_fault_from_pf(sim_random(random) & 6, vmmu_gva_of(gva), 0, 0, 0);
	/* While the host is at it, the guest simply comes again. */
	while ((result = vmmu_fault(vcpu, &f)) == VMMU_FAULT_RETRY)
		sched_yield();
	switch (result) {
	case VMMU_FAULT_WRITE_TABLE:
	case VMMU_FAULT_EMULATE_WRITE:
		*word_at(f.gpa.v) = some_entry(random);
		vmmu_guest_written(vcpu, f.gpa, 8);
		break;
	case VMMU_FAULT_NO_MEMORY:
	case VMMU_FAULT_BAD_ENTRY:
	case VMMU_FAULT_DENIED:
		__atomic_fetch_add(&m.findings, 1, __ATOMIC_RELAXED);
		break;
	default:
		break;
	}
}

static void switch_root(struct vmmu_vcpu *vcpu, uint64_t *random)
{
	struct vmmu_paging p = {
		.cr0 = 1u << 31 | (uint64_t)sim_random_below(random, 2) << 16 | 1,
		.cr3 = (1 + sim_random_below(random, TABLES)) << 12,
		.cr4 = 0x10 | (m.levels > 2 ? 0x20 : 0) | (m.levels == 5 ? 1u << 12 : 0),
		.efer = (m.levels > 3 ? 1u << 8 | 1u << 10 : 0) | 1u << 11,
		.cpu = {.maxphyaddr = 40, .page_1g = true, .pse36 = true},
	};

	for (unsigned i = 0; m.levels == 3 && i < 4; i++)
		p.pdpte[i] = (1 + sim_random_below(random, TABLES)) << 12 | 1;
	if (sim_random_below(random, 6) == 0) {
		p.cr0 = 1;
		p.efer &= ~(1ull << 10);
	}
	if (vmmu_vcpu_set_paging(vcpu, &p) != VMMU_OK)
		__atomic_fetch_add(&m.findings, 1, __ATOMIC_RELAXED);
}

static void *vcpu_thread(void *arg)
{
	uint16_t id = (uint16_t)(uintptr_t)arg;
	uint64_t random = id + 1;
	struct vmmu_vcpu *vcpu;

	if (vmmu_vcpu_create(m.vm, id, NULL, &vcpu) != VMMU_OK)
		abort();
	switch_root(vcpu, &random);
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t what = sim_random_below(&random, 20);

		if (what < 14)
			fault(vcpu, &random);
		else if (what < 18)
			write_table(vcpu, &random);
		else if (what < 19)
			switch_root(vcpu, &random);
		else
			vmmu_guest_release(vcpu, vmmu_gpa_of((1 + sim_random_below(&random, TABLES)) << 12));
	}
	vmmu_vcpu_destroy(vcpu);
	return NULL;
}

static void vcpus_share_shadow_tables(unsigned levels)
{
	struct vmmu_stats stats;

	m.mode = VMMU_MODE_SHADOW;
	m.levels = levels;
	make_machine((struct vmmu_config){.cpu = {.maxphyaddr = 46, .page_2m = true, .ad = true, .nx = true, .levels5 = levels == 5},
	                                  .max_shadow_tables = 96},
	             0xc0000000);
	run_machine(0x67, &stats);
	print_message("            %lu fixed, %lu for the guest, %lu retried, %lu writes to tables\n",
	              stats.faults[VMMU_FAULT_FIXED], stats.faults[VMMU_FAULT_INJECT_PF],
	              stats.faults[VMMU_FAULT_RETRY], stats.faults[VMMU_FAULT_WRITE_TABLE]);
	assert_true(stats.faults[VMMU_FAULT_FIXED] > ROUNDS / 10);
	end_machine();
}

static void two_levels(void **state)
{
	(void)state;
	vcpus_share_shadow_tables(2);
}
static void pae(void **state)
{
	(void)state;
	vcpus_share_shadow_tables(3);
}
static void four_levels(void **state)
{
	(void)state;
	vcpus_share_shadow_tables(4);
}
static void five_levels(void **state)
{
	(void)state;
	vcpus_share_shadow_tables(5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_levels),
		cmocka_unit_test(pae),
		cmocka_unit_test(four_levels),
		cmocka_unit_test(five_levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
