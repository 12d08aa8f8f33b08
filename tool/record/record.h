/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `vmmu record`: what KVM does to the second-level tables of running VMs, from
 * its trace events into a file. The parts:
 *
 *   session.c    the order of it all, from the options to the end
 *   subjects.c   whom it records: VMs, threads, slots, tables that exist already
 *   command.c    the program that is started for it
 *   save.c       the file, the summary, the comparison with KVM's counts
 *   tracing.c    the tracefs instance: events, filters, buffers, loss
 *   drain.c      one thread for each CPU moves its buffer into a file
 *   trace_dat.c  the file, trace-cmd's format version 6
 *   vms.c        which VMs there are, their names and threads
 *   snapshot.c   slots, and tables that exist already, read from the kernel's memory
 *   kernel_memory.c   how that is read, and where things are in it
 *   marker.c     what no event says goes into the stream as text
 *   counts.c     KVM's own page counts, and whether the events add up to them
 */
#ifndef TOOL_RECORD_H
#define TOOL_RECORD_H

#include "../base/base.h"

struct record_options {
	int pid;          /* a VMM's process id; 0: not given */
	const char *name; /* a VM's or a VMM's name; NULL: not given */
	bool all;
	double seconds; /* how long; 0: until told to stop */
	const char *output;
	bool exits, nested, stacks;
	bool snapshot;   /* read the tables that exist already */
	uint64_t buffer; /* bytes for each CPU; 0: as much as fits the machine */
	char **command;  /* NULL-terminated; NULL: none */
};

/* The command's own exit status where there is one, else as in base/exit_status.h. */
int record_session(const struct record_options *options);

#endif
