/* SPDX-License-Identifier: BSD-2-Clause */
#include "trace_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../trace/trace_file.h"

enum { SECTOR = 512 };

/* Less than this on its file system, and records were lost: that is why. */
#define FULL_BYTES (1u << 20)

/* Somebody's file that is no trace must not be overwritten by a slip of the hand. */
static bool may_replace(int fd, const char *path, char **error)
{
	char magic[sizeof(VMMU_TRACE_MAGIC)] = "";
	ssize_t got = pread(fd, magic, sizeof(magic), 0);

	if (got == 0 || (got == sizeof(magic) && memcmp(magic, VMMU_TRACE_MAGIC, sizeof(magic)) == 0))
		return true;
	*error = formatted("%s exists and is no trace; remove it, or name another file", path);
	return false;
}

/* The file, ours alone. Not truncated yet: it may be another run's. -1: *error. */
static int take(const char *path, char **error)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
	struct stat st;

	if (fd < 0) {
		*error = formatted("%s cannot be made: %s", path, strerror(errno));
		return -1;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		*error = formatted("%s is no regular file, which a trace has to be", path);
	else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		*error = formatted("%s is being written by another vmmu; name another file", path);
	else if (may_replace(fd, path, error))
		return fd;
	close(fd);
	return -1;
}

bool trace_disk_make(struct trace_disk *disk, const char *path, uint64_t bytes, const char *machine, char **error)
{
	struct vmmu_trace_file_header header = {
		.magic = VMMU_TRACE_MAGIC,
		.version = VMMU_TRACE_VERSION,
		.record_size = sizeof(struct vmmu_trace_record),
		.capacity = bytes / SECTOR * SECTOR,
	};
	int fd = take(path, error);

	*disk = (struct trace_disk){.lock = fd};
	if (fd < 0)
		return false;
	disk->path = duplicate(path);
	snprintf(header.machine, sizeof(header.machine), "%s", machine);
	header.crc = vmmu_trace_crc(0, &header, sizeof(header));
	if (ftruncate(fd, 0) == 0 && pwrite(fd, &header, sizeof(header), 0) == sizeof(header) &&
	    ftruncate(fd, (off_t)(sizeof(header) + header.capacity)) == 0)
		return true;
	*error = formatted("%s cannot hold a trace of %llu bytes: %s; --trace-size makes it smaller", path,
	                   (unsigned long long)bytes, strerror(errno));
	return false;
}

/* Why records were lost, as far as it shows. Full file systems are not what anybody asked for. */
static bool explain_loss(const char *path, const struct trace_file *trace, char **error)
{
	unsigned long long lost = trace->header.dropped;
	uint64_t held = trace->taken * sizeof(struct vmmu_trace_record);
	struct statvfs fs;

	if (!lost)
		return true;
	if (held + SECTOR >= trace->header.capacity) {
		*error = formatted("%s is full: %llu records were lost; --trace-size makes it larger", path, lost);
		return true;
	}
	if (statvfs(path, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < FULL_BYTES)
		*error = formatted("%s is not whole: its file system is full, and %llu records were lost", path, lost);
	else
		*error = formatted("%s is not whole: %llu records were lost", path, lost);
	return false;
}

bool trace_disk_finish(const struct trace_disk *disk, uint64_t *records, uint64_t *dropped, char **error)
{
	const char *path = disk->path;
	struct trace_file trace;
	off_t size;
	bool ok = true;

	if (!trace_open_counted(&trace, path, error))
		return false;
	*records = trace.count;
	*dropped = trace.header.dropped;
	size = (off_t)(sizeof(trace.header) + trace.taken * sizeof(struct vmmu_trace_record));
	/* A damaged trace is left whole, for whoever wants to look into it. */
	if (trace.ending != TRACE_DAMAGED && truncate(path, size) != 0) {
		*error = formatted("%s cannot be cut to size: %s", path, strerror(errno));
		ok = false;
	} else {
		ok = explain_loss(path, &trace, error);
	}
	trace_close(&trace);
	return ok;
}

void trace_disk_release(struct trace_disk *disk)
{
	if (disk->path)
		close(disk->lock);
	free(disk->path);
	*disk = (struct trace_disk){.lock = -1};
}
