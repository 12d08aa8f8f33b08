/* SPDX-License-Identifier: BSD-2-Clause */
#include "vms.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *comm_of(pid_t pid)
{
	char *path = formatted("/proc/%d/comm", pid), *error = NULL, *comm;
	struct bytes text;

	if (bytes_read(path, &text, &error)) {
		comm = formatted("%.*s", (int)text.size, (const char *)text.data);
		comm[strcspn(comm, "\n")] = 0;
		bytes_free(&text);
	} else {
		comm = duplicate("?");
		free(error);
	}
	free(path);
	return comm;
}

char *qemu_name(const char *arguments, size_t size)
{
	for (const char *at = arguments, *end = arguments + size; at < end; at += strnlen(at, (size_t)(end - at)) + 1) {
		const char *value = at + strnlen(at, (size_t)(end - at)) + 1;

		if ((strcmp(at, "-name") != 0 && strcmp(at, "--name") != 0) || value >= end)
			continue;
		if (strncmp(value, "guest=", 6) == 0)
			value += 6;
		return formatted("%.*s", (int)strcspn(value, ","), value);
	}
	return NULL;
}

static char *name_of(pid_t pid, const char *comm)
{
	char *path = formatted("/proc/%d/cmdline", pid), *error = NULL, *name = NULL;
	struct bytes text;

	if (bytes_read(path, &text, &error)) {
		/* Each argument ends with a NUL; one more ends the last where the process cut it. */
		text.data = reallocate(text.data, text.size + 1);
		text.data[text.size] = 0;
		name = qemu_name((const char *)text.data, text.size);
		bytes_free(&text);
	}
	free(error);
	free(path);
	return name && *name ? name : (free(name), duplicate(comm));
}

static void add(struct vms *vms, pid_t pid, int fd)
{
	struct vm *vm;

	vms->vm = reallocate(vms->vm, (vms->count + 1) * sizeof(*vms->vm));
	vm = &vms->vm[vms->count++];
	vm->pid = pid;
	vm->fd = fd;
	vm->comm = comm_of(pid);
	vm->name = name_of(pid, vm->comm);
}

static bool is_number(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text);
}

/* Descriptors of this process that are VMs. Several for one VM are told apart by nobody: the first counts. */
static void look_at(struct vms *vms, pid_t pid)
{
	char *folder = formatted("/proc/%d/fd", pid);
	DIR *dir = opendir(folder);

	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		char *path = formatted("%s/%s", folder, entry->d_name), target[64];
		ssize_t length = is_number(entry->d_name) ? readlink(path, target, sizeof(target) - 1) : -1;

		free(path);
		if (length > 0) {
			target[length] = 0;
			if (strcmp(target, "anon_inode:kvm-vm") == 0)
				add(vms, pid, atoi(entry->d_name));
		}
	}
	if (dir)
		closedir(dir);
	free(folder);
}

/* KVM's debugfs has a folder "PID-FD" for each VM. */
static bool from_debugfs(struct vms *vms)
{
	DIR *dir = opendir("/sys/kernel/debug/kvm");

	if (!dir)
		return false;
	for (struct dirent *entry; (entry = readdir(dir));) {
		int pid, fd, end = 0;

		if (sscanf(entry->d_name, "%d-%d%n", &pid, &fd, &end) == 2 && !entry->d_name[end] && pid > 0)
			add(vms, pid, fd);
	}
	closedir(dir);
	return true;
}

static void from_proc(struct vms *vms)
{
	DIR *dir = opendir("/proc");

	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (is_number(entry->d_name))
			look_at(vms, atoi(entry->d_name));
	if (dir)
		closedir(dir);
}

static int compare_vms(const void *a, const void *b)
{
	const struct vm *x = a, *y = b;

	return x->pid != y->pid ? (x->pid > y->pid) - (x->pid < y->pid) : (x->fd > y->fd) - (x->fd < y->fd);
}

struct vms vms_now(void)
{
	struct vms vms = {0};

	if (!from_debugfs(&vms))
		from_proc(&vms);
	if (vms.count)
		qsort(vms.vm, vms.count, sizeof(*vms.vm), compare_vms);
	return vms;
}

static void free_vm(struct vm *vm)
{
	free(vm->comm);
	free(vm->name);
}

void vms_free(struct vms *vms)
{
	for (size_t i = 0; i < vms->count; i++)
		free_vm(&vms->vm[i]);
	free(vms->vm);
	*vms = (struct vms){0};
}

void vms_keep(struct vms *vms, pid_t pid, const char *name)
{
	size_t kept = 0;

	for (size_t i = 0; i < vms->count; i++) {
		struct vm *vm = &vms->vm[i];

		if ((!pid || vm->pid == pid) &&
		    (!name || strcmp(vm->name, name) == 0 || strcmp(vm->comm, name) == 0))
			vms->vm[kept++] = *vm;
		else
			free_vm(vm);
	}
	vms->count = kept;
}

pid_t *threads_of(pid_t pid, size_t *count)
{
	char *folder = formatted("/proc/%d/task", pid);
	DIR *dir = opendir(folder);
	pid_t *threads = NULL;

	*count = 0;
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		if (!is_number(entry->d_name))
			continue;
		threads = reallocate(threads, (*count + 1) * sizeof(*threads));
		threads[(*count)++] = atoi(entry->d_name);
	}
	if (dir)
		closedir(dir);
	free(folder);
	return threads;
}
