/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instructions per operation, seen by the guest.
 *
 * On QEMU with -icount shift=0 and on Bochs the TSC counts instructions, the
 * visor's included. One access is timed as "rdtsc; access; rdtsc", and what the
 * same sequence needs without the access is taken off: the result is what a
 * guest pays from touch to touch.
 */
#include "guest.h"

#include "tests/kvm/vmm/measure_paged.h"

#define SAMPLES_MAX 8192u

static uint32_t samples[SAMPLES_MAX];
static unsigned count;
static uint32_t empty_pair;

static inline uint32_t time_touch(uint64_t gpa)
{
	uint64_t start = rdtsc();

	__asm__ volatile("movq $1, (%0)"
	                 :
	                 : "r"(gpa)
	                 : "memory");
	return (uint32_t)(rdtsc() - start);
}

static inline uint32_t time_cpuid(void)
{
	uint32_t a = 0x80000000, b, c = 0, d;
	uint64_t start = rdtsc();

	__asm__ volatile("cpuid"
	                 : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return (uint32_t)(rdtsc() - start);
}

static void begin(void) { count = 0; }

static void sample(uint32_t ticks)
{
	if (count < SAMPLES_MAX)
		samples[count++] = ticks > empty_pair ? ticks - empty_pair : 0;
}

static void sift(unsigned root, unsigned n)
{
	for (unsigned child = 2 * root + 1; child < n; child = 2 * root + 1) {
		uint32_t swap;

		if (child + 1 < n && samples[child + 1] > samples[child])
			child++;
		if (samples[root] >= samples[child])
			return;
		swap = samples[root];
		samples[root] = samples[child];
		samples[child] = swap;
		root = child;
	}
}

static void sort(void)
{
	for (unsigned i = count / 2; i-- > 0;)
		sift(i, count);
	for (unsigned n = count; n-- > 1;) {
		uint32_t swap = samples[0];

		samples[0] = samples[n];
		samples[n] = swap;
		sift(0, n);
	}
}

static void report(const char *name)
{
	uint64_t sum = 0;

	check(count > 0, "%s: no samples", name);
	if (!count)
		return;
	for (unsigned i = 0; i < count; i++)
		sum += samples[i];
	sort();
	print("FIGURE %s n=%u min=%u median=%u mean=%lu p99=%u max=%u\n", name, count, samples[0],
	      samples[count / 2], (sum + count / 2) / count, samples[count - 1 - count / 100], samples[count - 1]);
}

static void measure_empty_pair(void)
{
	empty_pair = ~0u;
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t start = rdtsc();
		uint32_t ticks = (uint32_t)(rdtsc() - start);

		if (ticks < empty_pair)
			empty_pair = ticks;
	}
	print("FIGURE empty-pair n=1000 min=%u median=%u mean=%u p99=%u max=%u\n", empty_pair, empty_pair,
	      empty_pair, empty_pair, empty_pair);
}

static void exits(void)
{
	begin();
	for (unsigned i = 0; i < 4096; i++)
		sample(time_cpuid());
	report("cpuid");
}

static void touch_sequential(const char *name, uint64_t base, uint64_t pages, uint64_t step)
{
	begin();
	for (uint64_t i = 0; i < pages; i++)
		sample(time_touch(base + i * step));
	report(name);
}

static void touch_random(const char *name, uint64_t base, uint64_t pages)
{
	struct shuffle order = shuffle_of(pages);

	begin();
	for (uint64_t i = 0; i <= order.mask; i++)
		if (shuffle_at(&order, i) < pages)
			sample(time_touch(base + shuffle_at(&order, i) * PAGE));
	report(name);
}

/*
 * Faults by 4 KiB pages: first touch ever, then again after the entries were
 * dropped (the tables of level 1 are there), in order and at random.
 */
static void faults_4k(void)
{
	uint64_t pages = 4096, base = take_ram(pages * PAGE);

	touch_sequential("fault-4k-first", base, pages, PAGE);
	touch_sequential("mapped-4k", base, pages, PAGE);
	if (!device_present())
		return;
	device_ok("invalidate", TEST_INVALIDATE, base, pages * PAGE, 0, 0);
	touch_sequential("fault-4k-again", base, pages, PAGE);
	device_ok("invalidate", TEST_INVALIDATE, base, pages * PAGE, 0, 0);
	touch_random("fault-4k-random", base, pages);
}

/* In order, with up to 64 pages mapped by a violation (vmmu run --fault-around 64). */
static void faults_around(void)
{
	uint64_t pages = 4096, base = take_ram(pages * PAGE);

	touch_sequential("fault-4k-around-first", base, pages, PAGE);
	if (!device_present())
		return;
	device_ok("invalidate", TEST_INVALIDATE, base, pages * PAGE, 0, 0);
	touch_sequential("fault-4k-around", base, pages, PAGE);
}

static void faults_2m(void)
{
	uint64_t leaves = 16, base = take_ram(leaves * 2 * MIB);

	touch_sequential("fault-2m-first", base, leaves, 2 * MIB);
	if (!device_present())
		return;
	device_ok("invalidate", TEST_INVALIDATE, base, leaves * 2 * MIB, 0, 0);
	touch_sequential("fault-2m-again", base, leaves, 2 * MIB);
}

static void mmio(void)
{
	begin();
	(void)apic_read(APIC_ID);
	for (unsigned i = 0; i < 1024; i++) {
		uint64_t start = rdtsc();

		(void)apic_read(APIC_ID);
		sample((uint32_t)(rdtsc() - start));
	}
	report("mmio-read");
}

static void dirty_log_write(void)
{
	uint64_t base = 5 * GIB, pages = 1024;

	if (!device_present())
		return;
	device_ok("slot", TEST_SLOT_CREATE, 100, 2 /* VMMU_SLOT_LOG_DIRTY */, base, pages * PAGE);
	for (uint64_t i = 0; i < pages; i++)
		(void)load(base + i * PAGE);
	touch_sequential("dirty-first-write", base, pages, PAGE);
	device_ok("slot", TEST_SLOT_DELETE, 100, 0, 0, 0);
}

void test_bench(void)
{
	const char *pages = option("page");
	bool large = pages && pages[0] != '4';

	measure_empty_pair();
	if (option("around")) {
		faults_around();
		return;
	}
	exits();
	if (large)
		faults_2m();
	else
		faults_4k();
	mmio();
	if (!large)
		dirty_log_write();
}

/* ---- Beside KVM: the same loop as in the small VMM's guest, nothing taken off ------- */

static void measure_step(const char *name, uint64_t order, uint64_t base, uint64_t step, unsigned n)
{
	measure(order, base, step, n, samples);
	count = n;
	report(name);
}

static void compare_faults(const char *first, const char *mapped, const char *again, uint64_t page, unsigned n)
{
	uint64_t base = take_ram(n * page);

	measure_step(first, ORDER_WRITE, base, page, n);
	measure_step(mapped, ORDER_WRITE, base, page, n);
	device_ok("invalidate", TEST_INVALIDATE, base, n * page, 0, 0);
	measure_step(again, ORDER_WRITE, base, page, n);
}

static void compare_dirty_log(void)
{
	uint64_t base = 5 * GIB;
	unsigned pages = 1024;

	device_ok("slot", TEST_SLOT_CREATE, 100, 2 /* VMMU_SLOT_LOG_DIRTY */, base, pages * PAGE);
	measure_step("log-read", ORDER_READ, base, PAGE, pages);
	measure_step("dirty-first-write", ORDER_WRITE, base, PAGE, pages);
	device_ok("slot", TEST_SLOT_DELETE, 100, 0, 0, 0);
}

/* The guest's own page tables, 512 pages at a time. */
static void compare_paged(void)
{
	static const struct {
		const char *name;
		uint64_t order;
	} steps[] = {{"cr3-switch", ORDER_SWITCH}, {"pf-delivery", ORDER_DELIVER}, {"demand-fault", ORDER_DEMAND}, {"copy-on-write", ORDER_COPY}};
	uint64_t frames = take_ram(2 * PAGED_PAGES * PAGE);

	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		count = PAGED_PAGES;
		measure_paged(steps[i].order, frames, count, samples);
		report(steps[i].name);
	}
}

enum { TABLES = 16 }; /* each access the first of its 2 MiB */

/* The steps of bench/compare/compare.py. Needs the test device. */
void test_compare(void)
{
	const char *pages = option("page");

	measure_step("nothing", ORDER_NOTHING, 0, 0, 1000);
	if (option("around")) {
		compare_faults("fault-4k-around-first", "mapped-4k-around", "fault-4k-around", PAGE, 4096);
		return;
	}
	measure_step("cpuid-warm", ORDER_CPUID, 0, 0, 200);
	measure_step("cpuid", ORDER_CPUID, 0, 0, 1000);
	if (pages && pages[0] != '4') {
		compare_faults("fault-2m-first", "mapped-2m", "fault-2m-again", 2 * MIB, 16);
		return;
	}
	measure_step("apic-first", ORDER_READ_DEVICE, APIC_BASE + APIC_ID, 0, 4);
	measure_step("apic-read", ORDER_READ_DEVICE, APIC_BASE + APIC_ID, 0, 1000);
	measure_step("fault-4k-table", ORDER_WRITE, take_ram(TABLES * 2 * MIB), 2 * MIB, TABLES);
	compare_faults("fault-4k-first", "mapped-4k", "fault-4k-again", PAGE, 4096);
	compare_dirty_log();
	compare_paged();
}
