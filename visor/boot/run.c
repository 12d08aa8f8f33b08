/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/boot/run.h"

#include "visor/cpu/leftovers.h"
#include "visor/cpu/x86.h"
#include "visor/exit/exit.h"
#include "visor/exit/shadow.h"
#include "visor/host/clock.h"
#include "visor/host/frame.h"
#include "visor/host/integrity.h"
#include "visor/host/log.h"
#include "visor/host/serial.h"
#include "visor/lib/format.h"
#include "visor/lib/string.h"
#include "visor/load/memory_map.h"
#include "visor/vm/bus.h"
#include "visor/vm/host.h"
#include "visor/vm/memory.h"
#include "visor/vm/phases.h"
#include "visor/vm/summary.h"
#include "visor/vm/trace_disk.h"
#include "visor/vm/vm.h"
#include "visor/vm/watch.h"

#define VM_ID 1
/* Powers of two. The vCPU's has 2 MiB: a burst of faults must not wait for the disk. */
#define VCPU_RING_RECORDS 32768u
#define MANAGE_RING_RECORDS 4096u
#define CPUS 1

/* ---- what the platform asks ------------------------------------------------------- */

static void console_out(void *ctx, const uint8_t *bytes, size_t n)
{
	(void)ctx;
	serial_console_write(bytes, n);
}

static uint64_t platform_now(void *ctx)
{
	return vm_now_ns(ctx);
}

static uint64_t platform_wall(void *ctx)
{
	(void)ctx;
	return clock_wall();
}

static uint64_t platform_tsc(void *ctx)
{
	struct vm *vm = ctx;

	return rdtsc() + vm->vcpu.backend->read_special(&vm->vcpu, CPU_SPECIAL_TSC_OFFSET) - vm->vcpu.nested.tsc_offset;
}

static void platform_note(void *ctx, const char *text)
{
	(void)ctx;
	log_line("visor: %s", text);
}

static bool platform_write_memory(void *ctx, uint64_t gpa, const void *bytes, size_t n)
{
	return memory_write(ctx, gpa, bytes, n);
}

/* ---- setting up ------------------------------------------------------------------- */

static __attribute__((format(printf, 2, 3))) bool refuse(struct vm *vm, const char *why, ...)
{
	va_list args;

	va_start(args, why);
	vsnprintf(vm->reason, sizeof(vm->reason), why, args);
	va_end(args);
	return false;
}

static bool make_ring(struct vmmu_trace_ring *ring, uint32_t records)
{
	ring->records = object_alloc(records * sizeof(struct vmmu_trace_record));
	ring->size = records;
	return ring->records;
}

static bool set_up_trace(struct vm *vm)
{
	static struct vmmu_trace_ring *rings[TRACE_RINGS];
	const char *why;
	char machine[32];

	rings[0] = &vm->vcpu_ring;
	rings[1] = &vm->manage_ring;
	if (!make_ring(rings[0], VCPU_RING_RECORDS) || !make_ring(rings[1], MANAGE_RING_RECORDS))
		return refuse(vm, "no memory for the trace rings");
	snprintf(machine, sizeof(machine), "visor-%s", vm->vcpu.backend->name);
	if (!trace_disk_open(rings, machine, &why))
		return refuse(vm, "%s", why);
	return true;
}

static bool set_up_tables(struct vm *vm)
{
	bool trace = vm->options->trace;
	struct vmmu_config config = {
		.host = &vm->host,
		.host_ctx = vm,
		.mode = vm->vcpu.backend->mode,
		.max_level = (uint8_t)vm->options->max_level,
		.fault_around = (uint8_t)vm->options->fault_around,
		.id = VM_ID,
		.max_vcpus = CPUS,
		.nested = vm->options->nested,
		.ring = trace ? &vm->manage_ring : NULL,
	};
	enum vmmu_status status;

	host_connect(vm, trace);
	vm->vcpu.backend->describe(&config.cpu);
	if (config.max_level == VMMU_LEVEL_1G && !config.cpu.page_1g)
		return refuse(vm, "page-size=1g, but this CPU's %s has no 1 GiB pages", vm->vcpu.backend->name);
	status = vmmu_vm_create(&config, &vm->mmu);
	if (status != VMMU_OK)
		return refuse(vm, "the tables cannot be made: %s", vmmu_status_name(status));
	if (trace)
		vmmu_trace_enable(vm->mmu, true);
	vm->vcpu.tracing = trace;
	status = vmmu_vcpu_create(vm->mmu, 0, trace ? &vm->vcpu_ring : NULL, &vm->vcpu.mmu);
	if (status != VMMU_OK)
		return refuse(vm, "the vCPU's tables cannot be made: %s", vmmu_status_name(status));
	return true;
}

/* Frames that are cleared before tables need them; with prealloc as many more as all of memory may need. */
enum { TABLE_STOCK = 64,
       TABLE_REACH = 2u << 20 /* bytes that one table of 4 KiB pages maps */ };

static bool set_up_memory(struct vm *vm)
{
	struct guest_memory_range ranges[GUEST_MEMORY_RANGES];
	unsigned count = guest_memory_slots(vm->options->memory_bytes, ranges);

	for (unsigned i = 0; i < count; i++) {
		enum vmmu_status status = memory_add(vm, i, 0, ranges[i].base, ranges[i].bytes);

		if (status != VMMU_OK)
			return refuse(vm, "guest memory at %llx: %s", (unsigned long long)ranges[i].base,
			              vmmu_status_name(status));
	}
	if (vm->options->prealloc && !memory_fill(vm))
		return refuse(vm, "prealloc=on: the machine has not enough free memory for %llu MiB",
		              (unsigned long long)(vm->options->memory_bytes >> 20));
	frame_stock(TABLE_STOCK + (vm->options->prealloc ? vm->options->memory_bytes / TABLE_REACH : 0));
	bus_connect(vm);
	return true;
}

static bool set_up_platform(struct vm *vm)
{
	struct platform_config config = {
		.memory_bytes = vm->options->memory_bytes, .cpus = CPUS, .tsc_hz = clock_tsc_hz()};
	struct platform_host host = {
		.console_out = console_out,
		.now_ns = platform_now,
		.wall_clock = platform_wall,
		.ctx = vm,
		.tsc = platform_tsc,
		.write_memory = platform_write_memory,
		.note = platform_note,
	};

	vm->start_tsc = rdtsc(); /* guest time 0: the devices' clocks start here */
	vm->platform = object_alloc(platform_size());
	if (!vm->platform)
		return refuse(vm, "no memory for the platform's state");
	platform_init(vm->platform, &config, &host);
	return true;
}

static bool load_write(void *ctx, uint64_t gpa, const void *bytes, size_t n)
{
	return memory_write(ctx, gpa, bytes, n);
}

static bool run_load(struct vm *vm, const char **kind)
{
	const struct options *o = vm->options;
	struct load_request request = {
		.kernel = o->kernel,
		.initrd = o->initrd,
		.module_count = o->module_count,
		.command_line = o->guest_command_line,
		.memory_bytes = o->memory_bytes,
		.cpus = CPUS,
		.write = load_write,
		.ctx = vm,
	};
	struct load_result result;

	memcpy(request.modules, o->modules, sizeof(request.modules));
	if (!load_guest(&request, &result))
		return refuse(vm, "%s", result.reason);
	vm->vcpu.state = result.cpu;
	*kind = load_kind_name(result.kind);
	return true;
}

/* Before anything asks what registers the guest has. */
static bool set_up_control_block(struct vm *vm)
{
	return vm->vcpu.backend->vcpu_init(&vm->vcpu) || refuse(vm, "no memory for the vCPU's control block");
}

static bool set_up_vcpu(struct vm *vm)
{
	struct vmmu_root root;
	enum vmmu_status status;

	if (vm->vcpu.backend->mode == VMMU_MODE_SHADOW) {
		status = shadow_start(&vm->vcpu);
	} else {
		status = vmmu_vcpu_load(vm->vcpu.mmu, &root);
		if (status == VMMU_OK)
			vm->vcpu.backend->set_root(&vm->vcpu, &root);
	}
	return status == VMMU_OK || refuse(vm, "the vCPU has no root: %s", vmmu_status_name(status));
}

static bool set_up(struct vm *vm, const char **kind)
{
	return set_up_control_block(vm) && (!vm->options->trace || set_up_trace(vm)) && set_up_tables(vm) && set_up_memory(vm) &&
	       run_load(vm, kind) && set_up_vcpu(vm) && set_up_platform(vm);
}

/* ---- running and taking down ----------------------------------------------------- */

static void say_start(const struct vm *vm, const char *kind)
{
	json_begin("start");
	json_string("mmu", vm->vcpu.backend->name);
	json_number("memory_bytes", vm->options->memory_bytes);
	json_string("kernel", kind);
	json_string("isolation", vm->vcpu.backend->leak() ? "none" : "full");
	if (vm->vcpu.backend->leak())
		json_string("leak", vm->vcpu.backend->leak());
	json_number("ticks_per_second", clock_tsc_hz());
	json_end();
}

/* What a guest has ended as does not count where it has been at the visor. */
static void check_integrity(struct vm *vm)
{
	const char *broken = integrity_broken();

	if (!broken)
		return;
	vm->end = VM_FAILED;
	snprintf(vm->reason, sizeof(vm->reason), "the visor's own %s have changed while the guest ran: it is not to be "
	                                         "trusted any more",
	         broken);
	log_line("visor: %s", vm->reason);
}

static void run_guest(struct vm *vm)
{
	if (vm->options->test_device)
		leftovers_plant();
	leftovers_clear();
	vm->vcpu.backend->write_special(&vm->vcpu, CPU_SPECIAL_TSC_OFFSET, -vm->start_tsc);
	vm->vcpu.backend->write_state(&vm->vcpu);
	watch_init();
	integrity_note();
	exit_begin(&vm->vcpu);
	vm->vcpu.backend->run(&vm->vcpu);
	vm->end_tsc = rdtsc();
	check_integrity(vm);
	summary_guest_ended(vm);
	serial_console_flush();
}

static void report_finding(void *arg, const char *rule, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	(void)arg;
	log_line("visor: audit: %s (gfn %llx, level %u, entry %llx)", rule, (unsigned long long)gfn.v,
	         step ? step->level : 0, (unsigned long long)(step ? step->entry : 0));
}

static void close_trace(struct vm *vm)
{
	if (!vm->options->trace)
		return;
	vmmu_trace_dump(vm->mmu);
	if (!trace_disk_close())
		log_line("visor: the trace is not complete: the disk is too small or failed");
}

static void free_ring(struct vmmu_trace_ring *ring)
{
	if (ring->records)
		object_free(ring->records, ring->size * sizeof(struct vmmu_trace_record));
}

static void take_down(struct vm *vm)
{
	enum vmmu_status status = VMMU_OK;

	vmmu_trace_enable(vm->mmu, false);
	if (vm->vcpu.mmu)
		vmmu_vcpu_destroy(vm->vcpu.mmu);
	status = vmmu_vm_destroy(vm->mmu);
	vm->vcpu.backend->vcpu_free(&vm->vcpu); /* the engine has asked for flushes until now */
	memory_free_all(vm);
	if (vm->platform)
		object_free(vm->platform, platform_size());
	phases_free(vm);
	free_ring(&vm->vcpu_ring);
	free_ring(&vm->manage_ring);
	if (status != VMMU_OK)
		log_line("visor: the VM cannot be taken down: %s", vmmu_status_name(status));
	else if (object_count() || frame_count(FRAME_TABLE) || frame_count(FRAME_GUEST))
		log_line("visor: leak: %llu objects, %llu table frames, %llu guest frames",
		         (unsigned long long)object_count(), (unsigned long long)frame_count(FRAME_TABLE),
		         (unsigned long long)frame_count(FRAME_GUEST));
}

enum vm_end vm_run(const struct options *options, const struct cpu_backend *backend)
{
	static struct vm vm;
	const char *kind = "";

	memset(&vm, 0, sizeof(vm));
	vm.options = options;
	vm.vcpu.backend = backend;
	vm.vcpu.vm = &vm;
	if (!set_up(&vm, &kind)) {
		vm_refuse(vm.reason);
		return VM_FAILED;
	}
	say_start(&vm, kind);
	run_guest(&vm);
	vm.audit_findings = vmmu_audit(vm.mmu, report_finding, NULL);
	close_trace(&vm);
	phases_write(&vm);
	summary_write(&vm);
	take_down(&vm);
	summary_end(&vm);
	return vm.end;
}
