/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulated machine around one virtual CPU: UART, PIC, PIT, RTC, local
 * APIC, I/O APIC, ACPI power management, fw_cfg and the debug-exit port.
 *
 * Knows nothing of VMX, SVM or bare metal, so that it compiles into the visor
 * and into user-space tests and fuzzers alike. Freestanding: no libc.
 * One thread; no locks.
 */
#ifndef VISOR_DEVICE_PLATFORM_H
#define VISOR_DEVICE_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "visor/device/platform_host.h"

struct platform; /* defined in platform.c's private header; size below */
size_t platform_size(void);
void platform_init(struct platform *p, const struct platform_config *c, const struct platform_host *h);

/*
 * Port access, size 1, 2 or 4. Unknown ports read as all ones and swallow
 * writes; false says that nothing is there, for statistics.
 */
bool platform_port_read(struct platform *p, uint16_t port, unsigned size, uint32_t *value);
bool platform_port_write(struct platform *p, uint16_t port, unsigned size, uint32_t value);

/* Device memory (local APIC page, I/O APIC). Sizes 1..8. False: nothing there. */
bool platform_mmio_read(struct platform *p, uint64_t gpa, unsigned size, uint64_t *value);
bool platform_mmio_write(struct platform *p, uint64_t gpa, unsigned size, uint64_t value);
/*
 * A read of 32 bits of a register of the local APIC, where it changes nothing of the machine:
 * no timer is due, nothing is to be reported. False: platform_mmio_read does it.
 */
bool platform_mmio_look(struct platform *p, uint64_t gpa, uint32_t *value);

/* APIC base, x2APIC, TSC-deadline and paravirtual-clock MSRs. False: not the platform's, or #GP where it is. */
bool platform_msr_owned(uint32_t msr);
bool platform_msr_read(struct platform *p, uint32_t msr, uint64_t *value);
bool platform_msr_write(struct platform *p, uint32_t msr, uint64_t value);

/* Task priority through CR8 (bits 3:0), kept equal to the local APIC's TPR. */
uint8_t platform_cr8(const struct platform *p);
void platform_set_cr8(struct platform *p, uint8_t value);

/* Characters for the guest's COM1 receiver; returns how many were taken. */
size_t platform_console_in(struct platform *p, const uint8_t *bytes, size_t n);

/* Bring timers up to now; raises what is due. Call after every exit that may have taken time. */
void platform_advance(struct platform *p);
/* Guest time in ns at which something will be due; UINT64_MAX: nothing. */
uint64_t platform_next_event(const struct platform *p);

/* Is there an interrupt that the guest should take as soon as it can? */
bool platform_interrupt_pending(struct platform *p);
/* Take it: the vector to inject, or -1 when it has gone away. */
int platform_interrupt_acknowledge(struct platform *p);

/* Is a non-maskable interrupt to be delivered? Asking takes it. */
bool platform_take_nmi(struct platform *p);

/* Set by a device write: stop running the guest. */
enum vm_end platform_end(const struct platform *p, uint32_t *code);
/* With VM_FAILED: why, in English, one line. */
const char *platform_end_reason(const struct platform *p);

#endif
