/* SPDX-License-Identifier: BSD-2-Clause */
/* How recordings of KVM are read, and the rules that make tables of their events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../tool/kvm/kvm.h"
#include "../../tool/kvm/tables.h"
#include "../../tool/question/ask.h"
#include "../../tool/source/ring_page.h"
#include "../../tool/source/source.h"

/* ---- reading ---------------------------------------------------------------------------- */

static struct source *source_of(const char *text)
{
	int fd = memfd_create("recording", 0);
	struct source *source;
	char path[64], *error = NULL;

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_true(source_open(&source, path, &error));
	close(fd);
	return source;
}

static void assert_one(const char *line, enum event_id id, const char *comm, uint32_t pid, int32_t tgid,
                       uint64_t time)
{
	struct source *source = source_of(line);
	struct source_event event;

	assert_true(source_next(source, &event));
	assert_int_equal(event.id, id);
	assert_string_equal(event.comm, comm);
	assert_int_equal(event.pid, pid);
	assert_int_equal(event.tgid, tgid);
	assert_int_equal(event.time, time);
	source_close(source);
}

static void lines_of_all_tools(void **state)
{
	(void)state;
	assert_one("  vmm-181     (    180) [003] ...1.     8.395692: kvm_tdp_mmu_spte_changed: as id 0 gfn 0 level 4 "
	           "old_spte 0 new_spte 114974827\n",
	           EVENT_SPTE_CHANGED, "vmm", 181, 180, 8395692000);
	assert_one("  CPU 0/KVM-4711  [000] d..1.   100.000001: kvm_page_fault: vcpu 0 rip 0x1 address 0x2 error_code 0x6\n",
	           EVENT_PAGE_FAULT, "CPU 0/KVM", 4711, -1, 100000001000);
	assert_one("  a-b [1] c-7  [000] 15.708939123: kvm_mmu_zap_all_fast: kvm-mmu-valid-gen 0 used_pages 0\n",
	           EVENT_ZAP_ALL, "a-b [1] c", 7, -1, 15708939123);
	assert_one("   CPU 1/KVM   239 [001]    21.127650:   kvmmmu:kvm_tdp_mmu_spte_changed: as id 0 gfn 1 level 1 "
	           "old_spte 0 new_spte 1\n",
	           EVENT_SPTE_CHANGED, "CPU 1/KVM", 239, -1, 21127650000);
	assert_one("   CPU 1/KVM   200/239 [001]    21.127650:   kvm:kvm_unmap_hva_range: mmu notifier unmap range: "
	           "0x1000 -- 0x2000\n",
	           EVENT_UNMAP, "CPU 1/KVM", 239, 200, 21127650000);
	assert_one("  vmm-181     (-----) [003] ...1.     8.395692: kvm_fast_mmio: fast mmio at gpa 0xfee00000\n",
	           EVENT_FAST_MMIO, "vmm", 181, -1, 8395692000);
}

/* The fields of the one event of a line, as text shows it behind "event: ". */
static struct source_event event_of(const char *name, const char *text)
{
	char line[512];
	struct source_event event;
	struct source *source;

	snprintf(line, sizeof(line), "  vmm-1  [000] 1.000000: %s: %s\n", name, text);
	source = source_of(line);
	assert_true(source_next(source, &event));
	event.note = event.name = NULL;
	source_close(source);
	return event;
}

static void fields_by_name(void **state)
{
	struct source_event event = event_of("kvm_tdp_mmu_spte_changed",
	                                     "as id 1 gfn 403ff level 2 old_spte 8000000000000000 new_spte 1079ece67");

	(void)state;
	assert_int_equal(event.field[FIELD_AS_ID], 1);
	assert_int_equal(event.field[FIELD_GFN], 0x403ff);
	assert_int_equal(event.field[FIELD_LEVEL], 2);
	assert_int_equal(event.field[FIELD_OLD], 0x8000000000000000);
	assert_int_equal(event.field[FIELD_NEW], 0x1079ece67);
	/* Another order, and a field that is new, change nothing. */
	event = event_of("kvm_tdp_mmu_spte_changed",
	                 " level=2 new_spte=1079ece67 strange=77 as_id=1 old_spte=0x8000000000000000 gfn=403ff");
	assert_int_equal(event.field[FIELD_AS_ID], 1);
	assert_int_equal(event.field[FIELD_GFN], 0x403ff);
	assert_int_equal(event.field[FIELD_OLD], 0x8000000000000000);
	/* Its format cannot be read by trace-cmd, which prints decimal then. */
	event = event_of("kvm_mmu_get_page",
	                 "[FAILED TO PARSE] mmu_valid_gen=0 gfn=1024 role=14209 root_count=0 unsync=0 created=1");
	assert_int_equal(event.field[FIELD_GFN], 1024);
	assert_int_equal(event.field[FIELD_ROLE] & ROLE_LEVEL, 1);
	assert_true(event.field[FIELD_ROLE] & ROLE_DIRECT);
	event = event_of("kvm_mmu_get_page", "sp gen 0 gfn 400 l1 8-byte q0 direct wux nxe !ad root 0 sync new");
	assert_int_equal(event.field[FIELD_GFN], 0x400);
	assert_int_equal(event.field[FIELD_ROLE], 1 | ROLE_DIRECT | ROLE_AD_DISABLED);
	assert_int_equal(event.field[FIELD_CREATED], 1);
	event = event_of("kvm_mmu_get_page", "existing sp gfn 400 2 q0 wux !pae nxe wp root 0 sync");
	assert_int_equal(event.field[FIELD_GFN], 0x400);
	assert_int_equal(event.field[FIELD_ROLE], 2);
	assert_int_equal(event.field[FIELD_CREATED], 0);
	event = event_of("fast_page_fault", "vcpu 2 gva 40000000 error_code P|W|U sptep 00000000184726e8 old 0x1081e0e65 "
	                                    "new 1081e0e67 spurious 0 fixed 1");
	assert_int_equal(event.field[FIELD_VCPU], 2);
	assert_int_equal(event.field[FIELD_ADDRESS], 0x40000000);
	assert_int_equal(event.field[FIELD_OLD], 0x1081e0e65);
	assert_int_equal(event.field[FIELD_NEW], 0x1081e0e67);
	assert_int_equal(event.field[FIELD_FIXED], 1);
	event = event_of("kvm_exit", "vcpu 3 reason EPT_MISCONFIG rip 0x10 info1 0x0 info2 0x0 intr_info 0x0 error_code 0x0");
	assert_int_equal(event.field[FIELD_REASON], VMX_EPT_MISCONFIG);
	assert_int_equal(event.field[FIELD_ISA], ISA_VMX);
	event = event_of("kvm_exit", "reason EXIT_NPF rip 0x100000 info 200000006 419000");
	assert_int_equal(event.field[FIELD_ISA], ISA_SVM);
	event = event_of("kvm_mmio", "mmio write len 4 gpa 0xfee000b0 val 0x0");
	assert_int_equal(event.field[FIELD_TYPE], 2);
	assert_int_equal(event.field[FIELD_LENGTH], 4);
	assert_int_equal(event.field[FIELD_ADDRESS], 0xfee000b0);
	event = event_of("kvm_userspace_exit", "reason KVM_EXIT_MMIO (6)");
	assert_int_equal(event.field[FIELD_REASON], 6);
}

static void what_is_missing_is_told(void **state)
{
	struct source *source = source_of("# tracer: nop\n"
	                                  "# entries-in-buffer/entries-written: 2/12   #P:4\n"
	                                  "  vmm-1  [000] 1.000002: kvm_page_fault: vcpu 0\n"
	                                  "CPU:1 [LOST 7 EVENTS]\n"
	                                  "  vmm-1  [000] 1.000001: kvm_unheard_of: whatever\n"
	                                  "rubbish\n");
	struct source_event event;
	const struct source_info *info = source_info(source);

	(void)state;
	assert_true(source_next(source, &event));
	assert_int_equal(event.id, EVENT_LOST);
	assert_int_equal(event.field[FIELD_COUNT_LOST], 10);
	assert_true(source_next(source, &event));
	assert_int_equal(event.id, EVENT_LOST);
	assert_int_equal(event.field[FIELD_COUNT_LOST], 7);
	assert_false(source_next(source, &event));
	assert_int_equal(info->lost, 17);
	assert_int_equal(info->cpus, 4);
	assert_int_equal(info->incomplete, 1);
	assert_int_equal(info->out_of_order, 1);
	assert_int_equal(info->foreign, 1);
	assert_int_equal(info->other_count, 1);
	assert_string_equal(info->others[0].name, "kvm_unheard_of");
	assert_non_null(strstr(info->damage, "line 6"));
	source_close(source);
}

static void pages_of_the_ring_buffer(void **state)
{
	uint32_t words[1024] = {0};
	struct ring_page page;
	const uint8_t *record;
	uint64_t time;
	size_t size;

	(void)state;
	words[0] = 1000;        /* time stamp */
	words[4] = 2 | 5u << 5; /* 8 bytes, 5 later */
	words[5] = 0x11111111;
	words[7] = 30 | 1u << 5; /* time goes on by 1 + (2 << 27) */
	words[8] = 2;
	words[9] = 0 | 3u << 5; /* a long one: 4 + 8 bytes */
	words[10] = 12;
	words[11] = 0x22222222;
	words[13] = 29 | 1u << 5; /* padding of 8 bytes */
	words[14] = 4;
	words[15] = 1 | 1u << 5;
	words[16] = 0x33333333;
	words[2] = 13 * 4; /* commit */
	words[17] = 99;    /* events missed */
	words[2] |= 3u << 30;
	assert_true(ring_page_open(&page, (const uint8_t *)words, sizeof(words)));
	assert_int_equal(page.missed, 99);
	assert_true(ring_page_next(&page, &record, &size, &time));
	assert_int_equal(size, 8);
	assert_int_equal(time, 1005);
	assert_memory_equal(record, &words[5], 4);
	assert_true(ring_page_next(&page, &record, &size, &time));
	assert_int_equal(size, 8);
	assert_int_equal(time, 1005 + 1 + (2ull << 27) + 3);
	assert_memory_equal(record, &words[11], 4);
	assert_true(ring_page_next(&page, &record, &size, &time));
	assert_memory_equal(record, &words[16], 4);
	assert_false(ring_page_next(&page, &record, &size, &time));
	assert_false(page.damaged);
	/* An entry that reaches beyond what is there. */
	words[15] = 20 | 1u << 5;
	assert_true(ring_page_open(&page, (const uint8_t *)words, sizeof(words)));
	while (ring_page_next(&page, &record, &size, &time))
		;
	assert_true(page.damaged);
	/* More used than the page has. */
	words[2] = 4096;
	assert_false(ring_page_open(&page, (const uint8_t *)words, sizeof(words)));
}

/* ---- the rules ----------------------------------------------------------------------------- */

static struct fact facts[4096];
static size_t fact_count;

static void keep(void *arg, const struct fact *fact)
{
	(void)arg;
	assert_true(fact_count < 4096);
	facts[fact_count++] = *fact;
}

struct host {
	struct kvm *kvm;
	uint64_t now;
	uint32_t pid;
	int32_t tgid;
};

static struct host host_new(void)
{
	fact_count = 0;
	return (struct host){.kvm = kvm_new(keep, NULL), .now = 1000, .pid = 10, .tgid = 10};
}

static struct source_event event_at(struct host *host, enum event_id id)
{
	return (struct source_event){
		.time = host->now += 1000,
		.pid = host->pid,
		.tgid = host->tgid,
		.id = id,
		.comm = "vmm",
	};
}

static void changed(struct host *host, uint64_t gfn, unsigned level, uint64_t old, uint64_t new)
{
	struct source_event event = event_at(host, EVENT_SPTE_CHANGED);

	event_set(&event, FIELD_GFN, gfn);
	event_set(&event, FIELD_LEVEL, level);
	event_set(&event, FIELD_OLD, old);
	event_set(&event, FIELD_NEW, new);
	kvm_take(host->kvm, &event);
}

static void faults(struct host *host, unsigned vcpu, uint64_t address)
{
	struct source_event event = event_at(host, EVENT_PAGE_FAULT);

	event_set(&event, FIELD_VCPU, vcpu);
	event_set(&event, FIELD_ADDRESS, address);
	event_set(&event, FIELD_ERROR, 2);
	kvm_take(host->kvm, &event);
}

static void happens(struct host *host, enum event_id id)
{
	struct source_event event = event_at(host, id);

	kvm_take(host->kvm, &event);
}

#define TABLE(n) (0x100000ull + (n)*0x1000ull + 0x827)
#define PAGE(n) (0x800000ull + (n)*0x1000ull + 0xe67)
#define HUGE(n) (0x40000000ull + (n)*0x200000ull + 0xee7)

/* A root with one table below it at each level, for gfn 0. */
static void grow(struct host *host, unsigned first_table)
{
	for (unsigned level = 4; level >= 2; level--)
		changed(host, 0, level, 0, TABLE(first_table + 4 - level));
}

static void a_write_belongs_to_the_root_that_holds_its_old_value(void **state)
{
	struct host host = host_new();
	struct kvm_counts counts;

	(void)state;
	grow(&host, 0);
	changed(&host, 5, 1, 0, PAGE(1));
	happens(&host, EVENT_ZAP_ALL);
	/* The new root's tables, while the old ones are still being zapped. */
	grow(&host, 10);
	changed(&host, 5, 1, 0, PAGE(2));
	changed(&host, 5, 1, PAGE(1), 0);
	assert_int_equal(facts[fact_count - 1].root, 1);
	assert_int_equal(facts[fact_count - 1].cause, FACT_CAUSE_ZAP_ALL);
	changed(&host, 5, 1, PAGE(2), PAGE(2) & ~2ull);
	assert_int_equal(facts[fact_count - 1].root, 2);
	assert_int_equal(facts[fact_count - 1].cause, FACT_CAUSE_PROTECT);
	counts = kvm_counts_all(host.kvm);
	assert_int_equal(counts.unexplained, 0);
	assert_int_equal(kvm_vm_at(host.kvm, 0)->root_count, 2);
	/* What neither holds is not explained. */
	changed(&host, 5, 1, PAGE(7), 0);
	counts = kvm_counts_all(host.kvm);
	assert_int_equal(counts.unexplained, 1);
	assert_true(facts[fact_count - 1].flags & FACT_UNEXPLAINED);
	kvm_free(host.kvm);
}

static void of_two_roots_that_fit_the_valid_one_goes_on(void **state)
{
	struct host host = host_new();

	(void)state;
	grow(&host, 0);
	changed(&host, 5, 1, 0, PAGE(1));
	changed(&host, 6, 1, 0, PAGE(2));
	happens(&host, EVENT_ZAP_ALL);
	/* The same frames come back while the old root still holds them. */
	grow(&host, 10);
	changed(&host, 5, 1, 0, PAGE(1));
	changed(&host, 6, 1, 0, PAGE(2));
	/* What stays mapped is the new root's, what is dropped outside a fault the old one's. */
	changed(&host, 5, 1, PAGE(1), PAGE(1) & ~2ull);
	assert_int_equal(facts[fact_count - 1].root, 2);
	assert_true(facts[fact_count - 1].flags & FACT_AMBIGUOUS);
	changed(&host, 6, 1, PAGE(2), 0);
	assert_int_equal(facts[fact_count - 1].root, 1);
	assert_true(facts[fact_count - 1].flags & FACT_AMBIGUOUS);
	changed(&host, 5, 1, PAGE(1), 0);
	assert_int_equal(facts[fact_count - 1].root, 1);
	assert_false(facts[fact_count - 1].flags & FACT_AMBIGUOUS);
	assert_int_equal(kvm_counts_all(host.kvm).ambiguous, 2);
	assert_int_equal(kvm_counts_all(host.kvm).unexplained, 0);
	kvm_free(host.kvm);
}

/* Linux 6.1 takes a root down while vCPUs fill the next one, with the same frames. */
static void an_old_root_goes_beside_one_that_looks_alike(void **state)
{
	(void)state;
	for (unsigned told = 0; told < 2; told++) {
		struct host host = host_new();

		faults(&host, 0, 0x80000000);
		for (unsigned level = 4; level >= 3; level--)
			changed(&host, level == 3 ? 0x80000 : 0, level, 0, TABLE(4 - level));
		changed(&host, 0x80000, 2, 0, HUGE(1));
		if (told)
			happens(&host, EVENT_ZAP_ALL);
		faults(&host, 0, 0x80000000);
		for (unsigned level = 4; level >= 3; level--)
			changed(&host, level == 3 ? 0x80000 : 0, level, 0, TABLE(10 + 4 - level));
		changed(&host, 0x80000, 2, 0, HUGE(1));
		assert_int_equal(facts[fact_count - 1].root, 2);
		/* The VMM's thread unlinks the old table and takes its entry away. */
		host.pid = 11;
		changed(&host, 0x80000, 3, TABLE(1), 0);
		assert_int_equal(facts[fact_count - 1].root, 1);
		changed(&host, 0x80000, 2, HUGE(1), 0x5a0);
		assert_int_equal(facts[fact_count - 1].root, 1);
		assert_int_equal(facts[fact_count - 1].table, TABLE(1) & ~0xfffull);
		assert_int_equal(facts[fact_count - 1].cause, FACT_CAUSE_ZAP_TABLE);
		changed(&host, 0, 4, TABLE(0), 0);
		/* The new root's entry stands. */
		host.pid = 10;
		changed(&host, 0x80000, 2, HUGE(1), HUGE(1) & ~2ull);
		assert_int_equal(facts[fact_count - 1].root, 2);
		assert_int_equal(kvm_counts_all(host.kvm).unexplained, 0);
		assert_int_equal(kvm_counts_all(host.kvm).ambiguous, 0);
		kvm_free(host.kvm);
	}
}

/* The same of two VMs that share frames, by a thread that works for both. */
static void a_kernel_thread_finishes_the_table_it_unlinked(void **state)
{
	struct host host = host_new();

	(void)state;
	for (unsigned vm = 0; vm < 2; vm++) {
		host.pid = host.tgid = (int32_t)(10 + 10 * vm);
		faults(&host, 0, 0x5000);
		grow(&host, 20 * vm);
		changed(&host, 5, 1, 0, PAGE(1));
	}
	host.pid = host.tgid = 30;
	for (unsigned step = 0; step < 2; step++) {
		struct source_event event = event_at(&host, EVENT_SPTE_CHANGED);

		strcpy(event.comm, "khugepaged");
		event_set(&event, FIELD_GFN, step ? 5 : 0);
		event_set(&event, FIELD_LEVEL, step ? 1 : 2);
		event_set(&event, FIELD_OLD, step ? PAGE(1) : TABLE(22));
		event_set(&event, FIELD_NEW, step ? 0x5a0 : 0);
		kvm_take(host.kvm, &event);
		assert_int_equal(facts[fact_count - 1].vm, 1);
	}
	assert_int_equal(kvm_counts_all(host.kvm).ambiguous, 0);
	assert_int_equal(kvm_counts_all(host.kvm).unexplained, 0);
	kvm_free(host.kvm);
}

static void a_vm_that_begins_where_one_has_ended(void **state)
{
	struct host host = host_new();

	(void)state;
	faults(&host, 0, 0x5000);
	grow(&host, 0);
	changed(&host, 5, 1, 0, PAGE(1));
	/* Slots deleted: the same VM goes on, also after a while. */
	happens(&host, EVENT_ZAP_ALL);
	changed(&host, 0, 4, TABLE(0), 0);
	host.now += 100000000000ull;
	faults(&host, 0, 0x5000);
	grow(&host, 0);
	assert_int_equal(kvm_vm_count(host.kvm), 1);
	/* Its tables go for another reason, and at once there are new ones: still the same. */
	changed(&host, 0, 4, TABLE(0), 0);
	faults(&host, 0, 0x5000);
	grow(&host, 0);
	assert_int_equal(kvm_vm_count(host.kvm), 1);
	/* They go, and a while later somebody with the same PID begins. */
	changed(&host, 0, 4, TABLE(0), 0);
	host.now += 100000000000ull;
	faults(&host, 0, 0x5000);
	assert_int_equal(facts[fact_count - 1].vm, 1);
	grow(&host, 0);
	assert_int_equal(kvm_vm_count(host.kvm), 2);
	assert_true(kvm_vm_at(host.kvm, 1)->restarted);
	assert_int_equal(kvm_vm_at(host.kvm, 1)->beside, 1);
	assert_int_equal(kvm_vm_at(host.kvm, 1)->root_count, 1);
	assert_int_equal(kvm_counts_all(host.kvm).unexplained, 0);
	kvm_free(host.kvm);
}

/* KVM records a write after it is done: another CPU's may build on it and be recorded before. */
static void events_of_two_cpus_swapped(void **state)
{
	struct host host = host_new();
	struct kvm_counts counts;

	(void)state;
	kvm_look_ahead(host.kvm);
	faults(&host, 0, 0x5000);
	grow(&host, 0);
	changed(&host, 5, 1, 0, PAGE(1));
	/* A page in a table whose link is recorded next. */
	host.pid = 11;
	faults(&host, 1, 0x207000);
	changed(&host, 0x207, 1, 0, PAGE(2));
	host.pid = 10;
	changed(&host, 0x200, 2, 0, TABLE(9));
	/* A page that is mapped again before its drop is recorded. */
	host.pid = 11;
	faults(&host, 1, 0x5000);
	changed(&host, 5, 1, 0, PAGE(3));
	host.pid = 10;
	changed(&host, 5, 1, PAGE(1), 0);
	/* So they go on. */
	changed(&host, 0x207, 1, PAGE(2), PAGE(2) & ~2ull);
	assert_int_equal(fact_count, 0);
	kvm_finish(host.kvm);
	assert_int_equal(facts[fact_count - 1].table, TABLE(9) & ~0xfffull);
	assert_int_equal(facts[fact_count - 2].b, PAGE(3));
	for (size_t i = 1; i < fact_count; i++)
		assert_true(facts[i].time >= facts[i - 1].time);
	counts = kvm_counts_all(host.kvm);
	assert_int_equal(counts.unexplained, 0);
	assert_int_equal(counts.never_seen, 0);
	assert_int_equal(kvm_late(host.kvm), 0);
	kvm_free(host.kvm);
}

/* A vCPU that is plugged in later belongs to the VM whose tables it writes to, whatever its thread's number is. */
static void a_vcpu_that_comes_late(void **state)
{
	(void)state;
	for (unsigned known = 0; known < 2; known++) {
		struct host host = host_new();

		for (unsigned vm = 0; vm < 2; vm++) {
			host.pid = 10 + 40 * vm;
			host.tgid = known ? (int32_t)host.pid : -1;
			faults(&host, 0, 0x5000);
			grow(&host, 20 * vm);
			changed(&host, 5, 1, 0, PAGE(1 + vm));
		}
		/* The second one has no table there. */
		host.pid = 10;
		host.tgid = known ? 10 : -1;
		faults(&host, 0, 0x200000);
		changed(&host, 0x200, 2, 0, TABLE(9));
		changed(&host, 0x200, 1, 0, PAGE(7));
		host.pid = 99;
		faults(&host, 1, 0x201000);
		changed(&host, 0x201, 1, 0, PAGE(8));
		assert_int_equal(facts[fact_count - 1].vm, 0);
		faults(&host, 1, 0x5000);
		assert_int_equal(facts[fact_count - 1].vm, 0);
		changed(&host, 5, 1, PAGE(1), PAGE(1) | 4);
		assert_int_equal(facts[fact_count - 1].vm, 0);
		assert_int_equal(kvm_vm_count(host.kvm), 2);
		assert_int_equal(kvm_vm_at(host.kvm, 0)->vcpus, 2);
		assert_int_equal(kvm_counts_all(host.kvm).unexplained, 0);
		kvm_free(host.kvm);
	}
}

/* What a thread shows late is known at its first event. */
static void threads_are_looked_at_ahead(void **state)
{
	struct host host = host_new();
	struct source_event event;

	(void)state;
	kvm_look_ahead(host.kvm);
	host.tgid = -1;
	for (unsigned vm = 0; vm < 2; vm++) {
		host.pid = 10 + vm;
		event = event_at(&host, EVENT_GET_PAGE);
		event_set(&event, FIELD_GFN, 0);
		event_set(&event, FIELD_ROLE, 4 | ROLE_DIRECT);
		event_set(&event, FIELD_CREATED, 1);
		kvm_take(host.kvm, &event);
		faults(&host, 0, 0x5000);
		grow(&host, 20 * vm);
	}
	kvm_finish(host.kvm);
	assert_int_equal(kvm_vm_count(host.kvm), 2);
	for (size_t i = 0; i < fact_count; i++)
		assert_int_equal(facts[i].vm, i >= fact_count / 2);
	for (unsigned vm = 0; vm < 2; vm++)
		assert_int_equal(kvm_vm_at(host.kvm, vm)->root_count, 1);
	kvm_free(host.kvm);
}

static void five_levels_and_system_management_mode(void **state)
{
	struct host host = host_new();
	struct source_event event = event_at(&host, EVENT_GET_PAGE);

	(void)state;
	event_set(&event, FIELD_GFN, 0);
	event_set(&event, FIELD_ROLE, 5 | ROLE_DIRECT);
	event_set(&event, FIELD_CREATED, 1);
	kvm_take(host.kvm, &event);
	event.field[FIELD_ROLE] = 4 | ROLE_DIRECT;
	kvm_take(host.kvm, &event);
	for (unsigned level = 5; level >= 2; level--)
		changed(&host, 0, level, 0, TABLE(5 - level));
	changed(&host, 5, 1, 0, PAGE(1));
	assert_int_equal(kvm_vm_at(host.kvm, 0)->root_count, 1);
	assert_int_equal(kvm_vm_at(host.kvm, 0)->levels, 5);
	/* Another address space: the same gfn, empty there. */
	event = event_at(&host, EVENT_SPTE_CHANGED);
	event_set(&event, FIELD_AS_ID, 1);
	event_set(&event, FIELD_GFN, 0);
	event_set(&event, FIELD_LEVEL, 5);
	event_set(&event, FIELD_OLD, 0);
	event_set(&event, FIELD_NEW, TABLE(9));
	kvm_take(host.kvm, &event);
	assert_int_equal(facts[fact_count - 1].root, 2);
	assert_int_equal(kvm_vm_at(host.kvm, 0)->roots[1].as_id, 1);
	assert_int_equal(kvm_counts_all(host.kvm).unexplained, 0);
	kvm_free(host.kvm);
}

static void a_split_fills_its_table_before_it_is_linked(void **state)
{
	struct host host = host_new();
	struct kvm_counts counts;

	(void)state;
	changed(&host, 0, 4, 0, TABLE(0));
	changed(&host, 0, 3, 0, TABLE(1));
	changed(&host, 0x200, 2, 0, HUGE(0));
	changed(&host, 0x200, 2, HUGE(0), TABLE(2));
	assert_int_equal(facts[fact_count - 1].known, FACT_INFERRED);
	assert_int_equal(facts[fact_count - 1].address, 0x3ff000);
	changed(&host, 0x207, 1, (HUGE(0) & ~0x80ull) + 0x7000, 0);
	/* Without the right to execute: the split of a kernel with nx_huge_pages. */
	changed(&host, 0x208, 1, ((HUGE(0) & ~0x80ull) + 0x8000) | 1ull << 63, 0);
	counts = kvm_counts_all(host.kvm);
	assert_int_equal(counts.inferred, 512);
	assert_int_equal(counts.inferred_confirmed, 2);
	assert_int_equal(counts.unexplained, 0);
	changed(&host, 0x209, 1, (HUGE(0) & ~0x80ull) + 0xa000, 0);
	counts = kvm_counts_all(host.kvm);
	assert_int_equal(counts.unexplained, 1);
	kvm_free(host.kvm);
}

static void entries_of_an_unlinked_table_go_one_by_one(void **state)
{
	struct host host = host_new();
	struct kvm_counts counts;

	(void)state;
	grow(&host, 0);
	changed(&host, 5, 1, 0, PAGE(1));
	changed(&host, 6, 1, 0, PAGE(2));
	changed(&host, 0, 2, TABLE(2), 0x5a0);
	/* Another vCPU maps there already, in a table that is new. */
	changed(&host, 0, 2, 0, TABLE(9));
	changed(&host, 5, 1, 0, PAGE(3));
	changed(&host, 5, 1, PAGE(1), 0x5a0);
	assert_int_equal(facts[fact_count - 1].cause, FACT_CAUSE_ZAP_TABLE);
	changed(&host, 6, 1, PAGE(2), 0x5a0);
	changed(&host, 5, 1, PAGE(3), 0);
	counts = kvm_counts_all(host.kvm);
	assert_int_equal(counts.unexplained, 0);
	kvm_free(host.kvm);
}

static void a_fast_fault_is_a_write(void **state)
{
	struct host host = host_new();
	struct source_event event;

	(void)state;
	grow(&host, 0);
	changed(&host, 5, 1, 0, PAGE(1));
	changed(&host, 5, 1, PAGE(1), PAGE(1) & ~2ull);
	faults(&host, 0, 0x5123);
	event = event_at(&host, EVENT_FAST_FAULT);
	event_set(&event, FIELD_VCPU, 0);
	event_set(&event, FIELD_ADDRESS, 0x5123);
	event_set(&event, FIELD_OLD, PAGE(1) & ~2ull);
	event_set(&event, FIELD_NEW, PAGE(1));
	event_set(&event, FIELD_FIXED, 1);
	kvm_take(host.kvm, &event);
	assert_int_equal(facts[fact_count - 1].cause, FACT_CAUSE_FAST);
	assert_int_equal(facts[fact_count - 1].fault, 1);
	changed(&host, 5, 1, PAGE(1), 0);
	assert_int_equal(kvm_counts_all(host.kvm).unexplained, 0);
	/* Once they are recorded, one that is missing is a loss. */
	changed(&host, 6, 1, 0, PAGE(2) & ~2ull);
	changed(&host, 6, 1, PAGE(2), 0);
	assert_int_equal(kvm_counts_all(host.kvm).unexplained, 1);
	kvm_free(host.kvm);
}

static void the_cpu_sets_accessed_and_dirty_alone(void **state)
{
	struct host host = host_new();

	(void)state;
	grow(&host, 0);
	changed(&host, 5, 1, 0, PAGE(1) & ~0x60ull);
	changed(&host, 5, 1, PAGE(1), 0);
	assert_int_equal(kvm_counts_all(host.kvm).unexplained, 0);
	kvm_free(host.kvm);
}

static void after_a_loss_nothing_is_sure(void **state)
{
	struct host host = host_new();
	struct source_event event;
	struct kvm_counts counts;

	(void)state;
	grow(&host, 0);
	changed(&host, 5, 1, 0, PAGE(1));
	changed(&host, 6, 1, 0, PAGE(2));
	event = event_at(&host, EVENT_LOST);
	event_set(&event, FIELD_COUNT_LOST, 3);
	kvm_take(host.kvm, &event);
	changed(&host, 5, 1, PAGE(4), 0);
	changed(&host, 6, 1, PAGE(2), 0);
	/* A table that nobody has seen. */
	changed(&host, 0x400, 1, PAGE(6), 0);
	counts = kvm_counts_all(host.kvm);
	assert_int_equal(counts.unexplained, 0);
	assert_true(counts.after_loss >= 1);
	/* From here on it is known again. */
	changed(&host, 5, 1, PAGE(5), PAGE(6));
	assert_int_equal(kvm_counts_all(host.kvm).unexplained, 1);
	kvm_free(host.kvm);
}

static void two_vms_by_process(void **state)
{
	struct host host = host_new();

	(void)state;
	grow(&host, 0);
	changed(&host, 5, 1, 0, PAGE(1));
	host.pid = host.tgid = 20;
	grow(&host, 20);
	changed(&host, 5, 1, 0, PAGE(2));
	/* khugepaged writes for whichever holds the value. */
	host.pid = host.tgid = 30;
	{
		struct source_event event = event_at(&host, EVENT_SPTE_CHANGED);

		strcpy(event.comm, "khugepaged");
		event_set(&event, FIELD_GFN, 5);
		event_set(&event, FIELD_LEVEL, 1);
		event_set(&event, FIELD_OLD, PAGE(2));
		event_set(&event, FIELD_NEW, 0);
		kvm_take(host.kvm, &event);
	}
	assert_int_equal(facts[fact_count - 1].vm, 1);
	assert_int_equal(kvm_vm_count(host.kvm), 2);
	assert_int_equal(kvm_counts_all(host.kvm).unexplained, 0);
	kvm_free(host.kvm);
}

static void two_vms_without_process(void **state)
{
	struct host host = host_new();

	(void)state;
	host.tgid = -1;
	host.pid = 10;
	faults(&host, 0, 0x5000);
	grow(&host, 0);
	changed(&host, 5, 1, 0, PAGE(1));
	host.pid = 50;
	faults(&host, 0, 0x5000);
	grow(&host, 20);
	changed(&host, 5, 1, 0, PAGE(2));
	/* Each one's second vCPU. */
	host.pid = 11;
	faults(&host, 1, 0x6000);
	changed(&host, 6, 1, 0, PAGE(3));
	host.pid = 51;
	faults(&host, 1, 0x6000);
	changed(&host, 6, 1, 0, PAGE(4));
	assert_int_equal(kvm_vm_count(host.kvm), 2);
	assert_int_equal(facts[fact_count - 1].vm, 1);
	assert_int_equal(kvm_counts_all(host.kvm).unexplained, 0);
	kvm_free(host.kvm);
}

static void two_vms_of_one_process_by_their_threads(void **state)
{
	struct host host = host_new();

	(void)state;
	for (unsigned vm = 0; vm < 2; vm++) {
		host.pid = 10 + vm;
		faults(&host, 0, 0x5000);
		grow(&host, 20 * vm);
	}
	for (unsigned vm = 0; vm < 2; vm++) {
		struct source_event note = event_at(&host, EVENT_NOTE);

		note.note = vm ? "vm id=10-7 pid=10 comm=\"vmm\"" : "vm id=10-4 pid=10 comm=\"vmm\"";
		kvm_take(host.kvm, &note);
	}
	assert_int_equal(kvm_vm_at(host.kvm, 0)->counts.machines, 2);
	/* Both run a vCPU 0, each with tables of its own. */
	assert_int_equal(kvm_vm_count(host.kvm), 2);
	assert_int_equal(kvm_vm_at(host.kvm, 1)->beside, 1);
	assert_false(kvm_vm_at(host.kvm, 1)->restarted);
	for (unsigned i = 5; i < 9; i++) {
		for (unsigned vm = 0; vm < 2; vm++) {
			host.pid = 10 + vm;
			faults(&host, 0, i << 12);
			changed(&host, i, 1, 0, PAGE(20 * vm + i));
			assert_int_equal(facts[fact_count - 1].vm, vm);
		}
	}
	/* The VMM's own thread writes for whichever holds the value. */
	host.pid = 9;
	for (unsigned i = 5; i < 9; i++) {
		changed(&host, i, 1, PAGE(20 * (i % 2) + i), PAGE(20 * (i % 2) + i) & ~2ull);
		assert_int_equal(facts[fact_count - 1].vm, i % 2);
	}
	assert_int_equal(kvm_counts_all(host.kvm).unexplained, 0);
	kvm_free(host.kvm);
}

static void a_fault_is_blamed_for_its_own_path_only(void **state)
{
	struct host host = host_new();

	(void)state;
	faults(&host, 0, 0x5000);
	grow(&host, 0);
	assert_int_equal(facts[fact_count - 1].fault, 3);
	changed(&host, 5, 1, 0, PAGE(1));
	assert_int_equal(facts[fact_count - 1].fault, 4);
	changed(&host, 9, 1, 0, PAGE(2));
	assert_int_equal(facts[fact_count - 1].fault, 0);
	assert_int_equal(facts[fact_count - 1].cause, FACT_CAUSE_PREFAULT);
	changed(&host, 5, 1, PAGE(1), 0);
	assert_int_equal(facts[fact_count - 1].fault, 0);
	faults(&host, 0, 0x5000);
	happens(&host, EVENT_USER_EXIT);
	changed(&host, 5, 1, 0, PAGE(1));
	assert_int_equal(facts[fact_count - 1].fault, 0);
	kvm_free(host.kvm);
}

static void what_was_found_counts_until_it_is_written(void **state)
{
	struct host host = host_new();
	struct source_event note = event_at(&host, EVENT_NOTE);

	(void)state;
	note.note = "vm id=10-4 pid=10 comm=\"vmm\" name=\"a b\"";
	kvm_take(host.kvm, &note);
	assert_int_equal(kvm_vm_at(host.kvm, 0)->counts.machines, 1);
	note.note = "root vm=10-4 as=0 table=0x99000 level=4 role=0x1";
	kvm_take(host.kvm, &note);
	note.note = "found t=1 vm=10-4 as=0 level=4 table=0x99000 gfn=0x0 index=0 entries=0x100827";
	kvm_take(host.kvm, &note);
	note.note = "found t=1 vm=10-4 as=0 level=1 table=0x103000 gfn=0x5 index=5 entries=0x801e67,0x802e67";
	kvm_take(host.kvm, &note);
	assert_int_equal(facts[fact_count - 1].kind, FACT_FOUND);
	assert_int_equal(facts[fact_count - 1].address, 0x6000);
	assert_string_equal(kvm_vm_at(host.kvm, 0)->name, "a b");
	assert_int_equal(kvm_vm_at(host.kvm, 0)->roots[0].hpa, 0x99000);
	changed(&host, 5, 1, PAGE(1), 0);
	assert_int_equal(kvm_counts_all(host.kvm).unexplained, 0);
	changed(&host, 6, 1, PAGE(5), 0);
	assert_int_equal(kvm_counts_all(host.kvm).unexplained, 1);
	kvm_free(host.kvm);
}

static void legacy_entries_say_no_more_than_that_they_were_set(void **state)
{
	struct host host = host_new();
	struct source_event event = event_at(&host, EVENT_SET_SPTE);
	struct kvm_counts counts;

	(void)state;
	event_set(&event, FIELD_GFN, 5);
	event_set(&event, FIELD_LEVEL, 1);
	event_set(&event, FIELD_SPTE, PAGE(1));
	event_set(&event, FIELD_SPTEP, 0x7028);
	kvm_take(host.kvm, &event);
	assert_int_equal(facts[0].known, FACT_MAYBE);
	event.field[FIELD_SPTE] = PAGE(2);
	kvm_take(host.kvm, &event);
	assert_true(facts[1].flags & FACT_ZAPPED_UNSEEN);
	counts = kvm_counts_all(host.kvm);
	assert_int_equal(counts.set, 2);
	assert_int_equal(counts.set_again_other, 1);
	assert_true(kvm_vm_at(host.kvm, 0)->legacy);
	kvm_free(host.kvm);
}

/* ---- entries ------------------------------------------------------------------------------------ */

static void assert_describes(enum kvm_mode mode, uint64_t entry, unsigned level, const char *text)
{
	char *said = kvm_entry_describe(mode, entry, level);

	assert_string_equal(said, text);
	free(said);
}

static void entries_of_both_vendors(void **state)
{
	(void)state;
	assert_int_equal(kvm_entry_mode(0x114974827, 4), KVM_MODE_NPT);
	assert_int_equal(kvm_entry_mode(0x3ac8907, 4), KVM_MODE_EPT);
	assert_int_equal(kvm_entry_mode(0x1075c7e67, 1), KVM_MODE_UNKNOWN);
	assert_describes(KVM_MODE_NPT, 0x8000000000000000, 1, "empty");
	assert_describes(KVM_MODE_NPT, 0x80000000000005a0, 1, "being removed");
	assert_describes(KVM_MODE_NPT, 0x108400ee7, 2, "2 MiB page 0x108400000 rwx AD");
	assert_describes(KVM_MODE_EPT, 0x600000037767b77, 1, "4 KiB page 0x37767000 rwx WB ignore-PAT AD");
	assert_int_equal(kvm_entry_kind(0x6 | 0xfee00ull << 12, 1), KVM_ENTRY_MMIO);
	assert_int_equal(kvm_entry_kind(1 | 1ull << 51, 1), KVM_ENTRY_MMIO);
}

static void addresses_as_neighbours_print_them(void **state)
{
	uint64_t first, last;

	(void)state;
	assert_true(parse_address("40001000", &first));
	assert_int_equal(first, 0x40001000);
	assert_true(parse_address("0x40001000", &first));
	assert_int_equal(first, 0x40001000);
	assert_true(parse_address("0d4096", &first));
	assert_int_equal(first, 0xd4096); /* hexadecimal, too: there is no other base */
	assert_false(parse_address("10000000000000000", &first));
	assert_false(parse_address("4096k", &first));
	assert_false(parse_address("", &first));
	assert_false(parse_address("-1", &first));
	assert_true(parse_address_range("1000-1fff", &first, &last));
	assert_int_equal(last, 0x1fff);
	assert_false(parse_address_range("2000-1fff", &first, &last));
	/* The same bits of an error code mean different things. */
	assert_int_equal(ask_access(KVM_MODE_EPT, 0x182), ACCESS_WRITE);
	assert_int_equal(ask_access(KVM_MODE_EPT, 0x81), ACCESS_READ | ACCESS_WALK);
	assert_int_equal(ask_access(KVM_MODE_NPT, 1ull << 33 | 6), ACCESS_WRITE | ACCESS_WALK);
	assert_int_equal(ask_access(KVM_MODE_NPT, 1ull << 32 | 0x15), ACCESS_FETCH | ACCESS_PRESENT);
}

/* ---- stacks ------------------------------------------------------------------------------ */

/* The first event that is `id`, with what its stack told. */
static unsigned origin_in(const char *text, enum event_id id)
{
	struct source *source = source_of(text);
	struct source_event event;
	unsigned origin = UINT32_MAX;

	while (origin == UINT32_MAX && source_next(source, &event))
		if (event.id == id)
			origin = event_has(&event, FIELD_ORIGIN) ? (unsigned)event.field[FIELD_ORIGIN] : FACT_ORIGIN_NONE;
	assert_null(source_info(source)->damage);
	source_close(source);
	return origin;
}

static void stacks_of_all_texts(void **state)
{
	static const char unmap[] = "kvm_unmap_hva_range: mmu notifier unmap range: 0x1000 -- 0x2000\n";
	char text[2048];

	(void)state;
	snprintf(text, sizeof(text),
	         "  vmm-1  [000] ..... 1.000000: %s  vmm-1  [000] ..... 1.000001: <stack trace>\n"
	         " => kvm_mmu_notifier_invalidate_range_start\n => do_madvise.part.0\n => __x64_sys_madvise\n",
	         unmap);
	assert_int_equal(origin_in(text, EVENT_UNMAP), FACT_ORIGIN_MADVISE);
	snprintf(text, sizeof(text),
	         "  vmm-1  [000] 1.000000: %s  vmm-1  [000] 1.000001: kernel_stack:         <stack trace >\n"
	         "=> kvm_mmu_notifier_invalidate_range_start (ffffffffc05d9054)\n=> task_numa_work (ffffffff934bc274)\n",
	         unmap);
	assert_int_equal(origin_in(text, EVENT_UNMAP), FACT_ORIGIN_NUMA);
	snprintf(text, sizeof(text),
	         "ksmd  33 [000] 1.000000: kvm:%s\tffffffffc05d9054 kvm_mmu_notifier_invalidate_range_start+0x1f4 ([kvm])\n"
	         "\tffffffff934bc274 ksm_scan_thread+0x84 ([kernel.kallsyms])\n\n",
	         unmap);
	assert_int_equal(origin_in(text, EVENT_UNMAP), FACT_ORIGIN_KSM);
	/* A stack of another thread, and none at all. */
	snprintf(text, sizeof(text),
	         "  vmm-1  [000] ..... 1.000000: %s  ksmd-9  [001] ..... 1.000001: <stack trace>\n => ksm_scan_thread\n",
	         unmap);
	assert_int_equal(origin_in(text, EVENT_UNMAP), FACT_ORIGIN_NONE);
	snprintf(text, sizeof(text), "  vmm-1  [000] ..... 1.000000: %s", unmap);
	assert_int_equal(origin_in(text, EVENT_UNMAP), FACT_ORIGIN_NONE);
}

static void the_more_telling_function_of_a_stack_counts(void **state)
{
	static const char *const stack[] = {"__handle_changed_spte", "kvm_mmu_zap_collapsible_sptes", "kvm_set_memslot",
	                                    "kvm_vm_ioctl"};
	enum fact_origin origin = FACT_ORIGIN_NONE;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(stack); i++)
		origin = fact_origin_better(origin, stack[i], strlen(stack[i]));
	assert_int_equal(origin, FACT_ORIGIN_DIRTY_LOG);
	/* Not what only begins alike. */
	assert_int_equal(fact_origin_better(FACT_ORIGIN_NONE, "do_madvise_other", 16), FACT_ORIGIN_OTHER);
	for (unsigned i = 0; i < FACT_ORIGIN_COUNT; i++)
		assert_non_null(fact_origin_name(i));
}

static void a_stack_counts_until_its_thread_does_something_else(void **state)
{
	struct host host = host_new();
	struct source_event event;

	(void)state;
	grow(&host, 0);
	for (unsigned i = 5; i < 8; i++)
		changed(&host, i, 1, 0, PAGE(i));
	event = event_at(&host, EVENT_UNMAP);
	event_set(&event, FIELD_START, 0x1000);
	event_set(&event, FIELD_ORIGIN, FACT_ORIGIN_MADVISE);
	kvm_take(host.kvm, &event);
	changed(&host, 5, 1, PAGE(5), 0);
	assert_int_equal(facts[fact_count - 1].origin, FACT_ORIGIN_MADVISE);
	assert_int_equal(facts[fact_count - 1].cause, FACT_CAUSE_ZAP_NOTIFIER);
	changed(&host, 6, 1, PAGE(6), 0);
	assert_int_equal(facts[fact_count - 1].origin, FACT_ORIGIN_MADVISE);
	/* A stack is more certain than the name of the thread. */
	for (unsigned i = 8; i < 10; i++)
		changed(&host, i, 1, 0, PAGE(i));
	for (unsigned i = 8; i < 10; i++) {
		event = event_at(&host, EVENT_SPTE_CHANGED);
		strcpy(event.comm, "kvm-nx-lpage-re");
		event_set(&event, FIELD_GFN, i);
		event_set(&event, FIELD_LEVEL, 1);
		event_set(&event, FIELD_OLD, PAGE(i));
		event_set(&event, FIELD_NEW, 0);
		event_set(&event, FIELD_ORIGIN, i == 8 ? FACT_ORIGIN_NX_RECOVERY : FACT_ORIGIN_VM_END);
		kvm_take(host.kvm, &event);
		assert_int_equal(facts[fact_count - 1].cause, i == 8 ? FACT_CAUSE_ZAP_NX : FACT_CAUSE_ZAP);
	}
	/* Without one the name tells, and the recovery of huge pages takes no single page. */
	changed(&host, 10, 1, 0, PAGE(10));
	host.now += 1000000000;
	event = event_at(&host, EVENT_SPTE_CHANGED);
	strcpy(event.comm, "kvm-nx-lpage-re");
	event_set(&event, FIELD_GFN, 10);
	event_set(&event, FIELD_LEVEL, 1);
	event_set(&event, FIELD_OLD, PAGE(10));
	event_set(&event, FIELD_NEW, 0);
	kvm_take(host.kvm, &event);
	assert_int_equal(facts[fact_count - 1].cause, FACT_CAUSE_ZAP);
	/* The next call has no stack: nothing is known of it. */
	event = event_at(&host, EVENT_UNMAP);
	event_set(&event, FIELD_START, 0x1000);
	kvm_take(host.kvm, &event);
	changed(&host, 7, 1, PAGE(7), 0);
	assert_int_equal(facts[fact_count - 1].origin, FACT_ORIGIN_NONE);
	kvm_free(host.kvm);
}

static void a_table_that_was_there_before_is_taken_down(void **state)
{
	struct host host = host_new();

	(void)state;
	/* What is seen first is that it is unlinked; its entries follow. */
	changed(&host, 0, 2, TABLE(7), 0x5a0);
	changed(&host, 5, 1, PAGE(1), 0x5a0);
	changed(&host, 0, 2, 0x5a0, TABLE(8));
	changed(&host, 5, 1, 0, PAGE(2));
	/* Here not even that was seen: its entries go, then a large page comes. */
	changed(&host, 0x205, 1, PAGE(3), 0x5a0);
	changed(&host, 0x200, 2, 0, HUGE(0));
	assert_int_equal(kvm_counts_all(host.kvm).unexplained, 0);
	/* What was seen still counts. */
	changed(&host, 5, 1, PAGE(4), 0);
	assert_int_equal(kvm_counts_all(host.kvm).unexplained, 1);
	kvm_free(host.kvm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_of_all_tools),
		cmocka_unit_test(fields_by_name),
		cmocka_unit_test(what_is_missing_is_told),
		cmocka_unit_test(pages_of_the_ring_buffer),
		cmocka_unit_test(a_write_belongs_to_the_root_that_holds_its_old_value),
		cmocka_unit_test(of_two_roots_that_fit_the_valid_one_goes_on),
		cmocka_unit_test(an_old_root_goes_beside_one_that_looks_alike),
		cmocka_unit_test(a_kernel_thread_finishes_the_table_it_unlinked),
		cmocka_unit_test(a_vm_that_begins_where_one_has_ended),
		cmocka_unit_test(threads_are_looked_at_ahead),
		cmocka_unit_test(a_vcpu_that_comes_late),
		cmocka_unit_test(events_of_two_cpus_swapped),
		cmocka_unit_test(five_levels_and_system_management_mode),
		cmocka_unit_test(a_split_fills_its_table_before_it_is_linked),
		cmocka_unit_test(entries_of_an_unlinked_table_go_one_by_one),
		cmocka_unit_test(a_fast_fault_is_a_write),
		cmocka_unit_test(the_cpu_sets_accessed_and_dirty_alone),
		cmocka_unit_test(after_a_loss_nothing_is_sure),
		cmocka_unit_test(two_vms_by_process),
		cmocka_unit_test(two_vms_without_process),
		cmocka_unit_test(two_vms_of_one_process_by_their_threads),
		cmocka_unit_test(a_fault_is_blamed_for_its_own_path_only),
		cmocka_unit_test(what_was_found_counts_until_it_is_written),
		cmocka_unit_test(legacy_entries_say_no_more_than_that_they_were_set),
		cmocka_unit_test(a_table_that_was_there_before_is_taken_down),
		cmocka_unit_test(stacks_of_all_texts),
		cmocka_unit_test(the_more_telling_function_of_a_stack_counts),
		cmocka_unit_test(a_stack_counts_until_its_thread_does_something_else),
		cmocka_unit_test(entries_of_both_vendors),
		cmocka_unit_test(addresses_as_neighbours_print_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
