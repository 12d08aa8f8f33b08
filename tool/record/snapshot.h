/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tables that exist when a recording begins. No event tells of them; they are read from
 * the kernel's memory while the events are already being recorded, so that what changes
 * meanwhile is known from these. Markers "slot", "root", "found", "found-end".
 */
#ifndef TOOL_RECORD_SNAPSHOT_H
#define TOOL_RECORD_SNAPSHOT_H

#include "marker.h"
#include "vms.h"

struct snapshot {
	uint64_t vms, tables, entries;
	uint64_t unsteady; /* tables that changed at every attempt to read them: left out */
};

struct snapshot_reader;

/*
 * Learn the kernel's types and load the program that reads: it may take a second, so it is
 * done before anything is recorded. NULL: *error says what the kernel does not allow or lacks.
 */
struct snapshot_reader *snapshot_open(char **error);

/*
 * Read the tables of these VMs that the TDP MMU keeps. `room`: bytes of markers that may be
 * written at once; after so many, pause() lets the buffers be emptied.
 */
struct snapshot snapshot_take(struct snapshot_reader *r, const struct vms *vms, struct marker *m, uint64_t room,
                              void (*pause)(void));
/*
 * Slots of these VMs as far as they have changed since they were last asked for: markers
 * "slot", with pages=0x0 for one that is gone. Cheap when nothing has changed.
 */
void snapshot_slots(struct snapshot_reader *r, const struct vms *vms, struct marker *m);
void snapshot_close(struct snapshot_reader *r);

#endif
