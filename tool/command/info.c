/* SPDX-License-Identifier: BSD-2-Clause */
/* vmmu info: what is this file? */
#include "../question/question.h"
#include "command.h"

int command_info(int argc, char **argv)
{
	return question_info(argc, argv);
}
