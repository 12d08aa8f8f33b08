/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way out for trace records: a disk that the host prepared for them
 * (docs/visor.md, "The trace disk"). Records of several rings are merged by
 * time, so that the file tells the story in order.
 */
#ifndef VISOR_VM_TRACE_DISK_H
#define VISOR_VM_TRACE_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmu/trace.h>

#define TRACE_RINGS 2

/*
 * Find the disk and write its header. `rings` stay the caller's; `machine` is
 * used when whoever prepared the disk left that field empty. False: *reason
 * says why.
 */
bool trace_disk_open(struct vmmu_trace_ring *const rings[TRACE_RINGS], const char *machine,
                     const char **reason);

/*
 * `ring` is full: write about one block of the oldest records and do not wait
 * for its end. The drive is done with it long before the ring is full again,
 * so that the guest never waits for the disk. What does not fit on the disk is
 * counted as dropped.
 */
void trace_disk_make_room(const struct vmmu_trace_ring *ring);

/* From time to time: the same when the drive is idle, so that a reader can follow. */
void trace_disk_tick(void);

/* Empty the rings, write the last sector and the closed header. False: the disk failed or was too small. */
bool trace_disk_close(void);

uint64_t trace_disk_records(void);
uint64_t trace_disk_dropped(void);

#endif
