/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A host whose frames for tables lie at and above 4 GiB, but for a few. Outside long mode
 * the CPU takes bits 31:5 of CR3 alone (SDM vol. 3, 4.4.1; APM vol. 2, 5.2.1): what CR3
 * names then must lie below.
 */
enum { LOW_FRAMES = 64 };
#define HOST_TABLES_AT ((4ull << 30) - LOW_FRAMES * 4096ull)
#include "host.h"

MODES;

#define END_OF_LOW (4ull << 30)

enum { G_DIRECTORY_32 = 40,
       G_PAE = 41,
       PAGE = 100 };

/* Frames below 4 GiB, apart from the host's own list. */
static struct {
	uint64_t free[LOW_FRAMES];
	unsigned count;
	int64_t live;
	unsigned asked;
} low;

static bool low_alloc(void *ctx, vmmu_hpa *out)
{
	struct host *host = ctx;

	low.asked++;
	if (!low.count)
		return false;
	out->v = low.free[--low.count];
	assert_true(out->v < END_OF_LOW);
	memset(host->tables + (out->v - HOST_TABLES_AT), 0, K);
	low.live++;
	return true;
}

static void any_free(void *ctx, vmmu_hpa frame)
{
	if (frame.v >= END_OF_LOW) {
		host_table_free(ctx, frame);
		return;
	}
	low.free[low.count++] = frame.v;
	low.live--;
}

/* A careless host says that this is low. */
static bool high_as_low(void *ctx, vmmu_hpa *out)
{
	low.asked++;
	return host_table_alloc(ctx, out);
}

static struct host *high_host(void)
{
	struct host *host = host_new(512);

	host->free_tables = 0;
	for (uint32_t frame = HOST_TABLES; frame-- > LOW_FRAMES;)
		host->free_table[host->free_tables++] = frame;
	low.count = 0;
	low.live = 0;
	low.asked = 0;
	for (uint64_t frame = 0; frame < LOW_FRAMES; frame++)
		low.free[low.count++] = HOST_TABLES_AT + frame * K;
	host->calls.table_free = any_free;
	host->calls.table_alloc_low = low_alloc;
	return host;
}

static void end(struct host *host)
{
	host_end(host);
	assert_int_equal(low.live, 0);
}

/* ---- a guest that goes from mode to mode ---------------------------------------------- */

enum guest_mode { NO_PAGING,
	          PAGING_32,
	          PAE,
	          LONG,
	          GUEST_MODES };

/* Each of them maps the first 2 MiB onto themselves. */
static void write_guest_tables(struct host *host)
{
	host_set(host, G_ROOT, 0, G_PDPT * K | GFULL);
	host_set(host, G_PDPT, 0, G_DIRECTORY * K | GFULL);
	host_set(host, G_DIRECTORY, 0, G_TABLE * K | GFULL);
	for (unsigned i = 0; i < VMMU_PAGE_SIZE / 8; i++)
		host_set(host, G_TABLE, i, i * K | GFULL | GD);
	host_set(host, G_DIRECTORY_32, 0, GFULL | GD | GPS);
	host_set(host, G_PAE, 0, G_DIRECTORY * K | GP);
}

static struct vmmu_paging registers_for(struct host *host, enum guest_mode mode)
{
	struct vmmu_paging paging = host_long_mode(G_ROOT);

	if (mode == LONG)
		return paging;
	paging.efer = 0;
	if (mode == NO_PAGING)
		paging.cr0 = 1;
	paging.cr4 = mode == PAE ? 0x30 : 0x10;
	paging.cr3 = (mode == PAE ? G_PAE : G_DIRECTORY_32) * K;
	if (mode == PAE)
		assert_int_equal(vmmu_guest_load_pdptes(&host->calls, host, &paging.cpu, paging.cr3, paging.pdpte),
		                 VMMU_GUEST_OK);
	return paging;
}

static enum vmmu_status enter(struct host *host, unsigned vcpu, enum guest_mode mode)
{
	struct vmmu_paging paging = registers_for(host, mode);

	return vmmu_vcpu_set_paging(host->vcpu[vcpu], &paging);
}

/* The root is one that the CPU can use in this mode, and leads to the guest's memory. */
static void check_root(struct host *host, unsigned vcpu, enum guest_mode mode)
{
	struct vmmu_root root;

	assert_ok(vmmu_vcpu_load(host->vcpu[vcpu], &root));
	assert_int_equal(root.levels, mode == LONG ? 4 : 3);
	/* Long mode needs no low frame, and so has none. */
	assert_int_equal(root.pointer < END_OF_LOW, mode != LONG);
	for (unsigned page = PAGE; page < PAGE + 2; page++) {
		assert_true(host_touch(host, vcpu, page * K, VMMU_W) != VMMU_FAULT_NO_MEMORY);
		assert_int_equal(host_frame_of(host, vcpu, page * K, NULL), HOST_FRAMES + page);
	}
}

static void every_mode_after_every_other(void **state)
{
	struct host *host = high_host();
	struct vmmu_config config = host_config(host, mode_of(state));

	host_make(host, &config, 2);
	assert_ok(host_slot(host, 0, 0, 512 * K, 0));
	write_guest_tables(host);
	check_root(host, 0, NO_PAGING);
	for (unsigned i = 0; i < GUEST_MODES * GUEST_MODES; i++)
		for (unsigned vcpu = 0; vcpu < 2; vcpu++) {
			assert_ok(enter(host, vcpu, i / GUEST_MODES));
			check_root(host, vcpu, i / GUEST_MODES);
			assert_ok(enter(host, vcpu, i % GUEST_MODES));
			check_root(host, vcpu, i % GUEST_MODES);
		}
	assert_int_equal(host_audit(host), 0);
	end(host);
}

/* <vmmu/host.h> says how many: nine for each vCPU and one for the VM. */
static void so_many_and_no_more(void **state)
{
	struct host *host = high_host();
	struct vmmu_config config = host_config(host, mode_of(state));
	int64_t most = 0;

	host_make(host, &config, 2);
	assert_ok(host_slot(host, 0, 0, 512 * K, 0));
	write_guest_tables(host);
	for (unsigned i = 0; i < 100; i++) {
		struct vmmu_paging paging = registers_for(host, i % 3 ? PAGING_32 : PAE);

		paging.cr3 = (200 + i) * K;
		assert_ok(vmmu_vcpu_set_paging(host->vcpu[i % 2], &paging));
		most = low.live > most ? low.live : most;
	}
	assert_true(most > 2 && most <= 2 * 9 + 1);
	/* They go with their vCPUs. */
	vmmu_vcpu_destroy(host->vcpu[--host->vcpus]);
	vmmu_vcpu_destroy(host->vcpu[--host->vcpus]);
	assert_int_equal(low.live, 1);
	end(host);
}

static void long_mode_takes_none(void **state)
{
	struct host *host = high_host();
	struct vmmu_config config = host_config(host, mode_of(state));

	host_make(host, &config, 1);
	assert_ok(host_slot(host, 0, 0, 512 * K, 0));
	write_guest_tables(host);
	assert_int_equal(low.asked, 1); /* for a guest that has not begun with paging */
	for (unsigned i = 0; i < 20; i++) {
		struct vmmu_paging paging = host_long_mode(200 + i);

		assert_ok(vmmu_vcpu_set_paging(host->vcpu[0], &paging));
	}
	assert_int_equal(low.asked, 1);
	end(host);
}

static void as_many_frames_as_said(void **state)
{
	struct host *host = high_host();
	struct vmmu_config config = host_config(host, mode_of(state));

	host_make(host, &config, 1);
	assert_ok(host_slot(host, 0, 0, 512 * K, 0));
	write_guest_tables(host);
	assert_int_equal(host->tables_live, 4);
	assert_int_equal(low.live, 1);
	/* Of the five for this root only two are used. */
	assert_ok(enter(host, 0, PAE));
	assert_int_equal(host->tables_live, 4 + 4);
	assert_int_equal(low.live, 1 + 1);
	assert_ok(enter(host, 0, LONG));
	assert_int_equal(host->tables_live, 4 + 4 + 2);
	assert_int_equal(low.live, 1 + 1);
	end(host);
}

/* ---- a host that has none ------------------------------------------------------------------ */

static void without_low_frames_there_is_no_vm(void **state)
{
	for (unsigned how = 0; how < 3; how++) {
		struct host *host = high_host();
		struct vmmu_config config = host_config(host, mode_of(state));

		switch (how) {
		case 0: host->calls.table_alloc_low = NULL; break;
		case 1: host->calls.table_alloc_low = high_as_low; break;
		case 2: low.count = 0; break;
		}
		assert_int_equal(vmmu_vm_create(&config, &host->vm), VMMU_ERR_NO_MEMORY);
		assert_int_equal(host->tables_live, 0);
		assert_int_equal(host->objects_live, 0);
		assert_int_equal(low.live, 0);
		/* The same host, when it has some. */
		for (uint64_t frame = low.count; frame < LOW_FRAMES; frame++)
			low.free[low.count++] = HOST_TABLES_AT + frame * K;
		host->calls.table_alloc_low = low_alloc;
		host_make(host, &config, 1);
		end(host);
	}
}

/* A switch that finds none leaves the old registers in force; there is memory for long mode. */
static void a_switch_without_low_frames_is_refused(void **state)
{
	static const enum guest_mode modes[] = {PAGING_32, PAE};

	for (unsigned i = 0; i < 2; i++)
		for (unsigned how = 0; how < 3; how++) {
			struct host *host = high_host();
			struct vmmu_config config = host_config(host, mode_of(state));
			unsigned kept = 0;

			host_make(host, &config, 1);
			assert_ok(host_slot(host, 0, 0, 512 * K, 0));
			write_guest_tables(host);
			switch (how) {
			case 0: host->calls.table_alloc_low = NULL; break;
			case 1: host->calls.table_alloc_low = high_as_low; break;
			case 2:
				kept = low.count;
				low.count = 0;
				break;
			}
			assert_int_equal(enter(host, 0, modes[i]), VMMU_ERR_NO_MEMORY);
			check_root(host, 0, NO_PAGING);
			assert_ok(enter(host, 0, LONG));
			check_root(host, 0, LONG);
			assert_int_equal(enter(host, 0, modes[i]), VMMU_ERR_NO_MEMORY);
			check_root(host, 0, LONG);
			assert_ok(enter(host, 0, NO_PAGING));
			check_root(host, 0, NO_PAGING);
			low.count += kept;
			host->calls.table_alloc_low = low_alloc;
			assert_ok(enter(host, 0, modes[i]));
			check_root(host, 0, modes[i]);
			end(host);
		}
}

/* While the frame is got, another vCPU agrees with the VM on another CPU: it was got in vain. */
static void agree_on_another(struct host *host)
{
	struct vmmu_paging paging = registers_for(host, LONG);

	paging.cpu.maxphyaddr = 40;
	assert_ok(vmmu_vcpu_set_paging(host->vcpu[1], &paging));
}

static bool low_alloc_meanwhile(void *ctx, vmmu_hpa *out)
{
	struct host *host = ctx;

	host->calls.table_alloc_low = low_alloc;
	host_elsewhere(host, agree_on_another);
	return low_alloc(ctx, out);
}

static void a_frame_got_in_vain_comes_back(void **state)
{
	struct host *host = high_host();
	struct vmmu_config config = host_config(host, mode_of(state));

	host_make(host, &config, 2);
	assert_ok(host_slot(host, 0, 0, 512 * K, 0));
	write_guest_tables(host);
	host->calls.table_alloc_low = low_alloc_meanwhile;
	assert_int_equal(enter(host, 0, PAE), VMMU_ERR_INVALID);
	assert_int_equal(low.live, 2);
	end(host);
}

/* A host without the callback whose frames are low anyhow has no need of it. */
static void low_frames_from_the_common_list_will_do(void **state)
{
	struct host *host = high_host();
	struct vmmu_config config = host_config(host, mode_of(state));

	host->calls.table_alloc = low_alloc;
	host->calls.table_alloc_low = NULL;
	host_make(host, &config, 1);
	assert_ok(host_slot(host, 0, 0, 512 * K, 0));
	write_guest_tables(host);
	assert_ok(enter(host, 0, PAE));
	assert_ok(enter(host, 0, PAGING_32));
	end(host);
}

/* EPT's and nested CR3's pointers have all their bits. */
static void direct_maps_do_not_ask(void **state)
{
	struct host *host = high_host();
	struct vmmu_config config = host_config(host, mode_of(state));

	config.nested = true;
	host_make(host, &config, 1);
	assert_ok(host_slot(host, 0, 0, 512 * K, 0));
	assert_result(host_touch(host, 0, PAGE * K, VMMU_W), VMMU_FAULT_FIXED);
	assert_int_equal(low.asked, 0);
	end(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHADOW(every_mode_after_every_other),
		SHADOW(so_many_and_no_more),
		SHADOW(long_mode_takes_none),
		SHADOW(as_many_frames_as_said),
		SHADOW(without_low_frames_there_is_no_vm),
		SHADOW(a_switch_without_low_frames_is_refused),
		SHADOW(a_frame_got_in_vain_comes_back),
		SHADOW(low_frames_from_the_common_list_will_do),
		DIRECT(direct_maps_do_not_ask),
	};

	cmocka_set_test_filter(getenv("ONLY"));
	return cmocka_run_group_tests_name("low frames", tests, NULL, NULL);
}
