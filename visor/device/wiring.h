/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where each device sits: ports, addresses and interrupt lines, as on every
 * PC. One list for the dispatcher, the ACPI tables and dsdt.asl.
 */
#ifndef VISOR_DEVICE_WIRING_H
#define VISOR_DEVICE_WIRING_H

#define PORT_PIC_MASTER 0x20
#define PORT_PIC_SLAVE 0xa0
#define PORT_PIT 0x40
#define PORT_I8042_DATA 0x60
#define PORT_SYSTEM_B 0x61 /* gate and output of PIT channel 2 */
#define PORT_I8042_COMMAND 0x64
#define PORT_RTC 0x70
#define PORT_SYSTEM_A 0x92  /* fast reset */
#define PORT_BIOS_CALL 0xb8 /* what stands for the BIOS says that it was called: AL vector, AH function */
#define PORT_DEBUG_EXIT 0xf4
#define PORT_CRTC 0x3d4 /* index and data of a VGA's cursor and timing registers */
#define PORT_COM1 0x3f8
#define PORT_ELCR 0x4d0
#define PORT_FW_CFG 0x510
#define PORT_PM1A_EVENT 0x600
#define PORT_PM1A_CONTROL 0x604
#define PORT_PM_TIMER 0x608
#define PORT_RESET 0xcf9

#define RESET_VALUE 0x06 /* to PORT_RESET: hard reset */
#define SLEEP_TYPE_S5 5  /* \_S5 in dsdt.asl */

#define IRQ_PIT 0
#define IRQ_KEYBOARD 1
#define IRQ_CASCADE 2
#define IRQ_COM1 4
#define IRQ_RTC 8
#define IRQ_SCI 9
#define IRQ_AUX 12 /* the auxiliary device of the keyboard controller: a mouse */
#define ISA_IRQS 16

#define IOAPIC_PIN_PIT 2 /* the MADT says so: ISA interrupt 0 is not on pin 0 */
#define IOAPIC_PIN_PIC 0 /* INTR of the 8259 pair */

#define LAPIC_DEFAULT_BASE 0xfee00000u
#define IOAPIC_BASE 0xfec00000u
#define IOAPIC_ID 1

#endif
