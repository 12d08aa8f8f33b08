/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracing.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/text.h"

#define INSTANCE "vmmu-" /* + our process id */

enum {
	ALWAYS = 1,      /* every recording */
	NO_TDP = 2,      /* where the TDP MMU is off and these are all there is */
	EXITS = 4,       /* --exits */
	NESTED = 16,     /* --nested: tables for guests of guests are no TDP MMU's */
	OF_A_THREAD = 8, /* in the vCPU's own thread only, so it may be filtered by it */
};

/*
 * The events that say something about entries. Left out on purpose: those of the walk
 * of guest tables (a third of all events, no entry in them), and spte_requested.
 */
static const struct {
	const char *system, *name;
	unsigned when;
} events[] = {
	{"kvmmmu", "kvm_tdp_mmu_spte_changed", ALWAYS},
	{"kvmmmu", "kvm_mmu_get_page", ALWAYS},
	{"kvmmmu", "kvm_mmu_prepare_zap_page", ALWAYS},
	{"kvmmmu", "kvm_mmu_zap_all_fast", ALWAYS},
	{"kvmmmu", "kvm_mmu_split_huge_page", ALWAYS},
	{"kvmmmu", "fast_page_fault", ALWAYS | OF_A_THREAD},
	{"kvmmmu", "mark_mmio_spte", ALWAYS},
	{"kvm", "kvm_page_fault", ALWAYS | OF_A_THREAD},
	{"kvm", "kvm_userspace_exit", ALWAYS | OF_A_THREAD},
	{"kvm", "kvm_unmap_hva_range", ALWAYS},
	{"kvm", "kvm_age_hva", ALWAYS},
	{"kvmmmu", "kvm_mmu_set_spte", NO_TDP | NESTED},
	{"kvmmmu", "kvm_mmu_sync_page", NO_TDP | NESTED},
	{"kvmmmu", "kvm_mmu_unsync_page", NO_TDP | NESTED},
	{"kvm", "kvm_exit", EXITS | OF_A_THREAD},
	{"kvm", "kvm_entry", EXITS | OF_A_THREAD},
	{"kvm", "kvm_nested_vmenter", EXITS | NESTED | OF_A_THREAD},
	{"kvm", "kvm_nested_vmexit", EXITS | NESTED | OF_A_THREAD},
	{"kvm", "kvm_fast_mmio", EXITS | OF_A_THREAD},
	{"kvm", "kvm_mmio", EXITS | OF_A_THREAD},
	{"kvm", "kvm_try_async_get_page", EXITS | OF_A_THREAD},
};

/*
 * A zap by a thread that shares the tables marks empty entries as removed too: half of
 * all events in places, and no translation changes. Empty is 0, from Linux 6.10 on bit 63.
 */
static const char noise_filter[] =
	"!(old_spte == 0 && new_spte == 0x5a0) && "
	"!(old_spte == 0x8000000000000000 && new_spte == 0x80000000000005a0)";

static bool module_parameter(const char *module, const char *name)
{
	char *path = formatted("/sys/module/%s/parameters/%s", module, name), value = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (read(fd, &value, 1) != 1)
			value = 0;
		close(fd);
	}
	free(path);
	return toupper((unsigned char)value) == 'Y' || value == '1';
}

bool tracing_usable(char **error)
{
	const char *where = tracefs_tracing_dir();

	if (!where)
		*error = duplicate(geteuid() ? "recording needs root: KVM's trace events belong to the whole machine"
		                             : "there is no tracefs here (mount -t tracefs tracefs /sys/kernel/tracing)");
	else if (access(where, W_OK | X_OK))
		*error = formatted("%s: %s%s", where, strerror(errno),
		                   geteuid() ? " (recording needs root)" : "; a lockdown or a container forbids it");
	else if (!tracefs_event_file_exists(NULL, "kvmmmu", "kvm_tdp_mmu_spte_changed", "enable"))
		*error = duplicate(tracefs_dir_exists(NULL, "events/kvmmmu") ? "this kernel's KVM has no event kvm_tdp_mmu_spte_changed (Linux 5.12 has it)" : "KVM is not loaded here, so it has no trace events (modprobe kvm_intel or kvm_amd)");
	else
		return true;
	return false;
}

/* ---- leftovers ------------------------------------------------------------------ */

/* Does this process run our own program? A zombie runs nothing. */
static bool is_recorder(pid_t pid)
{
	char *link = formatted("/proc/%d/exe", pid), theirs[PATH_MAX], ours[PATH_MAX];
	ssize_t length = readlink(link, theirs, sizeof(theirs)), own = readlink("/proc/self/exe", ours, sizeof(ours));

	free(link);
	return length > 0 && length == own && memcmp(theirs, ours, (size_t)length) == 0;
}

/* "vmmu-PID" where no recorder has that process id. */
static bool is_orphan(const char *name)
{
	char *end;
	long pid;

	if (strncmp(name, INSTANCE, strlen(INSTANCE)) != 0 || !isdigit((unsigned char)name[strlen(INSTANCE)]))
		return false;
	pid = strtol(name + strlen(INSTANCE), &end, 10);
	return !*end && pid > 0 && pid <= INT_MAX && (pid == getpid() || !is_recorder((pid_t)pid));
}

/* Off first: an instance whose events are on or whose buffers are read may be busy for a moment. */
static bool remove_instance(struct tracefs_instance *instance)
{
	tracefs_trace_off(instance);
	tracefs_event_disable(instance, NULL, NULL);
	for (int tries = 0; tries < 100; tries++) {
		if (tracefs_instance_destroy(instance) == 0)
			return true;
		if (errno != EBUSY && errno != EAGAIN)
			break;
		usleep(20000);
	}
	return false;
}

/*
 * Only removed, not switched off before: the kernel refuses it while anybody has one of its
 * files open, as a recorder in another PID namespace has, whose id means nothing here.
 */
unsigned tracing_remove_leftovers(void)
{
	char **names = tracefs_instances(NULL);
	unsigned removed = 0;

	for (char **name = names; name && *name; name++) {
		struct tracefs_instance *instance;

		if (!is_orphan(*name))
			continue;
		instance = tracefs_instance_create(*name);
		if (!instance)
			continue;
		removed += tracefs_instance_destroy(instance) == 0;
		tracefs_instance_free(instance);
	}
	tracefs_list_free(names);
	return removed;
}

/* ---- setting up ----------------------------------------------------------------- */

static unsigned count_cpus(struct tracefs_instance *instance)
{
	unsigned cpus = 0;

	for (;;) {
		char *name = formatted("per_cpu/cpu%u", cpus);
		bool there = tracefs_dir_exists(instance, name);

		free(name);
		if (!there)
			return cpus;
		cpus++;
	}
}

/* 64 MiB for each CPU, but together no more than a sixteenth of the memory. */
static uint64_t choose_buffer(unsigned cpus)
{
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t share = memory / 16 / (cpus ? cpus : 1);

	if (share > 64ull << 20)
		return 64ull << 20;
	return share < 1ull << 20 ? 1ull << 20 : share;
}

static bool wanted(const struct tracing *t, const struct tracing_wish *wish, unsigned when)
{
	return when & ALWAYS || (when & NO_TDP && !t->tdp_mmu) || (when & EXITS && wish->exits) ||
	       (when & NESTED && wish->nested);
}

/*
 * Stacks of who empties an entry that maps 2 MiB or more, unmaps a range of host memory,
 * or throws all tables away. A range's stack tells for all 4 KiB entries that it takes,
 * so that they need none of their own.
 */
static void set_stacks(struct tracing *t)
{
	static const char trigger[] =
		"stacktrace if level >= 2 && old_spte != 0 && old_spte != 0x8000000000000000 && "
		"(new_spte == 0 || new_spte == 0x8000000000000000 || new_spte == 0x5a0 || new_spte == 0x80000000000005a0)";

	if (tracefs_event_file_write(t->instance, "kvmmmu", "kvm_tdp_mmu_spte_changed", "trigger", trigger) < 0 ||
	    tracefs_event_file_write(t->instance, "kvm", "kvm_unmap_hva_range", "trigger", "stacktrace") < 0 ||
	    tracefs_event_file_write(t->instance, "kvmmmu", "kvm_mmu_zap_all_fast", "trigger", "stacktrace") < 0)
		note("no stacks: this kernel does not take the trigger");
}

bool tracing_events_on(struct tracing *t, char **error)
{
	const struct tracing_wish *wish = &t->wish;

	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		if (!wanted(t, wish, events[i].when))
			continue;
		/* Versions of KVM differ; what only some have is not missed. */
		if (!tracefs_event_file_exists(t->instance, events[i].system, events[i].name, "enable"))
			continue;
		if (tracefs_event_enable(t->instance, events[i].system, events[i].name) < 0) {
			*error = formatted("the event %s:%s cannot be switched on: %s", events[i].system,
			                   events[i].name, strerror(errno));
			return false;
		}
	}
	return true;
}

static bool set_up(struct tracing *t, const struct tracing_wish *wish, char **error)
{
	t->tdp_mmu = module_parameter("kvm", "tdp_mmu") &&
	             (module_parameter("kvm_intel", "ept") || module_parameter("kvm_amd", "npt"));
	t->cpus = count_cpus(t->instance);
	t->page_size = (size_t)sysconf(_SC_PAGESIZE);
	t->buffer = wish->buffer ? wish->buffer : choose_buffer(t->cpus);
	if (tracefs_trace_off(t->instance) < 0 ||
	    tracefs_instance_file_write(t->instance, "trace_clock", "mono") < 0) {
		*error = formatted("the clock cannot be set: %s", strerror(errno));
		return false;
	}
	if (tracefs_instance_set_buffer_size(t->instance, t->buffer >> 10, -1) < 0) {
		*error = formatted("no room for buffers of %s on each of %u CPUs; try a smaller --buffer",
		                   text_bytes(t->buffer).text, t->cpus);
		return false;
	}
	t->tgids = tracefs_instance_file_write(t->instance, "options/record-tgid", "1") >= 0;
	if (tracefs_event_file_write(t->instance, "kvmmmu", "kvm_tdp_mmu_spte_changed", "filter", noise_filter) < 0)
		note("this kernel does not take the filter; zaps will record more than they need");
	if (wish->stacks)
		set_stacks(t);
	return true;
}

bool tracing_open(struct tracing *t, const struct tracing_wish *wish, char **error)
{
	char *name = formatted(INSTANCE "%d", getpid());

	*t = (struct tracing){.instance = tracefs_instance_create(name), .wish = *wish};
	if (!t->instance) {
		*error = formatted("the tracing instance %s cannot be made: %s", name, strerror(errno));
	} else if (!tracefs_instance_is_new(t->instance)) {
		*error = formatted("the tracing instance %s is in use", name);
		tracefs_instance_free(t->instance);
		t->instance = NULL;
	}
	free(name);
	if (!t->instance)
		return false;
	if (set_up(t, wish, error))
		return true;
	tracing_close(t);
	return false;
}

void tracing_filter_threads(struct tracing *t, const pid_t *threads, size_t count)
{
	enum { LONGEST = 4000 }; /* the kernel takes a page at most */
	char *filter = duplicate(count ? "" : "0");

	for (size_t i = 0; i < count; i++) {
		char *longer = formatted("%s%scommon_pid == %d", filter, i ? " || " : "", threads[i]);

		free(filter);
		filter = longer;
	}
	if (strlen(filter) > LONGEST) {
		free(filter);
		filter = duplicate("0");
	}
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (events[i].when & OF_A_THREAD)
			tracefs_event_file_write(t->instance, events[i].system, events[i].name, "filter", filter);
	free(filter);
}

bool tracing_on(struct tracing *t, bool on)
{
	return (on ? tracefs_trace_on(t->instance) : tracefs_trace_off(t->instance)) == 0;
}

char *tracing_stats(struct tracing *t, unsigned cpu)
{
	char *name = formatted("per_cpu/cpu%u/stats", cpu);
	char *text = tracefs_instance_file_read(t->instance, name, NULL);

	free(name);
	return text;
}

static uint64_t number_after(const char *text, const char *label)
{
	const char *at = strstr(text, label);

	return at ? strtoull(at + strlen(label), NULL, 10) : 0;
}

uint64_t tracing_lost(struct tracing *t)
{
	uint64_t lost = 0;

	for (unsigned cpu = 0; cpu < t->cpus; cpu++) {
		char *stats = tracing_stats(t, cpu);

		if (stats) /* "commit overrun" contains the label of "overrun": begin at the line */
			lost += number_after(stats, "\noverrun:") + number_after(stats, "commit overrun:") +
			        number_after(stats, "dropped events:");
		free(stats);
	}
	return lost;
}

void tracing_close(struct tracing *t)
{
	if (!t->instance)
		return;
	if (!remove_instance(t->instance))
		complain("the tracing instance %s%d could not be removed; the next recording will try again", INSTANCE,
		         getpid());
	tracefs_instance_free(t->instance);
	t->instance = NULL;
}
