/* SPDX-License-Identifier: BSD-2-Clause */
#include "index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmmu/types.h>

enum { BUFFERED_FACTS = 16384,
       FETCHED_AHEAD = 16 };

uint64_t index_key(unsigned vm, unsigned level, uint64_t address)
{
	uint64_t page = address >> (VMMU_PAGE_SHIFT + 9 * (level - 1));

	return (uint64_t)vm << 48 | (uint64_t)level << 45 | (page & ((1ull << 45) - 1));
}

uint64_t index_head_check(const struct index_head *head)
{
	uint64_t words[sizeof(*head) / 8], sum = 0;

	memcpy(words, head, sizeof(words));
	for (size_t i = 0; i + 1 < ARRAY_SIZE(words); i++)
		sum = map_hash(sum ^ words[i], 0x766d6d75);
	return sum;
}

/* ---- writing ---------------------------------------------------------------------------- */

static bool write_at(struct index_writer *writer, const void *data, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size && !writer->failed) {
		ssize_t got = pwrite(writer->fd, (const char *)data + done, size - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			writer->failed = true;
			writer->error = formatted("the index cannot be written: %s", strerror(errno));
		} else {
			done += (size_t)got;
		}
	}
	return !writer->failed;
}

void index_begin(struct index_writer *writer, int fd)
{
	*writer = (struct index_writer){.fd = fd, .buffer = allocate(BUFFERED_FACTS * sizeof(struct fact))};
	map_init(&writer->last, map_random_seed());
}

static bool names_entry(const struct fact *fact)
{
	return fact->vm != FACT_NO_VM && fact->level >= 1 && fact->level <= VMMU_LEVEL_MAX &&
	       (fact->kind == FACT_WRITE || fact->kind == FACT_FOUND || fact->kind == FACT_SET);
}

static uint64_t key_of(const struct fact *fact)
{
	return index_key(fact->vm, fact->level, fact->address);
}

static void link_fact(struct index_writer *writer, struct fact *fact, uint64_t number)
{
	uint64_t *last;

	if (!names_entry(fact))
		return;
	last = map_at(&writer->last, key_of(fact));
	if (*last != MAP_NONE && number - *last <= UINT32_MAX)
		fact->before = (uint32_t)(number - *last);
	*last = number;
}

/* The map is larger than any cache, and keys come in no order: most of the time would go by waiting for one after another. */
static void link_facts(struct index_writer *writer)
{
	for (size_t i = 0; i < writer->buffered; i++) {
		if (i + FETCHED_AHEAD < writer->buffered && names_entry(&writer->buffer[i + FETCHED_AHEAD]))
			map_prefetch(&writer->last, key_of(&writer->buffer[i + FETCHED_AHEAD]));
		link_fact(writer, &writer->buffer[i], writer->written + i);
	}
}

static void flush(struct index_writer *writer)
{
	link_facts(writer);
	write_at(writer, writer->buffer, writer->buffered * sizeof(struct fact),
	         INDEX_HEAD_BYTES + writer->written * sizeof(struct fact));
	writer->written += writer->buffered;
	writer->buffered = 0;
}

void index_add(struct index_writer *writer, const struct fact *fact)
{
	writer->buffer[writer->buffered] = *fact;
	if (fact->kind == FACT_LOST) {
		writer->losses = reallocate(writer->losses, (writer->loss_count + 1) * sizeof(*writer->losses));
		writer->losses[writer->loss_count++] = writer->count;
	}
	writer->count++;
	if (++writer->buffered == BUFFERED_FACTS)
		flush(writer);
}

bool index_end(struct index_writer *writer, const struct index_head *source, const json_t *meta, char **error)
{
	struct index_head head = *source;
	char *text = json_dumps(meta, JSON_COMPACT);

	flush(writer);
	memcpy(head.magic, INDEX_MAGIC, sizeof(head.magic));
	head.version = INDEX_VERSION;
	head.fact_bytes = sizeof(struct fact);
	head.facts = writer->count;
	head.map_offset = INDEX_HEAD_BYTES + writer->count * sizeof(struct fact);
	head.map_room = writer->last.room;
	head.map_count = writer->last.count;
	head.map_seed = writer->last.seed;
	head.meta_offset = head.map_offset + head.map_room * sizeof(struct map_entry);
	head.meta_bytes = text ? strlen(text) : 0;
	head.check = index_head_check(&head);
	if (text)
		write_at(writer, text, head.meta_bytes, head.meta_offset);
	write_at(writer, writer->last.entries, head.map_room * sizeof(struct map_entry), head.map_offset);
	write_at(writer, &head, sizeof(head), 0);
	free(text);
	*error = writer->error;
	writer->error = NULL;
	return !writer->failed;
}

void index_free(struct index_writer *writer)
{
	map_free(&writer->last);
	free(writer->buffer);
	free(writer->losses);
	free(writer->error);
}

/* ---- reading ------------------------------------------------------------------------------ */

static bool head_is_good(const struct index_head *head, uint64_t size)
{
	uint64_t facts = size / sizeof(struct fact), entries = size / sizeof(struct map_entry);

	if (memcmp(head->magic, INDEX_MAGIC, sizeof(head->magic)) != 0 || head->version != INDEX_VERSION ||
	    head->fact_bytes != sizeof(struct fact) || head->check != index_head_check(head))
		return false;
	if (head->facts > facts || head->map_room > entries || head->map_room & (head->map_room - 1))
		return false;
	if (head->map_room && head->map_count >= head->map_room)
		return false;
	return head->map_offset == INDEX_HEAD_BYTES + head->facts * sizeof(struct fact) &&
	       head->meta_offset == head->map_offset + head->map_room * sizeof(struct map_entry) &&
	       head->meta_offset <= size && head->meta_bytes <= size - head->meta_offset;
}

bool index_map(struct model *model, int fd, char **error)
{
	struct stat st;
	json_error_t why;

	model->fd = fd;
	if (fstat(fd, &st) != 0 || (uint64_t)st.st_size < INDEX_HEAD_BYTES) {
		*error = duplicate("the index is cut short");
		return false;
	}
	model->mapped_bytes = (uint64_t)st.st_size;
	model->mapped = mmap(NULL, model->mapped_bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (model->mapped == MAP_FAILED) {
		model->mapped = NULL;
		*error = formatted("the index cannot be mapped: %s", strerror(errno));
		return false;
	}
	memcpy(&model->head, model->mapped, sizeof(model->head));
	if (!head_is_good(&model->head, model->mapped_bytes)) {
		*error = duplicate("the index is damaged, or another version's");
		return false;
	}
	model->facts = (const struct fact *)(model->mapped + INDEX_HEAD_BYTES);
	model->entries = (const struct map_entry *)(model->mapped + model->head.map_offset);
	model->meta = json_loadb((const char *)model->mapped + model->head.meta_offset, model->head.meta_bytes,
	                         0, &why);
	if (!model->meta || !meta_read(model)) {
		*error = duplicate("the index is damaged");
		return false;
	}
	return true;
}
