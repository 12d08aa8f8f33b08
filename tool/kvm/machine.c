/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine.h"

#include <stdlib.h>
#include <string.h>

enum { VMS_MAX = 4096,
       GUESS_THREADS = 4096 };
/* A VM whose tables have gone, and which nothing was heard of for so long, has ended. */
#define QUIET_NS 1000000000ull

/* Threads of the kernel that write entries of whatever VM holds the memory. */
static bool is_kernel_name(const char *comm)
{
	static const char *const names[] = {"khugepaged", "ksmd", "kswapd", "kcompactd", "kworker", "kvm-nx-lpage",
	                                    "migration", "oom_reaper", "kdamond", "numad", "swapper"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strncmp(comm, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

struct thread *machine_thread(struct kvm *kvm, const struct source_event *event)
{
	uint64_t *place = map_at(&kvm->thread_by_pid, event->pid);
	struct thread *thread;

	if (*place == MAP_NONE) {
		uint64_t tgid = map_get(&kvm->tgid_by_pid, event->pid);

		if (kvm->thread_count % 256 == 0)
			kvm->threads = reallocate(kvm->threads, (kvm->thread_count + 256) * sizeof(*kvm->threads));
		*place = kvm->thread_count;
		thread = &kvm->threads[kvm->thread_count++];
		*thread = (struct thread){
			.fault = MAP_NONE,
			.pub = {
				.pid = event->pid,
				.tgid = event->tgid,
				.vm = FACT_NO_VM,
				.vcpu = FACT_NO_VCPU,
			},
			.vcpu_ahead = FACT_NO_VCPU,
			.take_vm = FACT_NO_VM,
		};
		if (event->tgid < 0 && tgid != MAP_NONE)
			thread->pub.tgid = (int64_t)tgid;
	}
	thread = &kvm->threads[*place];
	if (memcmp(thread->pub.comm, event->comm, sizeof(event->comm)) != 0) {
		memcpy(thread->pub.comm, event->comm, sizeof(event->comm));
		thread->pub.comm[sizeof(event->comm) - 1] = '\0';
		thread->kernel = is_kernel_name(thread->pub.comm);
	}
	return thread;
}

uint16_t machine_vm_number(const struct kvm *kvm, const struct vm *vm)
{
	for (size_t i = 0; i < kvm->vm_count; i++)
		if (kvm->vms[i] == vm)
			return (uint16_t)i;
	return FACT_NO_VM;
}

struct vm *machine_vm_of(struct kvm *kvm, const struct thread *thread)
{
	uint64_t number;

	if (thread->pub.vm != FACT_NO_VM)
		return kvm->vms[thread->pub.vm];
	number = thread->pub.tgid >= 0 ? map_get(&kvm->vm_by_tgid, (uint64_t)thread->pub.tgid) : MAP_NONE;
	return number == MAP_NONE ? NULL : kvm->vms[number];
}

static struct vm *vm_new(struct kvm *kvm, const struct thread *thread)
{
	struct vm *vm;

	if (kvm->vm_count == VMS_MAX)
		return kvm->vms[VMS_MAX - 1];
	vm = allocate(sizeof(*vm));
	vm->pub.tgid = thread->pub.tgid;
	memcpy(vm->pub.comm, thread->pub.comm, sizeof(vm->pub.comm));
	map_init(&vm->legacy, kvm->seed);
	map_init(&vm->legacy_gfn, kvm->seed);
	kvm->vms = reallocate(kvm->vms, (kvm->vm_count + 1) * sizeof(struct vm *));
	kvm->vms[kvm->vm_count++] = vm;
	return vm;
}

static uint16_t vcpu_shown(const struct thread *thread)
{
	return thread->pub.vcpu != FACT_NO_VCPU ? thread->pub.vcpu : thread->vcpu_ahead;
}

/* A thread of a VM that runs this vCPU, other than `but`; NULL: there is none. alive: one that runs it at the same time. */
static const struct thread *runner_of(const struct kvm *kvm, size_t vm, uint16_t vcpu, const struct thread *but,
                                      bool alive)
{
	for (size_t i = 0; vcpu != FACT_NO_VCPU && i < kvm->thread_count; i++) {
		const struct thread *thread = &kvm->threads[i];

		if (thread != but && thread->pub.vm == vm && vcpu_shown(thread) == vcpu && (thread->beside_other || !alive))
			return thread;
	}
	return NULL;
}

/*
 * Can the thread belong to the VM? Two threads run one vCPU's number only after one another,
 * and then within one process.
 */
static bool may_belong(const struct kvm *kvm, const struct thread *thread, uint16_t vcpu, size_t vm)
{
	if (thread->pub.tgid < 0)
		return !runner_of(kvm, vm, vcpu, thread, false);
	if (thread->beside_other && runner_of(kvm, vm, vcpu, thread, true))
		return false;
	return !kvm->vms[vm]->taken_down || !runner_of(kvm, vm, vcpu, thread, false);
}

/* vCPUs' threads are started one after another: the thread of vCPU 0 that was started last before this one. */
static struct thread *leader_of(const struct kvm *kvm, const struct thread *thread)
{
	struct thread *leader = NULL;

	for (size_t i = 0; i < kvm->thread_count; i++) {
		struct thread *other = &kvm->threads[i];

		if (vcpu_shown(other) == 0 && other->pub.tgid == thread->pub.tgid && other->pub.pid < thread->pub.pid &&
		    (!leader || other->pub.pid > leader->pub.pid))
			leader = other;
	}
	return leader;
}

/*
 * Of the VMs of its process, or of all whose process is not known: that of its vCPU 0, or
 * that of the thread whose number is the nearest. A first write that fits elsewhere corrects it.
 */
static struct vm *guess_vm(struct kvm *kvm, const struct thread *thread, uint16_t vcpu, uint64_t time)
{
	uint32_t nearest = UINT32_MAX;
	struct vm *best = NULL;

	if (vcpu != FACT_NO_VCPU && vcpu > 0) {
		struct thread *leader = leader_of(kvm, thread);

		if (leader && leader->pub.vm == FACT_NO_VM)
			machine_join(kvm, leader, FACT_NO_VCPU, time);
		if (leader && may_belong(kvm, thread, vcpu, leader->pub.vm))
			return kvm->vms[leader->pub.vm];
	}
	for (size_t i = 0; i < kvm->thread_count; i++) {
		const struct thread *other = &kvm->threads[i];
		uint32_t away = other->pub.pid > thread->pub.pid ? other->pub.pid - thread->pub.pid
		                                                 : thread->pub.pid - other->pub.pid;

		if (other->pub.vm == FACT_NO_VM || away >= nearest ||
		    kvm->vms[other->pub.vm]->pub.tgid != thread->pub.tgid ||
		    !may_belong(kvm, thread, vcpu, other->pub.vm))
			continue;
		nearest = away;
		best = kvm->vms[other->pub.vm];
	}
	return best;
}

bool machine_has_several(const struct kvm *kvm, int64_t tgid)
{
	size_t count = 0;

	for (size_t i = 0; i < kvm->vm_count; i++)
		count += kvm->vms[i]->pub.tgid == tgid;
	return count > 1;
}

static void count_vcpus(const struct kvm *kvm, struct vm *vm)
{
	uint16_t number = machine_vm_number(kvm, vm);

	vm->pub.vcpus = 0;
	for (size_t i = 0; i < kvm->thread_count; i++) {
		const struct kvm_thread *thread = &kvm->threads[i].pub;

		if (thread->vm == number && thread->vcpu < 4096 && thread->vcpu + 1u > vm->pub.vcpus)
			vm->pub.vcpus = thread->vcpu + 1u;
	}
}

void machine_move(struct kvm *kvm, struct thread *thread, struct vm *vm)
{
	struct vm *from = thread->pub.vm != FACT_NO_VM ? kvm->vms[thread->pub.vm] : NULL;

	thread->pub.vm = machine_vm_number(kvm, vm);
	thread->root = 0;
	count_vcpus(kvm, vm);
	if (from)
		count_vcpus(kvm, from);
}

/* Its tables went, without a zap-all, and then it was quiet: a VM has ended, and another one begins. */
static bool is_over(const struct kvm *kvm, const struct vm *vm, uint64_t time)
{
	/* Where no zap-all is recorded it may have been one, after which a guest is not quiet for long. */
	uint64_t quiet = kvm->zap_all_seen ? QUIET_NS : 10 * QUIET_NS;

	return vm->taken_down && time > vm->last_time && time - vm->last_time >= quiet;
}

static struct vm *vm_new_for(struct kvm *kvm, struct thread *thread, const struct vm *after)
{
	struct vm *vm = vm_new(kvm, thread);

	if (thread->pub.tgid >= 0 && map_get(&kvm->vm_by_tgid, (uint64_t)thread->pub.tgid) == MAP_NONE)
		*map_at(&kvm->vm_by_tgid, (uint64_t)thread->pub.tgid) = machine_vm_number(kvm, vm);
	if (after) {
		/* What is written of the process from now on is the new one's. */
		if (thread->pub.tgid >= 0 && after->taken_down)
			*map_at(&kvm->vm_by_tgid, (uint64_t)thread->pub.tgid) = machine_vm_number(kvm, vm);
		vm->pub.beside = (uint16_t)(machine_vm_number(kvm, after) + 1);
		vm->pub.restarted = after->taken_down;
		memcpy(vm->pub.name, after->pub.name, sizeof(vm->pub.name));
		memcpy(vm->pub.comm, after->pub.comm, sizeof(vm->pub.comm));
	}
	thread->pub.vm = machine_vm_number(kvm, vm);
	thread->root = 0;
	return vm;
}

struct vm *machine_join(struct kvm *kvm, struct thread *thread, uint16_t vcpu, uint64_t time)
{
	struct vm *vm = thread->pub.vm != FACT_NO_VM ? kvm->vms[thread->pub.vm] : NULL, *old = NULL;
	uint16_t shown = vcpu != FACT_NO_VCPU ? vcpu : vcpu_shown(thread);

	if (vm && is_over(kvm, vm, time))
		vm = vm_new_for(kvm, thread, vm);
	if (!vm) {
		old = machine_vm_of(kvm, thread);
		if (kvm->thread_count < GUESS_THREADS)
			vm = guess_vm(kvm, thread, shown, time);
		else if (thread->pub.tgid >= 0)
			vm = old;
		if (vm && is_over(kvm, vm, time)) {
			old = vm;
			vm = NULL;
		}
		if (vm)
			thread->pub.vm = machine_vm_number(kvm, vm);
		else
			vm = vm_new_for(kvm, thread, old);
	}
	/* A process goes by the name of its first thread. */
	if (thread->pub.tgid == (int64_t)thread->pub.pid)
		memcpy(vm->pub.comm, thread->pub.comm, sizeof(vm->pub.comm));
	if (vcpu != FACT_NO_VCPU && thread->pub.vcpu != vcpu) {
		thread->pub.vcpu = vcpu;
		if (vcpu < 4096 && vcpu + 1u > vm->pub.vcpus)
			vm->pub.vcpus = vcpu + 1u;
	}
	return vm;
}

struct vm *machine_split(struct kvm *kvm, struct thread *thread, struct vm *vm, unsigned as_id)
{
	const struct kvm_root *root = kvm_root_newest(&vm->tables, as_id);
	const struct thread *other = runner_of(kvm, machine_vm_number(kvm, vm), vcpu_shown(thread), thread, false);

	/* Without a number to tell them apart by it may be another vCPU, in the moment when roots change. */
	if (!root || !root->born || root->top->there == 0 || thread->root || !other)
		return vm;
	vm = vm_new_for(kvm, thread, vm);
	if (thread->pub.vcpu != FACT_NO_VCPU)
		vm->pub.vcpus = thread->pub.vcpu + 1u;
	return vm;
}

struct kvm_root *vm_root_add(struct kvm *kvm, struct vm *vm, unsigned as_id, unsigned level, bool born)
{
	struct kvm_root *root = kvm_root_add(&vm->tables, as_id, level, born);
	struct kvm_vm *pub = &vm->pub;

	vm->taken_down = false;
	pub->roots = reallocate(pub->roots, (pub->root_count + 1) * sizeof(*pub->roots));
	pub->roots[pub->root_count++] = (struct kvm_root_info){
		.id = root->id, .as_id = (uint8_t)as_id, .level = (uint8_t)level, .born = born, .since = kvm->count, .until = UINT64_MAX};
	return root;
}
