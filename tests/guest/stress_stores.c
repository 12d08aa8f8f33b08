/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page tables written by every kind of store: 1 to 16 bytes, at any byte, across
 * entries, locked, repeated, pushed.
 *
 * Each instruction is executed twice: on a page of data with the same contents as
 * the table, and on the table. Both must be the same afterwards, so must what
 * the instruction returned; and the translations must follow. Entries are made
 * so that any mixture of the bytes of two good ones is a good one: all name one
 * of 16 frames in a row.
 */
#include "space.h"

enum {
	FRAMES = 16,
	USED = 16,
	MARGIN = 16, /* entries that are written; bytes that no store exceeds */
	IMAGE = 64,
	FIFTH = 5,           /* the entry that is used of a table in a table */
	ENTRY_BITS = 0xff67, /* those that change: P W U A D G, available ones, the frame's lowest four */
};

static uint64_t frames;        /* what the entries may name: pages or page tables */
static uint64_t shown[FRAMES]; /* what the window shows through each: a tagged frame */
static uint64_t table, copy;   /* that is written, and its twin */
static unsigned level;         /* of the table */
static unsigned first;         /* the entries that are written: USED from here on */

struct store {
	const char *name;
	unsigned alignment;
	uintptr_t (*run)(volatile uint8_t *to, const uint8_t *image);
};

/* ---- The instructions ------------------------------------------------------------- */

/* Plain ones: `image` goes to `to`. */
#define STORE(name, type, instruction) \
	static uintptr_t name(volatile uint8_t *to, const uint8_t *image) \
	{ \
		__asm__ volatile(instruction \
		                 : \
		                 : "D"(to), "r"(*(const type *)image) \
		                 : "memory"); \
		return 0; \
	}
STORE(mov2, uint16_t, "movw %1, (%0)")
STORE(mov4, uint32_t, "movl %1, (%0)")
STORE(movnti4, uint32_t, "movnti %1, (%0)")
#ifdef __x86_64__
STORE(mov8, uint64_t, "movq %1, (%0)")
STORE(movnti8, uint64_t, "movnti %1, (%0)")
#endif

static uintptr_t mov1(volatile uint8_t *to, const uint8_t *image)
{
	__asm__ volatile("movb %1, (%0)"
	                 :
	                 : "D"(to), "a"(*image)
	                 : "memory");
	return 0;
}

static uintptr_t movups(volatile uint8_t *to, const uint8_t *image)
{
	__asm__ volatile("movups (%1), %%xmm0; movups %%xmm0, (%0)"
	                 :
	                 : "D"(to), "S"(image)
	                 : "memory");
	return 0;
}

static uintptr_t movq_xmm(volatile uint8_t *to, const uint8_t *image)
{
	__asm__ volatile("movups (%1), %%xmm0; movq %%xmm0, (%0)"
	                 :
	                 : "D"(to), "S"(image)
	                 : "memory");
	return 0;
}

/* REP with a count of bytes that is no multiple of anything. */
static uintptr_t rep_movsb(volatile uint8_t *to, const uint8_t *image)
{
	uintptr_t count = 13;

	__asm__ volatile("rep movsb"
	                 : "+D"(to), "+S"(image), "+c"(count)
	                 :
	                 : "memory");
	return (uintptr_t)to % PAGE + count;
}

static uintptr_t rep_movsd(volatile uint8_t *to, const uint8_t *image)
{
	uintptr_t count = 3;

	__asm__ volatile("rep movsl"
	                 : "+D"(to), "+S"(image), "+c"(count)
	                 :
	                 : "memory");
	return (uintptr_t)to % PAGE + count;
}

/* From the last byte down. */
static uintptr_t rep_movsb_down(volatile uint8_t *to, const uint8_t *image)
{
	uintptr_t count = 11;

	to += 10;
	image += 10;
	__asm__ volatile("std; rep movsb; cld"
	                 : "+D"(to), "+S"(image), "+c"(count)
	                 :
	                 : "memory");
	return (uintptr_t)to % PAGE + count;
}

static uintptr_t stosd(volatile uint8_t *to, const uint8_t *image)
{
	__asm__ volatile("stosl"
	                 : "+D"(to)
	                 : "a"(*(const uint32_t *)image)
	                 : "memory");
	return (uintptr_t)to % PAGE;
}

/* An interrupt would need the stack. */
static uintptr_t push(volatile uint8_t *to, const uint8_t *image)
{
	uintptr_t top = (uintptr_t)to + sizeof(uintptr_t);

#ifdef __x86_64__
	__asm__ volatile("mov %%rsp, %%rbx; mov %0, %%rsp; push %1; mov %%rbx, %%rsp"
	                 :
	                 : "r"(top), "r"(*(const uintptr_t *)image)
	                 : "rbx", "memory");
#else
	__asm__ volatile("mov %%esp, %%ebx; mov %0, %%esp; push %1; mov %%ebx, %%esp"
	                 :
	                 : "r"(top), "r"(*(const uintptr_t *)image)
	                 : "ebx", "memory");
#endif
	return 0;
}

#define EXCHANGE(name, type, suffix) \
	static uintptr_t xchg_##name(volatile uint8_t *to, const uint8_t *image) \
	{ \
		type v = *(const type *)image; \
		__asm__ volatile("xchg" suffix " %0, (%1)" \
		                 : "+a"(v) \
		                 : "D"(to) \
		                 : "memory"); \
		return (uintptr_t)v; \
	} \
	/* Once with a wrong guess, then with the right one. */ \
	static uintptr_t cmpxchg_##name(volatile uint8_t *to, const uint8_t *image) \
	{ \
		type seen = (type) ~*(volatile type *)to, v = *(const type *)image; \
		uint8_t equal; \
		__asm__ volatile("lock; cmpxchg" suffix " %3, (%2)\n\tlock; cmpxchg" suffix " %3, (%2)\n\tsete %1" \
		                 : "+a"(seen), "=q"(equal) \
		                 : "D"(to), "d"(v) \
		                 : "memory", "cc"); \
		return (uintptr_t)seen + equal; \
	} \
	static uintptr_t xadd_##name(volatile uint8_t *to, const uint8_t *image) \
	{ \
		type v = (type)(*(const type *)image - *(volatile type *)to); \
		__asm__ volatile("lock; xadd" suffix " %0, (%1)" \
		                 : "+a"(v) \
		                 : "D"(to) \
		                 : "memory", "cc"); \
		return (uintptr_t)v; \
	} \
	/* AND and OR make the old word into the new one, XOR with their difference leaves it. */ \
	static uintptr_t logic_##name(volatile uint8_t *to, const uint8_t *image) \
	{ \
		type v = *(const type *)image; \
		__asm__ volatile("lock; and" suffix " %0, (%1)\n\tlock; or" suffix " %0, (%1)" \
		                 : \
		                 : "a"(v), "D"(to) \
		                 : "memory", "cc"); \
		v = (type)(v ^ *(volatile type *)to); \
		__asm__ volatile("lock; xor" suffix " %0, (%1)" \
		                 : \
		                 : "a"(v), "D"(to) \
		                 : "memory", "cc"); \
		return (uintptr_t)v; \
	}
EXCHANGE(1, uint8_t, "b")
EXCHANGE(2, uint16_t, "w")
EXCHANGE(4, uint32_t, "l")
#ifdef __x86_64__
EXCHANGE(8, uint64_t, "q")
#endif

static uintptr_t cmpxchg8b(volatile uint8_t *to, const uint8_t *image)
{
	uint32_t low = ~0u, high = 0;
	uint8_t equal;

	__asm__ volatile("lock; cmpxchg8b (%3)\n\tlock; cmpxchg8b (%3)\n\tsete %2"
	                 : "+a"(low), "+d"(high), "=m"(equal)
	                 : "D"(to), "b"(((const uint32_t *)image)[0]), "c"(((const uint32_t *)image)[1])
	                 : "memory", "cc");
	return low + high + equal;
}

#ifdef __x86_64__
static uintptr_t cmpxchg16b(volatile uint8_t *to, const uint8_t *image)
{
	uint64_t low = ~0ull, high = 0;
	uint8_t equal;

	__asm__ volatile("lock; cmpxchg16b (%3)\n\tlock; cmpxchg16b (%3)\n\tsete %2"
	                 : "+a"(low), "+d"(high), "=m"(equal)
	                 : "D"(to), "b"(((const uint64_t *)image)[0]), "c"(((const uint64_t *)image)[1])
	                 : "memory", "cc");
	return low + high + equal;
}
#endif

/* Read-modify-write of one byte in which every value is good: an entry's second. */
static uintptr_t arithmetic(volatile uint8_t *to, const uint8_t *image)
{
	uint8_t carry;

	to = (volatile uint8_t *)((uintptr_t)to / paging->entry_bytes * paging->entry_bytes + 1);
	__asm__ volatile("lock; incb (%1)\n\tlock; negb (%1)\n\tlock; notb (%1)\n\tlock; subb %2, (%1)\n\t"
	                 "lock; addb $0x35, (%1)\n\tlock; adcb $3, (%1)\n\tlock; decb (%1)\n\tsetc %0"
	                 : "=q"(carry)
	                 : "D"(to), "q"(*image)
	                 : "memory", "cc");
	return carry;
}

/* Bits by a register, which may reach other entries from a byte in the middle. */
static uintptr_t bits(volatile uint8_t *to, const uint8_t *image)
{
	uintptr_t table_bit = ((uintptr_t)to % PAGE / paging->entry_bytes + 1) * paging->entry_bytes * 8;
	uintptr_t bit = table_bit + (*image & 1 ? 0 : 9 + *image % 7);
	volatile uint8_t *start = to - (uintptr_t)to % PAGE;
	uint8_t carry[4];

	__asm__ volatile("lock; btsl %k5, (%4)\n\tsetc %0\n\tlock; btrl %k5, (%4)\n\tsetc %1\n\t"
	                 "lock; btcl %k5, (%4)\n\tsetc %2\n\tbtl %k5, (%4)\n\tsetc %3"
	                 : "=m"(carry[0]), "=m"(carry[1]), "=m"(carry[2]), "=m"(carry[3])
	                 : "D"(start), "S"(bit)
	                 : "memory", "cc");
	return carry[0] + 2u * carry[1] + 4u * carry[2] + 8u * carry[3];
}

static const struct store stores[] = {
	{"MOV 1", 1, mov1},
	{"MOV 2", 1, mov2},
	{"MOV 4", 1, mov4},
	{"MOVNTI 4", 1, movnti4},
	{"MOVUPS", 1, movups},
	{"MOVQ", 1, movq_xmm},
	{"PUSH", 1, push},
	{"REP MOVSB", 1, rep_movsb},
	{"REP MOVSD", 1, rep_movsd},
	{"REP MOVSB down", 1, rep_movsb_down},
	{"STOSD", 1, stosd},
	{"XCHG 1", 1, xchg_1},
	{"XCHG 2", 1, xchg_2},
	{"XCHG 4", 1, xchg_4},
	{"CMPXCHG 1", 1, cmpxchg_1},
	{"CMPXCHG 2", 1, cmpxchg_2},
	{"CMPXCHG 4", 1, cmpxchg_4},
	{"XADD 1", 1, xadd_1},
	{"XADD 2", 1, xadd_2},
	{"XADD 4", 1, xadd_4},
	{"AND OR XOR 1", 1, logic_1},
	{"AND OR XOR 2", 1, logic_2},
	{"AND OR XOR 4", 1, logic_4},
	{"CMPXCHG8B", 4, cmpxchg8b},
	{"INC to DEC", 1, arithmetic},
	{"BTS to BT", 1, bits},
#ifdef __x86_64__
	{"MOV 8", 1, mov8},
	{"MOVNTI 8", 1, movnti8},
	{"XCHG 8", 1, xchg_8},
	{"CMPXCHG 8", 1, cmpxchg_8},
	{"XADD 8", 1, xadd_8},
	{"AND OR XOR 8", 1, logic_8},
	{"CMPXCHG16B", 16, cmpxchg16b},
#endif
};

enum { STORES = sizeof(stores) / sizeof(stores[0]) };

/* ---- A round ---------------------------------------------------------------------------- */

static uint64_t good_entry(void)
{
	uint64_t entry = (frames & ~(uint64_t)ENTRY_BITS) | (random_next() & ENTRY_BITS);

	return random_pick(4) ? entry | ENTRY_P : entry & ~(uint64_t)ENTRY_P;
}

static uint64_t linear_of(unsigned index)
{
	uint64_t area = paging->window - ((uint64_t)index_of(paging->window, level) << level_shift(level));

	return area + ((uint64_t)index << level_shift(level)) + (level == 2 ? FIFTH * PAGE : 0);
}

static uint64_t shown_by(uint64_t entry)
{
	return entry & ENTRY_P ? shown[(entry >> 12) & (FRAMES - 1)] : 0;
}

/* Bytes of a row of good entries, from the byte on that `offset` is in an entry. */
static void fill_image(uint8_t *image, unsigned offset)
{
	uint8_t row[IMAGE + 8];

	for (unsigned at = 0; at < sizeof(row); at += paging->entry_bytes) {
		uint64_t entry = good_entry();

		memcpy(row + at, &entry, paging->entry_bytes);
	}
	memcpy(image, row + offset % paging->entry_bytes, IMAGE);
}

static void check_entry(unsigned index, uint64_t old, const char *name)
{
	uint64_t now = entry_read(table, index), linear = linear_of(index), old_shown = shown_by(old);
	bool may_write;

	if (old & ENTRY_P && old != now)
		check_shows_either(linear, old_shown, shown_by(now), name);
	if (old & ENTRY_P)
		invalidate_page(linear);
	check_shows(linear, shown_by(now), name);
	if (!(now & ENTRY_P))
		return;
	check(entry_read(table, index) & ENTRY_A, "%s: a used entry without A: 0x%lx", name, entry_read(table, index));
	may_write = try_store(linear + 8, (uint32_t)index);
	check(may_write == !!(now & ENTRY_W), "%s: a store through entry 0x%lx: %u", name, now, may_write);
	if (level == 1 && may_write)
		check(entry_read(table, index) & ENTRY_D, "%s: a written page without D: 0x%lx", name,
		      entry_read(table, index));
}

static bool same_but_for_accessed(void)
{
	for (unsigned i = 0; i < table_entries(level); i++)
		if ((entry_read(table, i) ^ entry_read(copy, i)) & ~(uint64_t)ENTRY_A)
			return false;
	return true;
}

static void store_once(const struct store *s)
{
	uint8_t image[IMAGE];
	uint64_t old[USED];
	unsigned offset = first * paging->entry_bytes + random_pick(USED * paging->entry_bytes - 2 * MARGIN);
	uintptr_t on_table, on_copy;

	offset &= ~(s->alignment - 1);
	fill_image(image, offset);
	for (unsigned i = 0; i < USED; i++)
		old[i] = entry_read(table, first + i);
	memcpy((void *)(uintptr_t)copy, (const void *)(uintptr_t)table, PAGE);
	on_copy = s->run((volatile uint8_t *)(uintptr_t)(copy + offset), image);
	on_table = s->run((volatile uint8_t *)(uintptr_t)(table + offset), image);
	check(on_copy == on_table, "%s, %s at byte 0x%x of a table: result 0x%lx, of data 0x%lx", paging->name,
	      s->name, offset, (uint64_t)on_table, (uint64_t)on_copy);
	check(same_but_for_accessed(), "%s, %s at byte 0x%x: table and data differ", paging->name, s->name, offset);
	for (unsigned i = 0; i < USED; i++)
		if (entry_read(table, first + i) != old[i])
			check_entry(first + i, old[i], s->name);
}

/* ---- Whole tables ------------------------------------------------------------------------ */

static void check_some(const char *name)
{
	unsigned last = table_entries(level) - 1;

	for (unsigned n = 0; n < 8; n++) {
		unsigned i = n == 0 ? 0 : n == 1 ? last
		                                 : random_pick(last + 1);

		check_shows(linear_of(i), shown_by(entry_read(table, i)), name);
	}
}

static void forget_all(void)
{
	write_cr3(read_cr3());
}

/* No global entries here: CR3 is what forgets them. */
static void fill_whole(void)
{
	uint64_t entry = (good_entry() & ~(uint64_t)ENTRY_G) | ENTRY_P;
	void *to = (void *)(uintptr_t)table;
	uintptr_t count = table_entries(level);

	if (paging->entry_bytes == 4)
		__asm__ volatile("rep stosl"
		                 : "+D"(to), "+c"(count)
		                 : "a"((uint32_t)entry)
		                 : "memory");
#ifdef __x86_64__
	else
		__asm__ volatile("rep stosq"
		                 : "+D"(to), "+c"(count)
		                 : "a"(entry)
		                 : "memory");
#else
	else
		for (unsigned i = 0; i < count; i++)
			entry_write(table, i, entry);
#endif
	forget_all();
	check_some("after REP STOS over a table");
}

static void copy_whole(void)
{
	for (unsigned i = 0; i < table_entries(level); i++)
		entry_write(copy, i, good_entry() & ~(uint64_t)ENTRY_G);
	memcpy((void *)(uintptr_t)table, (const void *)(uintptr_t)copy, PAGE);
	forget_all();
	check_some("after REP MOVSB over a table");
}

/* ---- Levels --------------------------------------------------------------------------------- */

/* 16 frames in a row: pages, or tables whose fifth entries map such pages. */
static void make_targets(void)
{
	frames = frames_take(FRAMES, FRAMES * PAGE);
	for (unsigned i = 0; i < FRAMES; i++) {
		uint64_t frame = frames + i * PAGE;

		memset((void *)(uintptr_t)frame, 0, PAGE);
		shown[i] = level == 1 ? frame : frame_tagged();
		if (level == 1)
			frame_set_tag(frame);
		else
			entry_write(frame, FIFTH, shown[i] | ENTRY_P | ENTRY_W | ENTRY_U);
	}
}

/* In the middle of the table, and at its end; of the root, what the window has. */
static void choose_entries(unsigned round)
{
	bool at_end = level < paging->levels && round % 2 == 0;

	first = at_end ? table_entries(level) - USED : index_of(paging->window, level) + 8;
	for (unsigned i = 0; i < USED; i++)
		entry_write(table, first + i, good_entry());
	forget_all();
}

static void at_level(unsigned l)
{
	uint64_t root = space_new();

	level = l;
	make_targets();
	copy = frame_take();
	table = space_table(root, paging->window, level);
	write_cr3(root);
	for (unsigned round = 0, n = rounds(12); round < n; round++) {
		choose_entries(round);
		for (unsigned i = 0; i < STORES; i++)
			store_once(&stores[i]);
		if (level == paging->levels)
			continue; /* it maps this program too */
		fill_whole();
		copy_whole();
	}
}

static void run(void)
{
	at_level(1);
	at_level(2);
}

void test_stress_stores(void)
{
	in_each_mode(run);
}
