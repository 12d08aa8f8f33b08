/* SPDX-License-Identifier: BSD-2-Clause */
#include "outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

void outlet_open(struct outlet *outlet, int fd)
{
	char name[32];
	struct stat st = {0};
	int own = -1;

	*outlet = (struct outlet){.fd = fd, .most = OUTLET_BYTES, .bytes = allocate(OUTLET_BYTES)};
	fstat(fd, &st);
	outlet->socket = S_ISSOCK(st.st_mode);
	if (!S_ISFIFO(st.st_mode) && !isatty(fd))
		return;
	/* O_NONBLOCK on the one we were given would be everybody's: open it once more. */
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	own = open(name, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (own >= 0)
		outlet->fd = own;
	outlet->ours = own >= 0;
	/* A pipe that is ready takes so much at once (pipe(7)); a terminal promises less. */
	if (own < 0)
		outlet->most = S_ISFIFO(st.st_mode) ? PIPE_BUF : 1;
}

void outlet_close(struct outlet *outlet)
{
	if (outlet->ours)
		close(outlet->fd);
	free(outlet->bytes);
	*outlet = (struct outlet){.fd = -1};
}

size_t outlet_room(const struct outlet *outlet)
{
	return outlet->error ? OUTLET_BYTES : OUTLET_BYTES - outlet->size;
}

void outlet_put(struct outlet *outlet, const char *bytes, size_t size)
{
	size_t taken = size < OUTLET_BYTES - outlet->size ? size : OUTLET_BYTES - outlet->size;

	if (outlet->error)
		return;
	memcpy(outlet->bytes + outlet->size, bytes, taken);
	outlet->size += taken;
	outlet->lost += size - taken;
}

void outlet_write(struct outlet *outlet)
{
	size_t size = outlet->size < outlet->most ? outlet->size : outlet->most;
	ssize_t done;

	if (!size || outlet->error)
		return;
	done = outlet->socket ? send(outlet->fd, outlet->bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL)
	                      : write(outlet->fd, outlet->bytes, size);
	if (done < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (done < 0) {
		outlet->error = errno;
		outlet->size = 0;
		return;
	}
	outlet->size -= (size_t)done;
	memmove(outlet->bytes, outlet->bytes + done, outlet->size);
}
