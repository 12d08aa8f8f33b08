/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Carries files out of the lab's machine: through I/O port 0xe9, which QEMU
 * (isa-debugcon) and Bochs (port_e9_hack) write to a file of the host's, one byte
 * after the other. For each file a line "@file NAME BYTES", then its bytes.
 *
 *   emit FILE...
 *   emit --line TEXT
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORT 0xe9

static void put(const void *data, size_t bytes)
{
	__asm__ volatile("rep outsb"
	                 : "+S"(data), "+c"(bytes)
	                 : "d"(PORT)
	                 : "memory");
}

static int emit(const char *path)
{
	static char block[65536];
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;
	char head[512];
	off_t left;

	if (fd < 0 || fstat(fd, &status)) {
		fprintf(stderr, "emit: %s: %s\n", path, strerror(errno));
		return 1;
	}
	left = status.st_size;
	put(head, (size_t)snprintf(head, sizeof(head), "\n@file %.400s %lld\n", name, (long long)left));
	while (left > 0) {
		ssize_t got = read(fd, block, left < (off_t)sizeof(block) ? (size_t)left : sizeof(block));

		/* The length is promised: a file that shrinks is filled up. */
		if (got <= 0) {
			memset(block, 0, sizeof(block));
			got = left < (off_t)sizeof(block) ? left : (off_t)sizeof(block);
		}
		put(block, (size_t)got);
		left -= got;
	}
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	int failed = 0;

	if (ioperm(PORT, 1, 1)) {
		fprintf(stderr, "emit: port 0x%x: %s\n", PORT, strerror(errno));
		return 1;
	}
	if (argc == 3 && strcmp(argv[1], "--line") == 0) {
		put("\n@", 2);
		put(argv[2], strlen(argv[2]));
		put("\n", 1);
		return 0;
	}
	for (int i = 1; i < argc; i++)
		failed |= emit(argv[i]);
	return failed;
}
