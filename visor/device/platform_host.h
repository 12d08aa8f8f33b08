/* SPDX-License-Identifier: BSD-2-Clause */
/* What the platform asks of whoever runs it, and how it ends a VM. */
#ifndef VISOR_DEVICE_PLATFORM_HOST_H
#define VISOR_DEVICE_PLATFORM_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How a VM ended. What `vmmu run` turns into its exit status. */
enum vm_end {
	VM_RUNNING = 0,
	VM_POWER_OFF, /* ACPI S5 */
	VM_REBOOT,    /* keyboard controller, port CF9h or ACPI reset register */
	VM_TRIPLE_FAULT,
	VM_DEBUG_EXIT, /* port F4h; end_code holds the value written */
	VM_HALTED,     /* HLT with interrupts off: it can never go on */
	VM_FAILED,     /* an exit, configuration or VMCS/VMCB state the visor could not handle */
	VM_KILLED,     /* asked to stop from outside */
};

struct platform_host {
	void (*console_out)(void *ctx, const uint8_t *bytes, size_t n); /* guest's COM1 */
	uint64_t (*now_ns)(void *ctx);                                  /* guest time, never going back */
	uint64_t (*wall_clock)(void *ctx);                              /* seconds since 1970, for the RTC */
	void *ctx;
	uint64_t (*tsc)(void *ctx); /* the guest's TSC now; NULL: no TSC-deadline timer */
	/* Write guest RAM, for the paravirtual clock; NULL: there is none. False: not RAM. */
	bool (*write_memory)(void *ctx, uint64_t gpa, const void *bytes, size_t n);
	/* Something that whoever runs the guest should know: one line, no newline. NULL: nobody asks. */
	void (*note)(void *ctx, const char *text);
};

struct platform_config {
	uint64_t memory_bytes; /* guest RAM, for fw_cfg and CMOS */
	uint32_t cpus;         /* reported by fw_cfg and ACPI: 1 */
	uint64_t tsc_hz;       /* of platform_host.tsc; 0: no TSC-deadline timer */
};

#endif
