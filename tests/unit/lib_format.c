/* SPDX-License-Identifier: BSD-2-Clause */
/* The visor's printf and string functions against the C library's, under other names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#define vsnprintf visor_vsnprintf
#define snprintf visor_snprintf
#include "visor/lib/format.c"
#undef vsnprintf
#undef snprintf

#define memcpy visor_memcpy
#define memmove visor_memmove
#define memset visor_memset
#define memcmp visor_memcmp
#define strlen visor_strlen
#define strcmp visor_strcmp
#define strncmp visor_strncmp
#define strstr visor_strstr
#undef VISOR_LIB_STRING_H
#include "visor/lib/string.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen
#undef strcmp
#undef strncmp
#undef strstr

#define SAME(...) \
	do { \
		char ours[200], theirs[200]; \
		int n = snprintf(theirs, sizeof(theirs), __VA_ARGS__); \
		assert_int_equal(visor_snprintf(ours, sizeof(ours), __VA_ARGS__), n); \
		assert_string_equal(ours, theirs); \
	} while (0)

static void as_printf(void **state)
{
	(void)state;
	SAME("plain %% text");
	SAME("[%s] [%5s] [%-5s] [%.*s] [%c]", "abcdefg", "ab", "ab", 3, "abcdef", 'x');
	SAME("%d %d %d %d", 0, -1, 2147483647, -2147483647 - 1);
	SAME("%u %x %08x %-8x| %4u", 4294967295u, 0xdeadbeefu, 0x1fu, 0x1fu, 7u);
	SAME("%lld %llu %llx %016llx", -9223372036854775807ll - 1, 18446744073709551615ull, 0x123456789abcdefull, 0x9ull);
	SAME("%zu %lx %06d %*u", sizeof(int), 0x123456789aul, -42, 6, 77u);
	SAME("%s", "");
}

static void too_long(void **state)
{
	char small[5];

	(void)state;
	assert_int_equal(visor_snprintf(small, sizeof(small), "%s", "abcdefgh"), 8);
	assert_string_equal(small, "abcd");
	assert_int_equal(visor_snprintf(NULL, 0, "%d", 12345), 5);
}

static void copies(void **state)
{
	(void)state;
	srand(2);
	for (unsigned round = 0; round < 20000; round++) {
		uint8_t a[100], b[100];
		size_t from = (size_t)rand() % 50, to = (size_t)rand() % 50, n = (size_t)rand() % 50;

		for (unsigned i = 0; i < sizeof(a); i++)
			a[i] = b[i] = (uint8_t)rand();
		memmove(a + to, a + from, n);
		assert_ptr_equal(visor_memmove(b + to, b + from, n), b + to);
		assert_memory_equal(a, b, sizeof(a));
		memset(a + to, rand(), n);
		visor_memcpy(b + to, a + to, n);
		assert_memory_equal(a, b, sizeof(a));
		memset(a + from, 0x77, n);
		visor_memset(b + from, 0x77, n);
		assert_memory_equal(a, b, sizeof(a));
		assert_int_equal(visor_memcmp(a, b, sizeof(a)), 0);
		b[to] ^= 0x80;
		assert_int_equal(visor_memcmp(a, b, sizeof(a)) < 0, memcmp(a, b, sizeof(a)) < 0);
	}
}

static void strings(void **state)
{
	static const char *const words[] = {"", "a", "ab", "abc", "abab", "b", "ba", "babab", "\xff", "\x01"};
	const unsigned n = sizeof(words) / sizeof(words[0]);

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(visor_strlen(words[i]), strlen(words[i]));
		for (unsigned k = 0; k < n; k++) {
			assert_int_equal(visor_strcmp(words[i], words[k]) < 0, strcmp(words[i], words[k]) < 0);
			assert_int_equal(visor_strcmp(words[i], words[k]) > 0, strcmp(words[i], words[k]) > 0);
			assert_int_equal(visor_strncmp(words[i], words[k], 1) < 0, strncmp(words[i], words[k], 1) < 0);
			assert_ptr_equal(visor_strstr(words[i], words[k]), strstr(words[i], words[k]));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_printf),
		cmocka_unit_test(too_long),
		cmocka_unit_test(copies),
		cmocka_unit_test(strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
