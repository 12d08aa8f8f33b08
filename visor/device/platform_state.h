/* SPDX-License-Identifier: BSD-2-Clause */
/* What a struct platform is made of. For platform*.c and their tests only. */
#ifndef VISOR_DEVICE_PLATFORM_STATE_H
#define VISOR_DEVICE_PLATFORM_STATE_H

#include "visor/device/acpi_pm.h"
#include "visor/device/fw_cfg.h"
#include "visor/device/i8042.h"
#include "visor/device/ioapic.h"
#include "visor/device/lapic.h"
#include "visor/device/pic8259.h"
#include "visor/device/pit8254.h"
#include "visor/device/platform_host.h"
#include "visor/device/pv_clock.h"
#include "visor/device/reset_control.h"
#include "visor/device/rtc146818.h"
#include "visor/device/uart16550.h"
#include "visor/device/vga_crtc.h"

#define PLATFORM_REASON_BYTES 120

struct platform {
	struct platform_host host;
	struct uart com1;
	struct pic pic;
	struct pit pit;
	struct rtc rtc;
	struct lapic lapic;
	struct ioapic ioapic;
	struct acpi_pm acpi_pm;
	struct i8042 i8042;
	struct fw_cfg fw_cfg;
	struct reset_control reset_control;
	struct pv_clock pv_clock;
	struct vga_crtc vga_crtc;
	bool display_noted; /* the host has been told that the guest uses a display */
	uint64_t now;       /* guest time, ns, as of the access being handled */
	uint64_t next_event;
	uint32_t lines;     /* ISA interrupt lines as last told to PIC and I/O APIC */
	bool pending_known; /* `pending` holds: nothing has happened since it was worked out */
	bool pending;       /* an interrupt for the guest's CPU */
	enum vm_end end;
	uint32_t end_code;
	char reason[PLATFORM_REASON_BYTES];
};

/* One port access that lies in no more than one device. False: nothing is there. */
bool platform_bus_read(struct platform *p, uint16_t port, unsigned size, uint32_t *value);
bool platform_bus_write(struct platform *p, uint16_t port, unsigned size, uint32_t value);
/* Read the clock into p->now and let happen what was due before. */
void platform_bring_up_to_now(struct platform *p);
/* The guest uses a display: there is none, and the host is told so, once. */
void platform_note_display(struct platform *p);
/* The VM ends now; the first reason counts. */
void platform_stop(struct platform *p, enum vm_end end, uint32_t code);

#endif
