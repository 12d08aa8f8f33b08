/* SPDX-License-Identifier: BSD-2-Clause */
#include "series.h"

#include <stdlib.h>

#include <vmmu/vmmu.h>

#include "../kvm/exit_name.h"
#include "../source/event.h"

enum { FACTS_PER_LOOK = 1 << 16 };

struct making {
	struct series *series;
	const struct ask *ask;
	unsigned vm;
	enum kvm_mode mode;
	int64_t pages[SERIES_LEVELS], tables[SERIES_LEVELS];
	struct map exit_places; /* by reason */
	uint64_t *device_fault; /* of each thread the last fault of which a device is known, + 1 */
	unsigned step;
};

/* ---- names -------------------------------------------------------------------------------- */

const char *series_fault_name(unsigned kind)
{
	static const char *const names[SERIES_FAULT_COUNT] = {
		[SERIES_FAULT_READ] = "read",
		[SERIES_FAULT_WRITE] = "write",
		[SERIES_FAULT_FETCH] = "fetch",
		[SERIES_FAULT_WALK] = "page walk",
		[SERIES_FAULT_RIGHTS] = "refused by rights",
		[SERIES_FAULT_DEVICE] = "device",
	};

	return kind < SERIES_FAULT_COUNT ? names[kind] : "?";
}

const char *series_write_name(unsigned kind)
{
	static const char *const names[SERIES_WRITE_COUNT] = {
		[SERIES_WRITE_MAP] = "mapped",
		[SERIES_WRITE_DROP] = "dropped",
		[SERIES_WRITE_PROTECT] = "write-protected",
		[SERIES_WRITE_PERMIT] = "made writable",
		[SERIES_WRITE_OTHER] = "other bits",
	};

	return kind < SERIES_WRITE_COUNT ? names[kind] : "?";
}

/*
 * Under shadow paging the mode does not say whose reasons these are. VMX has none above
 * 95; CPUID, CR access and I/O are 10, 28 and 30 there, which would be reads and writes
 * of registers that no CPU has under SVM.
 */
static enum kvm_mode reasons_of(const struct series *s, enum kvm_mode mode)
{
	bool vmx = false, svm = false;

	if (mode == KVM_MODE_EPT || mode == KVM_MODE_NPT)
		return mode;
	for (size_t i = 0; i < s->exit_count; i++) {
		uint64_t reason = s->exits[i].reason;

		svm |= reason > 95 && reason != EXIT_REASON_OTHER && reason != SERIES_EXIT_REST;
		vmx |= reason == 10 || reason == 28 || reason == 30;
	}
	return svm == vmx ? mode : vmx ? KVM_MODE_EPT
	                               : KVM_MODE_NPT;
}

char *series_exit_name(const struct series *series, enum kvm_mode mode, size_t i)
{
	uint64_t reason = series->exits[i].reason;
	const char *name = kvm_exit_name(reasons_of(series, mode), reason);

	if (reason == EXIT_REASON_OTHER || reason == SERIES_EXIT_REST)
		return duplicate("other");
	return name ? duplicate(name) : formatted("reason %llu", (unsigned long long)reason);
}

/* ---- kinds ---------------------------------------------------------------------------------- */

enum series_fault series_fault_kind(enum kvm_mode mode, uint64_t error)
{
	unsigned access = ask_access(mode, error);

	if (access & ACCESS_DEVICE)
		return SERIES_FAULT_DEVICE;
	if (access & ACCESS_PRESENT)
		return SERIES_FAULT_RIGHTS;
	if (access & ACCESS_WALK)
		return SERIES_FAULT_WALK;
	return access & ACCESS_FETCH   ? SERIES_FAULT_FETCH
	       : access & ACCESS_WRITE ? SERIES_FAULT_WRITE
	                               : SERIES_FAULT_READ;
}

enum series_write series_write_kind(const struct fact *fact)
{
	bool was = fact->kind == FACT_WRITE && kvm_entry_is_there(fact->a, fact->level);
	bool is = kvm_entry_is_there(fact->b, fact->level);

	if (was != is)
		return is ? SERIES_WRITE_MAP : SERIES_WRITE_DROP;
	if (is && kvm_entry_writable(fact->a) != kvm_entry_writable(fact->b))
		return kvm_entry_writable(fact->b) ? SERIES_WRITE_PERMIT : SERIES_WRITE_PROTECT;
	return SERIES_WRITE_OTHER;
}

/* ---- steps ----------------------------------------------------------------------------------- */

unsigned series_step_of(const struct series *series, uint64_t time)
{
	uint64_t step;

	if (time <= series->first)
		return 0;
	step = (time - series->first) / series->step;
	return step < series->steps ? (unsigned)step : series->steps - 1;
}

uint64_t series_end_of(const struct series *series, unsigned step)
{
	return step + 1 >= series->steps ? series->last : series->first + series->step * (step + 1);
}

static void note_state(const struct making *m, unsigned step)
{
	for (unsigned level = 1; level < SERIES_LEVELS; level++) {
		m->series->pages[level][step] = m->pages[level] > 0 ? (uint64_t)m->pages[level] : 0;
		m->series->tables[level][step] = m->tables[level] > 0 ? (uint64_t)m->tables[level] : 0;
	}
}

/* ---- facts ------------------------------------------------------------------------------------- */

/* What was there before the recording began shows only when it goes: no count falls below none. */
static void change(int64_t *count, bool was, bool is, bool was_known)
{
	*count += is - (was && (was_known || *count > 0));
}

static void take_state(struct making *m, const struct fact *fact)
{
	enum kvm_entry_kind was = fact->kind == FACT_WRITE ? kvm_entry_kind(fact->a, fact->level) : KVM_ENTRY_EMPTY;
	enum kvm_entry_kind is = kvm_entry_kind(fact->b, fact->level);
	unsigned level = fact->level;
	bool known = fact->was_known != FACT_UNKNOWN;

	if (level < 1 || level >= SERIES_LEVELS)
		return;
	change(&m->pages[level], was == KVM_ENTRY_LEAF, is == KVM_ENTRY_LEAF, known);
	if (level > 1)
		change(&m->tables[level - 1], was == KVM_ENTRY_TABLE, is == KVM_ENTRY_TABLE, known);
}

static void take_exit(struct making *m, const struct fact *fact)
{
	struct series *s = m->series;
	bool room = s->exit_count < SERIES_EXITS - 1 || map_get(&m->exit_places, fact->a) != MAP_NONE;
	uint64_t reason = room ? fact->a : SERIES_EXIT_REST, *place = map_at(&m->exit_places, reason);

	if (*place == MAP_NONE) {
		*place = s->exit_count;
		s->exits = reallocate(s->exits, (s->exit_count + 1) * sizeof(*s->exits));
		s->exits[s->exit_count++] = (struct series_exit){reason, 0, allocate(s->steps * sizeof(uint64_t))};
	}
	s->exits[*place].total++;
	s->exits[*place].counts[m->step]++;
	s->exit_total++;
	s->any_exit = true;
}

static bool wants(const struct making *m, const struct fact *fact)
{
	return fact->vm == m->vm && (m->ask->vcpu == UINT64_MAX || fact->vcpu == m->ask->vcpu);
}

/* What belongs to a fault may tell that it was about a device: an entry that marks one, the access, how the fault ended. */
static void take_device(struct making *m, uint64_t number)
{
	uint64_t at;
	const struct fact *fault = model_fault_of(m->ask->model, number, &at);
	struct series *s = m->series;
	unsigned step;

	if (!fault || at < m->ask->from || !wants(m, fault) || fault->thread >= model_thread_count(m->ask->model) ||
	    m->device_fault[fault->thread] == at + 1)
		return;
	m->device_fault[fault->thread] = at + 1;
	step = series_step_of(s, fault->time);
	if (s->faults[series_fault_kind(m->mode, fault->a)][step]) {
		s->faults[series_fault_kind(m->mode, fault->a)][step]--;
		s->faults[SERIES_FAULT_DEVICE][step]++;
	}
}

static void take(struct making *m, uint64_t number)
{
	const struct fact *fact = model_fact(m->ask->model, number);
	struct series *s = m->series;
	bool asked = number >= m->ask->from;

	switch (fact->kind) {
	case FACT_WRITE:
	case FACT_FOUND:
		if (!s->exact)
			break;
		take_state(m, fact);
		if (!asked || fact->kind == FACT_FOUND)
			break;
		s->writes[series_write_kind(fact)][m->step]++;
		s->write_total++;
		if (kvm_entry_kind(fact->b, fact->level) == KVM_ENTRY_MMIO)
			take_device(m, number);
		break;
	case FACT_FAULT:
		if (asked) {
			s->faults[series_fault_kind(m->mode, fact->a)][m->step]++;
			s->fault_total++;
		}
		break;
	case FACT_FAULT_END:
		if (fact->a == VMMU_FAULT_EMULATE_MMIO)
			take_device(m, number);
		break;
	case FACT_MMIO:
		take_device(m, number);
		break;
	case FACT_EXIT:
		if (asked)
			take_exit(m, fact);
		break;
	default:
		break;
	}
}

static int by_total(const void *a, const void *b)
{
	const struct series_exit *x = a, *y = b;

	if (x->total != y->total)
		return x->total > y->total ? -1 : 1;
	return x->reason < y->reason ? -1 : x->reason > y->reason;
}

static void begin(struct series *s, const struct ask *ask, unsigned vm, unsigned steps)
{
	uint64_t length;

	*s = (struct series){.exact = model_vm(ask->model, vm)->tdp};
	if (ask->from < ask->to) {
		s->first = model_fact(ask->model, ask->from)->time;
		s->last = model_fact(ask->model, ask->to - 1)->time;
	}
	/* Events that were lost before the first one have no time. */
	if (s->first < model_first_time(ask->model))
		s->first = model_first_time(ask->model);
	if (s->last < s->first)
		s->last = s->first;
	length = s->last - s->first + 1;
	s->step = (length + steps - 1) / steps;
	s->steps = (unsigned)((length + s->step - 1) / s->step);
	for (unsigned i = 0; i < SERIES_LEVELS; i++) {
		s->pages[i] = allocate(s->steps * sizeof(uint64_t));
		s->tables[i] = allocate(s->steps * sizeof(uint64_t));
	}
	for (unsigned i = 0; i < SERIES_FAULT_COUNT; i++)
		s->faults[i] = allocate(s->steps * sizeof(uint64_t));
	for (unsigned i = 0; i < SERIES_WRITE_COUNT; i++)
		s->writes[i] = allocate(s->steps * sizeof(uint64_t));
}

void series_make(struct series *series, const struct ask *ask, unsigned vm, unsigned steps,
                 void (*progress)(void *arg, double done), void *arg)
{
	struct making m = {.series = series, .ask = ask, .vm = vm, .mode = model_vm(ask->model, vm)->mode};

	begin(series, ask, vm, steps ? steps : 1);
	map_init(&m.exit_places, map_random_seed());
	m.device_fault = allocate((model_thread_count(ask->model) + 1) * sizeof(*m.device_fault));
	for (uint64_t n = 0; n < ask->to; n++) {
		const struct fact *fact = model_fact(ask->model, n);

		while (n >= ask->from && m.step < series_step_of(series, fact->time))
			note_state(&m, m.step++);
		if (wants(&m, fact) || (fact->vm == vm && (fact->kind == FACT_WRITE || fact->kind == FACT_FOUND)))
			take(&m, n);
		if (progress && n % FACTS_PER_LOOK == 0)
			progress(arg, (double)n / (double)ask->to);
	}
	while (m.step < series->steps)
		note_state(&m, m.step++);
	map_free(&m.exit_places);
	free(m.device_fault);
	if (series->exit_count)
		qsort(series->exits, series->exit_count, sizeof(*series->exits), by_total);
}

struct series_mark *series_marks(const struct series *series, const struct ask *ask, unsigned vm)
{
	struct series_mark *list = allocate(series->steps * sizeof(*list));

	for (uint64_t n = ask->from; n < ask->to; n++) {
		const struct fact *fact = model_fact(ask->model, n);
		struct series_mark *mark = &list[series_step_of(series, fact->time)];

		if (fact->kind == FACT_LOST) {
			mark->lost += fact->a;
			mark->uncounted |= !fact->a;
		} else if (fact->kind == FACT_ZAP_ALL && fact->vm == vm) {
			mark->zaps++;
		} else {
			continue;
		}
		mark->time = fact->time > series->first ? fact->time : series->first;
	}
	return list;
}

void series_free(struct series *series)
{
	for (unsigned i = 0; i < SERIES_LEVELS; i++) {
		free(series->pages[i]);
		free(series->tables[i]);
	}
	for (unsigned i = 0; i < SERIES_FAULT_COUNT; i++)
		free(series->faults[i]);
	for (unsigned i = 0; i < SERIES_WRITE_COUNT; i++)
		free(series->writes[i]);
	for (size_t i = 0; i < series->exit_count; i++)
		free(series->exits[i].counts);
	free(series->exits);
	*series = (struct series){0};
}
