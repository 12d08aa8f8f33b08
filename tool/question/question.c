/* SPDX-License-Identifier: BSD-2-Clause */
#include "question.h"

#include <string.h>
#include <sys/stat.h>

#include "../model/model.h"

bool question_is_for_recording(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (strcmp(argv[i], "-") == 0)
			return true;
		if (argv[i][0] == '-' || stat(argv[i], &st) != 0)
			continue;
		/* A pipe can be read once only, and a vmmu trace is none. */
		if (S_ISFIFO(st.st_mode) || (S_ISREG(st.st_mode) && model_recognises(argv[i])))
			return true;
	}
	return false;
}
