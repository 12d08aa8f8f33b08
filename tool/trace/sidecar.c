/* SPDX-License-Identifier: BSD-2-Clause */
#include "sidecar.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* No run has more to say about itself. */
enum { SIDECAR_MAX = 16 << 20 };

char *sidecar_path(const char *trace_path)
{
	return formatted("%s.json", trace_path);
}

bool json_write_file(const char *path, const json_t *json, char **error)
{
	FILE *file = fopen(path, "we");
	bool ok;

	if (!file) {
		*error = formatted("%s cannot be written: %s", path, strerror(errno));
		return false;
	}
	ok = json_dumpf(json, file, JSON_INDENT(2)) == 0 && fputc('\n', file) != EOF;
	if (fclose(file) != 0 || !ok) {
		*error = formatted("%s cannot be written: %s", path, strerror(errno));
		return false;
	}
	return true;
}

json_t *sidecar_read(const char *trace_path)
{
	char *path = sidecar_path(trace_path), *error = NULL;
	struct bytes text;
	json_t *json = NULL;

	if (bytes_read_regular(path, SIDECAR_MAX, &text, &error)) {
		json = json_loadb((const char *)text.data, text.size, 0, NULL);
		bytes_free(&text);
	}
	free(error);
	free(path);
	return json;
}

bool sidecar_run_is_over(const char *trace_path)
{
	json_t *json = sidecar_read(trace_path);
	bool over = json_object_get(json, "exit_status");

	json_decref(json);
	return over;
}
