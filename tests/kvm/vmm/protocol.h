/* SPDX-License-Identifier: BSD-2-Clause */
/* What the small VMM and its guest agree on: addresses, orders, the mailbox of each vCPU. */
#ifndef TESTS_KVM_PROTOCOL_H
#define TESTS_KVM_PROTOCOL_H

#include <stdint.h>

/* Guest-physical. Slot 0 is the low memory: code, tables, mailboxes, results. */
#define LOW_BYTES 0x2000000ul
#define MAILBOX_GPA 0x8000ul /* one page for each vCPU */
#define STACK_GPA 0x20000ul  /* one page for each vCPU, used downwards from its end */
#define CODE_GPA 0x100000ul
#define TABLES_GPA 0x400000ul
#define RESULTS_GPA 0x1000000ul /* RESULTS_MAX 32-bit durations for each vCPU */
/* Slot 1 is the window that orders touch; no slot covers the device window. */
#define WINDOW_GPA 0x40000000ul
#define DEVICE_GPA 0xd0000000ul
#define APIC_ID_GPA 0xfee00020ul /* the local APIC that --irqchip gives each vCPU: its ID register */

/* Guest-virtual: identity, but for a second view of the window through 2 MiB pages. */
#define WINDOW_4K 0x40000000ul
#define WINDOW_2M 0x80000000ul

#define VCPUS_MAX 4
#define RESULTS_MAX 0x40000ul
#define WINDOW_MAX 0x20000000ul

#define PORT_DONE 0xe8   /* the order is carried out */
#define PORT_BROKEN 0xea /* an exception that nobody expects */

enum order {
	ORDER_NOTHING,
	ORDER_WRITE,
	ORDER_READ,
	ORDER_CPUID,
	ORDER_READ_DEVICE, /* 32 bits, as a driver reads a register */
	ORDER_RUN,         /* call a function there: it is written first */
	/* measure_paged.h: on tables of the guest's own making */
	ORDER_SWITCH,  /* MOV to CR3, to and fro between two address spaces */
	ORDER_DELIVER, /* #PF, and return behind the access */
	ORDER_DEMAND,  /* #PF, the entry is made, the access again */
	ORDER_COPY,    /* #PF, the entry leads elsewhere and may be written, INVLPG, the access again */
};

/* Written by the VMM between runs, read by the guest. */
struct mailbox {
	volatile uint64_t order, address, step, count;
	volatile uint64_t results; /* guest address of the durations, in TSC ticks */
};

#endif
