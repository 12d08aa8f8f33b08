/* SPDX-License-Identifier: BSD-2-Clause */
/* From a vmmu trace (docs/trace-format.md) to facts. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <vmmu/vmmu.h>

#include "../base/text.h"
#include "../source/source.h"
#include "../trace/replay.h"
#include "index.h"

enum { RECORDS_PER_LOOK = 65536 };

/* One stream of the trace is one thread: a vCPU, or the host's calls for a VM. */
struct stream_of_vmmu {
	struct kvm_thread thread;
	uint64_t fault; /* fact of its fault, MODEL_NONE = none */
	uint32_t fault_id;
	bool writes; /* it is by a write */
};

struct vmmu_facts {
	vmmu_fact_fn fn;
	void *arg;
	uint64_t count, last_time; /* of facts */
	const struct trace_file *trace;
	struct replay replay;
	struct source_info info;
	struct kvm_vm *vms;
	uint16_t *ids;
	size_t vm_count;
	struct stream_of_vmmu *streams;
	struct map stream_by_key;
	size_t stream_count;
};

/* Facts are in the order of time; records of a trace that is watched need not be. */
static void emit(struct vmmu_facts *c, struct fact *fact)
{
	if (fact->time < c->last_time)
		fact->time = c->last_time;
	c->last_time = fact->time;
	c->count++;
	c->fn(c->arg, fact);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Ticks of 64 bits times 10^9 do not fit 64 bits. */
static uint64_t nanoseconds(const struct vmmu_facts *c, uint64_t ticks)
{
	uint64_t per_second = c->trace->header.ticks_per_second;

	return per_second ? (uint64_t)((unsigned __int128)ticks * 1000000000 / per_second) : ticks;
}

static uint16_t vm_place(struct vmmu_facts *c, uint16_t id)
{
	for (size_t i = 0; i < c->vm_count; i++)
		if (c->ids[i] == id)
			return (uint16_t)i;
	c->vms = reallocate(c->vms, (c->vm_count + 1) * sizeof(*c->vms));
	c->ids = reallocate(c->ids, (c->vm_count + 1) * sizeof(*c->ids));
	c->ids[c->vm_count] = id;
	c->vms[c->vm_count] = (struct kvm_vm){.tgid = -1, .born = true};
	snprintf(c->vms[c->vm_count].name, sizeof(c->vms[0].name), "vmmu VM %u", id);
	return (uint16_t)c->vm_count++;
}

static uint32_t stream_place(struct vmmu_facts *c, const struct vmmu_trace_record *record)
{
	uint64_t *place = map_at(&c->stream_by_key, (uint64_t)record->vm << 16 | record->vcpu);
	struct stream_of_vmmu *stream;

	if (*place == MAP_NONE) {
		*place = c->stream_count;
		c->streams = reallocate(c->streams, (c->stream_count + 1) * sizeof(*c->streams));
		stream = &c->streams[c->stream_count++];
		*stream = (struct stream_of_vmmu){.fault = MODEL_NONE};
		stream->thread = (struct kvm_thread){
			.tgid = -1,
			.pid = (uint32_t)c->stream_count,
			.vm = vm_place(c, record->vm),
			.vcpu = record->vcpu,
		};
		if (record->vcpu == VMMU_TRACE_NO_VCPU) {
			stream->thread.vcpu = FACT_NO_VCPU;
			strcpy(stream->thread.comm, "the host");
		} else {
			struct kvm_vm *vm = &c->vms[stream->thread.vm];

			snprintf(stream->thread.comm, sizeof(stream->thread.comm), "vCPU %u", record->vcpu);
			if (record->vcpu + 1u > vm->vcpus)
				vm->vcpus = record->vcpu + 1u;
		}
	}
	return (uint32_t)*place;
}

static void take_vm(struct vmmu_facts *c, const struct vmmu_trace_record *record)
{
	struct kvm_vm *vm = &c->vms[vm_place(c, record->vm)];

	vm->mode = record->config.mode == VMMU_MODE_SHADOW ? KVM_MODE_SHADOW
	           : record->config.mode == VMMU_MODE_NPT  ? KVM_MODE_NPT
	                                                   : KVM_MODE_EPT;
	vm->levels = record->config.levels == 5 ? 5 : 4;
	vm->tdp = vm->mode != KVM_MODE_SHADOW;
	vm->legacy = !vm->tdp;
}

/* A direct map has one root all its life. */
static void take_root(struct vmmu_facts *c, const struct vmmu_trace_record *record)
{
	struct kvm_vm *vm = &c->vms[vm_place(c, record->vm)];

	if (vm->root_count)
		return;
	vm->roots = allocate(sizeof(*vm->roots));
	vm->roots[0] = (struct kvm_root_info){
		.id = 1,
		.level = (uint8_t)(vm->levels == 5 ? 5 : 4),
		.born = true,
		.since = 0,
		.until = UINT64_MAX,
		.hpa = record->root_load.table,
	};
	vm->root_count = 1;
}

static void add(struct vmmu_facts *c, struct fact *fact, const struct stream_of_vmmu *stream, uint64_t fault_id)
{
	if (fault_id && stream->fault != MODEL_NONE && stream->fault_id == fault_id &&
	    c->count > stream->fault)
		fact->fault = (uint32_t)(c->count - stream->fault);
	emit(c, fact);
}

/* A table goes as a whole: its entries have no records of their own. */
static void zap_entries(struct vmmu_facts *c, const struct vmmu_trace_record *record, const struct fact *like,
                        const struct stream_of_vmmu *stream)
{
	const struct replay_table *table = replay_table_at(&c->replay, record->page.table);

	for (unsigned i = 0; table && i < TABLE_ENTRIES; i++) {
		struct fact fact = *like;

		if (!replay_entry(table, i) || table->level != record->level)
			continue;
		fact.kind = FACT_WRITE;
		fact.known = FACT_INFERRED;
		fact.cause = FACT_CAUSE_ZAP_TABLE;
		fact.level = table->level;
		fact.table = table->hpa;
		fact.address = (table->gfn + i * vmmu_level_pages(table->level)) << VMMU_PAGE_SHIFT;
		fact.a = replay_entry(table, i);
		fact.b = 0;
		fact.was_known = FACT_SEEN;
		fact.root = 1;
		add(c, &fact, stream, record->fault);
	}
}

static void take_entry(struct vmmu_facts *c, const struct vmmu_trace_record *record, struct fact *fact,
                       const struct stream_of_vmmu *stream)
{
	struct kvm_vm *vm = &c->vms[fact->vm];
	bool found = record->event == VMMU_TRACE_FOUND;

	fact->kind = found ? FACT_FOUND : FACT_WRITE;
	fact->known = found ? FACT_SNAPSHOT : FACT_SEEN;
	fact->was_known = FACT_SEEN;
	fact->root = 1;
	fact->table = found ? record->entry.table : record->spte.table;
	fact->address = (found ? record->entry.gfn : record->spte.gfn) << VMMU_PAGE_SHIFT;
	fact->a = found ? record->entry.spte : record->spte.old_spte;
	fact->b = found ? record->entry.spte : record->spte.new_spte;
	*(found ? &vm->counts.found : &vm->counts.writes) += 1;
	if (vm->mode != KVM_MODE_SHADOW)
		fact->address &= ~((vmmu_level_pages(record->level) << VMMU_PAGE_SHIFT) - 1);
	add(c, fact, stream, record->fault);
}

/* Of a nested map, whose input is no gpa of the VM's: counted, and not followed, as of KVM's. `vmmu walk --l2` reads it. */
static bool is_of_nested_map(const struct vmmu_facts *c, const struct vmmu_trace_record *record)
{
	const struct replay_vm *vm = replay_vm_of(&c->replay, record->vm);

	return vm && vm->nested && record->root == vm->map &&
	       (record->event == VMMU_TRACE_SPTE_CHANGED || record->event == VMMU_TRACE_FOUND || record->event == VMMU_TRACE_GET_PAGE ||
	        record->event == VMMU_TRACE_PREPARE_ZAP_PAGE);
}

static void take(struct vmmu_facts *c, uint64_t number)
{
	const struct vmmu_trace_record *record = &c->trace->records[number];
	struct stream_of_vmmu *stream;
	struct fact fact;
	uint32_t place;

	/* A checksum is the file's and no VM's. */
	if (record->event == VMMU_TRACE_CHECKSUM)
		return;
	place = stream_place(c, record);
	stream = &c->streams[place];
	if (is_of_nested_map(c, record)) {
		if (record->event == VMMU_TRACE_SPTE_CHANGED && record->spte.new_spte && record->level == VMMU_LEVEL_4K)
			c->vms[stream->thread.vm].counts.nested++;
		replay_apply(&c->replay, c->trace, number);
		return;
	}
	fact = (struct fact){
		.time = nanoseconds(c, record->time),
		.thread = place,
		.vm = stream->thread.vm,
		.vcpu = stream->thread.vcpu,
		.level = record->level,
		.cause = record->cause,
	};

	switch (record->event) {
	case VMMU_TRACE_VM:
		take_vm(c, record);
		/* Times count from the first record, as in the commands that read the trace itself. */
		if (!c->count)
			emit(c, &fact);
		break;
	case VMMU_TRACE_ROOT_LOAD:
		take_root(c, record);
		break;
	case VMMU_TRACE_PAGE_FAULT:
		fact.kind = FACT_FAULT;
		fact.address = record->page_fault.address;
		fact.a = record->page_fault.error_code;
		fact.b = record->page_fault.guest_rip;
		stream->fault = c->count;
		stream->fault_id = record->fault;
		stream->writes = record->access & VMMU_W;
		c->vms[fact.vm].counts.faults++;
		emit(c, &fact);
		break;
	case VMMU_TRACE_FAULT_END:
		fact.kind = FACT_FAULT_END;
		fact.a = record->result;
		fact.address = record->fault_end.gpa;
		add(c, &fact, stream, record->fault);
		stream->fault = MODEL_NONE;
		break;
	case VMMU_TRACE_SPTE_CHANGED:
	case VMMU_TRACE_FOUND:
		take_entry(c, record, &fact, stream);
		break;
	case VMMU_TRACE_GET_PAGE:
	case VMMU_TRACE_PREPARE_ZAP_PAGE:
		fact.kind = record->event == VMMU_TRACE_GET_PAGE ? FACT_TABLE : FACT_TABLE_ZAP;
		fact.address = record->page.gfn << VMMU_PAGE_SHIFT;
		fact.table = record->page.table;
		fact.b = 1;
		add(c, &fact, stream, record->fault);
		if (fact.kind == FACT_TABLE_ZAP && c->vms[fact.vm].tdp)
			zap_entries(c, record, &fact, stream);
		break;
	case VMMU_TRACE_SLOT:
		fact.kind = FACT_SLOT;
		fact.address = record->slot.base_gfn << VMMU_PAGE_SHIFT;
		fact.a = record->slot.pages;
		fact.table = record->slot_id;
		emit(c, &fact);
		break;
	case VMMU_TRACE_HANDLE_MMIO:
		fact.kind = FACT_MMIO;
		fact.cause = stream->writes ? FACT_MMIO_WRITE : FACT_MMIO_READ;
		fact.address = record->mmio.addr;
		add(c, &fact, stream, record->fault);
		break;
	case VMMU_TRACE_DROPS:
		fact.kind = FACT_LOST;
		fact.a = record->drops.records;
		fact.vm = FACT_NO_VM;
		c->info.lost += fact.a;
		c->info.lost_times++;
		emit(c, &fact);
		break;
	default:
		break;
	}
	replay_apply(&c->replay, c->trace, number);
}

/* How often each event came, under its name. */
static void count_events(struct vmmu_facts *c)
{
	uint64_t counts[VMMU_TRACE_EVENT_COUNT] = {0};

	for (uint64_t n = 0; n < c->trace->count; n++)
		if (c->trace->records[n].event < VMMU_TRACE_EVENT_COUNT)
			counts[c->trace->records[n].event]++;
	for (unsigned event = 1; event < VMMU_TRACE_EVENT_COUNT; event++) {
		if (!counts[event])
			continue;
		c->info.others = reallocate(c->info.others, (c->info.other_count + 1) * sizeof(*c->info.others));
		c->info.others[c->info.other_count++] =
			(struct source_count){duplicate(vmmu_trace_event_name(event)), counts[event]};
	}
	c->info.events = c->trace->count;
}

static json_t *meta_of(struct vmmu_facts *c, const struct index_writer *writer)
{
	struct meta_parts parts = {
		.source = &c->info,
		.vm_count = c->vm_count,
		.thread_count = c->stream_count,
	};
	json_t *meta;

	parts.vms = allocate(parts.vm_count * sizeof(*parts.vms));
	parts.threads = allocate(parts.thread_count * sizeof(*parts.threads));
	for (size_t i = 0; i < c->vm_count; i++)
		parts.vms[i] = &c->vms[i];
	for (size_t i = 0; i < c->stream_count; i++)
		parts.threads[i] = &c->streams[i].thread;
	meta = meta_make(&parts, writer);
	free(parts.vms);
	free(parts.threads);
	return meta;
}

void vmmu_facts_free(struct vmmu_facts *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->vm_count; i++)
		free(c->vms[i].roots);
	for (size_t i = 0; i < c->info.other_count; i++)
		free(c->info.others[i].name);
	free(c->info.others);
	free(c->info.machine);
	free(c->info.damage);
	free(c->vms);
	free(c->ids);
	free(c->streams);
	map_free(&c->stream_by_key);
	replay_free(&c->replay);
	free(c);
}

struct vmmu_facts *vmmu_facts_new(const struct trace_file *trace, vmmu_fact_fn fn, void *arg)
{
	struct vmmu_facts *c = allocate(sizeof(*c));

	*c = (struct vmmu_facts){.trace = trace, .fn = fn, .arg = arg};
	replay_init(&c->replay, NULL, NULL);
	map_init(&c->stream_by_key, map_random_seed());
	return c;
}

void vmmu_facts_take(struct vmmu_facts *c, uint64_t number)
{
	take(c, number);
}

size_t vmmu_facts_vms(const struct vmmu_facts *c, const struct kvm_vm **vms)
{
	*vms = c->vms;
	return c->vm_count;
}

size_t vmmu_facts_threads(const struct vmmu_facts *c)
{
	return c->stream_count;
}

const struct kvm_thread *vmmu_facts_thread(const struct vmmu_facts *c, size_t thread)
{
	return thread < c->stream_count ? &c->streams[thread].thread : NULL;
}

/* ---- to an index ------------------------------------------------------------------------ */

static void add_to_index(void *arg, const struct fact *fact)
{
	index_add(arg, fact);
}

struct progress {
	double start, next;
	bool on, shown;
};

static void show_progress(struct progress *progress, const struct trace_file *trace, uint64_t done)
{
	double t = now();

	if (!progress->on || t < progress->next)
		return;
	progress->next = t + 0.5;
	progress->shown = true;
	fprintf(stderr, "\rvmmu: reading %s: %.0f %%, %s records ", trace->path,
	        100.0 * (double)done / (double)trace->count, text_count(done).text);
	fflush(stderr);
}

static void end_progress(const struct progress *progress)
{
	if (progress->shown)
		fprintf(stderr, "\r%*s\r", 100, "");
}

bool build_from_vmmu(struct index_writer *writer, const char *path, bool quiet, json_t **meta, char **error)
{
	struct progress progress = {.start = now(), .on = !quiet && isatty(STDERR_FILENO)};
	struct trace_file trace;
	struct vmmu_facts *c;

	progress.next = progress.start + 2;
	if (!trace_open(&trace, path, error))
		return false;
	if (!trace_sort(&trace, error)) {
		trace_close(&trace);
		return false;
	}
	c = vmmu_facts_new(&trace, add_to_index, writer);
	c->info.kind = "vmmu trace";
	c->info.machine = formatted("%.*s", (int)sizeof(trace.header.machine), trace.header.machine);
	if (trace.ending == TRACE_DAMAGED)
		c->info.damage = formatted("damaged at record %llu: %s", (unsigned long long)trace.count, trace.damage);
	else if (trace.ending != TRACE_COMPLETE)
		c->info.damage = duplicate("it was not closed, or is cut short");
	for (uint64_t n = 0; n < trace.count && !writer->failed; n++) {
		take(c, n);
		if (n % RECORDS_PER_LOOK == 0)
			show_progress(&progress, &trace, n);
	}
	end_progress(&progress);
	count_events(c);
	*meta = meta_of(c, writer);
	json_object_set_new(*meta, "build_seconds", json_real(now() - progress.start));
	vmmu_facts_free(c);
	trace_close(&trace);
	return true;
}
