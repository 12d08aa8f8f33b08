/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first process of the guest of `make claims`: runs the phases whose exits
 * are counted, one after the other, and tells the visor where each ends
 * (visor/vm/test_device.h). What a phase needs is made before it begins and
 * taken away after it. docs/claims.md says what each is there for.
 *
 * At the end it writes one line per phase with the page faults that the guest's
 * kernel has handled in it, then "vmmu-phases: PASS", and powers the machine off.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "visor/vm/test_device.h"

#define MIB (1024u * 1024u)
#define PAGE 4096u

#define TOUCH_BYTES (32 * MIB)
#define FORKS 50
#define FORK_TOUCHES 20
#define EXECS 50
#define MAPPINGS 10
#define MAP_BYTES (4 * MIB)
#define SWITCHES 1000
#define PROTECTIONS 50
#define PROTECT_BYTES (1 * MIB)

enum { NO_PHASE = 0,
       BOOT = 1,
       FIRST_OF_OURS = 2 };

static uint8_t *memory;
static int there[2], back[2];
static pid_t partner;

static void power_off(void)
{
	fflush(stdout);
	reboot(RB_POWER_OFF);
}

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
	int error = errno;
	va_list args;

	printf("vmmu-phases: FAIL ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf(": %s\n", strerror(error));
	if (getpid() == 1)
		power_off();
	exit(1);
}

/* What has happened since the last mark was this phase. */
static void mark(uint8_t phase)
{
	outb(phase, TEST_PHASE_PORT);
}

static uint8_t *map(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		fail("mmap of %zu bytes", bytes);
	return at;
}

static void unmap(uint8_t *at, size_t bytes)
{
	if (munmap(at, bytes) < 0)
		fail("munmap");
}

static void write_pages(volatile uint8_t *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += PAGE)
		at[i] = 1;
}

static void read_pages(const volatile uint8_t *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += PAGE)
		(void)at[i];
}

static pid_t fork_child(void)
{
	pid_t child = fork();

	if (child < 0)
		fail("fork");
	return child;
}

static void wait_for(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child)
		fail("waitpid");
	if (status)
		fail("a child ended with wait status %x", (unsigned)status);
}

/* ---- touch 32 MiB --------------------------------------------------------------- */

static void touch(void)
{
	memory = map(TOUCH_BYTES);
	write_pages(memory, TOUCH_BYTES);
}

static void touch_end(void)
{
	unmap(memory, TOUCH_BYTES);
}

/* ---- fork x 50 ------------------------------------------------------------------- */

static void forks(void)
{
	for (unsigned i = 0; i < FORKS; i++) {
		pid_t child = fork_child();

		if (!child)
			_exit(0);
		wait_for(child);
	}
}

/* ---- fork and touch 4 MiB x 20: each write of the child is a copy on write ---------- */

static void fork_touch_begin(void)
{
	memory = map(MAP_BYTES);
	write_pages(memory, MAP_BYTES);
}

static void fork_touches(void)
{
	for (unsigned i = 0; i < FORK_TOUCHES; i++) {
		pid_t child = fork_child();

		if (!child) {
			write_pages(memory, MAP_BYTES);
			_exit(0);
		}
		wait_for(child);
	}
}

static void fork_touch_end(void)
{
	unmap(memory, MAP_BYTES);
}

/* ---- exec x 50 --------------------------------------------------------------------- */

static void execs(void)
{
	for (unsigned i = 0; i < EXECS; i++) {
		pid_t child = fork_child();

		if (!child) {
			execl("/init", "child", NULL);
			_exit(1);
		}
		wait_for(child);
	}
}

/* ---- mmap and munmap 4 MiB x 10 ------------------------------------------------------- */

static void mappings(void)
{
	for (unsigned i = 0; i < MAPPINGS; i++) {
		uint8_t *at = map(MAP_BYTES);

		write_pages(at, MAP_BYTES);
		unmap(at, MAP_BYTES);
	}
}

/* ---- context switch x 1000: there and back --------------------------------------------- */

static void pass_on(int from, int to)
{
	char byte;

	if (read(from, &byte, 1) != 1 || write(to, &byte, 1) != 1)
		fail("pipe");
}

static void switch_begin(void)
{
	if (pipe(there) < 0 || pipe(back) < 0)
		fail("pipe");
	partner = fork_child();
	if (partner)
		return;
	for (unsigned i = 0; i < SWITCHES; i++)
		pass_on(there[0], back[1]);
	_exit(0);
}

static void switches(void)
{
	for (unsigned i = 0; i < SWITCHES; i++) {
		char byte = 0;

		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			fail("pipe");
	}
}

static void switch_end(void)
{
	wait_for(partner);
}

/* ---- mprotect 1 MiB x 50: read-only and back, used in between ----------------------------- */

static void protect_begin(void)
{
	memory = map(PROTECT_BYTES);
	write_pages(memory, PROTECT_BYTES);
}

static void protect(int rights)
{
	if (mprotect(memory, PROTECT_BYTES, rights) < 0)
		fail("mprotect");
}

static void protections(void)
{
	for (unsigned i = 0; i < PROTECTIONS; i++) {
		protect(PROT_READ);
		read_pages(memory, PROTECT_BYTES);
		protect(PROT_READ | PROT_WRITE);
		write_pages(memory, PROTECT_BYTES);
	}
}

static void protect_end(void)
{
	unmap(memory, PROTECT_BYTES);
}

/* ---- all of them --------------------------------------------------------------------------- */

/* In the order of bench/claims/kvm.json. */
static const struct phase {
	const char *name;
	void (*begin)(void);
	void (*run)(void);
	void (*end)(void);
} phases[] = {
	{"touch", NULL, touch, touch_end},
	{"fork", NULL, forks, NULL},
	{"fork-touch", fork_touch_begin, fork_touches, fork_touch_end},
	{"exec", NULL, execs, NULL},
	{"mmap", NULL, mappings, NULL},
	{"switch", switch_begin, switches, switch_end},
	{"mprotect", protect_begin, protections, protect_end},
};
enum { PHASES = sizeof(phases) / sizeof(phases[0]) };

/* Page faults that the guest's kernel has handled for us and for children that have ended. */
static long guest_faults(void)
{
	struct rusage self, children;

	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &children);
	return self.ru_minflt + children.ru_minflt;
}

static long run(const struct phase *phase, uint8_t number)
{
	long before;

	if (phase->begin)
		phase->begin();
	before = guest_faults();
	mark(NO_PHASE);
	phase->run();
	mark(number);
	before = guest_faults() - before;
	if (phase->end)
		phase->end();
	return before;
}

int main(int argc, char **argv)
{
	long faults[PHASES];

	if (argc == 1 && strcmp(argv[0], "child") == 0)
		return 0;
	if (getpid() != 1) {
		fprintf(stderr, "this is the first process of a guest; it measures and powers off\n");
		return 2;
	}
	if (ioperm(TEST_PHASE_PORT, 1, 1) < 0)
		fail("ioperm");
	mark(BOOT);
	/* 4 KiB pages in the guest, too: large ones would hide what is measured. */
	if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) < 0)
		fail("PR_SET_THP_DISABLE");
	for (unsigned i = 0; i < PHASES; i++)
		faults[i] = run(&phases[i], (uint8_t)(FIRST_OF_OURS + i));
	printf("vmmu-phases: %u boot 0 faults\n", BOOT);
	for (unsigned i = 0; i < PHASES; i++)
		printf("vmmu-phases: %u %s %ld faults\n", FIRST_OF_OURS + i, phases[i].name, faults[i]);
	printf("vmmu-phases: PASS\n");
	power_off();
	fail("power-off");
}
