/* SPDX-License-Identifier: BSD-2-Clause */
#include "work_folder.h"

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>

#include "../base/base.h"

enum { OPEN_FOLDERS = 16 };

char *work_folder_make(char **error)
{
	const char *base = getenv("TMPDIR");
	char *real = absolute_path(base && *base ? base : "/tmp"), *path = formatted("%s/vmmu-XXXXXX", real);

	free(real);
	if (mkdtemp(path))
		return path;
	*error = formatted("no temporary folder %s: %s", path, strerror(errno));
	free(path);
	return NULL;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st;
	(void)kind;
	(void)where;
	return remove(path);
}

void work_folder_remove(const char *path)
{
	if (nftw(path, remove_one, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) != 0)
		complain("%s could not be removed: %s", path, strerror(errno));
}
