/* SPDX-License-Identifier: BSD-2-Clause */
#include "plot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gnuplot.h"
#include "picture.h"

unsigned plot_vm(const struct ask *ask)
{
	size_t count = model_vm_count(ask->model);
	unsigned most = 0;
	uint64_t *facts;

	if (!ask->all_vms)
		return ask->vm;
	facts = allocate((count + 1) * sizeof(*facts));
	for (uint64_t n = ask->from; n < ask->to; n++) {
		const struct fact *fact = model_fact(ask->model, n);

		if (fact->vm < count)
			facts[fact->vm]++;
	}
	for (unsigned i = 1; i < count; i++)
		most = facts[i] > facts[most] ? i : most;
	free(facts);
	return most;
}

static bool put(FILE *to, const void *from, size_t size)
{
	return fwrite(from, 1, size, to) == size;
}

/* Text as XML has it. */
static bool put_xml(FILE *to, const char *text)
{
	bool ok = true;

	for (; *text && ok; text++)
		ok = (*text == '<' ? fputs("&lt;", to) : *text == '>' ? fputs("&gt;", to)
		                                 : *text == '&'       ? fputs("&amp;", to)
		                                                      : putc(*text, to)) != EOF;
	return ok;
}

/* gnuplot names each picture after itself; readers of the screen say that name. */
static bool put_svg(const struct picture *p, const struct bytes *svg, FILE *to)
{
	static const char named[] = "<title>Gnuplot</title>";
	const char *at = memmem(svg->data, svg->size, named, sizeof(named) - 1);
	size_t before = at ? (size_t)(at - (const char *)svg->data) : 0;
	const char *title = *p->title ? p->title : p->vm_text;

	if (!at || strstr(title, "\xef\xbf\xbe") || strstr(title, "\xef\xbf\xbf"))
		return put(to, svg->data, svg->size);
	return put(to, svg->data, before) && fputs("<title>", to) != EOF && put_xml(to, title) && fputs("</title>", to) != EOF &&
	       put(to, at + sizeof(named) - 1, svg->size - before - (sizeof(named) - 1));
}

static bool draw(const struct picture *p, const char *gnuplot, FILE *to, struct meter *meter, char **error)
{
	FILE *script = gnuplot_script();
	struct bytes picture = {0};
	bool ok = script && script_write(p, script);

	if (!ok)
		*error = formatted("gnuplot's script cannot be kept: %s", strerror(errno));
	ok = ok && gnuplot_draw(gnuplot, script, &picture, meter, error);
	errno = 0;
	ok = ok && (p->options->format == PLOT_SVG ? put_svg(p, &picture, to) : put(to, picture.data, picture.size));
	if (script)
		fclose(script);
	bytes_free(&picture);
	return ok;
}

bool plot_write(const struct ask *ask, unsigned vm, const struct plot_options *options, FILE *to, struct meter *meter,
                char **error)
{
	char *gnuplot = NULL;
	struct picture picture;
	bool ok;

	*error = NULL;
	/* Without it nothing long is begun. */
	if (options->format != PLOT_SCRIPT && !(gnuplot = gnuplot_program(error)))
		return false;
	picture_make(&picture, ask, vm, options, meter);
	errno = 0;
	ok = options->format == PLOT_SCRIPT ? script_write(&picture, to) : draw(&picture, gnuplot, to, meter, error);
	picture_free(&picture);
	free(gnuplot);
	return ok;
}
