/* SPDX-License-Identifier: BSD-2-Clause */
#include "file.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_of(struct file *file, int fd)
{
	struct stat st;

	*file = (struct file){.fd = fd};
	if (fd < 0 || fstat(fd, &st) != 0)
		return false;
	file->size = (uint64_t)st.st_size;
	return true;
}

void file_close(struct file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

bool file_read(const struct file *file, uint64_t offset, void *data, size_t size)
{
	return offset <= file->size && size <= file->size - offset && read_at(file->fd, data, size, offset) == size;
}

uint8_t *file_piece(const struct file *file, uint64_t offset, uint64_t size)
{
	uint8_t *data;

	if (offset > file->size || size > file->size - offset)
		return NULL;
	data = allocate(size);
	if (file_read(file, offset, data, size))
		return data;
	free(data);
	return NULL;
}
