/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first process of the Linux guest in the machine tests: exercises the
 * kernel and its memory, says how it went in one line and powers the machine
 * off. The line starts with "vmmu-workload: PASS" or "vmmu-workload: FAIL".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1024u * 1024u)
#define CHILDREN 30
#define CHILD_STATUS 37
#define FILES 48
#define FILE_BYTES (64u * 1024u)
#define MEMORY_BYTES (64u * MIB)
#define PAGE 4096u

static unsigned checks, failures;

__attribute__((format(printf, 2, 3))) static bool check(bool passed, const char *format, ...)
{
	va_list args;

	checks++;
	if (passed)
		return true;
	failures++;
	va_start(args, format);
	printf("vmmu-workload: ");
	vprintf(format, args);
	printf("\n");
	va_end(args);
	return false;
}

/* splitmix64: the n-th word of stream `seed`. */
static uint64_t word(uint64_t seed, uint64_t n)
{
	uint64_t z = seed + (n + 1) * 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Fletcher-like sum of words; order counts. */
struct sum {
	uint64_t a, b;
};

static void sum_add(struct sum *s, uint64_t value)
{
	s->a += value;
	s->b += s->a;
}

static bool sum_equal(struct sum x, struct sum y)
{
	return x.a == y.a && x.b == y.b;
}

static struct sum sum_of(const uint64_t *words, size_t n)
{
	struct sum s = {0, 0};

	for (size_t i = 0; i < n; i++)
		sum_add(&s, words[i]);
	return s;
}

static struct sum fill(uint64_t *words, size_t n, uint64_t seed)
{
	struct sum s = {0, 0};

	for (size_t i = 0; i < n; i++) {
		words[i] = word(seed, i);
		sum_add(&s, word(seed, i));
	}
	return s;
}

/* ---- Processes ---------------------------------------------------------------------- */

static int status_of(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static void fork_and_exec(void)
{
	for (int i = 0; i < CHILDREN; i++) {
		char number[16];
		pid_t child = fork();

		if (child == 0) {
			snprintf(number, sizeof(number), "%d", i);
			execl("/proc/self/exe", "child", number, NULL);
			_exit(errno ? errno : 1);
		}
		check(child > 0, "fork: %s", strerror(errno));
		check(status_of(child) == CHILD_STATUS + i, "process %d did not end as it should", i);
	}
}

/* What parent and child write after a fork, the other must not see. */
static void copy_on_write(void)
{
	size_t pages = 256;
	uint8_t *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool same = true;
	pid_t child;

	if (!check(memory != MAP_FAILED, "mmap: %s", strerror(errno)))
		return;
	memset(memory, 0x11, pages * PAGE);
	child = fork();
	if (child == 0) {
		for (size_t p = 0; p < pages; p++)
			same = same && memory[p * PAGE] == 0x11;
		memset(memory, 0x22, pages * PAGE);
		_exit(same ? CHILD_STATUS : 1);
	}
	check(status_of(child) == CHILD_STATUS, "the child saw other memory than its parent's");
	for (size_t i = 0; i < pages * PAGE; i++)
		same = same && memory[i] == 0x11;
	check(same, "a child's writes reached its parent");
	munmap(memory, pages * PAGE);
}

/* ---- Files ------------------------------------------------------------------------------ */

static void write_file(const char *name, const void *data, size_t bytes)
{
	int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0600);

	check(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes, "%s: %s", name, strerror(errno));
	close(fd);
}

static void check_file(const char *name, uint64_t *buffer, struct sum want)
{
	int fd = open(name, O_RDONLY);

	check(fd >= 0 && read(fd, buffer, FILE_BYTES) == FILE_BYTES, "%s: %s", name, strerror(errno));
	check(sum_equal(sum_of(buffer, FILE_BYTES / 8), want), "%s holds something else than was written", name);
	close(fd);
}

static void files(void)
{
	static uint64_t buffer[FILE_BYTES / 8];
	static struct sum sums[FILES];
	char name[64], other[64];

	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "/tmp/file-%u", i);
		sums[i] = fill(buffer, FILE_BYTES / 8, i);
		write_file(name, buffer, FILE_BYTES);
	}
	for (unsigned i = 0; i < FILES; i += 2) {
		snprintf(name, sizeof(name), "/tmp/file-%u", i);
		snprintf(other, sizeof(other), "/tmp/renamed-%u", i);
		check(rename(name, other) == 0, "rename %s: %s", name, strerror(errno));
	}
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), i % 2 ? "/tmp/file-%u" : "/tmp/renamed-%u", i);
		check_file(name, buffer, sums[i]);
		check(unlink(name) == 0, "unlink %s: %s", name, strerror(errno));
	}
}

static void shared_mapping(void)
{
	struct sum want;
	uint64_t *mapped;
	int fd = open("/tmp/mapped", O_CREAT | O_RDWR, 0600);

	check(fd >= 0 && ftruncate(fd, FILE_BYTES) == 0, "/tmp/mapped: %s", strerror(errno));
	mapped = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (check(mapped != MAP_FAILED, "mmap of a file: %s", strerror(errno))) {
		static uint64_t buffer[FILE_BYTES / 8];

		want = fill(mapped, FILE_BYTES / 8, 99);
		munmap(mapped, FILE_BYTES);
		check_file("/tmp/mapped", buffer, want);
	}
	close(fd);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void memory(void)
{
	size_t words = MEMORY_BYTES / 8;
	uint64_t *m = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sum want;

	if (!check(m != MAP_FAILED, "mmap of %u MiB: %s", MEMORY_BYTES / MIB, strerror(errno)))
		return;
	check(sum_equal(sum_of(m, words), (struct sum){0, 0}), "fresh memory is not zero");
	want = fill(m, words, 7);
	check(sum_equal(sum_of(m, words), want), "%u MiB of memory changed behind the program's back",
	      MEMORY_BYTES / MIB);
	check(mprotect(m, MEMORY_BYTES, PROT_READ) == 0 && sum_equal(sum_of(m, words), want),
	      "memory changed with its protection");
	printf("vmmu-workload: %u MiB written and read, sum %016llx\n", MEMORY_BYTES / MIB,
	       (unsigned long long)want.b);
	munmap(m, MEMORY_BYTES);
}

/* ---- Time -------------------------------------------------------------------------------------- */

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void clocks(void)
{
	double monotonic = seconds(CLOCK_MONOTONIC), real = seconds(CLOCK_REALTIME), slept;
	time_t now = time(NULL);
	char text[64];

	nanosleep(&(struct timespec){0, 300000000}, NULL);
	slept = seconds(CLOCK_MONOTONIC) - monotonic;
	real = seconds(CLOCK_REALTIME) - real;
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", gmtime(&now));
	printf("vmmu-workload: %s UTC, up %.2f s, a sleep of 0.3 s took %.3f s\n", text, monotonic, slept);
	check(slept >= 0.3 && slept < 3, "a sleep of 0.3 s took %.3f s", slept);
	check(real > slept - 0.1 && real < slept + 0.1, "clocks differ: %.3f s and %.3f s", real, slept);
	check(now > 1577836800, "the clock stands before 2020: %s", text);
}

/* ---- Main ------------------------------------------------------------------------------------------ */

static void setup(void)
{
	mkdir("/proc", 0755);
	mkdir("/tmp", 0755);
	check(mount("proc", "/proc", "proc", 0, NULL) == 0, "mount /proc: %s", strerror(errno));
	check(mount("tmpfs", "/tmp", "tmpfs", 0, "size=16m") == 0, "mount /tmp: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = {
		{"fork and exec", fork_and_exec},
		{"copy on write", copy_on_write},
		{"files", files},
		{"shared mapping", shared_mapping},
		{"memory", memory},
		{"clocks", clocks},
	};

	if (argc == 2 && strcmp(argv[0], "child") == 0)
		return CHILD_STATUS + atoi(argv[1]);
	if (getpid() != 1) {
		fprintf(stderr, "this is the first process of a test guest; it mounts, tests and powers off\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	setup();
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		double start = seconds(CLOCK_MONOTONIC);

		parts[i].run();
		printf("vmmu-workload: %s, %.2f s\n", parts[i].name, seconds(CLOCK_MONOTONIC) - start);
	}
	printf("vmmu-workload: %s %u checks, %u failed\n", failures ? "FAIL" : "PASS", checks, failures);
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	printf("vmmu-workload: power-off: %s\n", strerror(errno));
	return 1;
}
