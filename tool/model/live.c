/* SPDX-License-Identifier: BSD-2-Clause */
/* A model that is watched while it comes about: the last facts, in a ring. */
#include <stdlib.h>

#include "../source/source.h"
#include "index.h"

struct model_live {
	struct source *source;
	struct kvm *kvm;
	struct model *model;
	struct fact *ring;
	uint64_t first_time;
	bool begun;
	struct source_event event; /* read, and not taken yet */
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

bool model_open_live(struct model **out, const char *path, char **error)
{
	struct model *model;
	struct model_live *live;
	struct stream *stream;

	*out = NULL;
	if (!stream_open(&stream, path, error))
		return false;
	model = allocate(sizeof(*model));
	live = allocate(sizeof(*live));
	model->fd = -1;
	model->live = live;
	live->model = model;
	if (!source_open_stream(&live->source, stream, path, error)) {
		model_close(model);
		return false;
	}
	source_follow(live->source);
	live->kvm = kvm_new(keep, live);
	live->ring = allocate(MODEL_LIVE_FACTS * sizeof(*live->ring));
	*out = model;
	return true;
}

bool model_live_wait(struct model *model)
{
	return source_next(model->live->source, &model->live->event);
}

void model_live_take(struct model *model)
{
	kvm_take(model->live->kvm, &model->live->event);
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
	return kvm_vm_count(live->kvm);
}

const struct kvm_vm *live_vm(const struct model_live *live, size_t vm)
{
	return kvm_vm_at(live->kvm, vm);
}

size_t live_thread_count(const struct model_live *live)
{
	return kvm_thread_count(live->kvm);
}

const struct kvm_thread *live_thread(const struct model_live *live, uint32_t thread)
{
	return thread < kvm_thread_count(live->kvm) ? kvm_thread_at(live->kvm, thread) : NULL;
}
