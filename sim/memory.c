/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory.h"
#include "random.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Freed frames read as entries that are present and have reserved bits set in every format. */
#define POISON 0xdeadfeeddeadfeedull

/* Sits before every object; 64 bytes so that the object keeps its alignment. */
struct sim_object {
	uint64_t magic;
	size_t size;
	struct sim_object *next, *previous;
	uint64_t pad[4];
};
#define OBJECT_ALIVE 0x6f626a6563743a29ull
#define OBJECT_FREED 0x6f626a6563743a28ull

static void misuse(struct sim_memory *memory, const char *what)
{
	if (!memory->error)
		memory->error = what;
}

static uint8_t *map_view(struct sim_memory *memory, int protection)
{
	void *view = mmap(NULL, memory->bytes, protection, MAP_SHARED, memory->fd, 0);

	return view == MAP_FAILED ? NULL : view;
}

static void set_free(struct sim_memory *memory, unsigned n)
{
	struct sim_free_frames *frames = n < memory->config.low_frames ? &memory->low : &memory->high;

	frames->list[frames->count++] = n;
}

bool sim_memory_init(struct sim_memory *memory, const struct sim_memory_config *config)
{
	*memory = (struct sim_memory){.config = *config, .fd = -1, .random = config->seed};
	pthread_mutex_init(&memory->lock, NULL);
	memory->bytes = (size_t)config->frames * VMMU_PAGE_SIZE;
	memory->fd = memfd_create("paging-structures", MFD_CLOEXEC);
	if (memory->fd < 0 || ftruncate(memory->fd, (off_t)memory->bytes) != 0)
		goto fail;
	memory->write_view = map_view(memory, PROT_READ | PROT_WRITE);
	memory->read_view = config->single_view ? memory->write_view : map_view(memory, PROT_READ);
	memory->frame = calloc(config->frames, sizeof(*memory->frame));
	memory->low.list = calloc(config->frames, sizeof(*memory->low.list));
	memory->high.list = calloc(config->frames, sizeof(*memory->high.list));
	if (!memory->write_view || !memory->read_view || !memory->frame || !memory->low.list || !memory->high.list)
		goto fail;
	for (unsigned n = config->frames; n-- > 0;)
		set_free(memory, n);
	return true;
fail:
	sim_memory_fini(memory);
	return false;
}

void sim_memory_fini(struct sim_memory *memory)
{
	/* What is left over after a finding; it has been reported as far as it matters. */
	while (memory->object) {
		struct sim_object *next = memory->object->next;

		free(memory->object);
		memory->object = next;
	}
	if (memory->read_view && memory->read_view != memory->write_view)
		munmap(memory->read_view, memory->bytes);
	if (memory->write_view)
		munmap(memory->write_view, memory->bytes);
	if (memory->fd >= 0)
		close(memory->fd);
	free(memory->frame);
	free(memory->low.list);
	free(memory->high.list);
	pthread_mutex_destroy(&memory->lock);
}

static bool grant(struct sim_memory *memory)
{
	uint64_t n = ++memory->attempts;
	const struct sim_fail_plan *plan = &memory->plan;
	bool refuse = plan->at[0] == n || plan->at[1] == n ||
	              (plan->from_first_on && plan->at[0] && n >= plan->at[0]);

	if (refuse)
		memory->failed++;
	return !refuse;
}

bool sim_memory_grant(struct sim_memory *memory)
{
	pthread_mutex_lock(&memory->lock);
	bool granted = grant(memory);
	pthread_mutex_unlock(&memory->lock);
	return granted;
}

void *sim_memory_object_alloc(struct sim_memory *memory, size_t size)
{
	if (!sim_memory_grant(memory))
		return NULL;
	size_t whole = (sizeof(struct sim_object) + size + 63) & ~(size_t)63;
	struct sim_object *header = aligned_alloc(64, whole);

	if (!header)
		return NULL;
	memset(header, 0, whole);
	header->magic = OBJECT_ALIVE;
	header->size = size;
	pthread_mutex_lock(&memory->lock);
	header->next = memory->object;
	if (header->next)
		header->next->previous = header;
	memory->object = header;
	memory->objects++;
	memory->object_bytes += size;
	pthread_mutex_unlock(&memory->lock);
	return header + 1;
}

void sim_memory_object_free(struct sim_memory *memory, void *object, size_t size)
{
	struct sim_object *header = (struct sim_object *)object - 1;

	pthread_mutex_lock(&memory->lock);
	if (header->magic != OBJECT_ALIVE)
		misuse(memory, "an object was freed that is not alive");
	else if (header->size != size)
		misuse(memory, "an object was freed with another size than it was allocated with");
	memory->objects--;
	memory->object_bytes -= size;
	*(header->previous ? &header->previous->next : &memory->object) = header->next;
	if (header->next)
		header->next->previous = header->previous;
	header->magic = OBJECT_FREED;
	pthread_mutex_unlock(&memory->lock);
	free(header);
}

static unsigned frame_number(const struct sim_memory *memory, uint64_t hpa)
{
	return (unsigned)((hpa - memory->config.base) / VMMU_PAGE_SIZE);
}

struct sim_frame *sim_memory_frame(struct sim_memory *memory, uint64_t hpa)
{
	if (hpa < memory->config.base || hpa - memory->config.base >= memory->bytes)
		return NULL;
	return &memory->frame[frame_number(memory, hpa)];
}

static bool table_alloc(struct sim_memory *memory, struct sim_free_frames *from, vmmu_hpa *out)
{
	pthread_mutex_lock(&memory->lock);
	bool granted = grant(memory) && from->count > 0;

	if (granted) {
		/* Often the frame freed last, which catches stale pointers best; sometimes any. */
		unsigned pick = from->count - 1;

		if (memory->random && sim_random_below(&memory->random, 4) == 0)
			pick = (unsigned)sim_random_below(&memory->random, from->count);
		unsigned n = from->list[pick];

		from->list[pick] = from->list[--from->count];
		memset(memory->write_view + (size_t)n * VMMU_PAGE_SIZE, 0, VMMU_PAGE_SIZE);
		memory->frame[n] = (struct sim_frame){.in_use = true};
		memory->in_use++;
		out->v = memory->config.base + (uint64_t)n * VMMU_PAGE_SIZE;
	}
	pthread_mutex_unlock(&memory->lock);
	return granted;
}

bool sim_memory_table_alloc(struct sim_memory *memory, vmmu_hpa *out)
{
	return table_alloc(memory, &memory->high, out);
}

bool sim_memory_table_alloc_low(struct sim_memory *memory, vmmu_hpa *out)
{
	return table_alloc(memory, &memory->low, out);
}

void sim_memory_table_free(struct sim_memory *memory, vmmu_hpa hpa)
{
	pthread_mutex_lock(&memory->lock);
	struct sim_frame *frame = sim_memory_frame(memory, hpa.v);

	if (!frame || hpa.v % VMMU_PAGE_SIZE || !frame->in_use) {
		misuse(memory, "a table frame was freed that the host had not handed out");
	} else {
		uint64_t *entry = (uint64_t *)(memory->write_view + (hpa.v - memory->config.base));

		for (unsigned i = 0; i < VMMU_PAGE_SIZE / sizeof(*entry); i++)
			__atomic_store_n(&entry[i], POISON, __ATOMIC_RELAXED);
		*frame = (struct sim_frame){0};
		set_free(memory, frame_number(memory, hpa.v));
		memory->in_use--;
	}
	pthread_mutex_unlock(&memory->lock);
}

bool sim_memory_load(struct sim_memory *memory, uint64_t hpa, uint64_t *value)
{
	struct sim_frame *frame = sim_memory_frame(memory, hpa);

	if (!frame || !__atomic_load_n(&frame->in_use, __ATOMIC_RELAXED))
		return false;
	*value = __atomic_load_n((uint64_t *)(memory->read_view + (hpa - memory->config.base)),
	                         __ATOMIC_ACQUIRE);
	return true;
}

bool sim_memory_set_bits(struct sim_memory *memory, uint64_t hpa, uint64_t expected, uint64_t bits)
{
	uint64_t *entry = (uint64_t *)(memory->write_view + (hpa - memory->config.base));

	return __atomic_compare_exchange_n(entry, &expected, expected | bits, false, __ATOMIC_SEQ_CST,
	                                   __ATOMIC_SEQ_CST);
}

void sim_memory_store(struct sim_memory *memory, uint64_t hpa, uint64_t value)
{
	uint64_t *entry = (uint64_t *)(memory->write_view + (hpa - memory->config.base));

	__atomic_store_n(entry, value, __ATOMIC_SEQ_CST);
}
