/* SPDX-License-Identifier: BSD-2-Clause */
#include "work_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/base.h"

#define NAME "vmmu-"
#define LOCK "lock"

enum { OPEN_FOLDERS = 16 };

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st;
	(void)kind;
	(void)where;
	return remove(path);
}

static bool remove_all(const char *path)
{
	return nftw(path, remove_one, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) == 0;
}

/* A folder of ours whose lock nobody holds. Without a lock it is one that was to be kept, or is just being made. */
static bool is_left_over(const char *path)
{
	char *name = formatted("%s/" LOCK, path);
	struct stat st;
	bool left = false;
	int fd = -1;

	if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid())
		fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd >= 0) {
		left = flock(fd, LOCK_EX | LOCK_NB) == 0;
		close(fd);
	}
	free(name);
	return left;
}

static void remove_left_over(const char *base)
{
	DIR *folder = opendir(base);
	struct dirent *entry;

	while (folder && (entry = readdir(folder))) {
		char *path;

		if (strncmp(entry->d_name, NAME, strlen(NAME)) != 0)
			continue;
		path = formatted("%s/%s", base, entry->d_name);
		if (is_left_over(path) && remove_all(path))
			note("removed %s, which a run that was killed has left", path);
		free(path);
	}
	if (folder)
		closedir(folder);
}

/* The descriptor stays open until the process ends. The lock is taken before the file has its name. */
static bool take_lock(const char *path)
{
	char *early = formatted("%s/" LOCK ".new", path), *name = formatted("%s/" LOCK, path);
	int fd = open(early, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && rename(early, name) == 0;

	free(early);
	free(name);
	return ok;
}

char *work_folder_make(bool keep, char **error)
{
	const char *base = getenv("TMPDIR");
	char *real = absolute_path(base && *base ? base : "/tmp"), *path = formatted("%s/" NAME "XXXXXX", real);

	remove_left_over(real);
	free(real);
	if (mkdtemp(path) && (keep || take_lock(path)))
		return path;
	*error = formatted("no temporary folder %s: %s", path, strerror(errno));
	free(path);
	return NULL;
}

void work_folder_remove(const char *path)
{
	if (!remove_all(path))
		complain("%s could not be removed: %s", path, strerror(errno));
}
