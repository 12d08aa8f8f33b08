/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu mmio: which device addresses the guest uses most, how, and from where. */
#include <stdlib.h>

#include "../base/exit_status.h"
#include "group.h"
#include "history.h"
#include "question.h"

enum { USUAL_LINES = 20,
       PLACES = 3 };

struct mmio_question {
	struct ask ask;
	struct groups addresses; /* by VM, address and length */
	struct groups places;    /* by number of the address in its list, and rip */
	uint64_t *rip;           /* by thread: of its last fault or exit */
	uint64_t accesses, reads, writes, fast, misconfigured, exits, entries;
};

static const struct argp argp = {
	.parser = ask_parse_alone,
	.args_doc = "FILE",
	.doc = "Say which device addresses the guest accesses most, by size and by the guest's instruction. Needs "
	       "kvm:kvm_mmio and kvm:kvm_fast_mmio (vmmu record --exits); without them it names the pages whose "
	       "faults found a device.",
	.children = ask_children,
};

static void count(struct mmio_question *q, uint64_t number, uint64_t address, bool write, uint64_t rip)
{
	const struct fact *fact = model_fact(q->ask.model, number);
	struct group *group = groups_add(&q->addresses, (uint64_t)fact->vm << 52 | (address & ((1ull << 52) - 1)), number);
	uint64_t place = (uint64_t)(group - q->addresses.list);

	q->accesses++;
	group->extra[write]++;
	group->extra[2] = fact->kind == FACT_MMIO ? fact->a : 0;
	group->extra[3] = place;
	*(write ? &q->writes : &q->reads) += 1;
	if (rip)
		groups_add(&q->places, place << 40 ^ rip, number)->extra[0] = rip;
	if (rip)
		groups_find(&q->places, place << 40 ^ rip)->extra[1] = place;
}

/* The visor's, under shadow paging: no entry stands for a device, and the end of the fault has the gpa. */
static void look_at_end(struct mmio_question *q, uint64_t number)
{
	const struct fact *end = model_fact(q->ask.model, number), *fault;
	uint64_t at;

	if (model_vm(q->ask.model, end->vm)->tdp || ask_instead(end->a) != INSTEAD_DEVICE)
		return;
	fault = model_fault_of(q->ask.model, number, &at);
	if (fault)
		count(q, at, end->address, ask_access(ask_mode(&q->ask, fault), fault->a) & ACCESS_WRITE, fault->b);
}

/* A fault that ends at an entry which stands for a device. */
static void look_at_fault(struct mmio_question *q, uint64_t number)
{
	const struct fact *fault = model_fact(q->ask.model, number);
	struct model_walk walk;
	const struct model_step *last;
	unsigned access = ask_access(ask_mode(&q->ask, fault), fault->a);

	if (access & ACCESS_DEVICE) {
		count(q, number, fault->address, access & ACCESS_WRITE, fault->b);
		return;
	}
	if (!model_vm(q->ask.model, fault->vm)->tdp)
		return;
	model_walk(q->ask.model, fault->vm, NULL, fault->address, number, &walk);
	if (!walk.count)
		return;
	last = &walk.steps[walk.count - 1];
	if (kvm_entry_kind(last->entry, last->level) == KVM_ENTRY_MMIO)
		count(q, number, fault->address, access & ACCESS_WRITE, fault->b);
}

static void take(struct mmio_question *q, uint64_t number, bool recorded)
{
	const struct fact *fact = model_fact(q->ask.model, number);
	uint64_t *rip = fact->thread < model_thread_count(q->ask.model) ? &q->rip[fact->thread] : NULL, at;
	const struct fact *fault;

	if (!ask_wants(&q->ask, fact) || fact->vm >= model_vm_count(q->ask.model))
		return;
	switch (fact->kind) {
	case FACT_FAULT:
		if (rip)
			*rip = fact->b;
		if (!recorded)
			look_at_fault(q, number);
		break;
	case FACT_FAULT_END:
		if (!recorded)
			look_at_end(q, number);
		break;
	case FACT_EXIT:
		q->exits++;
		q->misconfigured += fact->a == 49;
		if (rip)
			*rip = fact->b;
		break;
	case FACT_WRITE:
		if (kvm_entry_kind(fact->b, fact->level) != KVM_ENTRY_MMIO)
			break;
		q->entries++;
		/* The first access finds nothing, and leaves the entry for the next ones. */
		if (!recorded && (fault = model_fault_of(q->ask.model, number, &at)))
			count(q, at, fault->address, ask_access(ask_mode(&q->ask, fault), fault->a) & ACCESS_WRITE, fault->b);
		break;
	case FACT_MMIO:
		/* A read is told twice: when it cannot be answered yet, and with its value. */
		if (fact->cause == FACT_MMIO_READ_PENDING)
			break;
		q->fast += fact->cause == FACT_MMIO_FAST;
		count(q, number, fact->address, fact->cause != FACT_MMIO_READ, rip ? *rip : 0);
		break;
	default:
		break;
	}
}

static char *places_of(const struct mmio_question *q, uint64_t place)
{
	char *list = duplicate("");
	unsigned shown = 0;

	for (size_t i = 0; i < q->places.count && shown < PLACES; i++) {
		const struct group *one = &q->places.list[i];
		char *name, *longer;

		if (one->extra[1] != place)
			continue;
		name = ask_place_text(&q->ask, one->extra[0]);
		longer = formatted("%s%s%s %s", list, shown ? ", " : "", name, text_count(one->count).text);
		free(list);
		free(name);
		list = longer;
		shown++;
	}
	return list;
}

static void print(struct mmio_question *q, bool recorded)
{
	uint64_t limit = ask_limit(&q->ask, USUAL_LINES);

	ask_heading(&q->ask, "%s accesses to devices: %s writes, %s reads%s", text_count(q->accesses).text,
	            text_count(q->writes).text, text_count(q->reads).text,
	            recorded ? "" : ", as far as faults tell (kvm:kvm_mmio was not recorded)");
	if (q->exits)
		ask_line(&q->ask, "%s of %s exits were EPT misconfigurations, which is how devices are found under EPT",
		         text_count(q->misconfigured).text, text_count(q->exits).text);
	if (q->fast)
		ask_line(&q->ask, "%s were answered in the kernel (fast MMIO, ioeventfd)", text_count(q->fast).text);
	if (q->entries)
		ask_line(&q->ask, "%s entr%s written that stand%s for devices", text_count(q->entries).text,
		         q->entries == 1 ? "y was" : "ies were", q->entries == 1 ? "s" : "");
	if (!q->addresses.count)
		return;
	printf("\n");
	ask_line(&q->ask, "%s    accesses       writes        reads  size  address         from%s", q->ask.palette->dim,
	         q->ask.palette->off);
	for (size_t i = 0; i < q->addresses.count && i < limit; i++) {
		const struct group *group = &q->addresses.list[i];
		char *places = places_of(q, group->extra[3]);
		char *size = group->extra[2] ? formatted("%" PRIu64, group->extra[2]) : duplicate("");

		ask_line(&q->ask, "%12s %12s %12s  %4s  0x%012" PRIx64 "  %s", text_count(group->count).text,
		         text_count(group->extra[1]).text, text_count(group->extra[0]).text, size,
		         (uint64_t)(group->key & ((1ull << 52) - 1)), places);
		free(places);
		free(size);
	}
}

static void show_json(struct mmio_question *q, bool recorded)
{
	uint64_t limit = ask_limit(&q->ask, UINT64_MAX);
	json_t *list = json_array();

	json_object_set_new(q->ask.result, "recorded", json_boolean(recorded));
	json_object_set_new(q->ask.result, "accesses", json_number(q->accesses));
	json_object_set_new(q->ask.result, "fast", json_number(q->fast));
	json_object_set_new(q->ask.result, "exits", json_number(q->exits));
	json_object_set_new(q->ask.result, "ept_misconfigurations", json_number(q->misconfigured));
	for (size_t i = 0; i < q->addresses.count && i < limit; i++) {
		const struct group *group = &q->addresses.list[i];
		json_t *json = json_object(), *places = json_array();

		json_object_set_new(json, "gpa", json_hex(group->key & ((1ull << 52) - 1)));
		json_object_set_new(json, "vm", json_number((group->key >> 52) + 1));
		json_object_set_new(json, "size", json_number(group->extra[2]));
		json_object_set_new(json, "reads", json_number(group->extra[0]));
		json_object_set_new(json, "writes", json_number(group->extra[1]));
		for (size_t n = 0; n < q->places.count && json_array_size(places) < PLACES; n++) {
			json_t *one;

			if (q->places.list[n].extra[1] != group->extra[3])
				continue;
			one = json_object();
			json_object_set_new(one, "rip", json_hex(q->places.list[n].extra[0]));
			json_object_set_new(one, "accesses", json_number(q->places.list[n].count));
			json_array_append_new(places, one);
		}
		json_object_set_new(json, "from", places);
		json_array_append_new(list, json);
	}
	json_object_set_new(q->ask.result, "addresses", list);
}

int question_mmio(int argc, char **argv)
{
	struct mmio_question q = {.accesses = 0};
	bool recorded = false;

	if (!ask_begin(&q.ask, &argp, argc, argv, &q))
		return EXIT_TROUBLE;
	q.rip = allocate((model_thread_count(q.ask.model) + 1) * sizeof(*q.rip));
	groups_init(&q.addresses);
	groups_init(&q.places);
	for (uint64_t n = q.ask.from; n < q.ask.to && !recorded; n++)
		recorded = model_fact(q.ask.model, n)->kind == FACT_MMIO;
	for (uint64_t n = q.ask.from; n < q.ask.to; n++)
		take(&q, n, recorded);
	groups_sort(&q.addresses);
	groups_sort(&q.places);
	if (q.ask.json)
		show_json(&q, recorded);
	else
		print(&q, recorded);
	groups_free(&q.addresses);
	groups_free(&q.places);
	free(q.rip);
	return ask_close(&q.ask, EXIT_OK);
}
