/* SPDX-License-Identifier: BSD-2-Clause */
#include "rules.h"

#include <inttypes.h>
#include <stdlib.h>

#include <vmmu/exit.h>

enum { FLUSH_OWED = 1,
       FLUSH_DONE };

/* Results of engines to come stay within this. */
enum { RESULT_MAX = 255 };

#define SEVERAL_VCPUS (MAP_NONE - 1)

struct rules_stream {
	uint32_t open;         /* the fault that has begun; 0: none */
	uint32_t last;         /* the number of the last one that began */
	uint64_t address, rip; /* of the open one */
	uint16_t vm;
	bool any;   /* one has been met since tracing began */
	bool began; /* the open one's beginning is there */
};

/* Fields beside the payload that an event fills in; what it does not must be 0. */
enum { LEVEL = 1,
       CAUSE = 2,
       INDEX = 4,
       AUX = 8 };

static const struct {
	uint8_t fields, words; /* words of the payload, from the first on */
} used[VMMU_TRACE_EVENT_COUNT] = {
	[VMMU_TRACE_VM] = {LEVEL, 4},
	[VMMU_TRACE_ROOT_LOAD] = {LEVEL, 2},
	[VMMU_TRACE_SLOT] = {CAUSE | INDEX | AUX, 4},
	[VMMU_TRACE_PAGE_FAULT] = {AUX, 4},
	[VMMU_TRACE_FAULT_END] = {LEVEL | AUX, 4},
	[VMMU_TRACE_SPTE_CHANGED] = {LEVEL | CAUSE | INDEX, 4},
	[VMMU_TRACE_GET_PAGE] = {LEVEL | AUX, 2},
	[VMMU_TRACE_PREPARE_ZAP_PAGE] = {LEVEL | CAUSE, 2},
	[VMMU_TRACE_FREE_PAGE] = {AUX, 1},
	[VMMU_TRACE_FLUSH_OWED] = {CAUSE | AUX, 3},
	[VMMU_TRACE_FLUSH_DONE] = {AUX, 0},
	[VMMU_TRACE_HANDLE_MMIO] = {0, 4},
	[VMMU_TRACE_CHECK_MMIO] = {0, 3},
	[VMMU_TRACE_DROPS] = {0, 1},
	[VMMU_TRACE_DUMP] = {LEVEL | INDEX, 3},
	[VMMU_TRACE_DUMP_END] = {0, 1},
	[VMMU_TRACE_FOUND] = {LEVEL | INDEX, 3},
	[VMMU_TRACE_CHECKSUM] = {0, 2},
	[VMMU_TRACE_MARK] = {0, 1},
	[VMMU_TRACE_GUEST_FLUSH] = {AUX, 2},
	[VMMU_TRACE_PAGING_ELEMENT] = {LEVEL | CAUSE, 4},
};

/* A record and all that is known when its turn comes. */
struct look {
	struct rules *rules;
	const struct replay *replay;
	const struct trace_file *trace;
	const struct vmmu_trace_record *r;
	uint64_t number;
	const struct replay_vm *vm;       /* NULL: nothing has named it */
	const struct replay_table *table; /* that the record names, if it does and it is known */
	struct rules_stream *stream;
};

void rules_init(struct rules *rules, replay_problem_fn problem, void *arg)
{
	*rules = (struct rules){.problem = problem, .arg = arg};
}

void rules_free(struct rules *rules)
{
	map_free(&rules->streams);
	map_free(&rules->roots);
	map_free(&rules->flushes);
	map_free(&rules->vcpus);
	free(rules->stream);
}

static void broken(const struct look *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void broken(const struct look *l, const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	text = formatted_v(format, arguments);
	va_end(arguments);
	l->rules->problem(l->rules->arg, l->number, text);
	free(text);
}

static const char *event(const struct look *l)
{
	return vmmu_trace_event_name(l->r->event);
}

static uint64_t in_vm(const struct look *l, uint32_t number)
{
	return (uint64_t)l->r->vm << 32 | number;
}

/* Every gfn of its entries follows from the table's own: shadow tables map what the guest's say. */
static bool is_direct(const struct look *l)
{
	return l->vm && l->vm->described && l->vm->decoder.mode != VMMU_MODE_SHADOW && !l->vm->nested;
}

static bool has_dropped(const struct look *l)
{
	return l->trace->header.dropped != 0;
}

/* ---- one record on its own ----------------------------------------------------------- */

static void check_reserved(const struct look *l)
{
	const struct vmmu_trace_record *r = l->r;
	unsigned fields = used[r->event].fields;

	if ((!(fields & LEVEL) && r->level) || (!(fields & CAUSE) && r->cause) || (!(fields & INDEX) && r->index) ||
	    (!(fields & AUX) && r->aux))
		broken(l, "%s has a field set that it has no use for", event(l));
	for (unsigned i = used[r->event].words; i < ARRAY_SIZE(r->word); i++)
		if (r->word[i])
			broken(l, "%s has word %u set, which is reserved", event(l), i);
	if ((fields & LEVEL) && !r->level && r->event != VMMU_TRACE_FAULT_END)
		broken(l, "%s names no level", event(l));
}

/* Causes that a newer engine knows are none of ours to judge. */
static void check_cause(const struct look *l)
{
	bool of_slots = l->r->cause >= VMMU_CAUSE_SLOT_CREATE && l->r->cause <= VMMU_CAUSE_SLOT_FLAGS;

	if (!(used[l->r->event].fields & CAUSE) || l->r->cause >= VMMU_CAUSE_COUNT)
		return;
	if (l->r->event == VMMU_TRACE_PAGING_ELEMENT && l->r->cause == VMMU_CAUSE_NONE)
		return; /* an older engine's */
	if (l->r->cause == VMMU_CAUSE_NONE ? l->r->event != VMMU_TRACE_SLOT : of_slots != (l->r->event == VMMU_TRACE_SLOT))
		broken(l, "%s cannot have the cause %s", event(l), vmmu_cause_name(l->r->cause));
}

static void check_access(const struct look *l)
{
	/* Under shadow paging CPL and EFLAGS decide, too. */
	const uint32_t host_says = is_direct(l) ? 0 : VMMU_ACCESS_IMPLICIT | VMMU_ACCESS_AC;
	uint64_t code = l->r->page_fault.error_code;
	vmmu_gpa none = vmmu_gpa_of(0);
	struct vmmu_fault fault;

	if (!(l->r->access & VMMU_RWX))
		broken(l, "a fault by no access");
	/* 0: the host's own access, of a prefault for instance, or a misconfiguration, which has none. */
	if (!l->vm || !l->vm->described || !code)
		return;
	if (l->vm->decoder.mode == VMMU_MODE_NPT)
		fault = vmmu_fault_from_npf(code, none, 0);
	else if (l->vm->decoder.mode == VMMU_MODE_SHADOW)
		fault = vmmu_fault_from_pf(code, vmmu_gva_of(0), 0, 0, 0);
	else
		fault = vmmu_fault_from_ept_violation(code, none, 0);
	if ((fault.access ^ l->r->access) & ~host_says)
		broken(l, "the access 0x%x does not follow from the error code 0x%" PRIx64, l->r->access, code);
}

/* ---- which fault ------------------------------------------------------------------------ */

static struct rules_stream *stream_of(struct rules *rules, const struct vmmu_trace_record *r)
{
	uint64_t *place = map_at(&rules->streams, (uint64_t)r->vm << 16 | r->vcpu);

	if (*place != MAP_NONE)
		return &rules->stream[*place];
	if (rules->stream_count == rules->stream_room) {
		rules->stream_room = rules->stream_room ? 2 * rules->stream_room : 4;
		rules->stream = reallocate(rules->stream, rules->stream_room * sizeof(*rules->stream));
	}
	*place = rules->stream_count;
	rules->stream[rules->stream_count] = (struct rules_stream){.vm = r->vm};
	return &rules->stream[rules->stream_count++];
}

static void begin_fault(const struct look *l)
{
	struct rules_stream *s = l->stream;

	if (s->open && s->began && !has_dropped(l))
		broken(l, "fault %u begins before fault %u has ended", l->r->fault, s->open);
	if (!l->r->fault || (s->last && l->r->fault <= s->last))
		broken(l, "fault %u begins after fault %u", l->r->fault, s->last);
	s->open = s->last = l->r->fault;
	s->any = s->began = true;
	s->address = l->r->page_fault.address;
	s->rip = l->r->page_fault.guest_rip;
}

static bool is_outside_faults(unsigned number)
{
	return number == VMMU_TRACE_VM || number == VMMU_TRACE_ROOT_LOAD || number == VMMU_TRACE_SLOT ||
	       number == VMMU_TRACE_FOUND || number == VMMU_TRACE_DUMP || number == VMMU_TRACE_DUMP_END ||
	       number == VMMU_TRACE_MARK || number == VMMU_TRACE_GUEST_FLUSH;
}

/* Between a fault's beginning and end all records of its stream are its own, and none elsewhere. */
static void check_fault(const struct look *l)
{
	struct rules_stream *s = l->stream;

	if (l->r->event == VMMU_TRACE_PAGE_FAULT) {
		begin_fault(l);
		return;
	}
	if (l->r->event == VMMU_TRACE_DROPS) {
		s->open = 0; /* its end may be among what was lost */
		s->any = s->began = false;
		return;
	}
	if (l->r->fault && (l->r->vcpu == VMMU_TRACE_NO_VCPU || is_outside_faults(l->r->event)))
		broken(l, "%s cannot belong to a fault", event(l));
	/* Tracing may have begun in the middle of one, which then has no end either. */
	if (!s->any || (s->open && !s->began && !l->r->fault))
		s->open = l->r->fault;
	s->any = s->any || s->open;
	if (l->r->fault != s->open)
		broken(l, "%s belongs to fault %u, where %s%u is under way", event(l), l->r->fault, s->open ? "fault " : "none, ",
		       s->open);
	if (l->r->event == VMMU_TRACE_FAULT_END)
		s->open = 0;
}

/* Where the record says it went is where the table's entry is now; several vCPUs may have gone on. */
static void check_outcome(const struct look *l)
{
	const struct vmmu_trace_record *r = l->r;
	struct vmmu_path_step steps[VMMU_LEVEL_MAX];
	const struct vmmu_path_step *last;
	unsigned count;

	if (r->result > RESULT_MAX)
		broken(l, "no fault ends with result %u", r->result);
	if (!is_direct(l))
		return;
	if (l->stream->open && l->stream->began && r->fault_end.gpa != l->stream->address)
		broken(l, "fault %u ends at 0x%" PRIx64 ", it began at 0x%" PRIx64, r->fault, r->fault_end.gpa,
		       l->stream->address);
	if (!r->level && r->result == VMMU_FAULT_FIXED)
		broken(l, "fault %u is fixed, by an entry of no level", r->fault);
	if (!r->level || map_get(&l->rules->vcpus, r->vm) == SEVERAL_VCPUS || r->fault_end.gpa >> 57)
		return;
	count = replay_walk(l->replay, l->vm, l->vm->root, r->fault_end.gpa, steps);
	last = count ? &steps[count - 1] : NULL;
	if (!last || last->level != r->level || !replay_same_entry(l->vm, last->entry, r->fault_end.entry, NULL))
		broken(l, "fault %u ends with entry 0x%" PRIx64 " at level %u, the tables have 0x%" PRIx64 " at level %u", r->fault,
		       r->fault_end.entry, r->level, last ? last->entry : 0, last ? last->level : 0);
	else if (last->info.kind == VMMU_ENTRY_LEAF &&
	         r->fault_end.pfn - last->info.pfn.v >= vmmu_level_pages(last->level))
		broken(l, "fault %u ends with pfn 0x%" PRIx64 ", its entry maps 0x%" PRIx64, r->fault, r->fault_end.pfn,
		       last->info.pfn.v);
}

static void check_mmio(const struct look *l)
{
	const struct vmmu_trace_mmio *m = &l->r->mmio;

	if (m->addr >> VMMU_PAGE_SHIFT != m->gfn)
		broken(l, "gpa 0x%" PRIx64 " is not in gfn 0x%" PRIx64, m->addr, m->gfn);
	if (l->stream->open && l->stream->began && (m->guest_rip != l->stream->rip || (is_direct(l) && m->addr != l->stream->address)))
		broken(l, "%s is of another access than its fault", event(l));
}

/* ---- tables, entries and roots ------------------------------------------------------- */

static bool names_entry(const struct vmmu_trace_record *r)
{
	return r->event == VMMU_TRACE_SPTE_CHANGED || r->event == VMMU_TRACE_FOUND || r->event == VMMU_TRACE_DUMP;
}

/* The payloads begin alike: with the table. */
static bool names_table(const struct vmmu_trace_record *r)
{
	return names_entry(r) || r->event == VMMU_TRACE_PREPARE_ZAP_PAGE || r->event == VMMU_TRACE_FREE_PAGE;
}

static void check_root(const struct look *l)
{
	const struct vmmu_trace_record *r = l->r;

	/* A table goes back to the host after a flush that may be for several roots. */
	if (l->table && l->table->root != r->root && r->event != VMMU_TRACE_FREE_PAGE)
		broken(l, "table 0x%" PRIx64 " is of root %u, the record says %u", l->table->hpa, l->table->root, r->root);
	if (r->event == VMMU_TRACE_VM || r->event == VMMU_TRACE_GET_PAGE)
		*map_at(&l->rules->roots, in_vm(l, r->root)) = 1;
	else if (l->vm && l->vm->described && map_get(&l->rules->roots, in_vm(l, r->root)) == MAP_NONE)
		broken(l, "nothing has named a root %u of VM %u", r->root, r->vm);
}

/* The table that an entry references is of the level below, and of the gfn that the entry covers. */
static void check_child(const struct look *l, uint64_t spte, uint64_t gfn)
{
	struct vmmu_entry_info info;
	const struct replay_table *child;

	if (!l->vm || !l->vm->described || !spte)
		return;
	vmmu_entry_decode(&l->vm->decoder, l->r->level, spte, &info);
	if (info.kind == VMMU_ENTRY_BAD)
		broken(l, "the CPU would refuse the entry 0x%" PRIx64 " at level %u", spte, l->r->level);
	if (info.kind != VMMU_ENTRY_TABLE)
		return;
	child = replay_table_at(l->replay, vmmu_pfn_hpa(info.pfn).v);
	/* What was found may name tables that are found later. */
	if (!child && l->r->event != VMMU_TRACE_FOUND)
		broken(l, "entry 0x%" PRIx64 " references a table that is not in use", spte);
	else if (child && (child->level != l->r->level - 1 || child->gfn != gfn || child->root != l->r->root))
		broken(l, "entry 0x%" PRIx64 " for gfn 0x%" PRIx64 " references a table of level %u for gfn 0x%" PRIx64, spte, gfn,
		       child->level, child->gfn);
}

static void check_entry(const struct look *l)
{
	const struct vmmu_trace_record *r = l->r;
	bool write = r->event == VMMU_TRACE_SPTE_CHANGED;
	uint64_t gfn = write ? r->spte.gfn : r->entry.gfn, due;

	if (l->table && l->table->level != r->level && !write)
		broken(l, "table 0x%" PRIx64 " is of level %u, the record says %u", l->table->hpa, l->table->level, r->level);
	if (l->table && is_direct(l)) {
		due = l->table->gfn + r->index * vmmu_level_pages(r->level);
		if (gfn != due)
			broken(l, "entry %u of table 0x%" PRIx64 " is for gfn 0x%" PRIx64 ", the record says 0x%" PRIx64, r->index,
			       l->table->hpa, due, gfn);
	}
	check_child(l, write ? r->spte.new_spte : r->entry.spte, gfn);
}

static void check_table(const struct look *l)
{
	const struct vmmu_trace_record *r = l->r;

	if (r->event == VMMU_TRACE_GET_PAGE && is_direct(l) && r->page.gfn & (vmmu_level_pages(r->level + 1u) - 1))
		broken(l, "a table of level %u cannot begin at gfn 0x%" PRIx64, r->level, r->page.gfn);
	if (r->event == VMMU_TRACE_GET_PAGE && (r->created > 1 || (r->page.table & (VMMU_PAGE_SIZE - 1))))
		broken(l, "a table at 0x%" PRIx64 ", made %u times", r->page.table, r->created);
	if (r->event == VMMU_TRACE_GET_PAGE && !r->created && r->vcpu != VMMU_TRACE_NO_VCPU)
		broken(l, "a vCPU finds a table, which only the beginning of tracing does");
	if (r->event == VMMU_TRACE_PREPARE_ZAP_PAGE && !l->table)
		broken(l, "table 0x%" PRIx64 " is unlinked, but it was not in use", r->page.table);
	else if (r->event == VMMU_TRACE_PREPARE_ZAP_PAGE && (l->table->level != r->level || l->table->gfn != r->page.gfn))
		broken(l, "table 0x%" PRIx64 " is of level %u for gfn 0x%" PRIx64 ", the record says %u and 0x%" PRIx64,
		       l->table->hpa, l->table->level, l->table->gfn, r->level, r->page.gfn);
}

static void check_root_load(const struct look *l)
{
	const struct vmmu_trace_root_load *load = &l->r->root_load;
	const struct replay_table *top = replay_table_at(l->replay, load->table);

	/* EPTP: SDM vol. 3, 25.6.11. nCR3 and CR3: APM vol. 2, 5.3.2. */
	if ((load->pointer & ((1ull << 52) - VMMU_PAGE_SIZE)) != load->table)
		broken(l, "the root register 0x%" PRIx64 " does not name table 0x%" PRIx64, load->pointer, load->table);
	if (top && top->level != l->r->level)
		broken(l, "root 0x%" PRIx64 " is of level %u, the record says %u", top->hpa, top->level, l->r->level);
	if (is_direct(l) && top && top->root != l->r->root)
		broken(l, "table 0x%" PRIx64 " is of root %u, the record says %u", top->hpa, top->root, l->r->root);
	if (is_direct(l) && l->r->level != l->vm->decoder.levels)
		broken(l, "a root of level %u, the VM has %u levels", l->r->level, l->vm->decoder.levels);
}

/* Tracing was off meanwhile: what had begun may have ended untold, and what is under way began untold. */
static void begin_again(const struct look *l)
{
	struct rules_stream *stream = l->rules->stream;

	for (size_t i = 0; i < l->rules->stream_count; i++)
		if (stream[i].vm == l->r->vm) {
			stream[i].open = 0;
			stream[i].any = stream[i].began = false;
		}
}

static void check_vm(const struct look *l)
{
	const struct vmmu_trace_config *c = &l->r->config;

	if (c->mode < VMMU_MODE_EPT || c->mode > VMMU_MODE_SHADOW || (c->levels != 4 && c->levels != 5) ||
	    c->levels != l->r->level || c->maxphyaddr < 32 || c->maxphyaddr > 52 || c->features >> 16)
		broken(l, "no VM has mode %" PRIu64 ", %" PRIu64 " levels, MAXPHYADDR %" PRIu64 " and features 0x%" PRIx64, c->mode,
		       c->levels, c->maxphyaddr, c->features);
}

/* ---- flushes ---------------------------------------------------------------------------- */

static void check_flush(const struct look *l)
{
	uint64_t key = in_vm(l, l->r->flush_id), state = map_get(&l->rules->flushes, key);

	switch (l->r->event) {
	case VMMU_TRACE_FLUSH_OWED:
		if (state != MAP_NONE)
			broken(l, "flush %u is owed a second time", l->r->flush_id);
		*map_at(&l->rules->flushes, key) = FLUSH_OWED;
		break;
	case VMMU_TRACE_FLUSH_DONE:
		if (state != FLUSH_OWED && !has_dropped(l))
			broken(l, "flush %u is done, but it was not owed", l->r->flush_id);
		*map_at(&l->rules->flushes, key) = FLUSH_DONE;
		break;
	case VMMU_TRACE_FREE_PAGE:
		if (state != FLUSH_DONE && !has_dropped(l))
			broken(l, "table 0x%" PRIx64 " is freed for flush %u, which is not done", l->r->page.table, l->r->flush_id);
		break;
	default:
		break;
	}
}

/* ---- all of it --------------------------------------------------------------------------- */

static void note_vcpu(struct rules *rules, const struct vmmu_trace_record *r)
{
	uint64_t *vcpu;

	if (r->vcpu == VMMU_TRACE_NO_VCPU)
		return;
	vcpu = map_at(&rules->vcpus, r->vm);
	*vcpu = *vcpu == MAP_NONE || *vcpu == r->vcpu ? r->vcpu : SEVERAL_VCPUS;
}

static void check_by_event(const struct look *l)
{
	switch (l->r->event) {
	case VMMU_TRACE_VM:
		check_vm(l);
		begin_again(l);
		break;
	case VMMU_TRACE_ROOT_LOAD:
		check_root_load(l);
		break;
	case VMMU_TRACE_PAGE_FAULT:
		check_access(l);
		break;
	case VMMU_TRACE_FAULT_END:
		check_outcome(l);
		break;
	case VMMU_TRACE_SPTE_CHANGED:
	case VMMU_TRACE_FOUND:
	case VMMU_TRACE_DUMP:
		check_entry(l);
		break;
	case VMMU_TRACE_GET_PAGE:
	case VMMU_TRACE_PREPARE_ZAP_PAGE:
		check_table(l);
		break;
	case VMMU_TRACE_HANDLE_MMIO:
		check_mmio(l);
		break;
	default:
		break;
	}
}

void rules_check(struct rules *rules, const struct replay *replay, const struct trace_file *trace, uint64_t number)
{
	const struct vmmu_trace_record *r = &trace->records[number];
	struct look l = {
		.rules = rules,
		.replay = replay,
		.trace = trace,
		.r = r,
		.number = number,
		.vm = replay_vm_of(replay, r->vm),
	};

	/* A checksum is the file's and no VM's. */
	if (!trace_knows(r) || r->event == VMMU_TRACE_CHECKSUM)
		return;
	if (names_table(r))
		l.table = replay_table_at(replay, r->page.table);
	note_vcpu(rules, r);
	l.stream = stream_of(rules, r);
	if (r->event != VMMU_TRACE_VM && (!l.vm || !l.vm->described))
		broken(&l, "%s of VM %u, which no record before it describes", event(&l), r->vm);
	check_reserved(&l);
	check_cause(&l);
	check_root(&l);
	check_by_event(&l);
	check_flush(&l);
	check_fault(&l);
}
