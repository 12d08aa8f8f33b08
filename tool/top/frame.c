/* SPDX-License-Identifier: BSD-2-Clause */
/* From counts to the lines of one picture. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <vmmu/vmmu.h>

#include "../question/history.h"
#include "top.h"

enum { HISTORY = 512,    /* facts of a region that are shown */
       HEAD_LINES = 6 }; /* above the list */

const char *const sort_names[SORTS] = {"faults", "writes", "drops", "device", "total", "address"};

static void add(struct frame *frame, enum look look, const char *format, ...) PRINTF_LIKE(3, 4);
static void add(struct frame *frame, enum look look, const char *format, ...)
{
	va_list arguments;

	if (frame->count == frame->room) {
		frame->room = frame->room ? 2 * frame->room : 32;
		frame->lines = reallocate(frame->lines, frame->room * sizeof(*frame->lines));
	}
	va_start(arguments, format);
	frame->lines[frame->count++] = (struct line){look, formatted_v(format, arguments)};
	va_end(arguments);
}

void frame_free(struct frame *frame)
{
	for (size_t i = 0; i < frame->count; i++)
		free(frame->lines[i].text);
	free(frame->lines);
	*frame = (struct frame){.count = 0};
}

static bool shows(const struct view *view, uint64_t key)
{
	return view->vm == UINT_MAX || spot_vm(key) == view->vm;
}

/* "1,234", "0.4" */
static struct short_text rate_text(double rate)
{
	struct short_text out;

	if (rate >= 9.95 || rate == 0)
		return text_count((uint64_t)(rate + 0.5));
	snprintf(out.text, sizeof(out.text), "%.1f", rate);
	return out;
}

/* ---- the head --------------------------------------------------------------------------------- */

static void add_title(struct frame *frame, const struct ask *ask, const struct gather *gather,
                      const struct view *view)
{
	size_t vms = model_vm_count(ask->model);
	char *who = view->vm != UINT_MAX && view->vm < vms ? ask_vm_text(ask, view->vm)
	            : vms == 1                             ? ask_vm_text(ask, 0)
	                                                   : formatted("%zu VMs", vms);

	add(frame, LOOK_HEAD, "vmmu top  %s s  %s%s%s", gather->time ? ask_time(ask, gather->time).text : "0", who,
	    view->frozen ? "  FROZEN" : "", view->ended ? "  (end)" : "");
	free(who);
}

static void sum(const struct gather *gather, const struct view *view, struct vm_counts *all)
{
	*all = (struct vm_counts){.tables = 0};
	for (size_t i = 0; i < gather->vm_count; i++) {
		const struct vm_counts *vm = &gather->vms[i];

		if (view->vm != UINT_MAX && i != view->vm)
			continue;
		for (unsigned n = 0; n < COUNTERS; n++) {
			all->counts.total[n] += vm->counts.total[n];
			all->counts.rate[n] += vm->counts.rate[n];
		}
		for (unsigned n = 0; n < FACT_CAUSE_END; n++) {
			all->cause[n] += vm->cause[n];
			all->cause_rate[n] += vm->cause_rate[n];
		}
		for (unsigned level = 0; level < 4; level++)
			all->leaves[level] += vm->leaves[level];
		all->tables += vm->tables;
	}
}

/* The causes of writes, the most frequent first, as many as fit. */
static char *causes_text(const struct vm_counts *all, unsigned columns)
{
	bool told[FACT_CAUSE_END] = {false};
	char *list = duplicate("");

	for (;;) {
		unsigned best = FACT_CAUSE_END;
		char *longer;

		for (unsigned n = 0; n < FACT_CAUSE_END; n++)
			if (!told[n] && all->cause[n] &&
			    (best == FACT_CAUSE_END || all->cause_rate[n] > all->cause_rate[best] ||
			     (all->cause_rate[n] == all->cause_rate[best] && all->cause[n] > all->cause[best])))
				best = n;
		if (best == FACT_CAUSE_END)
			return list;
		told[best] = true;
		longer = formatted("%s%s%s %s/s", list, *list ? "  " : "", fact_cause_name(best),
		                   rate_text(all->cause_rate[best]).text);
		if (strlen(longer) > columns) {
			free(longer);
			return list;
		}
		free(list);
		list = longer;
	}
}

static void add_head(struct frame *frame, const struct ask *ask, const struct gather *gather,
                     const struct view *view)
{
	struct vm_counts all;
	uint64_t bytes;
	char *causes;

	sum(gather, view, &all);
	bytes = ((uint64_t)all.leaves[1] << 12) + ((uint64_t)all.leaves[2] << 21) + ((uint64_t)all.leaves[3] << 30);
	causes = causes_text(&all, view->columns > 20 ? view->columns - 8 : 12);
	add_title(frame, ask, gather, view);
	add(frame, LOOK_PLAIN, "mapped  %s: 4 KiB %s, 2 MiB %s, 1 GiB %s; tables %s (%s)", text_bytes(bytes).text,
	    text_count((uint64_t)all.leaves[1]).text, text_count((uint64_t)all.leaves[2]).text,
	    text_count((uint64_t)all.leaves[3]).text, text_count((uint64_t)all.tables).text,
	    text_bytes((uint64_t)all.tables << VMMU_PAGE_SHIFT).text);
	add(frame, LOOK_PLAIN, "faults  %s/s, writes %s/s, drops %s/s, device %s/s; %s faults in all",
	    rate_text(all.counts.rate[COUNT_FAULTS]).text, rate_text(all.counts.rate[COUNT_WRITES]).text,
	    rate_text(all.counts.rate[COUNT_DROPS]).text, rate_text(all.counts.rate[COUNT_DEVICE]).text,
	    text_count(all.counts.total[COUNT_FAULTS]).text);
	add(frame, LOOK_PLAIN, "causes  %s", *causes ? causes : "-");
	if (gather->lost)
		add(frame, LOOK_ALARM, "%s events were lost: numbers are too small", text_count(gather->lost).text);
	else
		add(frame, LOOK_PLAIN, "%s", "");
	free(causes);
}

/* ---- the list ------------------------------------------------------------------------------------ */

static double weight(const struct spot *spot, enum sort sort)
{
	double total = 0;

	if (sort < SORT_TOTAL)
		return spot->counts.rate[sort] + (double)spot->counts.total[sort] * 1e-12;
	for (unsigned i = 0; i < COUNTERS; i++)
		total += (double)spot->counts.total[i];
	return total;
}

static int compare(const void *a, const void *b, void *sort_by)
{
	const struct spot *x = *(const struct spot *const *)a, *y = *(const struct spot *const *)b;
	enum sort sort = *(const enum sort *)sort_by;
	double p = weight(x, sort), q = weight(y, sort);

	if (sort != SORT_ADDRESS && p != q)
		return p > q ? -1 : 1;
	return x->key < y->key ? -1 : x->key > y->key;
}

static const struct spot **sorted(const struct spots *spots, struct view *view, size_t *count)
{
	const struct spot **list = allocate((spots->count + 1) * sizeof(*list));

	*count = 0;
	for (size_t i = 0; i < spots->count; i++)
		if (shows(view, spots->list[i].key))
			list[(*count)++] = &spots->list[i];
	if (*count)
		qsort_r(list, *count, sizeof(*list), compare, &view->sort);
	return list;
}

/* Of a place in the code, its upper bits follow from bit 47. */
static uint64_t rip_of(uint64_t key)
{
	uint64_t rip = spot_low(key);

	return rip >> 47 & 1 ? rip | ~((1ull << 48) - 1) : rip;
}

/* Where names are known, spots begin with their function. */
static char *function_text(const struct ask *ask, uint64_t rip)
{
	uint64_t offset;
	const char *name = symbols_find(&ask->symbols, rip, &offset);

	return name && !offset ? printable(name) : ask_place_text(ask, rip);
}

static char *name_of(const struct ask *ask, const struct view *view, const struct spot *spot)
{
	unsigned vm = spot_vm(spot->key);
	char *place, *whole;

	place = view->functions ? function_text(ask, rip_of(spot->key))
	                        : formatted("0x%012" PRIx64, spot_low(spot->key) << REGION_SHIFT);

	if (view->vm != UINT_MAX || model_vm_count(ask->model) < 2)
		return place;
	whole = formatted("%u: %s", vm + 1, place);
	free(place);
	return whole;
}

static void add_list(struct frame *frame, const struct ask *ask, const struct gather *gather, struct view *view)
{
	const struct spots *spots = view->functions ? &gather->places : &gather->regions;
	size_t count, room = view->rows > HEAD_LINES + 2 ? view->rows - HEAD_LINES - 1 : 1, first;
	const struct spot **list = sorted(spots, view, &count);

	if (count && view->chosen >= count)
		view->chosen = count - 1;
	first = view->chosen >= room ? view->chosen - room + 1 : 0;
	add(frame, LOOK_DIM, "%-26s %9s %9s %9s %9s %11s", !view->functions ? "guest memory, by 2 MiB" : ask->symbols.count ? "guest function"
	                                                                                                                    : "guest instruction",
	    "faults/s", "writes/s", "drops/s", "device/s", "all");
	if (!count)
		add(frame, LOOK_DIM, "%s", view->ended ? "nothing happened" : "nothing has happened yet");
	for (size_t i = first; i < count && i < first + room; i++) {
		const struct counts *c = &list[i]->counts;
		char *name = name_of(ask, view, list[i]);

		add(frame, i == view->chosen ? LOOK_CHOSEN : LOOK_PLAIN, "%-26.26s %9s %9s %9s %9s %11s", name,
		    rate_text(c->rate[COUNT_FAULTS]).text, rate_text(c->rate[COUNT_WRITES]).text,
		    rate_text(c->rate[COUNT_DROPS]).text, rate_text(c->rate[COUNT_DEVICE]).text,
		    text_count(c->total[COUNT_FAULTS] + c->total[COUNT_WRITES] + c->total[COUNT_DEVICE]).text);
		if (i == view->chosen && !view->functions && !view->history)
			view->region = list[i]->key;
		free(name);
	}
	free(list);
}

/* ---- what happened to one region ------------------------------------------------------------------ */

static bool concerns(const struct fact *fact, uint64_t region)
{
	uint64_t first = spot_low(region) << REGION_SHIFT, last = first + (1 << REGION_SHIFT) - 1;
	uint64_t end = fact->address;

	if (fact->vm != spot_vm(region))
		return false;
	if (fact->kind == FACT_FAULT || fact->kind == FACT_MMIO)
		return fact->address >= first && fact->address <= last;
	if ((fact->kind != FACT_WRITE && fact->kind != FACT_SET && fact->kind != FACT_FOUND) || !fact->level)
		return false;
	end += (vmmu_level_pages(fact->level) << VMMU_PAGE_SHIFT) - 1;
	return fact->address <= last && end >= first;
}

static void add_fact(struct frame *frame, const struct ask *ask, uint64_t number)
{
	const struct fact *fact = model_fact(ask->model, number);
	struct short_text time = ask_time(ask, fact->time);
	char *text, *now;

	if (fact->kind == FACT_MMIO) {
		add(frame, LOOK_DIM, "%12s  device access at 0x%" PRIx64, time.text, fact->address);
		return;
	}
	if (fact->kind == FACT_FAULT) {
		text = ask_access_text(ask, fact);
		now = ask_place_text(ask, fact->b);
		add(frame, LOOK_DIM, "%12s  fault: %s at 0x%" PRIx64 " by vCPU %u, %s", time.text, text, fact->address, fact->vcpu,
		    now);
	} else {
		text = fact->kind == FACT_FOUND ? duplicate("was there") : duplicate(fact_cause_name(fact->cause));
		now = kvm_entry_describe(ask_mode(ask, fact), fact->b, fact->level);
		add(frame, LOOK_PLAIN, "%12s  level %u of 0x%09" PRIx64 "  %-12s %s", time.text, fact->level, fact->address, text,
		    now);
	}
	free(text);
	free(now);
}

static void add_history(struct frame *frame, const struct ask *ask, const struct gather *gather, struct view *view)
{
	size_t room = view->rows > HEAD_LINES + 2 ? view->rows - HEAD_LINES - 1 : 1, found = 0;
	uint64_t numbers[HISTORY], all = gather->taken;
	uint64_t oldest = all > MODEL_LIVE_FACTS ? all - MODEL_LIVE_FACTS : 0;

	for (uint64_t n = all; n-- > oldest && found < HISTORY;)
		if (concerns(model_fact(ask->model, n), view->region))
			numbers[found++] = n;
	if (view->scroll >= found)
		view->scroll = found ? found - 1 : 0;
	add(frame, LOOK_DIM, "0x%012" PRIx64 " + 2 MiB, VM %u: the last %s things there, newest first",
	    spot_low(view->region) << REGION_SHIFT, spot_vm(view->region) + 1, text_count(found).text);
	for (size_t i = view->scroll; i < found && i < view->scroll + room; i++)
		add_fact(frame, ask, numbers[i]);
}

static void add_help(struct frame *frame)
{
	static const char *const lines[] = {
		"f w d m t a   sort by faults, writes, drops, device accesses, all, address",
		"g             by regions of guest memory, or by the guest's functions",
		"v             the next VM, or all of them",
		"up, down      choose a region; Enter shows what happened to it, Esc goes back",
		"space         freeze the numbers, and go on",
		"h ?           this help",
		"q             end",
	};

	add(frame, LOOK_DIM, "%s", "keys");
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		add(frame, LOOK_PLAIN, "  %s", lines[i]);
}

void frame_make(struct frame *frame, const struct ask *ask, struct gather *gather, struct view *view)
{
	*frame = (struct frame){.count = 0};
	add_head(frame, ask, gather, view);
	if (view->help)
		add_help(frame);
	else if (view->history)
		add_history(frame, ask, gather, view);
	else
		add_list(frame, ask, gather, view);
	while (frame->count + 1 < view->rows)
		add(frame, LOOK_PLAIN, "%s", "");
	add(frame, LOOK_HEAD, "by %s (f w d m t a)  g %s  v VM  Enter history  h help  q quit", sort_names[view->sort],
	    view->functions ? "regions" : "functions");
}
