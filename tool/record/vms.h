/* SPDX-License-Identifier: BSD-2-Clause */
/* The VMs that KVM has now: processes with a VM's descriptor, their names and threads. */
#ifndef TOOL_RECORD_VMS_H
#define TOOL_RECORD_VMS_H

#include <sys/types.h>

#include "../base/base.h"

struct vm {
	pid_t pid;
	int fd;     /* id "PID-FD", as KVM's debugfs has it */
	char *comm; /* the process's name */
	char *name; /* what QEMU was told with -name, else comm */
};

struct vms {
	struct vm *vm;
	size_t count;
};

struct vms vms_now(void);
void vms_free(struct vms *vms);
/* Keep those of this process (0: any) whose VM or process has this name (NULL: any). */
void vms_keep(struct vms *vms, pid_t pid, const char *name);

/* Thread ids of a process, sorted as /proc has them. The caller frees. */
pid_t *threads_of(pid_t pid, size_t *count);
/* /proc/PID/comm, or "?" when it is gone. The caller frees. */
char *comm_of(pid_t pid);

/* The name in QEMU's arguments: "-name NAME", "-name guest=NAME,...". NULL: none. The caller frees. */
char *qemu_name(const char *arguments, size_t size);

#endif
