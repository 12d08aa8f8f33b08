/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The trace reader on anything: no input may make it crash, hang, read what is
 * not there, or leak. The first byte says whether the rest is a whole file or
 * records behind a good header.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../tool/trace/describe.h"
#include "../../tool/trace/replay.h"
#include "../../tool/trace/trace_file.h"
#include "../../tool/trace/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void describe_all(const struct trace_file *trace)
{
	const struct vmmu_decoder decoder = {
		.mode = VMMU_MODE_NPT, .levels = 4, .cpu = {.maxphyaddr = 48, .page_2m = true, .nx = true}};
	const struct symbols none = {0};

	for (uint64_t n = 0; n < trace->count; n++) {
		const struct vmmu_trace_record *record = &trace->records[n];

		if (record->level) {
			free(describe_entry(&decoder, record->level, record->spte.old_spte));
			free(describe_entry(&decoder, record->level, record->spte.new_spte));
		}
		free(describe_access(record));
		free(describe_place(record, &none));
	}
}

static void walk_some(const struct trace_file *trace)
{
	struct replay replay;

	replay_init(&replay, NULL, NULL);
	replay_range(&replay, trace, 0, trace->count);
	replay_settle(&replay, trace);
	for (size_t i = 0; i < replay.vm_count; i++) {
		struct vmmu_path_step steps[VMMU_LEVEL_MAX];

		for (uint64_t n = 0; n < trace->count; n++)
			replay_walk(&replay, &replay.vms[i], replay.vms[i].root,
			            trace->records[n].word[0] & ((1ull << 48) - 1), steps);
	}
	replay_free(&replay);
}

static void use(const uint8_t *data, size_t size)
{
	struct trace_file trace;
	struct verdict verdict;
	char *error = NULL;

	if (!trace_parse(&trace, data, size, &error)) {
		free(error);
		return;
	}
	verify_trace(&trace, &verdict);
	free(verdict.first);
	walk_some(&trace);
	describe_all(&trace);
	trace_close(&trace);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmmu_trace_file_header header = {
		.magic = VMMU_TRACE_MAGIC, .version = size > 1 && data[0] & 2 ? VMMU_TRACE_VERSION : VMMU_TRACE_VERSION_PLAIN, .record_size = sizeof(struct vmmu_trace_record), .ticks_per_second = 1000000};
	uint8_t *file;

	if (size == 0)
		return 0;
	if (data[0] & 1) {
		use(data + 1, size - 1);
		return 0;
	}
	file = malloc(sizeof(header) + size);
	if (!file)
		return 0;
	memcpy(file, &header, sizeof(header));
	memcpy(file + sizeof(header), data + 1, size - 1);
	use(file, sizeof(header) + size - 1);
	free(file);
	return 0;
}
