/* SPDX-License-Identifier: BSD-2-Clause */
/* A bootable image: GRUB loads the visor by multiboot2, with the guest's files as modules. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine.h"
#include "process.h"

enum { MKRESCUE_TIMEOUT_MS = 120000 };

/*
 * Write `line` as GRUB words. GRUB takes words apart and puts them together
 * again: a word with spaces gets double quotes around all of it, which Linux
 * understands like quotes around the value; other quoting it cannot carry.
 */
static bool write_words(FILE *to, const char *line, char **error)
{
	bool quoted = false, open = false;

	if (strpbrk(line, "'\\\n")) {
		*error = formatted("GRUB cannot hand over ', \\ or a line break in \"%s\"; QEMU can (--machine qemu)",
		                   line);
		return false;
	}
	for (; *line; line++) {
		if (*line == '"') {
			quoted = !quoted;
		} else if (*line == ' ' && !quoted) {
			fputs(open ? "' " : "", to);
			open = false;
		} else {
			fputs(open ? "" : "'", to);
			fputc(*line, to);
			open = true;
		}
	}
	fputs(open ? "' " : "", to);
	if (quoted)
		*error = duplicate("a \" in the guest's command line is not closed");
	return !quoted;
}

static void tell(FILE *to, bool progress, const char *stage)
{
	if (progress)
		fprintf(to, "echo '@vmmu {\"event\":\"boot\",\"stage\":\"%s\"}'\n", stage);
}

/* A module with its role, and behind it the name by which the guest is told of the file. */
static void write_module(FILE *to, const char *file, const char *role, const char *path)
{
	char *name = boot_name(path);

	fprintf(to, "module2 /boot/%s vmmu:%s %s ", file, role, name);
	free(name);
}

static bool write_menu(const struct boot_plan *boot, FILE *to, bool progress, char **error)
{
	bool ok;

	if (progress)
		fprintf(to, "serial --unit=1 --speed=115200\nterminal_output serial\n");
	tell(to, progress, "grub");
	fprintf(to, "multiboot2 /boot/visor.elf ");
	ok = write_words(to, boot->visor_words, error);
	/* GRUB drops the space behind a last "--", and the visor would take that for a word of its own. */
	if (*boot->guest_line) {
		fprintf(to, "-- ");
		ok = ok && write_words(to, boot->guest_line, error);
	}
	fprintf(to, "\n");
	tell(to, progress, "kernel");
	write_module(to, "kernel", "kernel", boot->kernel);
	fprintf(to, "\n");
	if (boot->initrd) {
		tell(to, progress, "initrd");
		write_module(to, "initrd", "initrd", boot->initrd);
		fprintf(to, "\n");
	}
	for (size_t i = 0; ok && i < boot->module_count; i++) {
		char *file = formatted("module%zu", i);

		write_module(to, file, "module", boot->modules[i].path);
		free(file);
		ok = write_words(to, boot->modules[i].command_line, error);
		fprintf(to, "\n");
	}
	tell(to, progress, "visor");
	fprintf(to, "boot\n");
	return ok;
}

static bool make_folder(const char *work, const char *name, char **error)
{
	char *path = formatted("%s/%s", work, name);
	bool ok = mkdir(path, 0777) == 0;

	if (!ok)
		*error = formatted("%s cannot be made: %s", path, strerror(errno));
	free(path);
	return ok;
}

/* A hard link where the file system lets us, a copy otherwise. */
static bool place(const char *work, const char *name, const char *source, char **error)
{
	char *path = formatted("%s/image/boot/%s", work, name), *real = absolute_path(source);
	struct bytes file;
	bool ok = link(real, path) == 0;

	if (!ok && bytes_read(source, &file, error)) {
		FILE *to = fopen(path, "we");

		ok = to && fwrite(file.data, 1, file.size, to) == file.size;
		if (to && fclose(to) != 0)
			ok = false;
		if (!ok)
			*error = formatted("%s cannot be written: %s", path, strerror(errno));
		bytes_free(&file);
	}
	free(path);
	free(real);
	return ok;
}

static bool place_files(const struct boot_plan *boot, const char *work, char **error)
{
	bool ok = make_folder(work, "image", error) && make_folder(work, "image/boot", error) &&
	          make_folder(work, "image/boot/grub", error) && place(work, "visor.elf", boot->visor, error) &&
	          place(work, "kernel", boot->kernel, error) &&
	          (!boot->initrd || place(work, "initrd", boot->initrd, error));

	for (size_t i = 0; ok && i < boot->module_count; i++) {
		char *name = formatted("module%zu", i);

		ok = place(work, name, boot->modules[i].path, error);
		free(name);
	}
	return ok;
}

static bool place_menu(const struct boot_plan *boot, const char *work, bool progress, char **error)
{
	char *path = formatted("%s/image/boot/grub/grub.cfg", work);
	FILE *to = fopen(path, "we");
	bool ok = to && write_menu(boot, to, progress, error);

	if (to && fclose(to) != 0)
		ok = false;
	if (!ok && !*error)
		*error = formatted("%s cannot be written: %s", path, strerror(errno));
	free(path);
	return ok;
}

static bool run_mkrescue(const char *work, const char *iso, char **error)
{
	const char *override = getenv("VMMU_GRUB_MKRESCUE");
	char *program = find_program("grub-mkrescue", override), *log = formatted("%s/grub-mkrescue.log", work);
	struct arguments command = {0};
	struct bytes output = {0};
	int status;

	if (!program) {
		*error = duplicate("grub-mkrescue is not installed; Debian has it in the package grub-common, and it "
		                   "needs grub-pc-bin, xorriso and mtools (scripts/setup emulators installs them)");
		free(log);
		return false;
	}
	arguments_add(&command, "%s", program);
	arguments_add(&command, "-o");
	arguments_add(&command, "%s", iso);
	arguments_add(&command, "image");
	status = process_run(command.argv, work, log, MKRESCUE_TIMEOUT_MS);
	if (status != 0) {
		char *ignored = NULL;

		bytes_read(log, &output, &ignored);
		free(ignored);
		*error = formatted("grub-mkrescue failed; it needs grub-pc-bin, xorriso and mtools "
		                   "(scripts/setup emulators). It said:\n%.*s",
		                   (int)output.size,
		                   output.data ? (char *)output.data : "");
		bytes_free(&output);
	}
	arguments_free(&command);
	free(program);
	free(log);
	return status == 0;
}

bool boot_iso_make(const struct boot_plan *boot, const char *work, const char *iso, bool progress,
                   char **error)
{
	return place_files(boot, work, error) && place_menu(boot, work, progress, error) &&
	       run_mkrescue(work, iso, error);
}
