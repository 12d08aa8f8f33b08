/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looking ahead, and putting in order: events wait in a ring before they are taken, so that what a thread shows of
 * itself soon is known at its first event: which vCPU it runs, and that another one runs a
 * vCPU of this number at the same time, for another VM of the process.
 */
#include <stdlib.h>
#include <string.h>

#include <vmmu/types.h>

#include "machine.h"

enum { AHEAD_EVENTS = 4096,
       SORT_EVENTS = 256,    /* so far an event is put back to where its time belongs */
       SWAPPED_EVENTS = 256, /* so far, and so long, */
       SWAPPED_NS = 1000000, /* the event of a write may come after that of a later one */
};

struct ahead {
	size_t first, count;
	bool busy; /* it takes some before their turn */
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

/* Does `event` write what a write of another thread has found: the entry itself, or a table on the way to it? */
static bool leads_to(const struct source_event *event, const struct source_event *found)
{
	unsigned level = (unsigned)event->field[FIELD_LEVEL], below = (unsigned)found->field[FIELD_LEVEL];
	uint64_t value = event->field[FIELD_NEW], old = found->field[FIELD_OLD], as_id;

	if (event->id != EVENT_SPTE_CHANGED || event->pid == found->pid || level < below || level > VMMU_LEVEL_MAX)
		return false;
	as_id = event_has(event, FIELD_AS_ID) ? event->field[FIELD_AS_ID] : 0;
	if (as_id != (event_has(found, FIELD_AS_ID) ? found->field[FIELD_AS_ID] : 0) ||
	    (event->field[FIELD_GFN] ^ found->field[FIELD_GFN]) & ~(vmmu_level_pages(level) - 1))
		return false;
	if (level == below)
		return kvm_entry_same(KVM_MODE_UNKNOWN, value, old, level, false);
	return level == below + 1u && kvm_entry_kind(value, level) == KVM_ENTRY_TABLE;
}

/* Is the thread known to work for another VM? */
static bool is_of_other(const struct kvm *kvm, uint32_t pid, uint16_t vm)
{
	uint64_t thread = map_get(&kvm->thread_by_pid, pid);

	return thread != MAP_NONE && kvm->threads[thread].pub.vm != FACT_NO_VM && kvm->threads[thread].pub.vm != vm;
}

bool ahead_take_earlier(struct kvm *kvm, const struct source_event *found, uint16_t vm)
{
	struct ahead *ahead = kvm->ahead;
	size_t end = 0;
	uint32_t pid;

	if (!ahead || ahead->busy)
		return false;
	for (size_t i = 1; i < ahead->count && i <= SWAPPED_EVENTS && !end; i++) {
		const struct source_event *event = &ahead->events[(ahead->first + i) % AHEAD_EVENTS];

		if (event->time - found->time > SWAPPED_NS)
			break;
		if (leads_to(event, found) && !is_of_other(kvm, event->pid, vm))
			end = i;
	}
	if (!end)
		return false;
	pid = ahead->events[(ahead->first + end) % AHEAD_EVENTS].pid;
	ahead->busy = true;
	/* A thread's own events are in order. */
	for (size_t i = 1; i <= end; i++) {
		struct source_event *event = &ahead->events[(ahead->first + i) % AHEAD_EVENTS];

		if (event->pid != pid || event->id == EVENT_NOTE || event->id == EVENT_LOST)
			continue;
		event->time = found->time;
		kvm_take_now(kvm, event);
		event->id = EVENT_OTHER;
	}
	ahead->busy = false;
	return true;
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
