/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmmu dirty: the rounds of dirty logging: pages that were write-protected, how
 * many were written again and repaired, fast or slowly, and how long each vCPU
 * stood still for it.
 */
#include <stdlib.h>

#include "../base/exit_status.h"
#include "group.h"
#include "question.h"
#include "writes.h"

enum { ROUND_GAP_NS = 20000000,
       USUAL_LINES = 20 };

struct round {
	uint64_t first, last; /* facts: its first and last write protection */
	uint64_t low, high;
	uint64_t protected[4], cleared, splits;
	uint64_t fast, slow;
	uint64_t stall;       /* of all vCPUs, ns */
	uint64_t *vcpu_stall; /* by thread */
	uint16_t vm;
	bool repaired;
};

struct dirty_question {
	struct ask ask;
	struct round *rounds;
	size_t count, room;
	size_t *current;        /* by VM: its round, + 1 */
	uint64_t *waiting;      /* by thread: fact of the fault that repairs, while it goes on */
	uint64_t *repair_round; /* ... and its round */
};

static const struct argp argp = {
	.parser = ask_parse_alone,
	.args_doc = "FILE",
	.doc = "Show the rounds of dirty logging: what was write-protected or had its dirty bit cleared, what was "
	       "written again and repaired (fast: outside the lock; slow: by a fault that took it), and how long the "
	       "vCPUs stood still. A round begins with a protection after a repair, or after 20 ms without one.",
	.children = ask_children,
};

static struct round *round_for(struct dirty_question *q, uint64_t number)
{
	const struct fact *fact = model_fact(q->ask.model, number);
	size_t *current = &q->current[fact->vm];
	struct round *round;

	if (*current) {
		round = &q->rounds[*current - 1];
		if (!round->repaired && fact->time - model_fact(q->ask.model, round->last)->time <= ROUND_GAP_NS)
			return round;
	}
	if (q->count == q->room) {
		q->room = q->room ? 2 * q->room : 32;
		q->rounds = reallocate(q->rounds, q->room * sizeof(*q->rounds));
	}
	round = &q->rounds[q->count++];
	*round = (struct round){.first = number, .last = number, .low = UINT64_MAX, .vm = fact->vm};
	*current = q->count;
	return round;
}

static void take_protection(struct dirty_question *q, uint64_t number)
{
	const struct fact *fact = model_fact(q->ask.model, number);
	struct round *round = round_for(q, number);
	uint64_t end = write_end(fact);

	round->last = number;
	round->protected[fact->level <= 3 ? fact->level : 3]++;
	if (fact->address < round->low)
		round->low = fact->address;
	if (end > round->high)
		round->high = end;
}

static void add_stall(struct dirty_question *q, size_t at, uint32_t thread, uint64_t ns)
{
	struct round *round = &q->rounds[at];

	if (!round->vcpu_stall)
		round->vcpu_stall = allocate(model_thread_count(q->ask.model) * sizeof(*round->vcpu_stall));
	round->vcpu_stall[thread] += ns;
	round->stall += ns;
}

static void take_repair(struct dirty_question *q, uint64_t number)
{
	const struct fact *fact = model_fact(q->ask.model, number), *fault;
	struct round *round;
	uint64_t at;

	if (!q->current[fact->vm])
		return;
	round = &q->rounds[q->current[fact->vm] - 1];
	round->repaired = true;
	*(fact->cause == FACT_CAUSE_FAST ? &round->fast : &round->slow) += 1;
	fault = model_fault_of(q->ask.model, number, &at);
	if (!fault || fact->thread >= model_thread_count(q->ask.model))
		return;
	q->waiting[fact->thread] = at + 1;
	q->repair_round[fact->thread] = q->current[fact->vm] - 1;
	/* At least that long; what goes on until the vCPU enters the guest again is added then. */
	add_stall(q, q->current[fact->vm] - 1, fact->thread, fact->time - fault->time);
}

static void take_entry(struct dirty_question *q, uint64_t number)
{
	const struct fact *fact = model_fact(q->ask.model, number);
	uint64_t fault, number_of_fault;

	if (fact->thread >= model_thread_count(q->ask.model) || !q->waiting[fact->thread])
		return;
	number_of_fault = q->waiting[fact->thread] - 1;
	q->waiting[fact->thread] = 0;
	for (fault = number; fault-- > number_of_fault;) {
		const struct fact *write = model_fact(q->ask.model, fault);

		if (write->thread == fact->thread && write_is_repair(write)) {
			add_stall(q, q->repair_round[fact->thread], fact->thread, fact->time - write->time);
			return;
		}
	}
}

static void take(struct dirty_question *q, uint64_t number)
{
	const struct fact *fact = model_fact(q->ask.model, number);

	if (!ask_wants(&q->ask, fact) && fact->kind != FACT_WRITE)
		return;
	if (fact->kind == FACT_ENTRY || fact->kind == FACT_FAULT_END) {
		take_entry(q, number);
		return;
	}
	if (fact->kind != FACT_WRITE || fact->vm >= model_vm_count(q->ask.model) ||
	    (!q->ask.all_vms && fact->vm != q->ask.vm))
		return;
	if (write_is_protection(fact))
		take_protection(q, number);
	else if (write_is_repair(fact))
		take_repair(q, number);
	else if (fact->cause == FACT_CAUSE_AGE && q->current[fact->vm])
		q->rounds[q->current[fact->vm] - 1].cleared++;
	else if (write_is_split(fact) && q->current[fact->vm])
		q->rounds[q->current[fact->vm] - 1].splits++;
}

static uint64_t protected_pages(const struct round *round)
{
	return round->protected[1] + round->protected[2] + round->protected[3];
}

/* "vCPU 0 1.2 ms, vCPU 1 0.8 ms" */
static char *stalls_text(const struct dirty_question *q, const struct round *round)
{
	char *list = duplicate("");

	for (uint32_t i = 0; round->vcpu_stall && i < model_thread_count(q->ask.model); i++) {
		const struct kvm_thread *thread = model_thread(q->ask.model, i);
		char *longer;

		if (!round->vcpu_stall[i])
			continue;
		if (thread->vcpu == FACT_NO_VCPU)
			longer = formatted("%s%s%s %s", list, *list ? ", " : "", thread->comm, ask_duration(round->vcpu_stall[i]).text);
		else
			longer = formatted("%s%svCPU %u %s", list, *list ? ", " : "", thread->vcpu,
			                   ask_duration(round->vcpu_stall[i]).text);
		free(list);
		list = longer;
	}
	return list;
}

static void print(struct dirty_question *q)
{
	uint64_t limit = ask_limit(&q->ask, USUAL_LINES);
	size_t from = q->count > limit ? q->count - limit : 0;

	ask_heading(&q->ask, "Rounds of dirty logging: %s", text_count(q->count).text);
	if (!q->count) {
		ask_line(&q->ask, "no present entry lost its right to write");
		return;
	}
	ask_line(&q->ask, "%s        time  took      protected   repaired fast      slow  range, stall%s", q->ask.palette->dim,
	         q->ask.palette->off);
	for (size_t i = from; i < q->count; i++) {
		const struct round *round = &q->rounds[i];
		uint64_t start = model_fact(q->ask.model, round->first)->time;
		char *stalls = stalls_text(q, round);
		char *vm = model_vm_count(q->ask.model) > 1 ? formatted("VM %u, ", round->vm + 1u) : duplicate("");

		ask_line(&q->ask, "%12s  %-8s  %9s  %14s  %8s  %s0x%" PRIx64 "-0x%" PRIx64 "%s%s%s", ask_time(&q->ask, start).text,
		         ask_duration(model_fact(q->ask.model, round->last)->time - start).text,
		         text_count(protected_pages(round)).text, text_count(round->fast).text,
		         text_count(round->slow).text, vm, round->low, round->high, *stalls ? ", " : "", stalls,
		         round->protected[2] + round->protected[3] ? " (large pages among them)" : "");
		free(stalls);
		free(vm);
	}
}

static void show_json(struct dirty_question *q)
{
	json_t *list = json_array();

	for (size_t i = 0; i < q->count; i++) {
		const struct round *round = &q->rounds[i];
		uint64_t start = model_fact(q->ask.model, round->first)->time;
		json_t *json = json_object(), *stalls = json_array();

		json_object_set_new(json, "vm", json_number(round->vm + 1u));
		json_object_set_new(json, "time", json_seconds(&q->ask, start));
		json_object_set_new(json, "duration_ns", json_number(model_fact(q->ask.model, round->last)->time - start));
		json_object_set_new(json, "protected_4k", json_number(round->protected[1]));
		json_object_set_new(json, "protected_2m", json_number(round->protected[2]));
		json_object_set_new(json, "protected_1g", json_number(round->protected[3]));
		json_object_set_new(json, "dirty_cleared", json_number(round->cleared));
		json_object_set_new(json, "splits", json_number(round->splits));
		json_object_set_new(json, "repaired_fast", json_number(round->fast));
		json_object_set_new(json, "repaired_slow", json_number(round->slow));
		json_object_set_new(json, "stall_ns", json_number(round->stall));
		json_object_set_new(json, "first", json_hex(round->low));
		json_object_set_new(json, "last", json_hex(round->high));
		for (uint32_t t = 0; round->vcpu_stall && t < model_thread_count(q->ask.model); t++) {
			json_t *one;

			if (!round->vcpu_stall[t])
				continue;
			one = json_object();
			json_object_set_new(one, "vcpu", json_number(model_thread(q->ask.model, t)->vcpu));
			json_object_set_new(one, "stall_ns", json_number(round->vcpu_stall[t]));
			json_array_append_new(stalls, one);
		}
		json_object_set_new(json, "stalls", stalls);
		json_array_append_new(list, json);
	}
	json_object_set_new(q->ask.result, "rounds", list);
}

int question_dirty(int argc, char **argv)
{
	struct dirty_question q = {.count = 0};
	size_t threads;

	if (!ask_begin(&q.ask, &argp, argc, argv, &q))
		return EXIT_TROUBLE;
	threads = model_thread_count(q.ask.model) + 1;
	q.current = allocate(model_vm_count(q.ask.model) * sizeof(*q.current));
	q.waiting = allocate(threads * sizeof(*q.waiting));
	q.repair_round = allocate(threads * sizeof(*q.repair_round));
	for (uint64_t n = q.ask.from; n < q.ask.to; n++)
		take(&q, n);
	if (q.ask.json)
		show_json(&q);
	else
		print(&q);
	for (size_t i = 0; i < q.count; i++)
		free(q.rounds[i].vcpu_stall);
	free(q.rounds);
	free(q.current);
	free(q.waiting);
	free(q.repair_round);
	return ask_close(&q.ask, EXIT_OK);
}
