/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A plain host of libvmmu, on the public headers alone, as somebody writes it who
 * has read nothing else: no model, no judge. Unlike the simulated machine (sim/) it
 * answers as the test says: late, something else each time, or what cannot be; and
 * other threads make calls while the engine waits for it.
 */
#ifndef TESTS_HOSTS_HOST_H
#define TESTS_HOSTS_HOST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <vmmu/exit.h>
#include <vmmu/guest.h>
#include <vmmu/vmmu.h>

#define K 0x1000ull
#define M 0x100000ull
#define G 0x40000000ull

enum { HOST_TABLES = 16384,
       HOST_VCPUS = 4 };
#ifndef HOST_TABLES_AT
#define HOST_TABLES_AT 0x40000000ull /* hpa of the first frame for tables */
#endif
#define HOST_FRAMES 0x200000ull      /* frame of the first page of guest memory */
#define HOST_OBJECT_MAX (1ull << 30) /* no larger object is given */

struct host;
typedef enum vmmu_backing_result (*host_backing)(struct host *host, const struct vmmu_slot_info *slot,
                                                 uint64_t gfn, unsigned access,
                                                 struct vmmu_backing *out);

struct host {
	unsigned char *tables; /* frames for paging structures */
	uint32_t free_table[HOST_TABLES];
	uint32_t free_tables;
	unsigned char *ram; /* guest memory for guest_read: gpa 0 and on */
	uint64_t ram_pages;
	_Atomic int64_t tables_live, objects_live, object_bytes, flushes;
	pthread_mutex_t lock;
	struct vmmu_host calls;
	struct vmmu_vm *vm;
	struct vmmu_vcpu *vcpu[HOST_VCPUS];
	unsigned vcpus;
	uint32_t findings; /* of audits */
	/* what a test does in the middle of the engine's calls; NULL: nothing */
	host_backing backing;
	void (*on_flush)(struct host *host);
	void (*on_table_free)(struct host *host);
	void (*on_point)(struct host *host, unsigned point);
	bool (*is_busy)(struct host *host, uint64_t gpa);
	void (*on_guest_read)(struct host *host, uint64_t gpa);
	void *arg;
};

/* ---- the callbacks ------------------------------------------------------------------ */

static void *host_object_alloc(void *ctx, size_t size)
{
	struct host *host = ctx;
	void *object = NULL;

	if (size > HOST_OBJECT_MAX || posix_memalign(&object, 64, size))
		return NULL;
	memset(object, 0, size);
	host->objects_live++;
	host->object_bytes += (int64_t)size;
	return object;
}

static void host_object_free(void *ctx, void *object, size_t size)
{
	struct host *host = ctx;

	host->objects_live--;
	host->object_bytes -= (int64_t)size;
	memset(object, 0x5a, size);
	free(object);
}

static bool host_table_alloc(void *ctx, vmmu_hpa *out)
{
	struct host *host = ctx;
	bool some;

	pthread_mutex_lock(&host->lock);
	some = host->free_tables;
	if (some) {
		uint32_t frame = host->free_table[--host->free_tables];

		memset(host->tables + frame * K, 0, K);
		*out = vmmu_hpa_of(HOST_TABLES_AT + frame * K);
		host->tables_live++;
	}
	pthread_mutex_unlock(&host->lock);
	return some;
}

static void host_table_free(void *ctx, vmmu_hpa frame)
{
	struct host *host = ctx;

	if (host->on_table_free)
		host->on_table_free(host);
	pthread_mutex_lock(&host->lock);
	memset(host->tables + (frame.v - HOST_TABLES_AT), 0xee, K);
	host->free_table[host->free_tables++] = (uint32_t)((frame.v - HOST_TABLES_AT) / K);
	host->tables_live--;
	pthread_mutex_unlock(&host->lock);
}

/* Frames in step with the slot's pages, from the slot's handle on. */
static inline void host_plain_answer(const struct vmmu_slot_info *slot, uint64_t gfn,
                                     struct vmmu_backing *out)
{
	*out = (struct vmmu_backing){
		.pfn = {HOST_FRAMES + slot->backing + gfn - (slot->base.v >> VMMU_PAGE_SHIFT)},
		.rights = VMMU_RWX,
		.memtype = VMMU_MEMTYPE_WB,
	};
}

static enum vmmu_backing_result host_ask(void *ctx, const struct vmmu_slot_info *slot, vmmu_gfn gfn,
                                         unsigned access, struct vmmu_backing *out)
{
	struct host *host = ctx;

	if (host->backing)
		return host->backing(host, slot, gfn.v, access, out);
	host_plain_answer(slot, gfn.v, out);
	return VMMU_BACKING_OK;
}

static void host_flush(void *ctx, const struct vmmu_flush *what)
{
	struct host *host = ctx;

	(void)what;
	host->flushes++;
	if (host->on_flush)
		host->on_flush(host);
}

static enum vmmu_guest_read host_guest_read(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	struct host *host = ctx;

	*value = ~0ull; /* what a careless host leaves there */
	if (host->on_guest_read)
		host->on_guest_read(host, gpa.v);
	if (host->is_busy && host->is_busy(host, gpa.v))
		return VMMU_GUEST_READ_BUSY;
	if (gpa.v >> VMMU_PAGE_SHIFT >= host->ram_pages)
		return VMMU_GUEST_READ_NONE;
	if (size == 8)
		*value = __atomic_load_n((uint64_t *)(host->ram + gpa.v), __ATOMIC_RELAXED);
	else
		*(uint32_t *)value = __atomic_load_n((uint32_t *)(host->ram + gpa.v), __ATOMIC_RELAXED);
	return VMMU_GUEST_READ_OK;
}

static enum vmmu_guest_swap host_guest_cmpxchg(void *ctx, vmmu_gpa gpa, unsigned size,
                                               uint64_t expected, uint64_t value)
{
	struct host *host = ctx;
	uint32_t expected4 = (uint32_t)expected;
	bool done;

	if (gpa.v >> VMMU_PAGE_SHIFT >= host->ram_pages)
		return VMMU_GUEST_CHANGED;
	if (size == 8)
		done = __atomic_compare_exchange_n((uint64_t *)(host->ram + gpa.v), &expected, value, false,
		                                   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	else
		done = __atomic_compare_exchange_n((uint32_t *)(host->ram + gpa.v), &expected4,
		                                   (uint32_t)value, false, __ATOMIC_SEQ_CST,
		                                   __ATOMIC_SEQ_CST);
	return done ? VMMU_GUEST_SWAPPED : VMMU_GUEST_CHANGED;
}

static uint64_t host_time(void *ctx)
{
	static _Atomic uint64_t now;

	(void)ctx;
	return ++now;
}

static void host_point(void *ctx, unsigned point, vmmu_hpa table, unsigned index)
{
	struct host *host = ctx;

	(void)table;
	(void)index;
	if (host->on_point)
		host->on_point(host, point);
}

/* ---- the host ------------------------------------------------------------------------- */

static inline struct host *host_new(uint64_t ram_pages)
{
	const int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	struct host *host = calloc(1, sizeof(*host));

	assert_non_null(host);
	pthread_mutex_init(&host->lock, NULL);
	host->tables = mmap(NULL, HOST_TABLES * K, protection, flags, -1, 0);
	host->ram_pages = ram_pages;
	host->ram = mmap(NULL, (ram_pages + 1) * K, protection, flags, -1, 0);
	assert_true(host->tables != MAP_FAILED && host->ram != MAP_FAILED);
	while (host->free_tables < HOST_TABLES) {
		host->free_table[host->free_tables] = HOST_TABLES - 1 - host->free_tables;
		host->free_tables++;
	}
	host->calls = (struct vmmu_host){
		.object_alloc = host_object_alloc,
		.object_free = host_object_free,
		.table_alloc = host_table_alloc,
		.table_free = host_table_free,
		.table_read_base = (uintptr_t)host->tables - HOST_TABLES_AT,
		.table_write_base = (uintptr_t)host->tables - HOST_TABLES_AT,
		.backing = host_ask,
		.flush = host_flush,
		.guest_read = host_guest_read,
		.guest_cmpxchg = host_guest_cmpxchg,
		.time = host_time,
		.point = host_point,
	};
	return host;
}

static inline struct vmmu_config host_config(struct host *host, enum vmmu_mode mode)
{
	return (struct vmmu_config){
		.host = &host->calls,
		.host_ctx = host,
		.mode = mode,
		.cpu = {
			.maxphyaddr = 46,
			.page_2m = true,
			.page_1g = true,
			.exec_only = true,
			.ad = true,
			.nx = true,
		},
	};
}

#define assert_ok(status) assert_string_equal(vmmu_status_name(status), vmmu_status_name(VMMU_OK))
#define assert_result(is, expected) \
	assert_string_equal(vmmu_fault_result_name(is), vmmu_fault_result_name(expected))

static inline void host_make(struct host *host, const struct vmmu_config *config, unsigned vcpus)
{
	assert_ok(vmmu_vm_create(config, &host->vm));
	while (host->vcpus < vcpus) {
		assert_ok(vmmu_vcpu_create(host->vm, (uint16_t)host->vcpus, NULL, &host->vcpu[host->vcpus]));
		host->vcpus++;
	}
}

/* A host with a VM in it. */
static inline struct host *host_with(enum vmmu_mode mode, unsigned vcpus, uint64_t ram_pages)
{
	struct host *host = host_new(ram_pages);
	struct vmmu_config config = host_config(host, mode);

	host_make(host, &config, vcpus);
	return host;
}

static inline void host_say(void *arg, const char *rule, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	(void)arg;
	fprintf(stderr, "audit: %s (level %u, gfn %#lx, entry %#lx)\n", rule, step ? step->level : 0,
	        gfn.v, step ? step->entry : 0);
}

static inline unsigned host_audit(struct host *host)
{
	return vmmu_audit(host->vm, host_say, NULL);
}

/* Everything down; nothing leaks, and nothing was left that the audit knows of. */
static inline void host_end(struct host *host)
{
	assert_int_equal(host_audit(host), 0);
	while (host->vcpus)
		vmmu_vcpu_destroy(host->vcpu[--host->vcpus]);
	assert_ok(vmmu_vm_destroy(host->vm));
	assert_int_equal(host->tables_live, 0);
	assert_int_equal(host->objects_live, 0);
	assert_int_equal(host->object_bytes, 0);
	munmap(host->tables, HOST_TABLES * K);
	munmap(host->ram, (host->ram_pages + 1) * K);
	pthread_mutex_destroy(&host->lock);
	free(host);
}

static inline enum vmmu_status host_slot(struct host *host, uint32_t id, uint64_t base, uint64_t bytes,
                                         uint32_t flags)
{
	struct vmmu_slot_info info = {.id = id, .flags = flags, .base = {base}, .bytes = bytes};

	return vmmu_slot_create(host->vm, &info);
}

/* A fault at gpa, or at gva under shadow paging. */
static inline enum vmmu_fault_result host_fault_at(struct host *host, unsigned vcpu, uint64_t address,
                                                   unsigned access, struct vmmu_fault *out)
{
	struct vmmu_fault fault = vmmu_fault_of(vmmu_gpa_of(address), access, 0, 0x1000);
	enum vmmu_fault_result result;

	fault.gva = vmmu_gva_of(address);
	result = vmmu_fault(host->vcpu[vcpu], &fault);
	if (out)
		*out = fault;
	return result;
}

static inline enum vmmu_fault_result host_fault(struct host *host, unsigned vcpu, uint64_t address,
                                                unsigned access)
{
	return host_fault_at(host, vcpu, address, access, NULL);
}

/* The same, as often as the guest's CPU would execute the access again. */
static inline enum vmmu_fault_result host_touch(struct host *host, unsigned vcpu, uint64_t address,
                                                unsigned access)
{
	enum vmmu_fault_result result = VMMU_FAULT_RETRY;

	for (unsigned i = 0; i < 100 && result == VMMU_FAULT_RETRY; i++)
		result = host_fault(host, vcpu, address, access);
	return result;
}

/* ---- threads -------------------------------------------------------------------------- */

struct host_errand {
	struct host *host;
	void (*fn)(struct host *host);
};

static void *host_run_errand(void *arg)
{
	struct host_errand *errand = arg;

	errand->fn(errand->host);
	return NULL;
}

/* What another thread does meanwhile; it is done when this returns. */
static inline void host_elsewhere(struct host *host, void (*fn)(struct host *host))
{
	struct host_errand errand = {host, fn};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, host_run_errand, &errand), 0);
	pthread_join(thread, NULL);
}

/* A vCPU whose question to host.backing is answered, but the answer is on its way for a while. */
struct host_late {
	struct host *host;
	unsigned vcpu;
	uint64_t address;
	unsigned access;
	enum vmmu_fault_result result;
	struct vmmu_fault fault;
	pthread_t thread;
	sem_t answered, on;
};

static __thread struct host_late *host_own_lateness;

/* Called by a test's host.backing when the answer is made up. */
static inline void host_dawdle(void)
{
	struct host_late *late = host_own_lateness;

	host_own_lateness = NULL;
	if (!late)
		return;
	sem_post(&late->answered);
	sem_wait(&late->on);
}

static void *host_run_late(void *arg)
{
	struct host_late *late = arg;

	host_own_lateness = late;
	late->result = host_fault_at(late->host, late->vcpu, late->address, late->access, &late->fault);
	/* It needed no answer at all: whoever waits for that waits no longer. */
	if (host_own_lateness)
		sem_post(&late->answered);
	return NULL;
}

/* Begin the fault; it has its answer when this returns. */
static inline void host_late_begin(struct host_late *late, struct host *host, unsigned vcpu,
                                   uint64_t address, unsigned access)
{
	*late = (struct host_late){.host = host, .vcpu = vcpu, .address = address, .access = access};
	sem_init(&late->answered, 0, 0);
	sem_init(&late->on, 0, 0);
	assert_int_equal(pthread_create(&late->thread, NULL, host_run_late, late), 0);
	sem_wait(&late->answered);
}

/* The answer arrives; the fault is over when this returns. */
static inline enum vmmu_fault_result host_late_end(struct host_late *late)
{
	sem_post(&late->on);
	pthread_join(late->thread, NULL);
	sem_destroy(&late->answered);
	sem_destroy(&late->on);
	return late->result;
}

/* ---- guests with page tables of their own (shadow paging) ------------------------------ */

enum { GP = 1,
       GW = 2,
       GU = 4,
       GA = 0x20,
       GD = 0x40,
       GPS = 0x80,
       GFULL = GP | GW | GU | GA };
/* Pages of guest memory that hold its tables. */
enum { G_ROOT = 16,
       G_PDPT,
       G_DIRECTORY,
       G_TABLE,
       G_OTHER_TABLE,
       G_FREE = 32 };

static inline void host_set(struct host *host, uint64_t page, unsigned index, uint64_t entry)
{
	__atomic_store_n((uint64_t *)(host->ram + page * K) + index, entry, __ATOMIC_RELAXED);
}

static inline uint64_t host_get(struct host *host, uint64_t page, unsigned index)
{
	return __atomic_load_n((uint64_t *)(host->ram + page * K) + index, __ATOMIC_RELAXED);
}

static inline struct vmmu_paging host_long_mode(uint64_t root_page)
{
	return (struct vmmu_paging){
		.cr0 = 1u << 31 | 1u << 16 | 1,
		.cr3 = root_page * K,
		.cr4 = 0x30,
		.efer = 1u << 8 | 1u << 10 | 1u << 11,
		.cpu = {.maxphyaddr = 46, .pse36 = true, .page_1g = true},
	};
}

/* Page i of the first 2 MiB is page i of memory; all vCPUs run in it. */
static inline void host_start_paging(struct host *host)
{
	struct vmmu_paging paging = host_long_mode(G_ROOT);

	host_set(host, G_ROOT, 0, G_PDPT * K | GFULL);
	host_set(host, G_PDPT, 0, G_DIRECTORY * K | GFULL);
	host_set(host, G_DIRECTORY, 0, G_TABLE * K | GFULL);
	for (unsigned i = 0; i < VMMU_PAGE_SIZE / 8; i++)
		host_set(host, G_TABLE, i, i * K | GFULL | GD);
	for (unsigned i = 0; i < host->vcpus; i++)
		assert_ok(vmmu_vcpu_set_paging(host->vcpu[i], &paging));
}

static inline uint64_t host_entry(struct host *host, uint64_t table, uint64_t index)
{
	return __atomic_load_n((uint64_t *)(host->tables + (table - HOST_TABLES_AT)) + index,
	                       __ATOMIC_ACQUIRE);
}

/*
 * What the CPU makes of `address`: the frame, or 0. A reading of long mode's and
 * EPT's entries good enough for entries that are right; rights as VMMU_R and VMMU_W.
 */
static inline uint64_t host_frame_of(struct host *host, unsigned vcpu, uint64_t address, unsigned *rights)
{
	const uint64_t bits = 0x0000fffffffff000ull;
	struct vmmu_root root;
	uint64_t table;

	assert_ok(vmmu_vcpu_load(host->vcpu[vcpu], &root));
	table = root.pointer & bits;
	for (unsigned level = root.levels; level; level--) {
		uint64_t span = vmmu_level_pages(level) * K;
		uint64_t entry = host_entry(host, table, address / span % (level == 3 && root.levels == 3 ? 4 : 512));

		if (!(entry & 1) || entry >> 51 & 1)
			return 0;
		if (level == 1 || (entry & 0x80 && level < 4)) {
			if (rights)
				*rights = entry & 3;
			return ((entry & bits & ~(span - 1)) | (address & (span - 1))) >> VMMU_PAGE_SHIFT;
		}
		table = entry & bits;
	}
	return 0;
}

/* ---- each test for each mode ------------------------------------------------------------- */

extern enum vmmu_mode mode_ept, mode_npt, mode_shadow;

static inline enum vmmu_mode mode_of(void **state)
{
	return *(const enum vmmu_mode *)*state;
}

#define EPT(test) \
	{ \
#test " [ept]", test, NULL, NULL, &mode_ept \
	}
#define NPT(test) \
	{ \
#test " [npt]", test, NULL, NULL, &mode_npt \
	}
#define SHADOW(test) \
	{ \
#test " [shadow]", test, NULL, NULL, &mode_shadow \
	}
#define DIRECT(test) EPT(test), NPT(test)
#define ALL(test) EPT(test), NPT(test), SHADOW(test)
#define MODES enum vmmu_mode mode_ept = VMMU_MODE_EPT, mode_npt = VMMU_MODE_NPT, mode_shadow = VMMU_MODE_SHADOW

#endif
