/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vCPUs on real threads run L1 and L2 on tables of L1's that they share: they fault, write
 * tables, enter L2 on one root and another, and walk both dimensions, and a host moves and
 * protects their memory meanwhile. Afterwards the audit must find nothing. Meant for
 * ThreadSanitizer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <cmocka.h>

#include <vmmu/exit.h>
#include <vmmu/nested.h>

#include "memory.h"
#include "random.h"

enum { VCPUS = 3,
       PAGES = 512,
       TABLES = 12,
       ROUNDS = 500 };

static struct {
	enum vmmu_mode mode;
	unsigned levels; /* of L1's tables: NPT 2 to 5, EPT 4 and 5 */
	struct sim_memory tables;
	struct vmmu_host host;
	struct vmmu_vm *vm;
	_Atomic uint64_t ram[PAGES][512];
	_Atomic uint64_t first_pfn;
	_Atomic bool stop;
	unsigned findings;
} m;

static void *object_alloc(void *ctx, size_t size)
{
	(void)ctx;
	return sim_memory_object_alloc(&m.tables, size);
}

static void object_free(void *ctx, void *object, size_t size)
{
	(void)ctx;
	sim_memory_object_free(&m.tables, object, size);
}

static bool table_alloc(void *ctx, vmmu_hpa *out)
{
	(void)ctx;
	return sim_memory_table_alloc(&m.tables, out);
}

static void table_free(void *ctx, vmmu_hpa frame)
{
	(void)ctx;
	sim_memory_table_free(&m.tables, frame);
}

static enum vmmu_backing_result backing(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
                                        unsigned access, struct vmmu_backing *out)
{
	(void)ctx;
	(void)slot;
	(void)access;
	*out = (struct vmmu_backing){
		.pfn = {m.first_pfn + gfn.v}, .order = 9, .rights = VMMU_RWX, .memtype = VMMU_MEMTYPE_WB};
	return VMMU_BACKING_OK;
}

static bool owns_frame(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn, vmmu_pfn pfn)
{
	(void)ctx;
	(void)slot;
	return pfn.v == m.first_pfn + gfn.v;
}

static void flush(void *ctx, const struct vmmu_flush *what)
{
	(void)ctx;
	(void)what;
	sched_yield();
}

static void relax(void *ctx)
{
	(void)ctx;
	sched_yield();
}

static _Atomic uint64_t *word_at(uint64_t gpa)
{
	return gpa >> 12 < PAGES ? &m.ram[gpa >> 12][(gpa & 4095) / 8] : NULL;
}

/* A 32-bit guest's entry is half a word. */
static unsigned shift_of(uint64_t gpa, unsigned size)
{
	return size == 4 && gpa & 4 ? 32 : 0;
}

static enum vmmu_guest_read guest_read(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	_Atomic uint64_t *word = word_at(gpa.v);

	(void)ctx;
	if (word)
		*value = *word >> shift_of(gpa.v, size);
	if (size == 4)
		*value &= 0xffffffff;
	return word != NULL ? VMMU_GUEST_READ_OK : VMMU_GUEST_READ_NONE;
}

static enum vmmu_guest_swap guest_cmpxchg(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t expected,
                                          uint64_t value)
{
	unsigned shift = shift_of(gpa.v, size);
	uint64_t mask = size == 4 ? 0xffffffffull << shift : ~0ull, word;
	_Atomic uint64_t *at = word_at(gpa.v);

	(void)ctx;
	word = *at;
	while ((word & mask) == expected << shift)
		if (atomic_compare_exchange_weak(at, &word, (word & ~mask) | value << shift))
			return VMMU_GUEST_SWAPPED;
	return VMMU_GUEST_CHANGED;
}

/* ---- what a vCPU does ------------------------------------------------------------- */

static const uint16_t places[4] = {0, 1, 2, 511};

static bool is_ept(void)
{
	return m.mode == VMMU_MODE_EPT;
}

static struct vmmu_cpu the_cpu(void)
{
	return (struct vmmu_cpu){.maxphyaddr = 46, .page_2m = true, .page_1g = true, .exec_only = is_ept(), .ad = true, .nx = true, .levels5 = m.levels == 5};
}

static uint64_t some_frame(uint64_t *random)
{
	return sim_random_below(random, 12) ? 1 + sim_random_below(random, TABLES) : sim_random_below(random, PAGES);
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

static void write_table(struct vmmu_vcpu *vcpu, uint64_t *random)
{
	uint64_t gpa = (1 + sim_random_below(random, TABLES)) << 12 | places[sim_random_below(random, 4)] * 8;

	*word_at(gpa) = some_entry(random);
	vmmu_guest_written(vcpu, vmmu_gpa_of(gpa), 8);
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

static void *host_thread(void *arg)
{
	uint64_t bitmap[PAGES / 64];

	(void)arg;
	while (!m.stop) {
		if (vmmu_invalidate_begin(m.vm, vmmu_gpa_of(0), PAGES << 12) == VMMU_OK) {
			m.first_pfn ^= 1u << 20;
			vmmu_invalidate_end(m.vm, vmmu_gpa_of(0), PAGES << 12);
		}
		vmmu_slot_set_flags(m.vm, 0, VMMU_SLOT_LOG_DIRTY);
		vmmu_dirty_log(m.vm, 0, bitmap, PAGES / 64);
		vmmu_slot_set_flags(m.vm, 0, 0);
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	return NULL;
}

static void complain(void *arg, const char *rule, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	(void)arg;
	fprintf(stderr, "audit: %s (level %u, entry %#lx, gfn %#lx)\n", rule, step->level, step->entry,
	        gfn.v);
}

static void make_machine(void)
{
	struct sim_memory_config memory = {
		.base = 1ull << 40, .frames = 8192, .single_view = true, .seed = 5};
	struct vmmu_config config = {
		.host = &m.host,
		.mode = m.mode,
		.cpu = the_cpu(),
		.nested = true,
		.max_shadow_tables = 128,
	};
	struct vmmu_slot_info slot = {.bytes = PAGES << 12};

	assert_true(sim_memory_init(&m.tables, &memory));
	m.first_pfn = 1u << 21;
	m.host = (struct vmmu_host){
		.object_alloc = object_alloc,
		.object_free = object_free,
		.table_alloc = table_alloc,
		.table_free = table_free,
		.table_read_base = (uintptr_t)m.tables.read_view - memory.base,
		.table_write_base = (uintptr_t)m.tables.write_view - memory.base,
		.backing = backing,
		.flush = flush,
		.guest_read = guest_read,
		.guest_cmpxchg = guest_cmpxchg,
		.relax = relax,
		.owns_frame = owns_frame,
	};
	assert_int_equal(vmmu_vm_create(&config, &m.vm), VMMU_OK);
	assert_int_equal(vmmu_slot_create(m.vm, &slot), VMMU_OK);
}

static void vcpus_share_nested_tables(enum vmmu_mode mode, unsigned levels)
{
	pthread_t vcpu[VCPUS], host;
	struct vmmu_stats stats;

	m.mode = mode;
	m.levels = levels;
	m.stop = false;
	make_machine();
	for (unsigned table = 1; table <= TABLES; table++)
		for (unsigned i = 0; i < 4; i++)
			m.ram[table][places[i]] = ((uint64_t)(1 + (table + i) % TABLES) << 12 | (is_ept() ? 0x307 : levels == 3 ? 1
			                                                                                                        : 0x67)) *
			                          (levels == 2 ? 0x100000001ull : 1);
	for (uintptr_t i = 0; i < VCPUS; i++)
		assert_int_equal(pthread_create(&vcpu[i], NULL, vcpu_thread, (void *)i), 0);
	assert_int_equal(pthread_create(&host, NULL, host_thread, NULL), 0);
	for (unsigned i = 0; i < VCPUS; i++)
		pthread_join(vcpu[i], NULL);
	m.stop = true;
	pthread_join(host, NULL);
	assert_int_equal(m.findings, 0);
	vmmu_stats_read(m.vm, &stats);
	print_message("            %lu fixed, %lu for L1, %lu retried, %lu writes to tables\n",
	              stats.faults[VMMU_FAULT_FIXED], stats.faults[VMMU_FAULT_REFLECT],
	              stats.faults[VMMU_FAULT_RETRY], stats.faults[VMMU_FAULT_WRITE_TABLE]);
	assert_true(stats.faults[VMMU_FAULT_FIXED] > ROUNDS / 25);
	assert_int_equal(vmmu_audit(m.vm, complain, NULL), 0);
	assert_int_equal(vmmu_vm_destroy(m.vm), VMMU_OK);
	assert_int_equal(m.tables.in_use, 0);
	assert_int_equal(m.tables.objects, 0);
	assert_null(m.tables.error);
	sim_memory_fini(&m.tables);
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
