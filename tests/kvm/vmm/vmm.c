/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small VMM for the KVM lab: one VM, some vCPUs, and a list of steps from the
 * command line, each of which makes KVM do one thing to its second-level tables.
 * Says for each step how many TSC ticks an access took.
 *
 *   vmm [--memory MIB] [--huge] [--irqchip] [--offset PAGES] [--vcpus N] STEP...
 *
 *   write[@V]:COUNT[:STEP[:FIRST]]    the guest writes; pages of 4 KiB, by 4 KiB guest pages
 *   read[@V]:COUNT[:STEP[:FIRST]]     ... or reads
 *   write2m[@V]:COUNT                 ... through 2 MiB guest pages, one access for each
 *   run2m[@V]:COUNT                   ... and executes from them
 *   nothing[@V]:COUNT                 no access: what taking the time takes
 *   cpuid[@V]:COUNT                   exits that touch no table
 *   device[@V]:COUNT[:STEP]           reads where no slot is
 *   apic[@V]:COUNT                    reads of the local APIC's ID, with --irqchip: KVM's own device
 *   switch:COUNT                      loads of CR3, to and fro between two address spaces
 *   deliver:COUNT                     page faults of the guest's own, which its handler skips
 *   demand:COUNT                      ... for which it makes the entry
 *   copy:COUNT                        ... for which it makes the entry lead elsewhere, as after a copy on write
 *   delete, add                       the window's slot
 *   log:on, log:off, log:get          dirty logging of the window
 *   discard:COUNT[:FIRST]             madvise(MADV_DONTNEED): an MMU notifier
 *   deny:COUNT[:FIRST], allow:...     mprotect without any right, or with all: notifiers, too
 *   endure:COUNT                      the next COUNT faults in denied memory end KVM_RUN; then all is allowed
 *   say:TEXT, pause:MILLISECONDS, wait:FILE
 *
 * V is a vCPU's number, or * for all of them at once on the same pages.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm.h"
#include "machine.h"

#define PAGE 4096ul

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void report(const struct machine *m, const char *step, unsigned vcpu, uint64_t count)
{
	uint32_t *sorted = malloc(count * sizeof(*sorted));
	uint64_t sum = 0;

	if (!sorted)
		fail("malloc");
	memcpy(sorted, machine_results(m, vcpu), count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare);
	for (uint64_t i = 0; i < count; i++)
		sum += sorted[i];
	printf("vmm: %s vcpu=%u count=%lu min=%u p10=%u median=%u p90=%u max=%u mean=%lu\n", step, vcpu, count,
	       sorted[0], sorted[count / 10], sorted[count / 2], sorted[count * 9 / 10], sorted[count - 1],
	       sum / count);
	free(sorted);
}

static __attribute__((noreturn)) void bad_step(const char *step)
{
	fprintf(stderr, "vmm: no such step, or numbers out of range: %s\n", step);
	exit(2);
}

/* NAME[@V][:NUMBER...] taken apart. */
struct step {
	const char *text;
	char name[32];
	unsigned mask;
	unsigned numbers;
	uint64_t number[3];
	const char *word; /* what follows the colon */
};

static struct step parse_step(const struct machine *m, const char *text)
{
	struct step s = {.text = text, .mask = 1, .word = ""};
	size_t length = strcspn(text, "@:");
	const char *at = text + length;

	if (length >= sizeof(s.name))
		bad_step(text);
	memcpy(s.name, text, length);
	if (*at == '@') {
		unsigned vcpu = (unsigned)atoi(at + 1);

		s.mask = at[1] == '*' ? (1u << m->vcpus) - 1 : 1u << vcpu;
		if (at[1] != '*' && vcpu >= m->vcpus)
			bad_step(text);
		at += strcspn(at, ":");
	}
	if (*at == ':')
		s.word = at + 1;
	while (*at == ':' && s.numbers < 3) {
		char *end;

		s.number[s.numbers] = strtoull(at + 1, &end, 0);
		if (end == at + 1)
			break;
		s.numbers++;
		at = end;
	}
	return s;
}

static void access_step(struct machine *m, const struct step *s, enum order order, uint64_t base, uint64_t unit,
                        uint64_t limit)
{
	uint64_t count = s->number[0], step = s->numbers > 1 ? s->number[1] : 1, first = s->number[2];

	if (!s->numbers || !count || count > RESULTS_MAX || (first + (count - 1) * step) * unit >= limit)
		bad_step(s->text);
	machine_order(m, s->mask, order, base + first * unit, step * unit, count);
	for (unsigned i = 0; i < m->vcpus; i++)
		if (s->mask & 1u << i)
			report(m, s->text, i, count);
}

/* On vCPU 0, with the first pages of the window. */
static void paged_step(struct machine *m, const struct step *s, enum order order)
{
	if (s->mask != 1 || 1024 * PAGE > m->window_bytes || s->number[0] > 512)
		bad_step(s->text);
	access_step(m, s, order, WINDOW_4K, 0, 1);
}

static void discard(struct machine *m, const struct step *s)
{
	uint64_t first = s->number[1] * PAGE, bytes = s->number[0] * PAGE;

	if (!s->numbers || first + bytes > m->window_bytes)
		bad_step(s->text);
	if (madvise(m->window + first, bytes, MADV_DONTNEED))
		fail("madvise");
	for (uint64_t i = 0; i < bytes; i += PAGE)
		m->window[first + i] = 0;
}

static void allow(struct machine *m, const struct step *s, bool allowed)
{
	uint64_t first = s->number[1] * PAGE, bytes = s->number[0] * PAGE;

	if (!s->numbers || first + bytes > m->window_bytes)
		bad_step(s->text);
	machine_allow(m, first, bytes, allowed);
}

static void log_step(struct machine *m, const struct step *s)
{
	if (strcmp(s->word, "on") == 0)
		machine_set_window(m, true, KVM_MEM_LOG_DIRTY_PAGES);
	else if (strcmp(s->word, "off") == 0)
		machine_set_window(m, true, 0);
	else if (strcmp(s->word, "get") == 0)
		printf("vmm: %s pages=%lu\n", s->text, machine_dirty_pages(m));
	else
		bad_step(s->text);
}

static void wait_for(const char *path)
{
	while (access(path, F_OK))
		usleep(10000);
}

static void carry_out(struct machine *m, const char *text)
{
	struct step s = parse_step(m, text);

	if (strcmp(s.name, "write") == 0)
		access_step(m, &s, ORDER_WRITE, WINDOW_4K, PAGE, m->window_bytes);
	else if (strcmp(s.name, "read") == 0)
		access_step(m, &s, ORDER_READ, WINDOW_4K, PAGE, m->window_bytes);
	else if (strcmp(s.name, "write2m") == 0)
		access_step(m, &s, ORDER_WRITE, WINDOW_2M, 512 * PAGE, m->window_bytes);
	else if (strcmp(s.name, "run2m") == 0)
		access_step(m, &s, ORDER_RUN, WINDOW_2M, 512 * PAGE, m->window_bytes);
	else if (strcmp(s.name, "nothing") == 0)
		access_step(m, &s, ORDER_NOTHING, WINDOW_4K, 0, 1);
	else if (strcmp(s.name, "cpuid") == 0)
		access_step(m, &s, ORDER_CPUID, WINDOW_4K, 0, 1);
	else if (strcmp(s.name, "device") == 0)
		access_step(m, &s, ORDER_READ, DEVICE_GPA, PAGE, 0x1000000);
	else if (strcmp(s.name, "apic") == 0)
		access_step(m, &s, ORDER_READ_DEVICE, APIC_ID_GPA, 0, 1);
	else if (strcmp(s.name, "switch") == 0)
		paged_step(m, &s, ORDER_SWITCH);
	else if (strcmp(s.name, "deliver") == 0)
		paged_step(m, &s, ORDER_DELIVER);
	else if (strcmp(s.name, "demand") == 0)
		paged_step(m, &s, ORDER_DEMAND);
	else if (strcmp(s.name, "copy") == 0)
		paged_step(m, &s, ORDER_COPY);
	else if (strcmp(s.name, "delete") == 0 || strcmp(s.name, "add") == 0)
		machine_set_window(m, s.name[0] == 'a', 0);
	else if (strcmp(s.name, "log") == 0)
		log_step(m, &s);
	else if (strcmp(s.name, "discard") == 0)
		discard(m, &s);
	else if (strcmp(s.name, "deny") == 0 || strcmp(s.name, "allow") == 0)
		allow(m, &s, s.name[0] == 'a');
	else if (strcmp(s.name, "endure") == 0 && s.numbers)
		m->endure = s.number[0];
	else if (strcmp(s.name, "say") == 0)
		printf("vmm: %s\n", s.word);
	else if (strcmp(s.name, "pause") == 0 && s.numbers)
		usleep((useconds_t)s.number[0] * 1000);
	else if (strcmp(s.name, "wait") == 0)
		wait_for(s.word);
	else
		bad_step(text);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"memory", required_argument, NULL, 'm'},
		{"huge", no_argument, NULL, 'h'},
		{"irqchip", no_argument, NULL, 'i'},
		{"offset", required_argument, NULL, 'o'},
		{"vcpus", required_argument, NULL, 'c'},
		{0},
	};
	size_t megabytes = 64, offset = 0;
	unsigned vcpus = 1;
	bool huge = false, irqchip = false;
	struct machine machine;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int key; (key = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
		if (key == 'm')
			megabytes = strtoul(optarg, NULL, 0);
		else if (key == 'h')
			huge = true;
		else if (key == 'i')
			irqchip = true;
		else if (key == 'o')
			offset = strtoul(optarg, NULL, 0) % 512 * PAGE;
		else if (key == 'c')
			vcpus = (unsigned)strtoul(optarg, NULL, 0);
		else
			return 2;
	}
	if (!megabytes || megabytes << 20 > WINDOW_MAX || !vcpus || vcpus > VCPUS_MAX) {
		fprintf(stderr, "vmm: 1 to %lu MiB, 1 to %d vCPUs\n", WINDOW_MAX >> 20, VCPUS_MAX);
		return 2;
	}
	machine_start(&machine, megabytes << 20, offset, huge, irqchip, vcpus);
	for (int i = optind; i < argc; i++)
		carry_out(&machine, argv[i]);
	printf("vmm: done\n");
	return 0;
}
