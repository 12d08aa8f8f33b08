/* SPDX-License-Identifier: BSD-2-Clause */
/* Console, checks, command line and memory map. */
#include <stdarg.h>

#include "guest.h"
#include "multiboot.h"

extern const char image_start[], image_end[];

static const struct multiboot_info *boot_info;

/* ---- Console and end ------------------------------------------------------ */

#define COM1 0x3f8

static void put(char c)
{
	while (!(in8(COM1 + 5) & 0x20)) /* transmitter holding register empty */
		;
	out8(COM1, (uint8_t)c);
}

static void put_number(uint64_t value, unsigned base, unsigned width)
{
	char digits[24];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value || n < width);
	while (n)
		put(digits[--n]);
}

static void put_signed(int64_t value)
{
	if (value < 0)
		put('-');
	put_number(value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, 0);
}

static void print_list(const char *format, va_list args)
{
	for (; *format; format++) {
		unsigned width = 0;
		bool wide = false;

		if (*format != '%') {
			put(*format);
			continue;
		}
		for (format++; *format >= '0' && *format <= '9'; format++)
			width = width * 10 + (unsigned)(*format - '0');
		if (*format == 'l') {
			wide = true;
			format++;
		}
		switch (*format) {
		case 's':
			for (const char *s = va_arg(args, const char *); *s; s++)
				put(*s);
			break;
		case 'c':
			put((char)va_arg(args, int));
			break;
		case 'd':
			put_signed(wide ? va_arg(args, int64_t) : va_arg(args, int));
			break;
		case 'u':
		case 'x':
			put_number(wide ? va_arg(args, uint64_t) : va_arg(args, uint32_t),
			           *format == 'x' ? 16 : 10, width);
			break;
		default:
			put(*format);
		}
	}
}

void print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_list(format, args);
	va_end(args);
}

_Noreturn void guest_exit(uint32_t code)
{
	out8(0xf4, (uint8_t)code);
	print("FAIL exit: the machine has no isa-debug-exit port at F4h\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* ---- Checks --------------------------------------------------------------- */

#define LINES_PER_TEST 20u

static unsigned checks, failures, failures_before;

bool check_count(bool passed)
{
	checks++;
	if (!passed)
		failures++;
	return passed;
}

void check_failed(const char *file, int line, const char *format, ...)
{
	va_list args;

	if (failures - failures_before > LINES_PER_TEST)
		return;
	print("  %s:%d: ", file, line);
	va_start(args, format);
	print_list(format, args);
	va_end(args);
	print("\n");
}

void skip(const char *format, ...)
{
	va_list args;

	print("SKIP ");
	va_start(args, format);
	print_list(format, args);
	va_end(args);
	print("\n");
}

/* ---- Command line ---------------------------------------------------------- */

static const char *find_option(const char *name)
{
	const char *p = (const char *)(uintptr_t)boot_info->command_line;

	if (!(boot_info->flags & MULTIBOOT_COMMAND_LINE))
		return NULL;
	while (*p) {
		const char *n = name;

		while (*p == ' ')
			p++;
		for (; *n && *p == *n; n++)
			p++;
		if (!*n && *p == '=')
			return p + 1;
		while (*p && *p != ' ')
			p++;
	}
	return NULL;
}

const char *option(const char *name)
{
	static char text[256];
	const char *p = find_option(name);
	unsigned n = 0;

	if (!p)
		return NULL;
	while (p[n] && p[n] != ' ' && n < sizeof(text) - 1) {
		text[n] = p[n];
		n++;
	}
	text[n] = 0;
	return text;
}

uint64_t option_number(const char *name, uint64_t otherwise)
{
	const char *p = find_option(name);
	uint64_t value = 0;

	if (!p)
		return otherwise;
	for (; *p >= '0' && *p <= '9'; p++)
		value = value * 10 + (uint64_t)(*p - '0');
	return value;
}

/* ---- Memory ------------------------------------------------------------------ */

#define ADDRESSABLE (64 * 1024 * GIB) /* what boot.S maps with linear = physical, with a gap */
#define RANGES_MAX 16u

static uint64_t taken[RANGES_MAX]; /* bytes of each free range, from its start, that tests have taken */

unsigned module_count(void)
{
	return boot_info->flags & MULTIBOOT_MODULES ? boot_info->module_count : 0;
}

struct range module(unsigned i)
{
	const struct multiboot_module *m = (const struct multiboot_module *)(uintptr_t)boot_info->modules + i;

	return (struct range){m->start, m->end - m->start};
}

/* What the image and the loader use, the I-th piece; false: no more. */
static bool used_piece(unsigned i, struct range *out)
{
	switch (i) {
	case 0:
		*out = (struct range){0, (uintptr_t)image_end};
		return true;
	case 1:
		*out = (struct range){(uintptr_t)boot_info, PAGE};
		return true;
	case 2:
		*out = (struct range){boot_info->command_line, PAGE};
		return true;
	case 3:
		*out = (struct range){boot_info->map, boot_info->map_bytes};
		return true;
	case 4:
		*out = (struct range){boot_info->modules, module_count() * sizeof(struct multiboot_module)};
		return true;
	}
	if (i - 5 >= module_count())
		return false;
	*out = module(i - 5);
	return true;
}

/* Shrink [base, end) to what lies above the highest used piece that it meets. */
static struct range above_used(uint64_t base, uint64_t end)
{
	struct range used;

	for (unsigned i = 0; used_piece(i, &used); i++)
		if (used.base < end && used.base + used.bytes > base && used.base < base + (end - base) / 2)
			base = used.base + used.bytes;
	for (unsigned i = 0; used_piece(i, &used); i++)
		if (used.base < end && used.base + used.bytes > base)
			end = used.base;
	base = (base + 2 * MIB - 1) & ~(2 * MIB - 1);
	end &= ~(2 * MIB - 1);
	return (struct range){base, end > base ? end - base : 0};
}

/* RAM that neither the image nor the loader uses: one range, or none, for each piece of the map. */
static unsigned free_ranges(struct range *ranges, unsigned max)
{
	unsigned n = 0;
	uint64_t p = boot_info->map, end = p + boot_info->map_bytes;

	while (p < end && n < max) {
		const struct multiboot_map_entry *e = (const void *)(uintptr_t)p;
		struct range r = above_used(e->base, e->base + e->bytes);

		p += e->size + 4;
		if (e->type == MULTIBOOT_RAM && e->base >= MIB && e->base + e->bytes < ADDRESSABLE && r.bytes)
			ranges[n++] = r;
	}
	return n;
}

uint64_t take_ram(uint64_t bytes)
{
	struct range ranges[RANGES_MAX];
	unsigned n = free_ranges(ranges, RANGES_MAX);

	bytes = (bytes + 2 * MIB - 1) & ~(2 * MIB - 1);
	for (unsigned i = 0; i < n; i++) {
		uint64_t base = ranges[i].base + taken[i];

		if (bytes <= ranges[i].bytes - taken[i]) {
			taken[i] += bytes;
			return base;
		}
	}
	print("FAIL memory: the tests need %lu MiB more RAM than the machine has\n", bytes / MIB);
	guest_exit(GUEST_UNFIT);
}

unsigned take_all_ram(struct range *ranges, unsigned max)
{
	unsigned n = free_ranges(ranges, max < RANGES_MAX ? max : RANGES_MAX), left = 0;

	for (unsigned i = 0; i < n; i++) {
		struct range r = {ranges[i].base + taken[i], ranges[i].bytes - taken[i]};

		taken[i] = ranges[i].bytes;
		if (r.bytes)
			ranges[left++] = r;
	}
	return left;
}

uint64_t ram_end(void)
{
	uint64_t p = boot_info->map, end = p + boot_info->map_bytes, top = 0;

	while (p < end) {
		const struct multiboot_map_entry *e = (const void *)(uintptr_t)p;

		if (e->type == MULTIBOOT_RAM && e->base < 4 * GIB && e->base + e->bytes > top)
			top = e->base + e->bytes;
		p += e->size + 4;
	}
	return top;
}

uint64_t physical_end(void)
{
	return 1ull << (cpuid(0x80000008, 0).a & 0xff);
}

volatile void *at(uint64_t gpa)
{
	if (gpa >= (511 * 512 * GIB))
		gpa = gpa - 511 * 512 * GIB + 0xffff800000000000ull;
	return (volatile void *)(uintptr_t)gpa;
}

uint64_t nothing_there(unsigned bytes)
{
	if (!device_present())
		return 0;
	return bytes == 8 ? ALL_ONES : (1ull << (8 * bytes)) - 1;
}

/* ---- Random numbers (xorshift64*) ---------------------------------------------- */

static uint64_t random_state = 88172645463325252ull;

uint64_t random_next(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 2685821657736338717ull;
}

uint64_t random_below(uint64_t bound)
{
	return (random_next() >> 11) % bound;
}

struct shuffle shuffle_of(uint64_t n)
{
	uint64_t mask = 0;

	while (mask + 1 < n)
		mask = mask << 1 | 1;
	/* An odd multiplier that is 1 modulo 4 permutes the numbers below a power of two. */
	return (struct shuffle){mask, (random_next() & ~3ull) | 1, random_next(), n};
}

uint64_t shuffle_at(const struct shuffle *s, uint64_t i)
{
	uint64_t x = (i * s->multiplier + s->offset) & s->mask;

	x ^= x >> 3; /* so that equal steps of i are not equal steps of the result */
	return (x * s->multiplier) & s->mask;
}

/* ---- What the compiler calls ------------------------------------------------------ */

void *memcpy(void *to, const void *from, size_t n)
{
	void *result = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return result;
}

void *memset(void *to, int value, size_t n)
{
	void *result = to;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
	return result;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *p = a, *q = b;

	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p < *q ? -1 : 1;
	return 0;
}

/* ---- Main --------------------------------------------------------------------------- */

static const struct test tests[] = {
	{"touch", test_touch},
	{"memory", test_memory},
	{"exec", test_exec},
	{"mmio", test_mmio},
	{"platform", test_platform},
	{"time", test_time},
	{"delivery", test_delivery},
	{"paging", test_paging},
	{"hostile", test_hostile},
	{"slots", test_slots},
	{"slots-random", test_slots_random},
	{"bench", test_bench},
	{"end-by-halt", end_by_halt},
	{"end-by-reset", end_by_reset},
	{"end-by-triple-fault", end_by_triple_fault},
	{"end-by-fetching-nothing", end_by_fetching_nothing},
	{"end-by-invalid-state", end_by_invalid_state},
};

static void run_test(const struct test *test)
{
	unsigned checks_before = checks;

	failures_before = failures;
	test->run();
	if (failures == failures_before)
		print("PASS %s %u checks\n", test->name, checks - checks_before);
	else
		print("FAIL %s %u of %u checks\n", test->name, failures - failures_before,
		      checks - checks_before);
}

/* Run the test whose name `list` begins with; returns what stands after it. */
static const char *run_first(const char *list)
{
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		const char *n = tests[i].name, *p = list;

		while (*n && *n == *p) {
			n++;
			p++;
		}
		if (!*n && (!*p || *p == ',')) {
			run_test(&tests[i]);
			return *p ? p + 1 : p;
		}
	}
	print("FAIL no test is called %s\n", list);
	guest_exit(GUEST_NO_SUCH_TEST);
}

void guest_main(uint32_t magic, const struct multiboot_info *info);
void guest_main(uint32_t magic, const struct multiboot_info *info)
{
	static char list[256];
	const char *names;

	boot_info = info;
	if (magic != MULTIBOOT_LOADED || !(info->flags & MULTIBOOT_MAP)) {
		print("FAIL boot: no multiboot memory map (magic 0x%x, flags 0x%x)\n", magic, info->flags);
		guest_exit(GUEST_UNFIT);
	}
	interrupts_setup();
	random_state ^= option_number("seed", 1) * 0x9e3779b97f4a7c15ull;
	names = option("tests");
	memcpy(list, names ? names : "touch", sizeof(list) - 1);
	for (names = list; *names;)
		names = run_first(names);
	guest_exit(failures > GUEST_FAILURES_MAX ? GUEST_FAILURES_MAX : failures);
}
