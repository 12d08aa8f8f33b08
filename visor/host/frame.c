/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/host/frame.h"

#include "visor/lib/string.h"

#define FRAME_SHIFT 12
#define FRAME_BYTES 4096ull
#define LOW_MEMORY_END 0x100000ull

/* One per frame. `order` counts at the head of a free run only. */
struct frame {
	uint8_t use;
	uint8_t order;
};

/* Below low_end and above. */
enum zone { ZONE_LOW,
	    ZONE_HIGH,
	    ZONE_COUNT };

/* Lives in the free run's own first bytes. */
struct free_run {
	struct free_run *next, *previous;
};

extern const uint8_t visor_image_start[], visor_image_end[];

static struct frame *frames;
static uint64_t frame_limit; /* frames[] has this many */
static uint64_t low_frames;  /* those below low_end */
static struct free_run lists[ZONE_COUNT][FRAME_ORDER_COUNT];
static uint64_t counts[FRAME_USE_COUNT];

/* All zero but for the first word, which is cleared when the frame is handed out. */
struct clear_frame {
	struct clear_frame *next;
};
static struct clear_frame *stock;
static uint64_t stock_wanted;

static enum zone zone_of(uint64_t frame)
{
	return frame < low_frames ? ZONE_LOW : ZONE_HIGH;
}

static void list_insert(unsigned order, uint64_t frame)
{
	struct free_run *run = (void *)(uintptr_t)(frame << FRAME_SHIFT);
	struct free_run *head = &lists[zone_of(frame)][order];

	run->next = head->next;
	run->previous = head;
	head->next->previous = run;
	head->next = run;
	frames[frame].use = FRAME_FREE;
	frames[frame].order = (uint8_t)order;
}

static void list_remove(uint64_t frame)
{
	struct free_run *run = (void *)(uintptr_t)(frame << FRAME_SHIFT);

	run->next->previous = run->previous;
	run->previous->next = run->next;
}

static void set_use(uint64_t frame, unsigned order, enum frame_use use)
{
	for (uint64_t i = 0; i < 1ull << order; i++)
		frames[frame + i].use = (uint8_t)use;
}

/* A free run of 2^order frames off the zone's lists; 0: it has none. */
static uint64_t take_run(enum zone zone, unsigned order)
{
	struct free_run *list = lists[zone];
	unsigned from = order;
	uint64_t frame;

	while (from < FRAME_ORDER_COUNT && list[from].next == &list[from])
		from++;
	if (from == FRAME_ORDER_COUNT)
		return 0;
	frame = (uintptr_t)list[from].next >> FRAME_SHIFT;
	list_remove(frame);
	while (from > order) {
		from--;
		list_insert(from, frame + (1ull << from));
	}
	return frame;
}

/* What CPUs are told the address of comes from below, as long as there is any; the rest leaves it alone. */
static enum zone preferred_zone(enum frame_use use)
{
	return use == FRAME_TABLE || use == FRAME_VISOR ? ZONE_LOW : ZONE_HIGH;
}

static uint64_t hand_out(uint64_t frame, unsigned order, enum frame_use use, bool zero)
{
	if (!frame)
		return 0;
	set_use(frame, order, use);
	counts[FRAME_FREE] -= 1ull << order;
	counts[use] += 1ull << order;
	if (zero)
		memset((void *)(uintptr_t)(frame << FRAME_SHIFT), 0, FRAME_BYTES << order);
	return frame << FRAME_SHIFT;
}

/* There is one. */
static uint64_t take_clear_frame(enum frame_use use)
{
	struct clear_frame *clear = stock;

	stock = clear->next;
	clear->next = NULL;
	frames[(uintptr_t)clear >> FRAME_SHIFT].use = (uint8_t)use;
	counts[FRAME_STOCK]--;
	counts[use]++;
	return (uintptr_t)clear;
}

uint64_t frame_alloc(unsigned order, enum frame_use use, bool zero)
{
	enum zone zone = preferred_zone(use);
	uint64_t frame = take_run(zone, order);

	if (!frame)
		frame = take_run(zone == ZONE_LOW ? ZONE_HIGH : ZONE_LOW, order);
	if (!frame && order == FRAME_ORDER_4K && stock)
		return take_clear_frame(use);
	return hand_out(frame, order, use, zero);
}

uint64_t frame_alloc_table(void)
{
	return stock ? take_clear_frame(FRAME_TABLE) : frame_alloc(FRAME_ORDER_4K, FRAME_TABLE, true);
}

void frame_stock(uint64_t wanted)
{
	stock_wanted = wanted;
	frame_stock_refill(wanted);
}

void frame_stock_refill(uint64_t most)
{
	for (; most && counts[FRAME_STOCK] < stock_wanted; most--) {
		struct clear_frame *clear;

		/* The last free frames are not worth it. */
		if (counts[FRAME_FREE] <= stock_wanted)
			return;
		clear = (void *)(uintptr_t)frame_alloc(FRAME_ORDER_4K, FRAME_TABLE, true);
		if (!clear)
			return;
		frames[(uintptr_t)clear >> FRAME_SHIFT].use = FRAME_STOCK;
		counts[FRAME_TABLE]--;
		counts[FRAME_STOCK]++;
		clear->next = stock;
		stock = clear;
	}
}

uint64_t frame_alloc_low(void)
{
	return hand_out(take_run(ZONE_LOW, FRAME_ORDER_4K), FRAME_ORDER_4K, FRAME_TABLE, true);
}

/* Is the run a whole free one of this order? Only then may it be joined. */
static bool is_free_run(uint64_t frame, unsigned order)
{
	return frame + (1ull << order) <= frame_limit && frames[frame].use == FRAME_FREE &&
	       frames[frame].order == order;
}

static void release(uint64_t frame, unsigned order)
{
	set_use(frame, order, FRAME_FREE);
	/* Frames inside a run carry an order that no run has: only heads are ever joined. */
	for (uint64_t i = 0; i < 1ull << order; i++)
		frames[frame + i].order = FRAME_ORDER_COUNT;
	for (; order + 1 < FRAME_ORDER_COUNT; order++) {
		uint64_t buddy = frame ^ 1ull << order;

		if (!is_free_run(buddy, order))
			break;
		list_remove(buddy);
		frames[buddy].order = frames[frame].order = FRAME_ORDER_COUNT;
		frame &= ~(1ull << order);
	}
	list_insert(order, frame);
}

void frame_free(uint64_t address, unsigned order)
{
	uint64_t frame = address >> FRAME_SHIFT;

	counts[frames[frame].use] -= 1ull << order;
	counts[FRAME_FREE] += 1ull << order;
	release(frame, order);
}

uint64_t frame_count(enum frame_use use)
{
	return counts[use];
}

enum frame_use frame_use_of(uint64_t address)
{
	uint64_t frame = address >> FRAME_SHIFT;

	return frame < frame_limit ? (enum frame_use)frames[frame].use : FRAME_RESERVED;
}

/* ---- setting up ----------------------------------------------------------- */

static struct boot_range taken[BOOT_MAX_MODULES + 3];
static unsigned taken_count;

static void frame_take(uint64_t base, uint64_t end)
{
	taken[taken_count++] = (struct boot_range){base & ~(FRAME_BYTES - 1),
	                                           (end + FRAME_BYTES - 1) & ~(FRAME_BYTES - 1)};
}

/* The first range in `taken` that meets [base, end), lowest base first; NULL = none. */
static const struct boot_range *first_taken(uint64_t base, uint64_t end)
{
	const struct boot_range *first = NULL;

	for (unsigned i = 0; i < taken_count; i++) {
		const struct boot_range *t = &taken[i];

		if (t->base < end && t->end > base && t->base < t->end && (!first || t->base < first->base))
			first = t;
	}
	return first;
}

static void free_range(uint64_t base, uint64_t end)
{
	uint64_t frame = base >> FRAME_SHIFT, stop = end >> FRAME_SHIFT;

	counts[FRAME_FREE] += stop > frame ? stop - frame : 0;
	while (frame < stop) {
		unsigned order = 0;

		while (order + 1 < FRAME_ORDER_COUNT && !(frame & ((2ull << order) - 1)) &&
		       frame + (2ull << order) <= stop)
			order++;
		release(frame, order);
		frame += 1ull << order;
	}
}

typedef bool (*range_fn)(uint64_t base, uint64_t end, void *arg);

/* Call fn for each free range until it returns true. */
static bool for_each_free(const struct boot_info *boot, uint64_t limit, range_fn fn, void *arg)
{
	for (unsigned i = 0; i < boot->memory_count; i++) {
		uint64_t base = (boot->memory[i].base + FRAME_BYTES - 1) & ~(FRAME_BYTES - 1);
		uint64_t end = boot->memory[i].end & ~(FRAME_BYTES - 1);

		end = end < limit ? end : limit;
		while (base < end) {
			const struct boot_range *t = first_taken(base, end);
			uint64_t stop = t ? t->base : end;

			if (stop > base && fn(base, stop, arg))
				return true;
			base = t ? t->end : end;
		}
	}
	return false;
}

static bool place_frames(uint64_t base, uint64_t end, void *arg)
{
	uint64_t bytes = (frame_limit * sizeof(struct frame) + FRAME_BYTES - 1) & ~(FRAME_BYTES - 1);

	(void)arg;
	if (end - base < bytes)
		return false;
	frames = (void *)(uintptr_t)base;
	memset(frames, 0, bytes); /* all FRAME_RESERVED */
	frame_take(base, base + bytes);
	return true;
}

static bool give(uint64_t base, uint64_t end, void *arg)
{
	(void)arg;
	free_range(base, end);
	return false;
}

bool frame_init(const struct boot_info *boot, uint64_t mapped, uint64_t low_end)
{
	taken_count = 0;
	low_frames = low_end >> FRAME_SHIFT;
	frame_limit = 0;
	memset(counts, 0, sizeof(counts));
	stock = NULL;
	stock_wanted = 0;
	for (unsigned i = 0; i < FRAME_ORDER_COUNT; i++) {
		lists[ZONE_LOW][i].next = lists[ZONE_LOW][i].previous = &lists[ZONE_LOW][i];
		lists[ZONE_HIGH][i].next = lists[ZONE_HIGH][i].previous = &lists[ZONE_HIGH][i];
	}
	frame_take(0, LOW_MEMORY_END);
	frame_take((uintptr_t)visor_image_start, (uintptr_t)visor_image_end);
	for (unsigned i = 0; i < boot->module_count; i++)
		frame_take(boot->modules[i].base, boot->modules[i].end);
	for (unsigned i = 0; i < boot->memory_count; i++) {
		uint64_t end = boot->memory[i].end < mapped ? boot->memory[i].end : mapped;

		if (end >> FRAME_SHIFT > frame_limit)
			frame_limit = end >> FRAME_SHIFT;
	}
	if (!for_each_free(boot, mapped, place_frames, NULL))
		return false;
	for_each_free(boot, mapped, give, NULL);
	return true;
}
