/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * User programs that touch one page after the other, each for the first time, and
 * a kernel that maps each page when it faults: where a hypervisor on shadow tables
 * runs ahead (visor/exit/ahead.h). Each program runs three times from the same
 * state: with a breakpoint armed that is never hit, so that nobody runs ahead of
 * the CPU; then freely; then with a timer ticking. All that the kernel sees of
 * the page faults, the registers in the end, and memory must be the same.
 */
#include "space.h"
#include "user.h"

enum { PAGES = 64,
       FAULTS_MAX = 2 * PAGES + 8,
       STATUS_FLAGS = 0x8d5,
       FLAG_AF = 0x10,
       FLAG_IF = 0x200 };
enum { ERROR_PRESENT = 1,
       ERROR_WRITE = 2,
       ERROR_USER = 4 };

/* Linear places, from paging->window on. The pages lie on both sides of a table's end. */
enum {
	CODE = 0,
	STACK = 0x2000,
	EXTRA = 0x3000,
	TABLE = 0x4000,
	DATA = 0x400000 - PAGES / 2 * 0x1000,
	SOURCE = 0xc00000 - PAGES / 2 * 0x1000,
	OWN = 0x1000000,
};

enum mapping {
	AT_ONCE,    /* a page is mapped for all accesses when it faults */
	READ_FIRST, /* ... for what it is wanted for */
	ON_WRITE,   /* it is there to be read, and copied when it is written */
};

struct shape {
	const char *name;
	const uint8_t *code, *code_end;
	enum mapping mapping;
	unsigned faults;
	bool merges;               /* a second exit for one page can be the first for the next */
	bool modifies;             /* instructions that read and then write */
	uintptr_t undefined_flags; /* where it faults */
	enum code_place { ANYWHERE,
		          ACROSS_PAGES,
		          AT_PAGE_END } code_place;
};

#define CODE_OF(name) extern const uint8_t ahead_##name[], ahead_##name##_end[]
CODE_OF(store);
CODE_OF(load);
CODE_OF(load_store);
CODE_OF(modify);
CODE_OF(call);
CODE_OF(across);
CODE_OF(across_down);
CODE_OF(stosb);
CODE_OF(stos_wide);
CODE_OF(stosb_down);
CODE_OF(movsb);
CODE_OF(movs_wide);
CODE_OF(movs_overlapping);
CODE_OF(scasb);
CODE_OF(lods_stos);
CODE_OF(counted);
CODE_OF(unrolled);
CODE_OF(far);
CODE_OF(each_byte);
CODE_OF(own_code);
CODE_OF(device);
CODE_OF(own_table);
CODE_OF(cpuid);
#define SHAPE_AT(place, name, ...) \
	{ \
#name, ahead_##name, ahead_##name##_end, __VA_ARGS__, place \
	}
#define SHAPE(name, ...) SHAPE_AT(ANYWHERE, name, __VA_ARGS__)

static const struct shape shapes[] = {
	SHAPE(store, AT_ONCE, PAGES, true, false, 0),
	SHAPE(store, ON_WRITE, PAGES, true, false, 0),
	SHAPE_AT(ACROSS_PAGES, store, AT_ONCE, PAGES, true, false, 0),
	SHAPE_AT(AT_PAGE_END, store, AT_ONCE, PAGES, true, false, 0),
	SHAPE(load, AT_ONCE, PAGES, true, false, 0),
	SHAPE(load_store, AT_ONCE, PAGES, true, false, 0),
	SHAPE(load_store, READ_FIRST, 2 * PAGES, true, false, 0),
	SHAPE(modify, AT_ONCE, PAGES, true, true, 0x894),
	SHAPE(modify, ON_WRITE, PAGES, true, true, 0x894),
	SHAPE(call, AT_ONCE, PAGES, true, false, 0),
	SHAPE(across, AT_ONCE, PAGES, true, false, 0),
	SHAPE(across_down, ON_WRITE, PAGES, true, true, 0),
	SHAPE(stosb, AT_ONCE, PAGES, true, false, 0),
	SHAPE(stos_wide, AT_ONCE, PAGES, true, false, 0),
	SHAPE(stosb_down, AT_ONCE, PAGES, false, false, 0),
	SHAPE(movsb, AT_ONCE, 2 * PAGES, true, false, 0),
	SHAPE(movs_wide, AT_ONCE, 2 * PAGES, true, false, 0),
	SHAPE(movs_overlapping, READ_FIRST, PAGES, true, false, 0),
	SHAPE(scasb, AT_ONCE, PAGES, false, false, 0),
	SHAPE(lods_stos, AT_ONCE, 2 * PAGES, true, false, 0),
	SHAPE(counted, AT_ONCE, PAGES, true, false, FLAG_AF),
	SHAPE(unrolled, AT_ONCE, PAGES, true, true, 0),
	SHAPE(far, AT_ONCE, PAGES, false, false, 0),
	SHAPE(each_byte, AT_ONCE, PAGES, false, true, 0),
	SHAPE(own_code, AT_ONCE, PAGES, true, false, 0),
	SHAPE(device, AT_ONCE, PAGES, false, false, 0),
	SHAPE(own_table, AT_ONCE, PAGES / 2, true, false, 0),
	SHAPE(cpuid, AT_ONCE, PAGES, false, false, 0),
};

struct fault {
	struct user_registers at;
	uintptr_t error, cr2;
};
struct outcome {
	unsigned faults;
	struct fault fault[FAULTS_MAX];
	struct user_registers end;
	uint32_t sum; /* of all that the program may have written */
	uint64_t exits;
};
/* QEMU's CPU finds a page missing when such an instruction reads; others when it is about to write. */
static bool is_same_error(const struct shape *s, uintptr_t a, uintptr_t b)
{
	return a == b || (s->modifies && !(a & ERROR_PRESENT) && (a ^ b) == ERROR_WRITE);
}

static struct outcome native, ahead, ticking, *current;
static const struct shape *running;

static uint64_t root, code_frame, stack_frame, data_frames, source_frames, copy_frames, own_frames;
static enum mapping mapping;
static volatile unsigned ticks;

/*
 * Each program has its own place, so that none is taken for one before it. One
 * has an instruction on two pages (its second one begins at 2), and one is the
 * last thing on a page that has no next.
 */
static uint64_t code_offset(const struct shape *s)
{
	switch (s->code_place) {
	case ACROSS_PAGES: return PAGE - 4;
	case AT_PAGE_END: return PAGE - (uint64_t)(s->code_end - s->code);
	default: return (uint64_t)(s - shapes) * 32;
	}
}

static uint64_t linear(uint64_t place)
{
	return paging->window + place;
}

/* ---- the kernel's part ------------------------------------------------------------ */

static uintptr_t read_cr2(void)
{
	uintptr_t v;

	__asm__ volatile("mov %%cr2, %0"
	                 : "=r"(v));
	return v;
}

static void stop_program(struct user_registers at, const char *why)
{
	print("FAIL ahead: %s, in %s at 0x%lx, CR2 0x%lx\n", why, running->name, (uint64_t)at.ip, (uint64_t)read_cr2());
	guest_exit(GUEST_EXCEPTION);
}

/* Which page it is, of which part: its number there, and the frames that belong to it. */
static bool find_page(uint64_t cr2, unsigned *number, uint64_t *frames)
{
	static const uint64_t parts[] = {DATA, SOURCE, OWN};
	const uint64_t of_part[] = {data_frames, source_frames, own_frames};

	for (unsigned i = 0; i < 3; i++) {
		if (cr2 - linear(parts[i]) < PAGES * PAGE) {
			*number = (unsigned)((cr2 - linear(parts[i])) / PAGE);
			*frames = of_part[i];
			return true;
		}
	}
	return false;
}

static void map_page(uint64_t cr2, uintptr_t error, uint64_t frames, unsigned number)
{
	uint64_t frame = frames + number * PAGE;
	bool writable = mapping != READ_FIRST || error & ERROR_WRITE;

	if (mapping == ON_WRITE && frames == data_frames) {
		memcpy((void *)(uintptr_t)(copy_frames + number * PAGE), (void *)(uintptr_t)frame, PAGE);
		frame = copy_frames + number * PAGE;
	}
	space_map(root, cr2, 0, 1);
	invalidate_page(cr2);
	space_map(root, cr2, frame | ENTRY_P | ENTRY_U | (writable ? ENTRY_W : 0), 1);
}

static void on_fault(struct frame *f)
{
	struct fault *now = &current->fault[current->faults];
	unsigned number;
	uint64_t frames;

	now->cr2 = read_cr2();
	now->error = f->error;
	if (!user_registers_in(f, &now->at)) {
		print("FAIL ahead: a #PF of the kernel's at 0x%lx\n", (uint64_t)now->cr2);
		guest_exit(GUEST_EXCEPTION);
	}
	if (++current->faults == FAULTS_MAX || !find_page(now->cr2, &number, &frames))
		stop_program(now->at, "a #PF that should not be");
	map_page(now->cr2 & ~(PAGE - 1), now->error, frames, number);
}

static void tick(struct frame *f)
{
	(void)f;
	ticks++;
	pic_end(0);
}

/* ---- before and after a program ------------------------------------------------------- */

static void clear_pages(uint64_t place, uint64_t frames, bool readable)
{
	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t entry = readable ? (frames + i * PAGE) | ENTRY_P | ENTRY_U : 0;

		space_map(root, linear(place) + i * PAGE, entry, 1);
		invalidate_page(linear(place) + i * PAGE);
	}
}

static void fill_frames(uint64_t frames, uint32_t pattern)
{
	for (unsigned i = 0; i < PAGES * PAGE / 4; i++)
		word_at(frames)[i] = i * pattern;
}

static bool is(const struct shape *s, const uint8_t *code)
{
	return s->code == code;
}

static struct user_registers prepare(const struct shape *s)
{
	bool own = is(s, ahead_own_table);
	uint64_t pages = linear(own ? OWN : DATA);
	struct user_registers r = {
		.ax = 0x5a,
		.cx = PAGES * PAGE,
		.dx = pages + PAGES * PAGE,
		.si = linear(SOURCE),
		.di = pages,
		.bp = linear(EXTRA),
		.sp = linear(STACK) + PAGE - 64,
		.ip = linear(CODE) + code_offset(s),
		.flags = 2,
	};

	running = s;
	mapping = s->mapping;
	clear_pages(DATA, data_frames, mapping == ON_WRITE);
	clear_pages(SOURCE, source_frames, false);
	clear_pages(OWN, own_frames, false);
	fill_frames(data_frames, 0);
	fill_frames(source_frames, 0x01234567);
	fill_frames(own_frames, 0);
	memset((void *)(uintptr_t)code_frame, 0xcc, 2 * PAGE);
	space_map(root, linear(CODE) + PAGE, s->code_place == AT_PAGE_END ? 0 : (code_frame + PAGE) | ENTRY_P | ENTRY_U, 1);
	invalidate_page(linear(CODE) + PAGE);
	memset((void *)(uintptr_t)stack_frame, 0, PAGE);
	memcpy((void *)(uintptr_t)(code_frame + code_offset(s)), s->code, (size_t)(s->code_end - s->code));
	space_map(root, linear(EXTRA), APIC_BASE | ENTRY_P | ENTRY_U, 1);
	if (is(s, ahead_device))
		r.bp += APIC_ID;
	if (own) {
		uint64_t table = space_table(root, linear(OWN), 1);

		space_map(root, linear(TABLE), table | ENTRY_P | ENTRY_W | ENTRY_U, 1);
		r.bp = linear(TABLE) + index_of(linear(OWN), 1) * paging->entry_bytes;
		r.si = paging->entry_bytes;
		r.bx = own_frames + PAGES * PAGE + ENTRY_P + ENTRY_W + ENTRY_U;
	}
	invalidate_page(linear(EXTRA));
	invalidate_page(linear(TABLE));
	return r;
}

static uint32_t sum_of(uint64_t frames, unsigned pages, uint32_t sum)
{
	for (unsigned i = 0; i < pages * PAGE / 4; i++)
		sum = (sum << 5 | sum >> 27) * 0x01000193 ^ word_at(frames)[i];
	return sum;
}

static uint64_t exits_so_far(void)
{
	return device_present() ? violations() : 0;
}

static void run_program(const struct shape *s, struct outcome *o, uintptr_t flags)
{
	struct user_registers r = prepare(s);
	uint64_t before = exits_so_far();

	r.flags |= flags;
	o->faults = 0;
	current = o;
	on_interrupt(VECTOR_PF, on_fault);
	user_run(&r);
	on_interrupt(VECTOR_PF, NULL);
	o->exits = exits_so_far() - before;
	o->end = r;
	o->sum = sum_of(mapping == ON_WRITE ? copy_frames : data_frames, PAGES, 1);
	o->sum = sum_of(source_frames, PAGES, o->sum);
	o->sum = sum_of(own_frames, PAGES + PAGES / 2, o->sum);
	o->sum = sum_of(stack_frame, 1, o->sum);
	o->sum = sum_of(code_frame, 2, o->sum);
}

/* ---- comparing --------------------------------------------------------------------------- */

static void compare_registers(const struct shape *s, const struct user_registers *a, const struct user_registers *b,
                              const char *where, unsigned i)
{
	static const char *const names[] = {"ax", "bx", "cx", "dx", "si", "di", "bp", "sp", "ip"};
	const uintptr_t *left = &a->ax, *right = &b->ax;
	uintptr_t flags = (a->flags ^ b->flags) & ~(uintptr_t)FLAG_IF & ~s->undefined_flags;

	for (unsigned n = 0; n < sizeof(names) / sizeof(names[0]); n++)
		check(left[n] == right[n], "%s, %s, %s %u: %s is 0x%lx instead of 0x%lx", paging->name, s->name, where, i,
		      names[n], (uint64_t)right[n], (uint64_t)left[n]);
	check(!flags, "%s, %s, %s %u: flags 0x%lx instead of 0x%lx", paging->name, s->name, where, i, (uint64_t)b->flags,
	      (uint64_t)a->flags);
}

static void compare(const struct shape *s, const struct outcome *a, const struct outcome *b)
{
	check(a->faults == b->faults, "%s, %s: %u page faults instead of %u", paging->name, s->name, b->faults, a->faults);
	for (unsigned i = 0; i < a->faults && i < b->faults; i++) {
		const struct fault *left = &a->fault[i], *right = &b->fault[i];

		check(is_same_error(s, left->error, right->error) && left->cr2 == right->cr2,
		      "%s, %s, fault %u: error 0x%lx and CR2 0x%lx instead of 0x%lx and 0x%lx", paging->name, s->name, i,
		      (uint64_t)right->error, (uint64_t)right->cr2, (uint64_t)left->error, (uint64_t)left->cr2);
		compare_registers(s, &left->at, &right->at, "fault", i);
	}
	compare_registers(s, &a->end, &b->end, "end", 0);
	check(a->sum == b->sum, "%s, %s: memory is not the same", paging->name, s->name);
}

/* What must be so whoever has run it. */
static void check_outcome(const struct shape *s, const struct outcome *o)
{
	check(o->faults == s->faults, "%s, %s: %u page faults instead of %u", paging->name, s->name, o->faults, s->faults);
	for (unsigned i = 0; i < o->faults; i++)
		check(o->fault[i].error & ERROR_USER, "%s, %s, fault %u: error 0x%lx", paging->name, s->name, i,
		      (uint64_t)o->fault[i].error);
	if (!is(s, ahead_store))
		return;
	for (unsigned i = 0; i < o->faults; i++) {
		const struct fault *f = &o->fault[i];

		check(f->cr2 == linear(DATA) + i * PAGE && f->at.di == f->cr2 && f->at.ip == linear(CODE) + code_offset(s) &&
		              f->error == (ERROR_USER | ERROR_WRITE | (s->mapping == ON_WRITE ? ERROR_PRESENT : 0)),
		      "%s, store, fault %u: error 0x%lx, CR2 0x%lx, IP 0x%lx", paging->name, i, (uint64_t)f->error,
		      (uint64_t)f->cr2, (uint64_t)f->at.ip);
	}
}

/* Two exits for each fault where the CPU runs alone; nearly one where it need not. */
static void check_exits(const struct shape *s)
{
	const char *word = option("run-ahead");
	bool off = word && word[1] == 'f'; /* not "on" */
	uint64_t most = native.exits + PAGES / 8;

	if (!device_present() || !on_shadow_tables())
		return;
	check(native.exits >= 2 * s->faults, "%s, %s: %lu exits for %u page faults of its own", paging->name, s->name,
	      native.exits, s->faults);
	if (s->merges && !off)
		most = s->faults + s->faults / 8 + 24;
	check(ahead.exits <= most, "%s, %s: %lu exits, of which %lu at most are needed; %lu without running ahead",
	      paging->name, s->name, ahead.exits, most, native.exits);
}

/* ---- the programs ------------------------------------------------------------------------- */

/* An instruction breakpoint where nothing is executed. */
static void arm_breakpoint(bool on)
{
	__asm__ volatile("mov %0, %%dr0"
	                 :
	                 : "r"((uintptr_t)linear(EXTRA)));
	__asm__ volatile("mov %0, %%dr7"
	                 :
	                 : "r"((uintptr_t)(on ? 0x401 : 0x400)));
}

static void run_shape(const struct shape *s)
{
	arm_breakpoint(true);
	run_program(s, &native, 0);
	arm_breakpoint(false);
	run_program(s, &ahead, 0);
	on_interrupt(VECTOR_PIC, tick);
	pit_start(PIT_PERIODIC, 600); /* about 2 kHz */
	run_program(s, &ticking, FLAG_IF);
	pic_setup(0xffff);
	on_interrupt(VECTOR_PIC, NULL);
	check_outcome(s, &native);
	compare(s, &native, &ahead);
	compare(s, &native, &ticking);
	check_exits(s);
}

static void map_user(uint64_t place, uint64_t frame)
{
	space_map(root, linear(place), frame | ENTRY_P | ENTRY_W | ENTRY_U, 1);
}

static void run(void)
{
	root = read_cr3();
	code_frame = frames_take(2, PAGE);
	stack_frame = frame_take();
	data_frames = frames_take(PAGES, PAGE);
	source_frames = frames_take(PAGES, PAGE);
	copy_frames = frames_take(PAGES, PAGE);
	own_frames = frames_take(2 * PAGES, PAGE);
	map_user(CODE, code_frame);
	map_user(STACK, stack_frame);
	write_cr3(root); /* PAE paging: what CR3 names is read here alone */
	for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		run_shape(&shapes[i]);
}

void test_ahead(void)
{
	apic_enable();
	ticks = 0;
	in_each_mode(run);
	check(ticks > 0, "no interrupt came while programs ran");
}
