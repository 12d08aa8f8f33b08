/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What in a recording makes every answer doubtful. Each question says it on standard error,
 * and in JSON as "warnings".
 */
#include <stdlib.h>

#include "ask.h"

static void doubt(struct ask *ask, json_t *list, char *text)
{
	complain("%s: %s", ask->path, text);
	json_array_append_new(list, json_string(text));
	free(text);
}

void ask_doubts(struct ask *ask)
{
	const struct model_info *info = model_info(ask->model);
	json_t *list = json_array();

	if (info->late)
		doubt(ask, list,
		      formatted("%s of %s events came with a time long before that of others, as when recordings are put "
		                "behind one another: they are taken to be as late as those, so times are not what they were",
		                text_count(info->late).text, text_count(info->events).text));
	for (unsigned i = 0; i < model_vm_count(ask->model); i++) {
		const struct kvm_vm *vm = model_vm(ask->model, i);

		if (vm->counts.mixed && (ask->all_vms || ask->vm == i))
			doubt(ask, list,
			      formatted("two threads run one vCPU's number at the same time, so VM %u is several VMs, which "
			                "events do not tell apart: record with record-tgid, or with vmmu record",
			                i + 1));
	}
	if (ask->result && json_array_size(list))
		json_object_set(ask->result, "warnings", list);
	json_decref(list);
}
