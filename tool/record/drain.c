/* SPDX-License-Identifier: BSD-2-Clause */
#include "drain.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct drain_cpu {
	struct drain *drain;
	int in, out;
	struct tracefs_cpu *buffer;
	pthread_t thread;
	bool running;
	atomic_ullong bytes;
};

struct drain {
	unsigned cpus;
	int reserve; /* room on the disk that is kept for the end; -1: none */
	atomic_bool stop;
	atomic_int failed;
	struct drain_cpu cpu[];
};

/* Whole sub-buffers, without a copy, as long as there are some. */
static void move_whole(struct drain_cpu *c)
{
	for (;;) {
		int moved = tracefs_cpu_write(c->buffer, c->out, true);

		if (moved > 0) {
			atomic_fetch_add(&c->bytes, (unsigned long long)moved);
			continue;
		}
		/* EAGAIN: nothing whole left. EINVAL: the CPU is offline. */
		if (moved < 0 && (errno == ENOSPC || errno == EIO || errno == EDQUOT || errno == EFBIG))
			atomic_store(&c->drain->failed, errno);
		return;
	}
}

static void *drain_thread(void *argument)
{
	struct drain_cpu *c = argument;

	/* poll() says yes when the buffer is half full; before that there is no hurry. */
	while (!atomic_load(&c->drain->stop)) {
		struct pollfd wait = {.fd = c->in, .events = POLLIN};

		poll(&wait, 1, DRAIN_LOOK_EVERY_MS);
		move_whole(c);
		if (wait.revents & (POLLERR | POLLNVAL) || atomic_load(&c->drain->failed))
			usleep(DRAIN_LOOK_EVERY_MS * 1000);
	}
	move_whole(c);
	for (;;) {
		int moved = tracefs_cpu_flush_write(c->buffer, c->out);

		if (moved <= 0)
			return NULL;
		atomic_fetch_add(&c->bytes, (unsigned long long)moved);
	}
}

/* A file that is nowhere in the file system; where that cannot be, one whose name is taken away. */
static int nameless_file(const char *folder)
{
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char *name;

	if (fd >= 0)
		return fd;
	name = formatted("%s/.vmmu-record-XXXXXX", folder);
	fd = mkostemp(name, O_CLOEXEC);
	if (fd >= 0)
		unlink(name);
	free(name);
	return fd;
}

static bool start_cpu(struct drain *d, struct tracing *t, unsigned cpu, const char *folder, char **error)
{
	struct drain_cpu *c = &d->cpu[cpu];
	char *name = formatted("per_cpu/cpu%u/trace_pipe_raw", cpu);

	c->in = tracefs_instance_file_open(t->instance, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	free(name);
	if (c->in < 0)
		return true;
	c->out = nameless_file(folder);
	if (c->out < 0) {
		*error = formatted("no file can be made in %s: %s", folder, strerror(errno));
		return false;
	}
	c->buffer = tracefs_cpu_alloc_fd(c->in, (int)t->page_size, true);
	if (!c->buffer || pthread_create(&c->thread, NULL, drain_thread, c)) {
		*error = formatted("CPU %u's buffer cannot be read", cpu);
		return false;
	}
	c->running = true;
	return true;
}

/*
 * When the disk is full, the recording ends, and what there is must still be put together.
 * That takes a little room (see copy() in trace_dat.c).
 */
static int reserve_room(const char *folder)
{
	int fd = nameless_file(folder);

	if (fd >= 0 && posix_fallocate(fd, 0, DRAIN_RESERVE) != 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

struct drain *drain_start(struct tracing *t, const char *folder, char **error)
{
	struct drain *d = allocate(sizeof(*d) + t->cpus * sizeof(d->cpu[0]));

	d->cpus = t->cpus;
	d->reserve = reserve_room(folder);
	for (unsigned i = 0; i < d->cpus; i++)
		d->cpu[i] = (struct drain_cpu){.drain = d, .in = -1, .out = -1};
	for (unsigned i = 0; i < d->cpus; i++) {
		if (start_cpu(d, t, i, folder, error))
			continue;
		drain_stop(d);
		drain_free(d);
		return NULL;
	}
	return d;
}

uint64_t drain_bytes(struct drain *d, int *failed)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < d->cpus; i++)
		bytes += atomic_load(&d->cpu[i].bytes);
	*failed = atomic_load(&d->failed);
	return bytes;
}

void drain_stop(struct drain *d)
{
	atomic_store(&d->stop, true);
	for (unsigned i = 0; i < d->cpus; i++) {
		if (d->cpu[i].running)
			pthread_join(d->cpu[i].thread, NULL);
		d->cpu[i].running = false;
	}
	if (d->reserve >= 0)
		close(d->reserve);
	d->reserve = -1;
}

int drain_file(struct drain *d, unsigned cpu, uint64_t *bytes)
{
	struct drain_cpu *c = &d->cpu[cpu];
	off_t end = c->out >= 0 ? lseek(c->out, 0, SEEK_END) : -1;

	*bytes = end > 0 ? (uint64_t)end : 0;
	if (c->out >= 0)
		lseek(c->out, 0, SEEK_SET);
	return c->out;
}

void drain_free(struct drain *d)
{
	if (!d)
		return;
	for (unsigned i = 0; i < d->cpus; i++) {
		struct drain_cpu *c = &d->cpu[i];

		if (c->buffer)
			tracefs_cpu_free_fd(c->buffer);
		if (c->in >= 0)
			close(c->in);
		if (c->out >= 0)
			close(c->out);
	}
	free(d);
}
