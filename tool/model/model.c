/* SPDX-License-Identifier: BSD-2-Clause */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmmu/trace.h>
#include <vmmu/types.h>

#include "../source/peek.h"
#include "index.h"

/* What takes longer to build than that is kept. */
static const double keep_seconds = 1.0;

/* ---- where the index is ----------------------------------------------------------------------- */

static void describe_source(struct index_head *head, const struct stat *st)
{
	*head = (struct index_head){
		.source_bytes = (uint64_t)st->st_size, .source_mtime_s = (uint64_t)st->st_mtim.tv_sec, .source_mtime_ns = (uint64_t)st->st_mtim.tv_nsec, .source_inode = st->st_ino};
}

static char *cache_folder(void)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

	if (cache && *cache == '/')
		return formatted("%s/vmmu", cache);
	return home && *home == '/' ? formatted("%s/.cache/vmmu", home) : NULL;
}

/* Beside the trace; where that folder cannot be written, under the user's cache. */
static char *index_path(const char *path, bool beside)
{
	char *full, *folder, *name;

	if (beside)
		return formatted("%s.vmmu-index", path);
	folder = cache_folder();
	if (!folder)
		return NULL;
	full = absolute_path(path);
	for (char *at = full; *at; at++)
		if (*at == '/')
			*at = '%';
	name = formatted("%s/%.200s.vmmu-index", folder, full);
	free(full);
	free(folder);
	return name;
}

static bool use_old(struct model *model, const char *path, const struct index_head *source)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct index_head head;
	struct stat st;
	char *error = NULL;

	if (fd < 0)
		return false;
	/* Somebody else's index is not believed. */
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && pread(fd, &head, sizeof(head), 0) == sizeof(head) &&
	    head.source_bytes == source->source_bytes && head.source_mtime_s == source->source_mtime_s &&
	    head.source_mtime_ns == source->source_mtime_ns && head.source_inode == source->source_inode &&
	    index_map(model, fd, &error))
		return true;
	free(error);
	close(fd);
	model->fd = -1;
	return false;
}

/* A file without a name in the folder of `path`, which may get it later. */
static int unnamed_in_folder_of(const char *path, bool make)
{
	char *folder = duplicate(path), *slash = strrchr(folder, '/');
	int fd;

	if (slash)
		*slash = '\0';
	if (make && slash)
		mkdir(folder, 0700);
	fd = open(!slash ? "." : *folder ? folder
	                                 : "/",
	          O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	free(folder);
	return fd;
}

static const char *temporary_folder(void)
{
	const char *folder = getenv("TMPDIR");

	return folder && *folder ? folder : "/tmp";
}

static int temporary(void)
{
	char *path = formatted("%s/vmmu-index-XXXXXX", temporary_folder());
	int fd = mkostemp(path, O_CLOEXEC);

	if (fd >= 0)
		unlink(path);
	free(path);
	return fd;
}

static void name_it(int fd, const char *path)
{
	char from[64];
	char *other = formatted("%s.new", path);

	/* linkat does not replace: a name of its own first, then rename. */
	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	unlink(other);
	if (linkat(AT_FDCWD, from, AT_FDCWD, other, AT_SYMLINK_FOLLOW) == 0 && rename(other, path) != 0)
		unlink(other);
	free(other);
}

/* Places for an index, the better ones first. */
enum place { BESIDE,
	     CACHED,
	     TEMPORARY,
	     IN_MEMORY,
	     PLACES };

/* A small one can do without any disk. */
enum { IN_MEMORY_MAX = 256 << 20 };

static int open_place(enum place place, const char *beside, const char *cached, const struct index_head *source)
{
	switch (place) {
	case BESIDE:
		return beside ? unnamed_in_folder_of(beside, false) : -1;
	case CACHED:
		return cached ? unnamed_in_folder_of(cached, true) : -1;
	case TEMPORARY:
		return temporary();
	default:
		return source->source_bytes && source->source_bytes <= IN_MEMORY_MAX ? memfd_create("vmmu-index", MFD_CLOEXEC) : -1;
	}
}

/* False, and *full: there was no room for it, and elsewhere there may be. */
static bool build_in(struct model *model, const char *path, const struct model_options *options,
                     const struct index_head *source, int fd, const char *name, bool *full, char **error)
{
	struct index_writer writer;
	json_t *meta = NULL;
	bool ok;

	index_begin(&writer, fd);
	ok = (source_peek(path) == SOURCE_VMMU ? build_from_vmmu(&writer, path, options->quiet, &meta, error)
	                                       : build_from_source(&writer, path, options->quiet, &meta, error)) &&
	     index_end(&writer, source, meta, error);
	*full = writer.failed;
	if (ok && name && json_number_value(json_object_get(meta, "build_seconds")) > keep_seconds)
		name_it(fd, name);
	json_decref(meta);
	index_free(&writer);
	if (ok)
		return index_map(model, fd, error);
	close(fd);
	return false;
}

static bool build(struct model *model, const char *path, const struct model_options *options,
                  const struct index_head *source, const char *beside, const char *cached, char **error)
{
	bool again = source->source_bytes > 0, full = false; /* what comes through a pipe comes once */
	char *why;

	*error = NULL;
	for (enum place place = BESIDE; place < PLACES; place++) {
		int fd = open_place(place, beside, cached, source);

		if (fd < 0)
			continue;
		free(*error);
		*error = NULL;
		if (build_in(model, path, options, source, fd, place == BESIDE ? beside : place == CACHED ? cached
		                                                                                          : NULL,
		             &full, error))
			return true;
		if (!full || !again)
			break;
	}
	if (*error && !full)
		return false;
	why = *error;
	*error = formatted("%s; it takes 64 bytes for each event that is used: TMPDIR=FOLDER names a place for it",
	                   why ? why : "no index can be made");
	free(why);
	return false;
}

bool model_open(struct model **out, const char *path, const struct model_options *options, char **error)
{
	struct model *model = allocate(sizeof(*model));
	struct index_head source;
	char *beside = NULL, *cached = NULL;
	struct stat st;
	bool ok;

	*error = NULL;
	*out = NULL;
	model->fd = -1;
	memset(&source, 0, sizeof(source));
	if (strcmp(path, "-") != 0 && !options->no_cache && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
		describe_source(&source, &st);
		beside = index_path(path, true);
		cached = index_path(path, false);
	}
	ok = (beside && use_old(model, beside, &source)) || (cached && use_old(model, cached, &source)) ||
	     build(model, path, options, &source, beside, cached, error);
	free(beside);
	free(cached);
	if (!ok) {
		model_close(model);
		return false;
	}
	*out = model;
	return true;
}

void model_close(struct model *model)
{
	if (!model)
		return;
	if (model->mapped)
		munmap(model->mapped, model->mapped_bytes);
	if (model->fd >= 0)
		close(model->fd);
	for (size_t i = 0; i < model->vm_count; i++)
		free(model->vms[i].roots);
	free(model->vms);
	free(model->threads);
	free(model->losses);
	free(model->info.counts);
	free(model->info.examples);
	json_decref(model->meta);
	live_close(model->live);
	free(model);
}

/* ---- asking -------------------------------------------------------------------------------------- */

const struct model_info *model_info(const struct model *model)
{
	return &model->info;
}

size_t model_vm_count(const struct model *model)
{
	return model->live ? live_vm_count(model->live) : model->vm_count;
}

const struct kvm_vm *model_vm(const struct model *model, size_t vm)
{
	return model->live ? live_vm(model->live, vm) : &model->vms[vm];
}

size_t model_thread_count(const struct model *model)
{
	return model->live ? live_thread_count(model->live) : model->thread_count;
}

const struct kvm_thread *model_thread(const struct model *model, uint32_t thread)
{
	if (model->live)
		return live_thread(model->live, thread);
	return thread < model->thread_count ? &model->threads[thread] : NULL;
}

uint64_t model_count(const struct model *model)
{
	return model->head.facts;
}

const struct fact *model_fact(const struct model *model, uint64_t number)
{
	return model->live ? live_fact(model->live, number) : &model->facts[number];
}

uint64_t model_first_time(const struct model *model)
{
	if (model->live)
		return live_first_time(model->live);
	/* Events that were lost before the first one have no time. */
	for (uint64_t n = 0; n < model->head.facts; n++)
		if (model->facts[n].kind != FACT_LOST)
			return model->facts[n].time;
	return 0;
}

double model_seconds(const struct model *model, uint64_t time)
{
	uint64_t first = model_first_time(model);

	return time < first ? 0 : (double)(time - first) * 1e-9;
}

uint64_t model_after(const struct model *model, uint64_t time)
{
	uint64_t low = 0, high = model->head.facts;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (model->facts[middle].time <= time)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint64_t model_before(const struct model *model, uint64_t number)
{
	uint32_t before = model->facts[number].before;

	return before && before <= number ? number - before : MODEL_NONE;
}

uint64_t model_last(const struct model *model, unsigned vm, unsigned level, uint64_t address, unsigned root,
                    uint64_t until)
{
	struct map map = {
		.entries = (struct map_entry *)(uintptr_t)model->entries,
		.room = model->head.map_room,
		.seed = model->head.map_seed,
	};
	uint64_t number = map_get(&map, index_key(vm, level, address));

	if (number >= model->head.facts)
		number = MODEL_NONE;
	while (number != MODEL_NONE &&
	       (number >= until || (root && model->facts[number].root != root)))
		number = model_before(model, number);
	return number;
}

const struct fact *model_fault_of(const struct model *model, uint64_t number, uint64_t *fault)
{
	uint32_t distance = model_fact(model, number)->fault;

	if (!distance || distance > number || (model->live && distance >= MODEL_LIVE_FACTS / 2) ||
	    model_fact(model, number - distance)->kind != FACT_FAULT)
		return NULL;
	if (fault)
		*fault = number - distance;
	return model_fact(model, number - distance);
}

bool model_lost_between(const struct model *model, uint64_t from, uint64_t to)
{
	size_t low = 0, high = model->loss_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (model->losses[middle] <= from)
			low = middle + 1;
		else
			high = middle;
	}
	return low < model->loss_count && model->losses[low] < to;
}

void model_each_entry(const struct model *model, model_entry_fn fn, void *arg)
{
	for (uint64_t i = 0; i < model->head.map_room; i++) {
		const struct map_entry *entry = &model->entries[i];
		unsigned level = entry->key >> 45 & 7;

		if (entry->key == MAP_NONE || entry->value >= model->head.facts || level < 1 ||
		    level > VMMU_LEVEL_MAX)
			continue;
		fn(arg, (unsigned)(entry->key >> 48), level,
		   (entry->key & ((1ull << 45) - 1)) << (VMMU_PAGE_SHIFT + 9 * (level - 1)), entry->value);
	}
}

const struct kvm_root_info *model_root(const struct model *model, unsigned vm, unsigned as_id, uint64_t until)
{
	const struct kvm_vm *v = &model->vms[vm];

	for (size_t i = v->root_count; i-- > 0;)
		if (v->roots[i].as_id == as_id && v->roots[i].since < until)
			return &v->roots[i];
	return NULL;
}

uint64_t model_last_in(const struct model *model, uint64_t number, uint64_t table)
{
	uint16_t root = number == MODEL_NONE ? 0 : model->facts[number].root;

	while (number != MODEL_NONE &&
	       (model->facts[number].root != root || (table && model->facts[number].table && model->facts[number].table != table)))
		number = model_before(model, number);
	return number;
}

void model_walk(const struct model *model, unsigned vm, const struct kvm_root_info *root, uint64_t address,
                uint64_t until, struct model_walk *walk)
{
	uint64_t table, linked = MODEL_NONE;
	bool fresh;

	*walk = (struct model_walk){.root = root ? root : model_root(model, vm, 0, until)};
	root = walk->root;
	if (!root)
		return;
	table = root->hpa;
	fresh = root->born;
	for (unsigned level = root->level; level >= 1; level--) {
		struct model_step *step = &walk->steps[walk->count++];
		uint64_t number = model_last_in(model, model_last(model, vm, level, address, root->id, until), table);
		const struct fact *fact;

		*step = (struct model_step){
			.level = level,
			.table = table,
			.fact = MODEL_NONE,
			.index = address >> (VMMU_PAGE_SHIFT + 9 * (level - 1)) & 511,
		};
		/* What was written before the table was linked was another table's, unless it names this one. */
		if (number == MODEL_NONE || (linked != MODEL_NONE && fresh && number < linked &&
		                             !(table && model->facts[number].table == table))) {
			step->known = fresh ? FACT_SEEN : FACT_UNKNOWN;
			step->after_loss = fresh && model_lost_between(model, linked == MODEL_NONE ? root->since : linked, until);
			if (fresh || level == 1)
				return;
			/* Nothing is known of this level: what hangs below it may be. */
			table = 0;
			linked = MODEL_NONE;
			continue;
		}
		fact = &model->facts[number];
		step->fact = number;
		step->entry = fact->b;
		step->known = (enum fact_known)fact->known;
		step->after_loss = model_lost_between(model, number, until);
		if (fact->table)
			step->table = fact->table;
		if (kvm_entry_kind(fact->b, level) != KVM_ENTRY_TABLE)
			return;
		table = kvm_entry_hpa(fact->b, level);
		fresh = fact->kind == FACT_WRITE && kvm_entry_kind(fact->a, level) != KVM_ENTRY_TABLE;
		linked = number;
	}
}
