/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The test device: lets a test guest change its own VM while it runs.
 *
 * Present only when the visor's command line has `test-device=on`. The guest
 * fills in a struct test_command anywhere in its RAM below 4 GiB and writes its
 * gpa to port TEST_DEVICE_PORT as 32 bits; when the OUT is over, `status`
 * holds the answer. Reading the port gives TEST_DEVICE_SIGNATURE when the
 * device is there.
 *
 * A byte n written to TEST_PHASE_PORT ends a phase of the guest's run: all that
 * the visor has counted since the last such write, or since the start, is told
 * in the end as phase n. 0: it belongs to no phase.
 *
 * Shared by the visor and the guests in tests/guest.
 */
#ifndef VISOR_VM_TEST_DEVICE_H
#define VISOR_VM_TEST_DEVICE_H

#include <stdint.h>

#define TEST_DEVICE_PORT 0x5e0
#define TEST_PHASE_PORT (TEST_DEVICE_PORT + 4)
#define TEST_DEVICE_SIGNATURE 0x554d4d56u /* "VMMU" */

enum test_code {
	TEST_SLOT_CREATE = 1, /* arg: id, flags, base gpa, bytes. Fresh zero memory. */
	TEST_SLOT_DELETE,     /* arg: id */
	TEST_SLOT_MOVE,       /* arg: id, new base gpa */
	TEST_SLOT_FLAGS,      /* arg: id, flags */
	TEST_RESTRICT,        /* arg: base gpa, bytes, max level */
	TEST_DIRTY_LOG,       /* arg: id, gpa of the bitmap, 64-bit words */
	TEST_INVALIDATE,      /* arg: base gpa, bytes, exits: begin, and end so many slow exits later, or at once */
	TEST_PREFAULT,        /* arg: gpa, bytes, access; result: bytes done */
	TEST_AUDIT,           /* result: number of findings */
	TEST_TRACE,           /* arg: 1 = on, 0 = off */
	TEST_PATH,            /* arg: gpa; result: level of the entry that ends the walk, entry, its kind */
	TEST_STAT,            /* result: violations so far, tables live, entry writes */
	TEST_VISOR_STATE,     /* result: CR0, CR4 and EFER that the visor itself runs with */
	TEST_VIOLATE,         /* arg: enum test_violation, gpa of a page: the visor does so, and is stopped */
};

/* What the visor must not be able to do (docs/security.md). */
enum test_violation {
	TEST_WRITE_TEXT = 1,
	TEST_WRITE_CONSTANT,
	TEST_EXECUTE_DATA,
	TEST_EXECUTE_STACK,
	TEST_EXECUTE_GUEST, /* what the guest has in its RAM */
	TEST_READ_PAGE_0,
	TEST_READ_LOW, /* the first MiB */
	TEST_OVERFLOW_STACK,
	TEST_SMASH_BUFFER,
	TEST_NEVER_END, /* this exit */
	/* And what it can, as what is inside of it could; the end tells. */
	TEST_CHANGE_CODE,
	TEST_CHANGE_CONSTANT,
	TEST_CHANGE_PAGE_TABLE,
	TEST_CHANGE_GATE,
};

struct test_command {
	uint32_t code;
	uint32_t status; /* enum vmmu_status, or enum vmmu_fault_result for TEST_PREFAULT */
	uint64_t arg[4];
	uint64_t result[4];
};

#endif
