/* SPDX-License-Identifier: BSD-2-Clause */
#include "page.h"

#include <string.h>

#include "blobs.h"

/* Text as HTML has it. */
static bool put_text(FILE *to, const char *text)
{
	for (; *text; text++) {
		const char *word = *text == '<' ? "&lt;" : *text == '>' ? "&gt;"
		                                   : *text == '&'       ? "&amp;"
		                                   : *text == '"'       ? "&quot;"
		                                                        : NULL;

		if ((word ? fputs(word, to) : putc(*text, to)) == EOF)
			return false;
	}
	return true;
}

static bool put_bytes(FILE *to, const uint8_t *begin, const uint8_t *end)
{
	size_t size = (size_t)(end - begin);

	return fwrite(begin, 1, size, to) == size;
}

/* A hash of the build, a line with its end. */
static bool put_hash(FILE *to, const uint8_t *begin, const uint8_t *end)
{
	while (end > begin && end[-1] == '\n')
		end--;
	return put_bytes(to, begin, end);
}

/*
 * What the browser may do for this page: run that script, use that style sheet.
 * Everything else, and every request, is refused by the browser itself.
 */
static bool put_policy(FILE *to)
{
	return fputs("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'sha256-", to) != EOF &&
	       put_hash(to, report_script_hash, report_script_hash_end) && fputs("'; style-src 'sha256-", to) != EOF &&
	       put_hash(to, report_style_hash, report_style_hash_end) &&
	       fputs("'; img-src data:; base-uri 'none'; form-action 'none'\">\n", to) != EOF;
}

bool page_begin(FILE *to, const char *title)
{
	return fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n", to) != EOF && put_policy(to) &&
	       fputs("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	             "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<title>",
	             to) != EOF &&
	       put_text(to, title) && fputs("</title>\n<style>", to) != EOF &&
	       put_bytes(to, report_style, report_style_end) && fputs("</style>\n</head>\n<body>\n", to) != EOF &&
	       put_bytes(to, report_body, report_body_end);
}

/* In JSON a "<" stands in texts alone, and can be written otherwise there. */
static int put_json(const char *text, size_t size, void *to)
{
	for (size_t i = 0; i < size; i++)
		if ((text[i] == '<' ? fputs("\\u003c", to) : putc(text[i], to)) == EOF)
			return -1;
	return 0;
}

bool page_json(FILE *to, const char *id, const json_t *json)
{
	return fprintf(to, "<script type=\"application/json\" id=\"%s\">", id) > 0 &&
	       json_dump_callback(json, put_json, to, JSON_COMPACT | JSON_REAL_PRECISION(15)) == 0 &&
	       fputs("</script>\n", to) != EOF;
}

bool page_data_begin(FILE *to, const char *id)
{
	return fprintf(to, "<script type=\"text/plain\" id=\"%s\">", id) > 0;
}

bool page_data_end(FILE *to)
{
	return fputs("</script>\n", to) != EOF;
}

bool page_end(FILE *to)
{
	return fputs("<script>", to) != EOF && put_bytes(to, report_script, report_script_end) &&
	       fputs("</script>\n</body>\n</html>\n", to) != EOF;
}
