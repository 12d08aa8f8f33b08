/* SPDX-License-Identifier: BSD-2-Clause */
/* The simulated machine: put together, taken apart, and its verdict. */
#include "internal.h"
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_TABLE_FRAMES 4096u
#define DEFAULT_RING 256u
#define FIRST_GUEST_PFN 0x1000u

struct vmmu_cpu sim_cpu_full(void)
{
	return (struct vmmu_cpu){
		.maxphyaddr = 46,
		.page_2m = true,
		.page_1g = true,
		.exec_only = true,
		.ad = true,
		.nx = true,
	};
}

struct sim_config sim_config_default(enum vmmu_mode mode)
{
	return (struct sim_config){.mode = mode, .cpu = sim_cpu_full(), .vcpus = 1, .seed = 1};
}

void sim_fail(struct sim *sim, uint64_t entry_hpa, const char *format, ...)
{
	va_list args;

	pthread_mutex_lock(&sim->lock);
	bool first = !sim->failed;

	if (first) {
		va_start(args, format);
		vsnprintf(sim->failure, sizeof(sim->failure), format, args);
		va_end(args);
		__atomic_store_n(&sim->failed, true, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&sim->lock);
	if (!first || sim->config.silent)
		return;
	fprintf(stderr, "FOUND (%s, seed %#lx): %s\n", sim->config.mode == VMMU_MODE_EPT ? "ept" : "npt",
	        sim->config.seed, sim->failure);
	if (entry_hpa && !sim->config.untraced && !sim->config.threads) {
		sim_drain(sim);
		sim_trace_history(&sim->trace, entry_hpa, stderr);
	}
}

void sim_drain(struct sim *sim)
{
	sim_trace_drain(&sim->trace, &sim->ring);
	for (unsigned i = 0; i < sim->vcpus; i++)
		if (sim->vcpu[i].ring.records)
			sim_trace_drain(&sim->trace, &sim->vcpu[i].ring);
}

static void set_defaults(struct sim_config *config)
{
	if (!config->vcpus)
		config->vcpus = 1;
	if (!config->table_frames)
		config->table_frames = DEFAULT_TABLE_FRAMES;
	if (!config->ring_records)
		config->ring_records = DEFAULT_RING;
	if (config->threads)
		config->unwatched = true;
}

/* How far guest addresses go: the config's word, the CPU's width, the tables' reach. */
static uint64_t reach_of(const struct sim_config *config)
{
	unsigned levels = config->levels                                         ? config->levels
	                  : config->mode == VMMU_MODE_NPT && config->cpu.levels5 ? 5
	                                                                         : 4;
	unsigned bits = config->cpu.maxphyaddr;

	if (config->guest_maxphyaddr && config->guest_maxphyaddr < bits)
		bits = config->guest_maxphyaddr;
	if (bits > VMMU_PAGE_SHIFT + 9 * levels)
		bits = VMMU_PAGE_SHIFT + 9 * levels;
	return 1ull << (bits - VMMU_PAGE_SHIFT);
}

static unsigned max_level_of(const struct sim_config *config)
{
	bool npt = config->mode == VMMU_MODE_NPT;
	unsigned level = config->cpu.page_1g ? VMMU_LEVEL_1G : VMMU_LEVEL_2M;

	if (!npt && !config->cpu.page_2m)
		level = config->cpu.page_1g ? VMMU_LEVEL_1G : VMMU_LEVEL_4K;
	return config->max_level && config->max_level < level ? config->max_level : level;
}

static enum vmmu_status create_vm(struct sim *sim)
{
	struct vmmu_config config = {
		.host = &sim->host,
		.host_ctx = sim,
		.mode = sim->config.mode,
		.cpu = sim->config.cpu,
		.levels = sim->config.levels,
		.guest_maxphyaddr = sim->config.guest_maxphyaddr,
		.max_level = sim->config.max_level,
		.fault_around = sim->config.fault_around,
		.id = 1,
		.max_slots = sim->config.max_slots,
		.no_mmio_cache = sim->config.no_mmio_cache,
		.ring = &sim->ring,
	};
	enum vmmu_status status = vmmu_vm_create(&config, &sim->vm);

	if (status != VMMU_OK) {
		sim->vm = NULL;
		return status;
	}
	if (!sim->config.untraced)
		vmmu_trace_enable(sim->vm, true);
	for (unsigned i = 0; i < sim->config.vcpus; i++) {
		sim->vcpus = i + 1;
		if (!sim_vcpu_init(sim, i, &status))
			return status;
	}
	return VMMU_OK;
}

struct sim *sim_new(const struct sim_config *config, enum vmmu_status *status)
{
	struct sim *sim = calloc(1, sizeof(*sim));
	enum vmmu_status result;

	if (!sim)
		abort();
	sim->config = *config;
	set_defaults(&sim->config);
	pthread_mutex_init(&sim->lock, NULL);
	pthread_rwlock_init(&sim->walks, NULL);
	sim->random = sim->config.seed;
	sim->next_pfn = FIRST_GUEST_PFN;
	/* Tables at the top of physical memory: every address bit is put to use. */
	struct sim_memory_config memory = {
		.base = (1ull << config->cpu.maxphyaddr) - (uint64_t)sim->config.table_frames * VMMU_PAGE_SIZE,
		.frames = sim->config.table_frames,
		.single_view = sim->config.threads,
		.seed = sim->config.seed,
	};

	if (!sim_memory_init(&sim->memory, &memory))
		abort();
	sim->memory.plan = config->fail;
	sim_trace_init(&sim->trace);
	sim_ref_init(&sim->ref, reach_of(&sim->config), config->max_slots ? config->max_slots : 32764,
	             max_level_of(&sim->config), config->mode == VMMU_MODE_EPT);
	sim->ring.size = sim->config.ring_records;
	sim->ring.records = calloc(sim->ring.size, sizeof(*sim->ring.records));
	sim_host_init(sim);
	result = create_vm(sim);
	if (result != VMMU_OK && !(result == VMMU_ERR_NO_MEMORY && sim->memory.failed) && !status)
		sim_fail(sim, 0, "the machine could not be made: %s", vmmu_status_name(result));
	if (status)
		*status = result;
	return sim;
}

/* Every table that a record made, a record must have freed. */
static void check_tables_returned(struct sim *sim)
{
	struct sim_replay replay;
	char error[256];

	if (sim->config.untraced || sim->failed)
		return;
	if (sim_trace_count(&sim->trace, VMMU_TRACE_GET_PAGE) !=
	    sim_trace_count(&sim->trace, VMMU_TRACE_FREE_PAGE))
		sim_fail(sim, 0, "the trace makes %zu tables and frees %zu",
		         sim_trace_count(&sim->trace, VMMU_TRACE_GET_PAGE),
		         sim_trace_count(&sim->trace, VMMU_TRACE_FREE_PAGE));
	if (!sim_trace_replay(&sim->trace, &replay, error, sizeof(error)))
		sim_fail(sim, 0, "trace, with the VM's end: %s", error);
	else if (sim_replay_nonzero(&replay))
		sim_fail(sim, 0, "by the trace, %zu entries outlive the VM", sim_replay_nonzero(&replay));
	sim_replay_fini(&replay);
}

static void tear_down(struct sim *sim)
{
	if (sim->vm && sim->vcpus && sim->vcpu[0].engine &&
	    vmmu_vm_destroy(sim->vm) != VMMU_ERR_BUSY)
		sim_fail(sim, 0, "a VM was destroyed while it had vCPUs");
	for (unsigned i = 0; i < sim->vcpus; i++) {
		sim_vcpu_fini(sim, i);
		sim_tlb_flush(&sim->vcpu[i].tlb, 0, ~0ull, true); /* the CPU leaves this VM for good */
	}
	if (sim->vm && vmmu_vm_destroy(sim->vm) != VMMU_OK)
		sim_fail(sim, 0, "the VM could not be destroyed");
	sim->vm = NULL;
	sim_drain(sim);
	if (sim->memory.in_use)
		sim_fail(sim, 0, "%u table frames were never given back", sim->memory.in_use);
	if (sim->memory.objects)
		sim_fail(sim, 0, "%u objects (%zu bytes) were never given back", sim->memory.objects,
		         sim->memory.object_bytes);
	if (sim->memory.error)
		sim_fail(sim, 0, "%s", sim->memory.error);
	check_tables_returned(sim);
}

/* Threads' writes are not followed: any page may be in the log. */
static void allow_all_writes(struct sim *sim)
{
	for (unsigned i = 0; i < sim->ref.slots; i++)
		if (sim->ref.slot[i].dirty)
			memset(sim->ref.slot[i].dirty, SIM_MAY_WRITE,
			       sim->ref.slot[i].info.bytes >> VMMU_PAGE_SHIFT);
}

bool sim_end(struct sim *sim)
{
	return sim_end_saying(sim, NULL, 0);
}

bool sim_end_saying(struct sim *sim, char *message, size_t size)
{
	sim_drain(sim);
	if (sim->config.threads)
		allow_all_writes(sim);
	if (sim->vm && sim->vcpu[0].start.table) {
		bool unwatched = sim->config.unwatched;

		sim->config.unwatched = false;
		sim_check(sim);
		sim->config.unwatched = unwatched;
		sim_check_provenance(sim);
		sim_check_statistics(sim);
	}
	if (!sim->failed)
		tear_down(sim); /* damaged tables are left alone: the report counts, not the leak */
	bool good = !sim->failed;

	if (message)
		snprintf(message, size, "%s", sim->failure);
	for (unsigned i = 0; i < sim->backings; i++)
		sim_backing_fini(&sim->backing[i]);
	for (unsigned i = 0; i < sim->vcpus; i++)
		free(sim->vcpu[i].ring.records);
	free(sim->ring.records);
	sim_ref_fini(&sim->ref);
	sim_trace_fini(&sim->trace);
	sim_memory_fini(&sim->memory);
	pthread_rwlock_destroy(&sim->walks);
	pthread_mutex_destroy(&sim->lock);
	free(sim);
	return good;
}
