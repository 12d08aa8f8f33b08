/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ACPI fixed hardware: PM1a event and control registers and the PM timer
 * (ACPI specification 6.4, 4.8.3 "Fixed Hardware Registers").
 */
#ifndef VISOR_DEVICE_ACPI_PM_H
#define VISOR_DEVICE_ACPI_PM_H

#include <stdbool.h>
#include <stdint.h>

#define ACPI_PM_BYTES 12 /* ports taken from PORT_PM1A_EVENT on */

struct acpi_pm {
	uint16_t status, enable, control;
	uint64_t seen_halves; /* times the timer's top bit has changed, handled so far */
	bool soft_off;        /* the guest has entered S5 */
};

void acpi_pm_init(struct acpi_pm *a);
/* `offset` from PORT_PM1A_EVENT, `size` 1, 2 or 4 bytes. `now` in ns. */
uint32_t acpi_pm_read(struct acpi_pm *a, unsigned offset, unsigned size, uint64_t now);
void acpi_pm_write(struct acpi_pm *a, unsigned offset, unsigned size, uint32_t value, uint64_t now);
void acpi_pm_advance(struct acpi_pm *a, uint64_t now);
/* Level of the system control interrupt. */
bool acpi_pm_interrupt(const struct acpi_pm *a);
uint64_t acpi_pm_next_event(const struct acpi_pm *a);

#endif
