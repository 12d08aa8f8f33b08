/* SPDX-License-Identifier: BSD-2-Clause */
#include "format_text.h"

#include <ctype.h>
#include <string.h>

/* The longest that a kernel has is about 120. */
enum { DECLARATION_MAX = 512 };

/* Text of which a part has been read; NULL: it was not what it should be. */
static const char *skip_word(const char *at, const char *word)
{
	size_t length = strlen(word);

	return at && strncmp(at, word, length) == 0 ? at + length : NULL;
}

static const char *skip_number(const char *at)
{
	if (!at || !isdigit((unsigned char)*at))
		return NULL;
	while (isdigit((unsigned char)*at))
		at++;
	return at;
}

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/*
 * "unsigned char comm[16]", "__data_loc char[] name", "const char __attribute__((user)) * p":
 * names, stars, and brackets that close what they open.
 */
static const char *skip_declaration(const char *at)
{
	char open[8];
	unsigned depth = 0, names = 0, length = 0;

	if (!at || !(isalpha((unsigned char)*at) || *at == '_'))
		return NULL;
	for (; *at != ';'; at++, length++) {
		if (length == DECLARATION_MAX)
			return NULL;
		if (is_name(*at)) {
			names += !depth && !is_name(at[1]);
		} else if (*at == '[' || *at == '(') {
			if (depth == sizeof(open))
				return NULL;
			open[depth++] = *at;
		} else if (*at == ']' || *at == ')') {
			if (!depth || open[--depth] != (*at == ']' ? '[' : '('))
				return NULL;
		} else if (!strchr(depth ? " *+-/" : " *", *at) || !*at) {
			return NULL;
		}
	}
	return depth || names < 2 ? NULL : at;
}

static const char *skip_field(const char *at)
{
	const char *is_signed;

	at = skip_declaration(skip_word(at, "\tfield:"));
	at = skip_number(skip_word(at, ";\toffset:"));
	at = skip_word(skip_number(skip_word(at, ";\tsize:")), ";");
	is_signed = skip_word(skip_number(skip_word(at, "\tsigned:")), ";");
	return is_signed ? is_signed : at;
}

static const char *skip_name(const char *at)
{
	const char *name = skip_word(at, "name: ");

	if (!name || !is_name(*name))
		return NULL;
	while (is_name(*name) || *name == '-' || *name == '.')
		name++;
	return name;
}

bool format_text_is_sound(const char *text)
{
	const char *at = skip_name(text);

	at = skip_number(skip_word(at, "\nID: "));
	at = skip_word(at, "\nformat:");
	while (at && *at) {
		while (*at == '\n')
			at++;
		if (*at)
			at = skip_field(at);
		if (at && *at && *at != '\n')
			return false;
	}
	return at != NULL;
}
