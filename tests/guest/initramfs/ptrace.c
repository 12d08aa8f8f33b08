/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An ordinary process that sets a hardware breakpoint by ptrace, at an address of the
 * visor's code (the word vmmu.breakpoint=ADDRESS of the kernel's command line), in a child
 * that leaves the guest again and again by CPUID. On a CPU that leaves a guest's breakpoints
 * armed the visor meets it. Ends with a line "vmmu-ptrace: PASS".
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define USER 1000
#define DR7_EXECUTE_0 1L
#define EXITS 20000u

static void open_console(void)
{
	int fd;

	(void)mkdir("/dev", 0755);
	(void)mknod("/dev/console", S_IFCHR | 0600, makedev(5, 1));
	fd = open("/dev/console", O_RDWR);
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	setvbuf(stdout, NULL, _IONBF, 0);
}

static unsigned long breakpoint(void)
{
	char line[2048] = "";
	const char *word;
	FILE *f;

	(void)mkdir("/proc", 0755);
	(void)mount("none", "/proc", "proc", 0, NULL);
	f = fopen("/proc/cmdline", "r");
	if (f && fgets(line, sizeof(line), f) && (word = strstr(line, "vmmu.breakpoint=")))
		return strtoul(word + strlen("vmmu.breakpoint="), NULL, 16);
	return 0;
}

static _Noreturn void leave_often(void)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	for (unsigned i = 0; i < EXITS; i++) {
		unsigned a = 0, b, c = 0, d;

		__asm__ volatile("cpuid"
		                 : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	}
	_exit(0);
}

static bool set(pid_t child, unsigned number, unsigned long value)
{
	size_t at = offsetof(struct user, u_debugreg) + number * sizeof(value);

	return ptrace(PTRACE_POKEUSER, child, (void *)at, (void *)value) == 0;
}

static int attack(unsigned long address)
{
	pid_t child;
	int status;

	if (setgid(USER) || setuid(USER))
		return 1;
	child = fork();
	if (!child)
		leave_often();
	waitpid(child, &status, 0);
	if (!set(child, 0, address) || !set(child, 7, DR7_EXECUTE_0)) {
		printf("vmmu-ptrace: FAIL: the kernel takes no breakpoint at 0x%lx: %s\n", address, strerror(errno));
		return 1;
	}
	ptrace(PTRACE_CONT, child, NULL, NULL);
	waitpid(child, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		printf("vmmu-ptrace: FAIL: the child did not end by itself: wait status 0x%x\n", (unsigned)status);
		return 1;
	}
	return 0;
}

int main(void)
{
	unsigned long address;
	int status = 1;

	open_console();
	address = breakpoint();
	if (!address)
		printf("vmmu-ptrace: FAIL: no vmmu.breakpoint=ADDRESS\n");
	else if (!fork())
		_exit(attack(address));
	else if (wait(&status) > 0 && !status)
		printf("vmmu-ptrace: PASS\n");
	sync();
	reboot(RB_POWER_OFF);
	return 1;
}
