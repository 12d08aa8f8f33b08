/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/host.h"

#include "visor/cpu/x86.h"
#include "visor/host/frame.h"
#include "visor/vm/memory.h"
#include "visor/vm/trace_disk.h"
#include "visor/vm/vm.h"

static void *host_object_alloc(void *ctx, size_t size)
{
	(void)ctx;
	return object_alloc(size);
}

static void host_object_free(void *ctx, void *object, size_t size)
{
	(void)ctx;
	object_free(object, size);
}

static bool host_table_alloc(void *ctx, vmmu_hpa *out)
{
	(void)ctx;
	out->v = frame_alloc_table();
	return out->v;
}

static bool host_table_alloc_low(void *ctx, vmmu_hpa *out)
{
	(void)ctx;
	out->v = frame_alloc_low();
	return out->v;
}

static void host_table_free(void *ctx, vmmu_hpa frame)
{
	(void)ctx;
	frame_free(frame.v, FRAME_ORDER_4K);
}

/* The only vCPU is not in the guest now: it flushes before its next entry. */
static void host_flush(void *ctx, const struct vmmu_flush *flush)
{
	struct vm *vm = ctx;

	(void)flush;
	vm->vcpu.backend->flush(&vm->vcpu);
}

static void host_trace_full(void *ctx, struct vmmu_trace_ring *ring)
{
	(void)ctx;
	trace_disk_make_room(ring);
}

void host_connect(struct vm *vm, bool trace)
{
	vm->host = (struct vmmu_host){
		.object_alloc = host_object_alloc,
		.object_free = host_object_free,
		.table_alloc = host_table_alloc,
		.table_alloc_low = host_table_alloc_low,
		.table_free = host_table_free,
		.backing = memory_backing,
		.guest_read = memory_guest_read,
		.guest_page = memory_guest_page,
		.guest_cmpxchg = memory_guest_cmpxchg,
		.flush = host_flush,
		.time_is_tsc = true,
		.trace_full = trace ? host_trace_full : NULL,
		.owns_frame = memory_owns,
	};
}
