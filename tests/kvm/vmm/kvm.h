/* SPDX-License-Identifier: BSD-2-Clause */
/* What both VMMs of the lab ask KVM with: calls that must not fail. */
#ifndef TESTS_KVM_KVM_H
#define TESTS_KVM_KVM_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* Message with the program's name and errno, end of the program. */
static inline __attribute__((noreturn)) void fail(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

static inline int ask(int fd, unsigned long request, const char *name, void *argument)
{
	int result = ioctl(fd, request, argument);

	if (result < 0)
		fail(name);
	return result;
}
#define ASK(fd, request, argument) ask(fd, request, #request, argument)

#endif
