/* SPDX-License-Identifier: BSD-2-Clause */
/* A model that is watched while it comes about: the last facts, in a ring. */
#include <stdlib.h>
#include <unistd.h>

#include "../source/peek.h"
#include "../trace/sidecar.h"
#include "../trace/trace_file.h"
#include "index.h"

enum { POLL_US = 100000 };

/* Either a recording of KVM's events or a vmmu trace. */
struct model_live {
	struct source *source;
	struct kvm *kvm;
	struct source_event event; /* read, and not taken yet */
	struct vmmu_facts *vmmu;
	struct trace_file trace;
	uint64_t taken; /* records */
	struct model *model;
	struct fact *ring;
	uint64_t first_time;
	bool begun;
};

static void keep(void *arg, const struct fact *fact)
{
	struct model_live *live = arg;

	if (!live->begun && fact->kind != FACT_LOST) {
		live->first_time = fact->time;
		live->begun = true;
	}
	live->ring[live->model->head.facts++ % MODEL_LIVE_FACTS] = *fact;
}

static bool open_kvm(struct model_live *live, const char *path, char **error)
{
	struct stream *stream;

	if (!stream_open(&stream, path, error) || !source_open_stream(&live->source, stream, path, error))
		return false;
	source_follow(live->source);
	live->kvm = kvm_new(keep, live);
	return true;
}

static bool open_vmmu(struct model_live *live, const char *path, char **error)
{
	if (!trace_open_growing(&live->trace, path, error))
		return false;
	live->vmmu = vmmu_facts_new(&live->trace, keep, live);
	return true;
}

/* Wait until there is a record that has not been taken. False: there will be none. */
static bool wait_for_record(struct model_live *live)
{
	struct trace_file *trace = &live->trace;

	while (live->taken == trace->count) {
		if (!trace_may_grow(trace))
			return false;
		if (trace_read_more(trace) || trace->is_copy)
			continue;
		/* A run that was cut short does not close its trace, but it says that it is over. */
		if (sidecar_run_is_over(trace->path) && trace_read_more(trace) == 0)
			return false;
		usleep(POLL_US);
	}
	return true;
}

bool model_open_live(struct model **out, const char *path, char **error)
{
	struct model *model = allocate(sizeof(*model));
	struct model_live *live = allocate(sizeof(*live));

	*out = NULL;
	model->fd = -1;
	model->live = live;
	live->model = model;
	live->trace.fd = -1;
	if (!(source_peek(path) == SOURCE_VMMU ? open_vmmu(live, path, error) : open_kvm(live, path, error))) {
		model_close(model);
		return false;
	}
	live->ring = allocate(MODEL_LIVE_FACTS * sizeof(*live->ring));
	*out = model;
	return true;
}

bool model_live_wait(struct model *model)
{
	struct model_live *live = model->live;

	return live->vmmu ? wait_for_record(live) : source_next(live->source, &live->event);
}

void model_live_take(struct model *model)
{
	struct model_live *live = model->live;

	if (live->vmmu)
		vmmu_facts_take(live->vmmu, live->taken++);
	else
		kvm_take(live->kvm, &live->event);
}

bool model_live_more(struct model *model)
{
	if (!model_live_wait(model))
		return false;
	model_live_take(model);
	return true;
}

void live_close(struct model_live *live)
{
	if (!live)
		return;
	source_close(live->source);
	if (live->kvm)
		kvm_free(live->kvm);
	vmmu_facts_free(live->vmmu);
	if (live->trace.fd >= 0)
		trace_close(&live->trace);
	free(live->ring);
	free(live);
}

const struct fact *live_fact(const struct model_live *live, uint64_t number)
{
	return &live->ring[number % MODEL_LIVE_FACTS];
}

uint64_t live_first_time(const struct model_live *live)
{
	return live->first_time;
}

size_t live_vm_count(const struct model_live *live)
{
	const struct kvm_vm *vms;

	return live->vmmu ? vmmu_facts_vms(live->vmmu, &vms) : kvm_vm_count(live->kvm);
}

const struct kvm_vm *live_vm(const struct model_live *live, size_t vm)
{
	const struct kvm_vm *vms;

	if (!live->vmmu)
		return kvm_vm_at(live->kvm, vm);
	vmmu_facts_vms(live->vmmu, &vms);
	return &vms[vm];
}

size_t live_thread_count(const struct model_live *live)
{
	return live->vmmu ? vmmu_facts_threads(live->vmmu) : kvm_thread_count(live->kvm);
}

const struct kvm_thread *live_thread(const struct model_live *live, uint32_t thread)
{
	if (live->vmmu)
		return vmmu_facts_thread(live->vmmu, thread);
	return thread < kvm_thread_count(live->kvm) ? kvm_thread_at(live->kvm, thread) : NULL;
}
