/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looking ahead, and putting in order: events wait in a ring before they are taken, so that what a thread shows of
 * itself soon is known at its first event: which vCPU it runs, and that another one runs a
 * vCPU of this number at the same time, for another VM of the process.
 */
#include <stdlib.h>
#include <string.h>

#include "machine.h"

enum { AHEAD_EVENTS = 4096,
       SORT_EVENTS = 256 /* so far an event is put back to where its time belongs */
};

struct ahead {
	size_t first, count;
	struct source_event events[AHEAD_EVENTS];
	char *notes[AHEAD_EVENTS];
};

/*
 * One thread, another, and the first again: both live.
 * Once, one after the other, it is a vCPU that goes on in another thread.
 */
void ahead_learn(struct kvm *kvm, const struct source_event *event)
{
	uint16_t vcpu = event_has(event, FIELD_VCPU) ? (uint16_t)event->field[FIELD_VCPU] : FACT_NO_VCPU;
	struct thread *thread;
	uint64_t *runner, number;

	if (vcpu == FACT_NO_VCPU)
		return;
	thread = machine_thread(kvm, event);
	number = (uint64_t)(thread - kvm->threads);
	thread->vcpu_ahead = vcpu;
	runner = map_at(&kvm->runner, (uint64_t)(thread->pub.tgid + 1) << 16 | vcpu);
	if (*runner == number)
		return;
	if (*runner != MAP_NONE && thread->ran) {
		struct thread *other = &kvm->threads[*runner];

		thread->beside_other = other->beside_other = true;
		/* Both have been taken for threads of one VM: it is too late to tell their writes apart. */
		if (thread->pub.vm != FACT_NO_VM && thread->pub.vm == other->pub.vm)
			kvm->vms[thread->pub.vm]->pub.counts.mixed = 1;
	}
	thread->ran = true;
	*runner = number;
}

static void take_first(struct kvm *kvm)
{
	struct ahead *ahead = kvm->ahead;
	struct source_event *event = &ahead->events[ahead->first];

	event->note = ahead->notes[ahead->first];
	kvm_take_now(kvm, event);
	free(ahead->notes[ahead->first]);
	ahead->first = (ahead->first + 1) % AHEAD_EVENTS;
	ahead->count--;
}

/*
 * A place for one more, behind all that are not later, if it is not too late for that. Those
 * from before a loss stay before it.
 */
static size_t place_of(struct kvm *kvm, uint64_t time)
{
	struct ahead *ahead = kvm->ahead;
	size_t at = ahead->count++, back = 0;

	while (back < SORT_EVENTS && back < at) {
		const struct source_event *before = &ahead->events[(ahead->first + at - back - 1) % AHEAD_EVENTS];

		if (before->time <= time || before->id == EVENT_LOST)
			break;
		back++;
	}
	/* It would come between others that it does not belong between. */
	if (time < kvm->latest || back == SORT_EVENTS)
		back = 0;
	for (; back > 0; back--, at--) {
		size_t to = (ahead->first + at) % AHEAD_EVENTS, from = (ahead->first + at - 1) % AHEAD_EVENTS;

		ahead->events[to] = ahead->events[from];
		ahead->notes[to] = ahead->notes[from];
	}
	return (ahead->first + at) % AHEAD_EVENTS;
}

void kvm_look_ahead(struct kvm *kvm)
{
	if (!kvm->ahead)
		kvm->ahead = allocate(sizeof(*kvm->ahead));
}

void kvm_take(struct kvm *kvm, const struct source_event *event)
{
	struct ahead *ahead = kvm->ahead;
	size_t place;

	ahead_learn(kvm, event);
	if (!ahead) {
		kvm_take_now(kvm, event);
		return;
	}
	if (ahead->count == AHEAD_EVENTS)
		take_first(kvm);
	place = place_of(kvm, event->time);
	ahead->events[place] = *event;
	ahead->events[place].name = NULL;
	ahead->notes[place] = event->id == EVENT_NOTE ? duplicate(event->note) : NULL;
}

void kvm_finish(struct kvm *kvm)
{
	while (kvm->ahead && kvm->ahead->count)
		take_first(kvm);
}

void ahead_free(struct ahead *ahead)
{
	for (size_t i = 0; ahead && i < ahead->count; i++)
		free(ahead->notes[(ahead->first + i) % AHEAD_EVENTS]);
	free(ahead);
}
