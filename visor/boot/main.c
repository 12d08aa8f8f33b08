/* SPDX-License-Identifier: BSD-2-Clause */
/* The visor's first C function: the machine is set up, a back end chosen, the VM run. */
#include "visor/boot/run.h"
#include "visor/cpu/vcpu.h"
#include "visor/cpu/x86.h"
#include "visor/host/canary.h"
#include "visor/host/clock.h"
#include "visor/host/frame.h"
#include "visor/host/interrupts.h"
#include "visor/host/log.h"
#include "visor/host/paging.h"
#include "visor/host/multiboot.h"
#include "visor/host/serial.h"
#include "visor/host/timer.h"
#include "visor/lib/format.h"
#include "visor/svm/svm.h"
#include "visor/vm/options.h"
#include "visor/vm/vm.h"
#include "visor/vmx/vmx.h"

#define REASON_BYTES 256
#define DEBUG_EXIT_PORT 0xf4 /* QEMU's isa-debug-exit; the visor's own guests have it, too */

void visor_main(uint32_t magic, uint32_t information);

extern const uint8_t host_pml4_1g[];

static struct boot_info boot;
static struct options options;

/* What boot/entry.S maps with and without 1 GiB pages. */
static uint64_t mapped_bytes(void)
{
	return read_cr3() == (uintptr_t)host_pml4_1g ? 512ull << 30 : 16ull << 30;
}

static const struct cpu_backend *find_backend(enum options_mmu wanted, const char **reason)
{
	bool vmx = cpu_vmx.present(), svm = cpu_svm.present();

	if (wanted == OPTIONS_MMU_EPT && !vmx)
		*reason = "mmu=ept, but this CPU has no VMX";
	else if (wanted == OPTIONS_MMU_NPT && !svm)
		*reason = "mmu=npt, but this CPU has no SVM";
	else if (!vmx && !svm)
		*reason = "this CPU has neither VMX nor SVM, or an outer hypervisor hides it";
	else if (wanted == OPTIONS_MMU_SHADOW && options.nested)
		*reason = "nested=on needs EPT or NPT: it cannot be had with mmu=shadow";
	else if (options.nested && !(vmx ? &cpu_vmx : &cpu_svm)->nested)
		*reason = "nested=on, but the visor gives no guest this CPU's extension for guests of its own";
	else if (wanted == OPTIONS_MMU_SHADOW)
		return vmx ? &cpu_vmx_shadow : &cpu_svm_shadow;
	else
		return vmx ? &cpu_vmx : &cpu_svm;
	return NULL;
}

/* False: the user wants none of it where a guest can get at the visor. */
static bool isolation_suffices(const struct cpu_backend *backend)
{
	char text[REASON_BYTES];

	if (!backend->leak() || !options.require_isolation) {
		if (backend->leak())
			log_line("visor: a guest is not isolated here: %s", backend->leak());
		return true;
	}
	snprintf(text, sizeof(text), "require-isolation=on, but %s does not isolate a guest here: %s", backend->machine,
	         backend->leak());
	vm_refuse(text);
	return false;
}

/* How the guest's VM has ended; VM_FAILED: there was none. */
static enum vm_end start(uint32_t magic, uint32_t information)
{
	const struct cpu_backend *backend;
	const char *reason = "";
	char text[REASON_BYTES];

	if (!multiboot_read(magic, information, &boot, &reason)) {
		vm_refuse(reason);
		return VM_FAILED;
	}
	if (!options_read(&boot, &options, text, sizeof(text))) {
		vm_refuse(text);
		return VM_FAILED;
	}
	if (!frame_init(&boot, mapped_bytes(), FRAME_LOW_END)) {
		vm_refuse("no memory range is large enough for the frame allocator's tables");
		return VM_FAILED;
	}
	if (!paging_init(&boot)) {
		vm_refuse("no memory for the visor's own page tables");
		return VM_FAILED;
	}
	if (!timer_init()) {
		vm_refuse("this CPU has no local APIC");
		return VM_FAILED;
	}
	if (!clock_init()) {
		vm_refuse("no clock to measure the TSC by: this machine's PIT does not count, and CPUID does not tell the rate");
		return VM_FAILED;
	}
	backend = find_backend(options.mmu, &reason);
	if (!backend || !backend->enable(&reason)) {
		vm_refuse(reason);
		return VM_FAILED;
	}
	log_line("visor: %s, TSC %llu kHz, %llu MiB free, started by %s", backend->machine,
	         (unsigned long long)clock_tsc_hz() / 1000, (unsigned long long)frame_count(FRAME_FREE) >> 8,
	         boot.loader);
	return isolation_suffices(backend) ? vm_run(&options, backend) : VM_FAILED;
}

__attribute__((no_stack_protector)) void visor_main(uint32_t magic, uint32_t information)
{
	enum vm_end end;

	canary_init();
	serial_init();
	interrupts_init();
	end = start(magic, information);
	if (options.exit_at_end)
		outb(DEBUG_EXIT_PORT, end == VM_POWER_OFF ? 0 : 1);
	/* Whoever started the machine turns it off when it has read the `end` line. */
	for (;;)
		interrupts_wait();
}
