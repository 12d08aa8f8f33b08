/* SPDX-License-Identifier: BSD-2-Clause */
#include "trace_dat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Option numbers of the format. */
enum { OPTION_CPUSTAT = 2,
       OPTION_TRACECLOCK = 4,
       OPTION_UNAME = 5,
       OPTION_CPUCOUNT = 8 };

static void put16(FILE *to, uint16_t value)
{
	fwrite(&value, sizeof(value), 1, to);
}

static void put32(FILE *to, uint32_t value)
{
	fwrite(&value, sizeof(value), 1, to);
}

static void put64(FILE *to, uint64_t value)
{
	fwrite(&value, sizeof(value), 1, to);
}

/* A file of tracefs, with its size in 8 bytes before it. An absent one is empty. */
static void put_file(FILE *to, struct tracefs_instance *instance, const char *name)
{
	int size = 0;
	char *text = tracefs_instance_file_read(instance, name, &size);

	put64(to, text ? (uint64_t)size : 0);
	if (text)
		fwrite(text, 1, (size_t)size, to);
	free(text);
}

/* All formats of a system, after their count. */
static void put_formats(FILE *to, const char *system)
{
	char **names = tracefs_system_events(NULL, system);
	uint32_t count = 0;

	for (char **name = names; name && *name; name++)
		count += tracefs_event_file_exists(NULL, system, *name, "format");
	put32(to, count);
	for (char **name = names; name && *name; name++) {
		char *file = formatted("events/%s/%s/format", system, *name);

		if (tracefs_event_file_exists(NULL, system, *name, "format"))
			put_file(to, NULL, file);
		free(file);
	}
	tracefs_list_free(names);
}

/* Functions only: what a stack can name. */
static void put_symbols(FILE *to, bool symbols)
{
	FILE *from = symbols ? fopen("/proc/kallsyms", "re") : NULL;
	char *text = NULL, *line = NULL;
	size_t size = 0, room = 0;
	FILE *memory = open_memstream(&text, &size);

	while (from && memory && getline(&line, &room, from) > 0) {
		const char *kind = strchr(line, ' ');

		if (kind && strchr("tTwW", kind[1]))
			fputs(line, memory);
	}
	if (memory)
		fclose(memory);
	if (from)
		fclose(from);
	put32(to, (uint32_t)size);
	fwrite(text ? text : "", 1, size, to);
	free(line);
	free(text);
}

static void put_names(FILE *to, const char *threads)
{
	int size = 0;
	char *saved = tracefs_instance_file_read(NULL, "saved_cmdlines", &size);
	size_t more = strlen(threads);

	put64(to, (uint64_t)size + more);
	if (saved)
		fwrite(saved, 1, (size_t)size, to);
	fwrite(threads, 1, more, to);
	free(saved);
}

static void put_option(FILE *to, uint16_t option, const void *data, size_t size)
{
	put16(to, option);
	put32(to, (uint32_t)size);
	fwrite(data, 1, size, to);
}

static void put_options(FILE *to, struct tracing *t)
{
	char *clock = tracefs_instance_file_read(t->instance, "trace_clock", NULL);
	uint32_t cpus = t->cpus;
	struct utsname host;

	fwrite("options  ", 1, 10, to);
	for (unsigned cpu = 0; cpu < t->cpus; cpu++) {
		char *stats = tracing_stats(t, cpu);
		char *text = formatted("CPU: %u\n%s", cpu, stats ? stats : "");

		put_option(to, OPTION_CPUSTAT, text, strlen(text) + 1);
		free(text);
		free(stats);
	}
	if (clock)
		put_option(to, OPTION_TRACECLOCK, clock, strlen(clock) + 1);
	if (uname(&host) == 0) {
		char *text = formatted("%s %s %s %s %s", host.sysname, host.nodename, host.release, host.version,
		                       host.machine);

		put_option(to, OPTION_UNAME, text, strlen(text) + 1);
		free(text);
	}
	put_option(to, OPTION_CPUCOUNT, &cpus, sizeof(cpus));
	put16(to, 0);
	free(clock);
}

static void put_header(FILE *to, struct tracing *t, const char *threads, bool symbols)
{
	static const char magic[] = {0x17, 0x08, 0x44, 't', 'r', 'a', 'c', 'i', 'n', 'g', '6', 0,
	                             0 /* little endian */, sizeof(long)};
	static const char *const systems[] = {"kvm", "kvmmmu"};

	fwrite(magic, 1, sizeof(magic), to);
	put32(to, (uint32_t)t->page_size);
	fwrite("header_page", 1, 12, to);
	put_file(to, NULL, "events/header_page");
	fwrite("header_event", 1, 13, to);
	put_file(to, NULL, "events/header_event");
	put_formats(to, "ftrace");
	put32(to, ARRAY_SIZE(systems));
	for (size_t i = 0; i < ARRAY_SIZE(systems); i++) {
		fwrite(systems[i], 1, strlen(systems[i]) + 1, to);
		put_formats(to, systems[i]);
	}
	put_symbols(to, symbols);
	put32(to, 0); /* no formats of trace_printk */
	put_names(to, threads);
	put32(to, t->cpus);
	put_options(to, t);
	fwrite("flyrecord", 1, 10, to);
}

/*
 * What is copied is given back to the disk at once: a recording that filled it could not be
 * put together otherwise, and no recording needs twice its size.
 */
static bool copy(FILE *to, int from, uint64_t bytes)
{
	enum { BLOCK = 1 << 20 };
	uint8_t *block = allocate(BLOCK);
	uint64_t done = 0;

	while (done < bytes) {
		size_t want = bytes - done < BLOCK ? (size_t)(bytes - done) : BLOCK;
		ssize_t got = pread(from, block, want, (off_t)done);

		if (got <= 0 || fwrite(block, 1, (size_t)got, to) != (size_t)got || fflush(to))
			break;
		fallocate(from, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)done, got);
		done += (uint64_t)got;
	}
	free(block);
	return done == bytes;
}

static uint64_t page_up(uint64_t at, size_t page)
{
	return (at + page - 1) / page * page;
}

/* Where each CPU's pages lie, then the pages. */
static bool put_data(FILE *to, struct tracing *t, struct drain *d)
{
	uint64_t start = page_up((uint64_t)ftello(to) + 16ull * t->cpus, t->page_size), at = start, bytes;

	for (unsigned cpu = 0; cpu < t->cpus; cpu++) {
		drain_file(d, cpu, &bytes);
		put64(to, at);
		put64(to, bytes);
		at = page_up(at + bytes, t->page_size);
	}
	at = start;
	for (unsigned cpu = 0; cpu < t->cpus; cpu++) {
		int from = drain_file(d, cpu, &bytes);

		if (fseeko(to, (off_t)at, SEEK_SET) || (bytes && !copy(to, from, bytes)))
			return false;
		at = page_up(at + bytes, t->page_size);
	}
	/* The last page is whole even when nothing was written to it. */
	return fflush(to) == 0 && ftruncate(fileno(to), (off_t)at) == 0;
}

bool trace_dat_write(const char *path, struct tracing *t, struct drain *d, const char *threads, bool symbols,
                     char **error)
{
	char *partial = formatted("%s.partial", path);
	FILE *to = fopen(partial, "we");
	bool ok = to;

	if (to) {
		put_header(to, t, threads, symbols);
		ok = put_data(to, t, d) && !ferror(to);
		ok = fclose(to) == 0 && ok && rename(partial, path) == 0;
	}
	if (!ok)
		*error = formatted("%s cannot be written: %s", path, strerror(errno));
	if (to && !ok)
		unlink(partial);
	free(partial);
	return ok;
}
