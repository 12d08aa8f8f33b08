/* SPDX-License-Identifier: BSD-2-Clause */
#include "trace_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../trace/trace_file.h"

enum { SECTOR = 512 };

/* Somebody's file that is no trace must not be overwritten by a slip of the hand. */
static bool may_replace(const char *path, char **error)
{
	char magic[sizeof(VMMU_TRACE_MAGIC)] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return true;
	got = read(fd, magic, sizeof(magic));
	close(fd);
	if (got == 0 || (got == sizeof(magic) && memcmp(magic, VMMU_TRACE_MAGIC, sizeof(magic)) == 0))
		return true;
	*error = formatted("%s exists and is no trace; remove it, or name another file", path);
	return false;
}

bool trace_disk_make(const char *path, uint64_t bytes, const char *machine, char **error)
{
	struct vmmu_trace_file_header header = {
		.magic = VMMU_TRACE_MAGIC,
		.version = VMMU_TRACE_VERSION,
		.record_size = sizeof(struct vmmu_trace_record),
		.capacity = bytes / SECTOR * SECTOR,
	};
	bool ok;
	int fd;

	if (!may_replace(path, error))
		return false;
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0) {
		*error = formatted("%s cannot be made: %s", path, strerror(errno));
		return false;
	}
	snprintf(header.machine, sizeof(header.machine), "%s", machine);
	ok = write(fd, &header, sizeof(header)) == sizeof(header) &&
	     ftruncate(fd, (off_t)(sizeof(header) + header.capacity)) == 0;
	if (!ok)
		*error = formatted("%s cannot hold a trace of %llu bytes: %s; --trace-size makes it smaller", path,
		                   (unsigned long long)bytes, strerror(errno));
	close(fd);
	return ok;
}

bool trace_disk_finish(const char *path, uint64_t *records, uint64_t *dropped, char **error)
{
	struct trace_file trace;
	off_t size;

	if (!trace_open(&trace, path, error))
		return false;
	*records = trace.count;
	*dropped = trace.header.dropped;
	size = (off_t)(sizeof(trace.header) + trace.count * sizeof(struct vmmu_trace_record));
	/* A damaged trace is left whole, for whoever wants to look into it. */
	if (trace.ending != TRACE_DAMAGED && truncate(path, size) != 0) {
		*error = formatted("%s cannot be cut to size: %s", path, strerror(errno));
		trace_close(&trace);
		return false;
	}
	trace_close(&trace);
	return true;
}
