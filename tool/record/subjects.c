/* SPDX-License-Identifier: BSD-2-Clause */
/* Whom a session records: VMs, their threads and slots, and the tables that they have already. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../base/text.h"
#include "session.h"

static char *list_of(const struct vms *vms)
{
	char *list = duplicate("");

	for (size_t i = 0; i < vms->count; i++) {
		char *longer = formatted("%s\n  --pid %-7d %s%s%s", list, vms->vm[i].pid, vms->vm[i].name,
		                         strcmp(vms->vm[i].name, vms->vm[i].comm) ? ", by " : "",
		                         strcmp(vms->vm[i].name, vms->vm[i].comm) ? vms->vm[i].comm : "");

		free(list);
		list = longer;
	}
	return list;
}

/* Is it clear what to record? One VM alone needs no naming. */
bool session_choose(struct session *s, char **error)
{
	const struct record_options *o = s->options;
	struct vms all = vms_now(), chosen;
	char *list = list_of(&all);
	bool ok = true;

	chosen = vms_now();
	vms_keep(&chosen, o->pid, o->name);
	if (o->command || o->all) {
		ok = true;
	} else if (!all.count) {
		*error = duplicate("no VM is running; `vmmu record -- COMMAND...` starts one, --all waits for some");
		ok = false;
	} else if (!chosen.count) {
		*error = formatted("no VM is that one; there are:%s", list);
		ok = false;
	} else if (!o->pid && !o->name && all.count > 1) {
		*error = formatted("which VM? --all for all of them, or one of:%s", list);
		ok = false;
	}
	free(list);
	vms_free(&all);
	vms_free(&chosen);
	return ok;
}

static bool known_vm(const struct session *s, const struct vm *vm)
{
	for (size_t i = 0; i < s->vms.count; i++)
		if (s->vms.vm[i].pid == vm->pid && s->vms.vm[i].fd == vm->fd)
			return true;
	return false;
}

static bool known_thread(const struct session *s, pid_t thread)
{
	for (size_t i = 0; i < s->thread_count; i++)
		if (s->threads[i] == thread)
			return true;
	return false;
}

static void mark_vm(struct session *s, struct vm *vm)
{
	char *comm = marker_quoted(vm->comm), *full = formatted("%.200s", vm->name), *name = marker_quoted(full);

	marker_write(&s->marker, "vmmu: vm id=%d-%d pid=%d comm=%s name=%s", vm->pid, vm->fd, vm->pid, comm, name);
	s->vms.vm = reallocate(s->vms.vm, (s->vms.count + 1) * sizeof(*vm));
	s->vms.vm[s->vms.count++] = *vm;
	vm->comm = vm->name = NULL;
	free(comm);
	free(full);
	free(name);
}

static void mark_thread(struct session *s, pid_t process, pid_t thread)
{
	char *comm = comm_of(thread), *quoted = marker_quoted(comm);

	marker_write(&s->marker, "vmmu: thread tid=%d tgid=%d comm=%s", thread, process, quoted);
	s->threads = reallocate(s->threads, (s->thread_count + 1) * sizeof(*s->threads));
	s->threads[s->thread_count++] = thread;
	free(comm);
	free(quoted);
}

/* New VMs and new threads go into the recording; the filter follows. */
void session_look_for_vms(struct session *s)
{
	const struct record_options *o = s->options;
	struct vms now = vms_now();
	bool more = false;

	if (!o->command && !o->all)
		vms_keep(&now, o->pid, o->name);
	for (size_t i = 0; i < now.count; i++) {
		struct vm *vm = &now.vm[i];
		size_t count;
		pid_t *threads = threads_of(vm->pid, &count);

		for (size_t j = 0; j < count; j++) {
			if (known_thread(s, threads[j]))
				continue;
			mark_thread(s, vm->pid, threads[j]);
			more = true;
		}
		free(threads);
		if (!known_vm(s, vm)) {
			char *id = formatted("%d-%d", vm->pid, vm->fd);

			counts_mark(&s->marker, "begin", id);
			free(id);
			mark_vm(s, vm);
		}
	}
	vms_free(&now);
	if (more && !o->command && !o->all)
		tracing_filter_threads(&s->tracing, s->threads, s->thread_count);
}

/* May tables and slots be read? Asked once, where there is a VM; it takes a moment. */
void session_prepare_reader(struct session *s)
{
	if (s->reader || s->no_reader)
		return;
	if (s->options->snapshot)
		s->reader = snapshot_open(&s->no_reader);
	else
		s->no_reader = duplicate("--snapshot=none");
}

/* Slots come and go without an event; here they are looked at now and then. */
void session_look_for_slots(struct session *s)
{
	if (!s->vms.count)
		return;
	session_prepare_reader(s);
	if (s->reader)
		snapshot_slots(s->reader, &s->vms, &s->marker);
}

/* What the kernel has noted about threads that came and went between two looks. */
void session_mark_noted_threads(struct session *s)
{
	char *text = tracefs_instance_file_read(NULL, "saved_tgids", NULL);

	for (char *at = text, *line; at && (line = strsep(&at, "\n"));) {
		int thread, process;

		if (sscanf(line, "%d %d", &thread, &process) == 2 && thread != process && process > 0 &&
		    !known_thread(s, thread))
			marker_write(&s->marker, "vmmu: thread tid=%d tgid=%d", thread, process);
	}
	free(text);
}

void session_mark_recording(struct session *s)
{
	bool amd = access("/sys/module/kvm_amd", F_OK) == 0;
	char *file = formatted("/sys/module/%s/parameters/%s", amd ? "kvm_amd" : "kvm_intel", amd ? "npt" : "ept");
	FILE *from = fopen(file, "re");
	int value = from ? fgetc(from) : 'N';
	const char *nested = amd ? "npt" : "ept";
	struct utsname host;
	char *kernel;

	if (from)
		fclose(from);
	free(file);
	kernel = uname(&host) == 0 ? marker_quoted(host.release) : duplicate("\"?\"");
	marker_write(&s->marker, "vmmu: record version=1 kernel=%s module=%s tdp_mmu=%c paging=%s filter=noise", kernel,
	             amd ? "kvm_amd" : "kvm_intel", s->tracing.tdp_mmu ? 'Y' : 'N',
	             value == 'Y' || value == '1' ? nested : "shadow");
	free(kernel);
}

static void let_drain(void)
{
	usleep(2 * DRAIN_LOOK_EVERY_MS * 1000);
}

/* What the VMs' tables hold before any event, or that it is not known. */
void session_find_tables(struct session *s)
{
	const char *whose = s->vms.count == 1 ? s->vms.vm[0].name : "the VMs that run already";
	const char *why_not = s->no_reader ? s->no_reader : s->tracing.tdp_mmu ? "not all are in KVM's list"
	                                                                       : "KVM keeps them outside its TDP MMU";
	struct snapshot snapshot = {0};

	if (!s->vms.count)
		return;
	if (s->reader && s->tracing.tdp_mmu)
		snapshot = snapshot_take(s->reader, &s->vms, &s->marker, s->tracing.buffer / 8, let_drain);
	if (snapshot.vms)
		note("found %s entries in %s tables of %s", text_count(snapshot.entries).text,
		     text_count(snapshot.tables).text, whose);
	if (snapshot.vms < s->vms.count)
		complain("the tables of %s are not read (%s): entries written before now will show only when they "
		         "change",
		         whose, why_not);
	if (snapshot.unsteady)
		complain("%s tables changed at every attempt to read them and are not known",
		         text_count(snapshot.unsteady).text);
}
