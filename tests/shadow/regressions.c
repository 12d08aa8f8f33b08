/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What was once wrong with shadow paging, and found by reading: one test for
 * each. The guest is 4-level unless a test says otherwise; see machine.h.
 */
#include "machine.h"

/* ---- parking ---------------------------------------------------------------------------- */

/* How deep the engine's stack went, as its own hook sees it. */
static uintptr_t lowest;
static void (*original)(void *, unsigned, vmmu_hpa, unsigned);

static void watch(void *ctx, unsigned where, vmmu_hpa table, unsigned index)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	lowest = here < lowest ? here : lowest;
	original(ctx, where, table, index);
}

static size_t stack_to_park(struct sim_gm *gm, unsigned frame)
{
	uintptr_t top = (uintptr_t)__builtin_frame_address(0);

	lowest = top;
	original = gm->host.point;
	gm->host.point = watch;
	assert_true(vmmu_guest_release(gm->vcpu[0].engine, vmmu_gpa_of(frame * K)));
	gm->host.point = original;
	return top - lowest;
}

/* Each frame is the directory under the next one, and a PDPT itself. */
static struct sim_gm *machine_with_chain(unsigned length)
{
	struct sim_gm *gm = machine_of(1, 12, 0);

	for (unsigned i = 1; i < length; i++) {
		set(gm, 1000 + i, 0, (1000 + i - 1) * K | FULL | D);
		set(gm, ROOT, i, (1000 + i) * K | FULL);
	}
	for (unsigned i = 1; i < length; i++)
		exits_of(gm, (uint64_t)((int64_t)((uint64_t)i << 55) >> 16), &user_read, 0);
	return gm;
}

/* What is above a parked table is parked with it: level by level, and no deeper than a table is high. */
static void a_chain_of_tables_takes_no_stack(void **state)
{
	size_t few, many;
	struct sim_gm *gm;

	(void)state;
	gm = machine_with_chain(10);
	few = stack_to_park(gm, 1000);
	end(gm);
	gm = machine_with_chain(50);
	many = stack_to_park(gm, 1000);
	end(gm);
	assert_in_range(many, 1, few + 256);
}

/* Fetched through the table that it writes, and others' faults come between its two exits. */
static void an_instruction_that_needs_its_table_is_emulated(void **state)
{
	struct sim_gm *gm = machine_of(2, 0, 0);
	enum vmmu_fault_result result = VMMU_FAULT_FIXED;

	(void)state;
	set(gm, TABLE, 0, DATA * K | FULL | D);
	set(gm, DIRECTORY, 1, OTHER_TABLE * K | FULL);
	set(gm, OTHER_TABLE, 0, TABLE * K | FULL | D);
	for (unsigned i = 1; i < 512; i++)
		set(gm, OTHER_TABLE, i, (1024 + i) * K | FULL | D);
	for (unsigned round = 0; round < 10 && result != VMMU_FAULT_WRITE_TABLE; round++) {
		struct vmmu_fault code = {.access = VMMU_X}, write = {.gva = {M2}, .access = VMMU_W};

		vmmu_fault(gm->vcpu[0].engine, &code);
		for (unsigned i = 0; i < 5; i++) {
			struct vmmu_fault other = {.gva = {M2 + (1 + round * 5 + i) * K}, .access = VMMU_R};

			assert_int_equal(vmmu_fault(gm->vcpu[1].engine, &other), VMMU_FAULT_FIXED);
		}
		result = vmmu_fault(gm->vcpu[0].engine, &write);
	}
	assert_int_equal(result, VMMU_FAULT_WRITE_TABLE);
	end(gm);
}

/* The emulator's store is in memory, but not yet told of, when another fault reads it. */
static void a_word_is_noted_only_where_it_is_followed(void **state)
{
	struct sim_gm *gm = machine_of(1, 12, 0);
	struct vmmu_vcpu *vcpu = gm->vcpu[0].engine;
	struct vmmu_fault f = {.access = VMMU_W};
	uint64_t entry = ROOT * K | FULL | D;

	(void)state;
	set(gm, TABLE, 0, DATA * K | FULL | D);
	set(gm, TABLE, 1, (DATA + 1) * K | FULL | D);
	exits_of(gm, 0, &user_read, 0);
	memcpy(gm->ram + TABLE * K, &entry, sizeof(entry));
	assert_int_equal(vmmu_fault(vcpu, &f), VMMU_FAULT_WRITE_TABLE);
	assert_true(vmmu_guest_release(vcpu, vmmu_gpa_of(TABLE * K)));
	vmmu_guest_written(vcpu, vmmu_gpa_of(TABLE * K), 8);
	f = (struct vmmu_fault){.gva = {K}, .access = VMMU_R};
	assert_int_equal(vmmu_fault(vcpu, &f), VMMU_FAULT_FIXED);
	sim_gm_audit(gm);
	end(gm);
}

/* ---- roles -------------------------------------------------------------------------------- */

static void set_small(struct sim_gm *gm, unsigned table, unsigned index, uint32_t entry)
{
	sim_gm_host_write(gm, 0, table * K + index * 4, 4, entry);
}

/* CR4.PSE is clear when the emulator writes what is a large page with it set. */
static void a_large_page_is_one_only_with_pse(void **state)
{
	struct sim_gm *gm = bare_machine(1, 12, 0);
	struct vmmu_paging p = gm->vcpu[0].paging;

	(void)state;
	set_small(gm, ROOT, 1, 1024 * K | FULL);
	set_small(gm, 1024, 0, DATA * K | FULL | D);
	p.cr0 = 1u << 31 | 1u << 16 | 1;
	p.cr3 = ROOT * K;
	for (unsigned pse = 1; pse < 2; pse--) {
		p.cr4 = pse << 4;
		sim_gm_set_paging(gm, 0, &p);
		exits_of(gm, 0x400000, &user_write, 0x11);
	}
	set_small(gm, ROOT, 2, 1024 * K | FULL | D | PS);
	p.cr4 = 0x10;
	sim_gm_set_paging(gm, 0, &p);
	sim_gm_audit(gm);
	exits_of(gm, 0x800000, &user_read, 0);
	end(gm);
}

/* ---- accesses ------------------------------------------------------------------------------ */

/* A segment load from a descriptor table in a user page: AC does not excuse it from SMAP. */
static void an_implicit_access_is_found_out(void **state)
{
	struct sim_gm *gm = machine_of(1, 12, 0);
	struct vmmu_paging p = gm->vcpu[0].paging;
	enum vmmu_fault_result result = VMMU_FAULT_FIXED;
	unsigned times = 0;

	(void)state;
	set(gm, TABLE, 0, DATA * K | FULL | D);
	p.cr4 |= 1u << 21;
	sim_gm_set_paging(gm, 0, &p);
	for (; result != VMMU_FAULT_INJECT_PF && times < 20; times++) {
		struct vmmu_fault f = {.access = VMMU_R | VMMU_ACCESS_AC | (times ? VMMU_ACCESS_PRESENT : 0)};

		result = vmmu_fault(gm->vcpu[0].engine, &f);
		if (result == VMMU_FAULT_INJECT_PF)
			assert_int_equal(f.error_code, VMMU_PF_PRESENT);
		else
			assert_int_equal(result, times ? VMMU_FAULT_SPURIOUS : VMMU_FAULT_FIXED);
	}
	assert_int_equal(result, VMMU_FAULT_INJECT_PF);
	end(gm);
}

/* ---- limits and the host ------------------------------------------------------------------ */

/* Eight roots for each of two vCPUs, of five tables each, are more than the limit. */
static void remembered_roots_leave_room_for_faults(void **state)
{
	struct sim_gm *gm = bare_machine(2, 0, 64);
	struct vmmu_paging p = gm->vcpu[0].paging;

	(void)state;
	p.cr0 = 1u << 31 | 1u << 16 | 1;
	p.cr4 = 0x30;
	set(gm, TABLE, 0, DATA * K | FULL | D);
	set(gm, OTHER_TABLE, 0, (DATA + 1) * K | FULL | D);
	for (unsigned i = 0; i < 16; i++) {
		unsigned top = 200 + i * 8;

		for (unsigned part = 0; part < 4; part++) {
			p.pdpte[part] = (top + 1 + part) * K | P;
			set(gm, top, part, p.pdpte[part]);
			set(gm, top + 1 + part, 0, TABLE * K | FULL);
			set(gm, top + 1 + part, 1, OTHER_TABLE * K | FULL);
		}
		p.cr3 = top * K;
		sim_gm_set_paging(gm, i / 8, &p);
	}
	assert_int_equal(exits_of_vcpu(gm, 1, 0, &user_read, 0) + exits_of_vcpu(gm, 1, M2, &user_read, 0), 2);
	assert_int_equal(exits_of_vcpu(gm, 1, 0, &user_read, 0) + exits_of_vcpu(gm, 1, M2, &user_read, 0), 0);
	end(gm);
}

/* The host takes back a frame that holds a guest's table: nothing may follow from the old contents. */
static void tables_in_a_pending_range_wait(void **state)
{
	struct sim_gm *gm = machine_of(1, 12, 0);
	uint64_t entry = (DATA + 1) * K | FULL | D;
	struct vmmu_fault f = {.access = VMMU_R};

	(void)state;
	set(gm, TABLE, 0, DATA * K | FULL | D);
	assert_int_equal(vmmu_invalidate_begin(gm->vm, vmmu_gpa_of(TABLE * K), K), VMMU_OK);
	assert_int_equal(vmmu_fault(gm->vcpu[0].engine, &f), VMMU_FAULT_RETRY);
	memcpy(gm->ram + TABLE * K, &entry, sizeof(entry));
	assert_int_equal(vmmu_invalidate_end(gm->vm, vmmu_gpa_of(TABLE * K), K), VMMU_OK);
	assert_int_equal(vmmu_fault(gm->vcpu[0].engine, &f), VMMU_FAULT_FIXED);
	assert_int_equal(f.gpa.v, (DATA + 1) * K);
	sim_gm_audit(gm);
	end(gm);
}

/* ---- bugs of others ---------------------------------------------------------------- */

#define LARGE (P | W | U | A | D | PS)

static void stays_true(struct sim_gm *gm, uint64_t gva)
{
	sim_gm_access(gm, 0, gva, &user_read, 8, 0);
	sim_gm_access(gm, 0, gva + K, &user_write, 8, 7);
	assert_false(gm->failed);
}

/* A large mapping and a table of the guest's at the same gfn, taking turns: two roles, two tables. */
static void cve_2026_53359_a_table_is_found_by_its_whole_role(void **state)
{
	enum { BOTH = 512 };
	struct sim_gm *gm = machine_of(1, 0, 0);

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		set(gm, BOTH, i, (DATA + i) * K | FULL | D);
	for (unsigned i = 0; i < 6; i++) {
		set(gm, DIRECTORY, 1, BOTH * K | (i % 2 ? LARGE : FULL));
		sim_gm_invlpg(gm, 0, M2);
		sim_gm_invlpg(gm, 0, M2 + K);
		stays_true(gm, M2);
		sim_gm_audit(gm);
	}
	end(gm);
}

/* A table made for a large guest page is none for the page that the entry names next. */
static void cve_2026_46113_a_large_page_rewritten_from_outside(void **state)
{
	struct sim_gm *gm = machine_of(1, 0, 0);

	(void)state;
	sim_gm_slot_create(gm, 1, 8192, 1024, 1024, 0);
	set(gm, DIRECTORY, 1, 8192 * K | LARGE);
	stays_true(gm, M2);
	set(gm, DIRECTORY, 1, 1024 * K | LARGE);
	sim_gm_invlpg(gm, 0, M2);
	sim_gm_invlpg(gm, 0, M2 + K);
	stays_true(gm, M2);
	sim_gm_slot_delete(gm, 1);
	stays_true(gm, M2);
	sim_gm_audit(gm);
	end(gm);
}

/* Two entries of different rights to one table: what each grants is its own. */
static void cve_2021_38198_rights_of_a_shared_table(void **state)
{
	struct sim_gm *gm = machine_of(1, 0, 0);

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		set(gm, TABLE, i, (DATA + i) * K | FULL | D);
	set(gm, DIRECTORY, 1, TABLE * K | P | U | A); /* read only */
	set(gm, DIRECTORY, 2, TABLE * K | P | W | A); /* the supervisor's */
	for (unsigned i = 0; i < 3; i++) {
		sim_gm_access(gm, 0, i * M2, &user_read, 8, 0);
		sim_gm_access(gm, 0, i * M2, &user_write, 8, 1);
		sim_gm_access(gm, 0, i * M2 + K, &read_, 8, 0);
		sim_gm_access(gm, 0, i * M2 + K, &write_, 8, 2);
		assert_false(gm->failed);
	}
	assert_true(gm->injected > 0);
	sim_gm_audit(gm);
	end(gm);
}

/* Guest tables in memory that the guest cannot write: no accessed bit is set there, and nothing is lost. */
static void cve_2022_1158_tables_in_read_only_memory(void **state)
{
	struct sim_gm *gm = machine_of(1, 0, 0);

	(void)state;
	set(gm, 200, 0, DATA * K | P | W | U);
	sim_gm_slot_create(gm, 1, 8192, 64, 200, VMMU_SLOT_READONLY);
	set(gm, DIRECTORY, 1, 8192 * K | FULL);
	sim_gm_access(gm, 0, M2, &user_read, 8, 0);
	sim_gm_access(gm, 0, M2, &user_write, 8, 3);
	assert_false(gm->failed);
	sim_gm_audit(gm);
	end(gm);
}

/* INVPCID, of every type, while paging is off. */
static void cve_2022_1789_invpcid_without_paging(void **state)
{
	struct sim_gm *gm = bare_machine(1, 0, 0);

	(void)state;
	sim_gm_access(gm, 0, DATA * K, &write_, 8, 1);
	for (unsigned type = 1; type < 4; type++) {
		sim_gm_invpcid(gm, 0, type, 0, 0);
		sim_gm_access(gm, 0, (DATA + type) * K, &write_, 8, 2);
		assert_false(gm->failed);
	}
	sim_gm_audit(gm);
	end(gm);
}

/* SMEP and SMAP are switched on and off beneath tables that two vCPUs share. */
static void commit_0be0226f07d1_smep_and_smap_are_part_of_the_role(void **state)
{
	static const uint64_t smep = 1u << 20, smap = 1u << 21;
	struct sim_gm *gm = machine_of(2, 0, 0);

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		set(gm, TABLE, i, (DATA + i) * K | P | W | A | D | (i % 2 ? U : 0));
	for (unsigned i = 0; i < 8; i++) {
		struct vmmu_paging p = gm->vcpu[i % 2].paging;

		p.cr0 = (p.cr0 & ~(1ull << 16)) | (i & 1 ? 1ull << 16 : 0);
		p.cr4 = (p.cr4 & ~(smep | smap)) | (i & 2 ? smep : 0) | (i & 4 ? smap : 0);
		sim_gm_set_paging(gm, i % 2, &p);
		for (unsigned n = 0; n < 2; n++)
			for (unsigned page = 0; page < 4; page++) {
				sim_gm_access(gm, n, page * K, &read_, 8, 0);
				sim_gm_access(gm, n, page * K, &write_, 8, page);
				sim_gm_access(gm, n, page * K, &user_write, 8, page);
			}
		assert_false(gm->failed);
	}
	sim_gm_audit(gm);
	end(gm);
}

/* A table that the guest has written since is compared before it is linked, whoever links it. */
static void commit_65855ed8b034_a_child_is_compared_before_it_is_linked(void **state)
{
	struct sim_gm *gm = machine_of(1, 0, 0);

	(void)state;
	set(gm, TABLE, 0, DATA * K | FULL | D);
	set(gm, TABLE, 1, (DATA + 1) * K | FULL | D);
	stays_true(gm, 0);
	assert_true(vmmu_guest_release(gm->vcpu[0].engine, vmmu_gpa_of(TABLE * K)));
	/* Through another directory's entry, with the table parked and rewritten by the guest itself. */
	set(gm, TABLE, 0, (DATA + 5) * K | FULL | D);
	set(gm, DIRECTORY, 3, TABLE * K | FULL);
	stays_true(gm, 3 * M2);
	stays_true(gm, 0);
	sim_gm_audit(gm);
	end(gm);
}

/* The limit is met in the middle of a fault: what it takes down is nothing that the fault stands on. */
static void cve_2026_64561_the_quota_takes_no_root(void **state)
{
	struct sim_gm *gm = machine_of(1, 0, VMMU_SHADOW_TABLES_MIN);

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		set(gm, 600 + i, 0, (DATA + i % 64) * K | FULL | D);
		set(gm, 600 + i, 1, (DATA + i % 64 + 1) * K | FULL | D);
		set(gm, DIRECTORY, i + 1, (600 + i) * K | FULL);
	}
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < 300; i++)
			stays_true(gm, (i + 1) * M2);
	sim_gm_audit(gm);
	end(gm);
}

/* ---- what a round of the mutants showed that no test looked at --------------------------------- */

/* A large page of the guest's has its own tables inside: no entry gives W to all of it. */
static void a_large_page_stops_short_of_the_tables_in_it(void **state)
{
	struct sim_gm *gm = machine_of(1, 12, 0);
	struct vmmu_fault f = {.gva = {M2 + 300 * K}, .access = VMMU_W};

	(void)state;
	set(gm, TABLE, 0, DATA * K | FULL | D);
	set(gm, DIRECTORY, 1, LARGE); /* gpa 0, where the tables lie */
	exits_of(gm, 0, &user_read, 0);
	assert_int_equal(vmmu_fault(gm->vcpu[0].engine, &f), VMMU_FAULT_FIXED);
	assert_int_equal(f.level, VMMU_LEVEL_4K);
	sim_gm_audit(gm);
	/* Through the large page into a table that is in use. */
	exits_of(gm, M2 + TABLE * K, &user_write, (DATA + 1) * K | FULL | D);
	sim_gm_invlpg(gm, 0, 0);
	stays_true(gm, 0);
	sim_gm_audit(gm);
	end(gm);
}

/* Pages of a large page were mapped one by one; a leaf for all of it takes the place of their table. */
static void a_large_leaf_takes_the_place_of_a_table(void **state)
{
	struct sim_gm *gm = machine_of(1, 12, 0);
	struct vmmu_fault f = {.gva = {M2 + 300 * K}, .access = VMMU_R};

	(void)state;
	set(gm, DIRECTORY, 1, 512 * K | (LARGE & ~D));
	assert_int_equal(vmmu_range_restrict(gm->vm, vmmu_gpa_of(512 * K), M2, VMMU_LEVEL_4K), VMMU_OK);
	assert_int_equal(vmmu_fault(gm->vcpu[0].engine, &f), VMMU_FAULT_FIXED);
	assert_int_equal(f.level, VMMU_LEVEL_4K);
	assert_int_equal(vmmu_range_restrict(gm->vm, vmmu_gpa_of(512 * K), M2, VMMU_LEVEL_1G), VMMU_OK);
	f = (struct vmmu_fault){.gva = {M2 + 301 * K}, .access = VMMU_W};
	assert_int_equal(vmmu_fault(gm->vcpu[0].engine, &f), VMMU_FAULT_FIXED);
	assert_int_equal(f.level, VMMU_LEVEL_2M);
	sim_gm_audit(gm);
	exits_of(gm, M2 + 302 * K, &user_write, 5);
	end(gm);
}

/* ---- what the host takes back in the middle of a fault --------------------------------------- */

static struct sim_gm *taking_from;
static uint64_t taking;

/* The guest's tables have just been walked; the first time, the host takes one of them. */
static void take_after_walk(void *ctx, unsigned where, vmmu_hpa table, unsigned index)
{
	uint64_t gpa = taking;

	if (where == VMMU_POINT_GATE_LEAVE && gpa) {
		taking = 0;
		assert_int_equal(vmmu_invalidate_begin(taking_from->vm, vmmu_gpa_of(gpa), K), VMMU_OK);
	}
	original(ctx, where, table, index);
}

static void a_table_taken_after_the_walk(unsigned frame, bool was_used)
{
	struct sim_gm *gm = machine_of(1, 12, 0);
	struct vmmu_fault f = {.access = VMMU_R};

	set(gm, TABLE, 0, DATA * K | FULL | D);
	set(gm, TABLE, 1, (DATA + 1) * K | FULL | D);
	if (was_used)
		exits_of(gm, K, &user_read, 0);
	taking_from = gm;
	taking = frame * K;
	original = gm->host.point;
	gm->host.point = take_after_walk;
	assert_int_equal(vmmu_fault(gm->vcpu[0].engine, &f), VMMU_FAULT_RETRY);
	gm->host.point = original;
	assert_int_equal(taking, 0);
	assert_int_equal(vmmu_invalidate_end(gm->vm, vmmu_gpa_of(frame * K), K), VMMU_OK);
	assert_int_equal(vmmu_fault(gm->vcpu[0].engine, &f), VMMU_FAULT_FIXED);
	sim_gm_audit(gm);
	end(gm);
}

static void a_guest_table_goes_between_walk_and_build(void **state)
{
	(void)state;
	for (unsigned frame = ROOT; frame <= TABLE; frame++)
		for (unsigned used = 0; used < 2; used++)
			a_table_taken_after_the_walk(frame, used);
}

/* ---- what a walk stores ------------------------------------------------------------------- */

static enum vmmu_guest_swap (*original_swap)(void *, vmmu_gpa, unsigned, uint64_t, uint64_t);
static bool leaf_changes;

static enum vmmu_guest_swap swap_unless_leaf(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t expected, uint64_t value)
{
	if (gpa.v / K == TABLE && leaf_changes) {
		leaf_changes = false;
		return VMMU_GUEST_CHANGED;
	}
	return original_swap(ctx, gpa, size, expected, value);
}

/*
 * The walk sets A in the directory; then it finds that the leaf has changed, and begins
 * again. The second one finds A set, but the directory's page was written.
 */
static void a_walk_that_begins_again_is_logged(void **state)
{
	struct sim_gm_config config = {.seed = 3, .vcpus = 1, .order = 0, .ram_pages = 4096};
	struct sim_gm *gm = sim_gm_new(&config);

	(void)state;
	sim_gm_slot_create(gm, 0, 0, 4096, 0, VMMU_SLOT_LOG_DIRTY);
	set(gm, ROOT, 0, PDPT * K | FULL);
	set(gm, PDPT, 0, DIRECTORY * K | FULL);
	set(gm, DIRECTORY, 0, TABLE * K | P | W | U);
	set(gm, TABLE, 0, DATA * K | P | W | U);
	start_paging(gm);
	sim_gm_log(gm, 0);
	original_swap = gm->host.guest_cmpxchg;
	gm->host.guest_cmpxchg = swap_unless_leaf;
	leaf_changes = true;
	assert_int_equal(exits_of(gm, 0, &user_read, 0), 1);
	gm->host.guest_cmpxchg = original_swap;
	assert_false(leaf_changes);
	/* The judge holds it to what was stored. */
	sim_gm_log(gm, 0);
	end(gm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_chain_of_tables_takes_no_stack),
		cmocka_unit_test(an_instruction_that_needs_its_table_is_emulated),
		cmocka_unit_test(a_word_is_noted_only_where_it_is_followed),
		cmocka_unit_test(a_large_page_is_one_only_with_pse),
		cmocka_unit_test(an_implicit_access_is_found_out),
		cmocka_unit_test(remembered_roots_leave_room_for_faults),
		cmocka_unit_test(tables_in_a_pending_range_wait),
		cmocka_unit_test(cve_2026_53359_a_table_is_found_by_its_whole_role),
		cmocka_unit_test(cve_2026_46113_a_large_page_rewritten_from_outside),
		cmocka_unit_test(cve_2021_38198_rights_of_a_shared_table),
		cmocka_unit_test(cve_2022_1158_tables_in_read_only_memory),
		cmocka_unit_test(cve_2022_1789_invpcid_without_paging),
		cmocka_unit_test(commit_0be0226f07d1_smep_and_smap_are_part_of_the_role),
		cmocka_unit_test(commit_65855ed8b034_a_child_is_compared_before_it_is_linked),
		cmocka_unit_test(cve_2026_64561_the_quota_takes_no_root),
		cmocka_unit_test(a_large_page_stops_short_of_the_tables_in_it),
		cmocka_unit_test(a_large_leaf_takes_the_place_of_a_table),
		cmocka_unit_test(a_guest_table_goes_between_walk_and_build),
		cmocka_unit_test(a_walk_that_begins_again_is_logged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
