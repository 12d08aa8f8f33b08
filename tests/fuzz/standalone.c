/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A main for fuzz targets without libFuzzer: runs the inputs named as
 * arguments (folders with all that is in them), or one from standard input, as
 * AFL++ gives it.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned inputs;

static void run(FILE *file, const char *name)
{
	size_t size = 0, room = 1 << 16;
	uint8_t *data = malloc(room);

	while (data && !feof(file) && !ferror(file)) {
		size += fread(data + size, 1, room - size, file);
		if (size == room)
			data = realloc(data, room *= 2);
	}
	if (!data || ferror(file)) {
		fprintf(stderr, "%s: cannot be read\n", name);
		exit(2);
	}
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	inputs++;
}

static void run_path(const char *path);

static void run_folder(const char *path)
{
	struct dirent **entry;
	int count = scandir(path, &entry, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		char inside[4096];

		snprintf(inside, sizeof(inside), "%s/%s", path, entry[i]->d_name);
		if (entry[i]->d_name[0] != '.')
			run_path(inside);
		free(entry[i]);
	}
	if (count >= 0)
		free(entry);
}

static void run_path(const char *path)
{
	struct stat info;
	FILE *file;

	if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
		run_folder(path);
		return;
	}
	file = fopen(path, "rb");
	if (!file) {
		perror(path);
		exit(2);
	}
	run(file, path);
	fclose(file);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	if (argc == 1)
		run(stdin, "standard input");
	printf("%u passed, 0 failed, 0 skipped\n", inputs);
	return inputs ? 0 : 1;
}
