/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vCPUs on real threads run L1 and L2 on tables of L1's that they share: they fault, write
 * tables, enter L2 on one root and another, and walk both dimensions, and a host moves and
 * protects their memory meanwhile. Afterwards the audit must find nothing. Meant for
 * ThreadSanitizer.
 */
#include <vmmu/nested.h>

#include "../shadow/shared_tables.h"

enum { ROUNDS = 500 };

static bool is_ept(void)
{
	return m.mode == VMMU_MODE_EPT;
}

static struct vmmu_cpu the_cpu(void)
{
	return (struct vmmu_cpu){.maxphyaddr = 46, .page_2m = true, .page_1g = true, .exec_only = is_ept(), .ad = true, .nx = true, .levels5 = m.levels == 5};
}

/* PAE's four top entries lie in each table, too: they have hardly any bits. */
static uint64_t some_entry(uint64_t *random)
{
	uint64_t entry = some_frame(random) << 12, bits = sim_random(random);

	if (is_ept())
		return entry | 7 | (bits & 0x300) | (sim_random_below(random, 60) ? 0 : 0x80);
	if (m.levels == 3 && sim_random_below(random, 4) == 0)
		return entry | 1;
	entry |= 0x27 | (bits & 0x40) | (sim_random_below(random, 60) ? 0 : 0x80);
	return m.levels == 2 ? entry << 32 | entry : entry;
}

static uint64_t some_address(uint64_t *random, bool in_l2)
{
	uint64_t gpa = 0;

	if (!in_l2)
		return some_frame(random) << 12;
	for (unsigned level = 0; level < m.levels; level++)
		gpa = m.levels == 2 ? gpa << 10 | places[sim_random_below(random, 4)] * 2u
		                    : gpa << 9 | places[sim_random_below(random, 4)];
	gpa <<= 12;
	return m.levels < 4 ? (uint32_t)gpa : gpa;
}

static void fault(struct vmmu_vcpu *vcpu, uint64_t *random, bool in_l2)
{
	unsigned access = sim_random_below(random, 2) ? VMMU_W : VMMU_R;
	vmmu_gpa gpa = vmmu_gpa_of(some_address(random, in_l2));
	enum vmmu_fault_result result;
	struct vmmu_fault f;

	/* While the host is at it, the guest simply comes again. */
	do {
		f = is_ept() ? vmmu_fault_from_ept_violation(0x180 | access, gpa, 0)
		             : vmmu_fault_from_npf(0x100000004ull | (access & VMMU_W), gpa, 0);
		result = vmmu_fault(vcpu, &f);
		if (result == VMMU_FAULT_RETRY)
			sched_yield();
	} while (result == VMMU_FAULT_RETRY);
	switch (result) {
	case VMMU_FAULT_WRITE_TABLE:
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

/* L2's tables are L1's own, as it happens. */
static void walk(struct vmmu_vcpu *vcpu, uint64_t *random)
{
	struct vmmu_paging r = {.cr0 = 1u << 31 | 1u << 16, .cr3 = (1 + sim_random_below(random, TABLES)) << 12, .cr4 = 0x20, .efer = 3u << 10, .cpu = {.maxphyaddr = 40, .page_1g = true}};
	struct vmmu_nested_walk out;
	struct vmmu_guest_mode mode;

	vmmu_guest_mode_init(&mode, &r);
	vmmu_nested_walk(vcpu, &mode, vmmu_gva_of(some_address(random, true) & 0x7fffffffffff), VMMU_W | VMMU_ACCESS_USER, &out);
}

/* True: L2 runs. */
static bool switch_root(struct vmmu_vcpu *vcpu, uint64_t *random)
{
	struct vmmu_nested n = {.cpu = the_cpu(), .cr0 = 1u << 31, .root = (1 + sim_random_below(random, TABLES)) << 12};
	bool in_l2 = sim_random_below(random, 5);
	enum vmmu_status status;
	struct vmmu_root root;

	if (is_ept()) {
		n.root |= VMMU_MEMTYPE_WB | (m.levels - 1) << 3 | (sim_random_below(random, 2) ? 1u << 6 : 0);
	} else {
		n.cr4 = 0x10 | (m.levels > 2 ? 0x20 : 0) | (m.levels == 5 ? 1u << 12 : 0);
		n.efer = (m.levels > 3 ? 1u << 10 : 0) | 1u << 11;
	}
	/* Another vCPU still has to flush, or the host takes the page of PAE's top entries back. */
	while ((status = vmmu_vcpu_set_nested(vcpu, in_l2 ? &n : NULL)) == VMMU_ERR_BUSY)
		sched_yield();
	if (status != VMMU_OK || vmmu_vcpu_load(vcpu, &root) != VMMU_OK)
		__atomic_fetch_add(&m.findings, 1, __ATOMIC_RELAXED);
	return in_l2;
}

static void *vcpu_thread(void *arg)
{
	uint16_t id = (uint16_t)(uintptr_t)arg;
	uint64_t random = id + 1;
	struct vmmu_vcpu *vcpu;
	bool in_l2;

	if (vmmu_vcpu_create(m.vm, id, NULL, &vcpu) != VMMU_OK)
		abort();
	in_l2 = switch_root(vcpu, &random);
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t what = sim_random_below(&random, 20);

		if (what < 13)
			fault(vcpu, &random, in_l2);
		else if (what < 16)
			write_table(vcpu, &random);
		else if (what < 17)
			walk(vcpu, &random);
		else if (what < 19)
			in_l2 = switch_root(vcpu, &random);
		else
			vmmu_guest_release(vcpu, vmmu_gpa_of((1 + sim_random_below(&random, TABLES)) << 12));
	}
	vmmu_vcpu_destroy(vcpu);
	return NULL;
}

static void vcpus_share_nested_tables(enum vmmu_mode mode, unsigned levels)
{
	struct vmmu_stats stats;

	m.mode = mode;
	m.levels = levels;
	make_machine((struct vmmu_config){.cpu = the_cpu(), .nested = true, .max_shadow_tables = 128}, 1ull << 40);
	run_machine(is_ept() ? 0x307 : levels == 3 ? 1
	                                           : 0x67,
	            &stats);
	print_message("            %lu fixed, %lu for L1, %lu retried, %lu writes to tables\n",
	              stats.faults[VMMU_FAULT_FIXED], stats.faults[VMMU_FAULT_REFLECT],
	              stats.faults[VMMU_FAULT_RETRY], stats.faults[VMMU_FAULT_WRITE_TABLE]);
	assert_true(stats.faults[VMMU_FAULT_FIXED] > ROUNDS / 25);
	end_machine();
}

#define SHARE(name, mode, levels) \
	static void name(void **state) \
	{ \
		(void)state; \
		vcpus_share_nested_tables(mode, levels); \
	}
SHARE(ept, VMMU_MODE_EPT, 4)
SHARE(ept_five_levels, VMMU_MODE_EPT, 5)
SHARE(npt_32_bit, VMMU_MODE_NPT, 2)
SHARE(npt_pae, VMMU_MODE_NPT, 3)
SHARE(npt, VMMU_MODE_NPT, 4)
SHARE(npt_five_levels, VMMU_MODE_NPT, 5)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ept),
		cmocka_unit_test(ept_five_levels),
		cmocka_unit_test(npt_32_bit),
		cmocka_unit_test(npt_pae),
		cmocka_unit_test(npt),
		cmocka_unit_test(npt_five_levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
