/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Within tool/model: the index file. A head, the facts, a map from an entry (VM,
 * level, page) to its last fact, and a text in JSON with everything else.
 */
#ifndef TOOL_MODEL_INDEX_H
#define TOOL_MODEL_INDEX_H

#include <jansson.h>

#include "model.h"

enum { INDEX_HEAD_BYTES = 4096,
       INDEX_VERSION = 7 };
#define INDEX_MAGIC "VMMUIDX"

struct index_head {
	char magic[8];
	uint32_t version, fact_bytes;
	uint64_t source_bytes, source_mtime_s, source_mtime_ns, source_inode;
	uint64_t facts;
	uint64_t map_offset, map_room, map_count, map_seed;
	uint64_t meta_offset, meta_bytes;
	uint64_t check; /* of all words above */
};

struct model {
	int fd;
	uint8_t *mapped;
	uint64_t mapped_bytes;
	struct index_head head;
	const struct fact *facts;
	const struct map_entry *entries;
	json_t *meta;
	struct model_info info;
	struct kvm_vm *vms;
	size_t vm_count;
	struct kvm_thread *threads;
	size_t thread_count;
	uint64_t *losses;
	size_t loss_count;
	struct model_live *live; /* NULL: it is an index */
};

/* tool/model/live.c */
void live_close(struct model_live *live);
const struct fact *live_fact(const struct model_live *live, uint64_t number);
uint64_t live_first_time(const struct model_live *live);
size_t live_vm_count(const struct model_live *live);
const struct kvm_vm *live_vm(const struct model_live *live, size_t vm);
size_t live_thread_count(const struct model_live *live);
const struct kvm_thread *live_thread(const struct model_live *live, uint32_t thread);

uint64_t index_key(unsigned vm, unsigned level, uint64_t address);
uint64_t index_head_check(const struct index_head *head);
/* Map what stands in the file, and believe nothing of it unseen. Takes over fd, also when it fails. */
bool index_map(struct model *model, int fd, char **error);

/* Writing one. */
struct index_writer {
	int fd;
	struct map last;
	uint64_t count, written; /* facts */
	struct fact *buffer;
	size_t buffered;
	uint64_t *losses;
	size_t loss_count;
	bool failed;
	char *error;
};

void index_begin(struct index_writer *writer, int fd);
/* Completes `before`. */
void index_add(struct index_writer *writer, const struct fact *fact);
/* Map and text; then the head. False: the file could not be written, *error says why. */
bool index_end(struct index_writer *writer, const struct index_head *source, const json_t *meta, char **error);
void index_free(struct index_writer *writer);

/* VMs, threads, source and losses as JSON, and back (tool/model/meta.c). */
struct source_info;
struct meta_parts {
	const struct source_info *source;
	const struct kvm_vm **vms;
	const struct kvm_thread **threads;
	size_t vm_count, thread_count;
	uint64_t late;
	const char *const *examples;
	size_t example_count;
	const char *record; /* NULL = nothing */
};
json_t *meta_make(const struct meta_parts *parts, const struct index_writer *writer);
bool meta_read(struct model *model);

/* From a trace to facts and the rest; false: *error says why. Of a recording of KVM, and of a vmmu trace. */
bool build_from_source(struct index_writer *writer, const char *path, bool quiet, json_t **meta, char **error);
bool build_from_vmmu(struct index_writer *writer, const char *path, bool quiet, json_t **meta, char **error);

/*
 * Facts from the records of a vmmu trace (tool/model/from_vmmu.c), taken one after
 * another from 0 on. What it says of VMs and threads is valid until the next one.
 */
struct trace_file;
struct vmmu_facts;
typedef void (*vmmu_fact_fn)(void *arg, const struct fact *fact);
struct vmmu_facts *vmmu_facts_new(const struct trace_file *trace, vmmu_fact_fn fn, void *arg);
void vmmu_facts_free(struct vmmu_facts *facts);
void vmmu_facts_take(struct vmmu_facts *facts, uint64_t number);
size_t vmmu_facts_vms(const struct vmmu_facts *facts, const struct kvm_vm **vms);
size_t vmmu_facts_threads(const struct vmmu_facts *facts);
/* NULL when there is no such thread. */
const struct kvm_thread *vmmu_facts_thread(const struct vmmu_facts *facts, size_t thread);

#endif
