/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine.h"

#include <stdlib.h>
#include <string.h>

enum { VMS_MAX = 4096 };

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

/* Has the VM a thread that runs this vCPU already? */
static bool has_vcpu(const struct kvm *kvm, size_t vm, uint16_t vcpu)
{
	for (size_t i = 0; i < kvm->thread_count; i++)
		if (kvm->threads[i].pub.vm == vm && kvm->threads[i].pub.vcpu == vcpu)
			return true;
	return false;
}

/*
 * The process is not known: threads of one VM run different vCPUs, and are started
 * one after another. A first write that fits elsewhere corrects it.
 */
static struct vm *guess_vm(struct kvm *kvm, const struct thread *thread, uint16_t vcpu)
{
	uint32_t nearest = UINT32_MAX;
	struct vm *best = NULL;

	for (size_t i = 0; i < kvm->thread_count; i++) {
		const struct thread *other = &kvm->threads[i];
		uint32_t away = other->pub.pid > thread->pub.pid ? other->pub.pid - thread->pub.pid
		                                                 : thread->pub.pid - other->pub.pid;

		if (other->pub.vm == FACT_NO_VM || other->pub.tgid >= 0 || away >= nearest)
			continue;
		if (vcpu != FACT_NO_VCPU && has_vcpu(kvm, other->pub.vm, vcpu))
			continue;
		nearest = away;
		best = kvm->vms[other->pub.vm];
	}
	return best;
}

void machine_move(struct kvm *kvm, struct thread *thread, const struct vm *vm)
{
	thread->pub.vm = machine_vm_number(kvm, vm);
}

struct vm *machine_join(struct kvm *kvm, struct thread *thread, uint16_t vcpu)
{
	struct vm *vm = machine_vm_of(kvm, thread);

	if (!vm) {
		if (thread->pub.tgid < 0 && kvm->thread_count < 4096)
			vm = guess_vm(kvm, thread, vcpu);
		if (!vm)
			vm = vm_new(kvm, thread);
		if (thread->pub.tgid >= 0)
			*map_at(&kvm->vm_by_tgid, (uint64_t)thread->pub.tgid) = machine_vm_number(kvm, vm);
	}
	if (thread->pub.vm == FACT_NO_VM)
		thread->pub.vm = machine_vm_number(kvm, vm);
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

struct kvm_root *vm_root_add(struct kvm *kvm, struct vm *vm, unsigned as_id, unsigned level, bool born)
{
	struct kvm_root *root = kvm_root_add(&vm->tables, as_id, level, born);
	struct kvm_vm *pub = &vm->pub;

	pub->roots = reallocate(pub->roots, (pub->root_count + 1) * sizeof(*pub->roots));
	pub->roots[pub->root_count++] = (struct kvm_root_info){
		.id = root->id, .as_id = (uint8_t)as_id, .level = (uint8_t)level, .born = born, .since = kvm->count, .until = UINT64_MAX};
	return root;
}
