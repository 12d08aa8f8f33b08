/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/phases.h"

#include "visor/cpu/x86.h"
#include "visor/host/frame.h"
#include "visor/host/log.h"
#include "visor/vm/counters.h"
#include "visor/vm/fail.h"
#include "visor/vm/vm.h"

#define PHASES_MAX 32

struct phases {
	unsigned count;
	struct counters last; /* at the last mark */
	struct {
		uint8_t number;
		struct counters counted;
	} phase[PHASES_MAX];
};

static bool make(struct vm *vm)
{
	vm->phases = object_alloc(sizeof(*vm->phases));
	if (!vm->phases)
		return false;
	vm->phases->count = 0;
	vm->phases->last = (struct counters){.tsc = vm->start_tsc};
	return true;
}

void phases_mark(struct vm *vm, uint8_t number)
{
	struct counters now;
	struct phases *p;

	counters_read(vm, &now);
	if (!vm->phases && !make(vm)) {
		vm_fail(&vm->vcpu, "test device: no memory to keep phases in");
		return;
	}
	p = vm->phases;
	if (number && p->count == PHASES_MAX) {
		vm_fail(&vm->vcpu, "test device: the guest marks more than %u phases", PHASES_MAX);
		return;
	}
	if (number) {
		p->phase[p->count].number = number;
		counters_difference(&now, &p->last, &p->phase[p->count++].counted);
	}
	vmmu_trace_mark(vm->vcpu.mmu, number);
	p->last = now;
	p->last.tsc = rdtsc(); /* what marking costs belongs to no phase */
}

void phases_write(struct vm *vm)
{
	for (unsigned i = 0; vm->phases && i < vm->phases->count; i++) {
		const struct counters *c = &vm->phases->phase[i].counted;

		json_begin("phase");
		json_number("number", vm->phases->phase[i].number);
		json_number("ticks", c->tsc);
		counters_write(vm, c);
		json_number("tables_allocated", counters_tables_allocated(c));
		json_number("tables_freed", counters_tables_freed(c));
		json_number("flushes", c->engine.flushes);
		json_end();
	}
}

void phases_free(struct vm *vm)
{
	if (vm->phases)
		object_free(vm->phases, sizeof(*vm->phases));
	vm->phases = NULL;
}
