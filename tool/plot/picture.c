/* SPDX-License-Identifier: BSD-2-Clause */
/* Which panels and curves a picture has, and where they stand. */
#include "picture.h"

#include <libgen.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t page_bytes[] = {0, 1ULL << 12, 1ULL << 21, 1ULL << 30};
enum { TABLE_BYTES = 4096 };

static const struct {
	const char *name, *title, *nothing;
	bool needs_state; /* what is mapped must be known */
} panels[PLOT_PANELS] = {
	[PLOT_PAGES] = {"pages", "Mapped memory by size of page", "Nothing was mapped in this time.", true},
	[PLOT_TABLES] = {"tables", "Memory that the tables take", "No table is known in this time.", true},
	[PLOT_FAULTS] = {"faults", "Faults per second by what they were about", "No fault was recorded in this time.", false},
	[PLOT_WRITES] = {"writes", "Entries written per second", "No entry was written in this time.", true},
	[PLOT_EXITS] = {"exits", "Exits per second by reason", "This trace has no exits in it.", false},
};

const char plot_panel_names[] = "pages, tables, faults, writes or exits";

bool plot_panel_named(const char *name, enum plot_panel *panel)
{
	for (size_t i = 0; i < ARRAY_SIZE(panels); i++) {
		if (strcmp(name, panels[i].name) == 0) {
			*panel = (enum plot_panel)i;
			return true;
		}
	}
	return false;
}

/* ---- curves -------------------------------------------------------------------------------- */

static void add_curve(struct panel *panel, const struct series *series, char *name, const uint64_t *values, double factor)
{
	struct curve *curve = &panel->curves[panel->count++];

	*curve = (struct curve){.name = name, .values = values, .factor = factor};
	for (unsigned step = 0; step < series->steps; step++)
		curve->any |= values[step] != 0;
}

static void add_exits(struct picture *p, struct panel *panel, enum kvm_mode mode, double per_second)
{
	const struct series *s = &p->series;
	size_t named = s->exit_count <= CURVES_MAX ? s->exit_count : CURVES_MAX - 1;

	for (size_t i = 0; i < named; i++)
		add_curve(panel, s, series_exit_name(s, mode, i), s->exits[i].counts, per_second);
	if (named == s->exit_count)
		return;
	p->rest = allocate(s->steps * sizeof(*p->rest));
	for (size_t i = named; i < s->exit_count; i++)
		for (unsigned step = 0; step < s->steps; step++)
			p->rest[step] += s->exits[i].counts[step];
	add_curve(panel, s, duplicate("all others"), p->rest, per_second);
}

static void add_curves(struct picture *p, struct panel *panel, enum kvm_mode mode)
{
	const struct series *s = &p->series;
	double per_second = 1e9 / (double)s->step;

	switch (panel->what) {
	case PLOT_PAGES:
		for (unsigned level = 1; level <= 3; level++)
			add_curve(panel, s, formatted("%s pages", text_level_span(level)), s->pages[level], (double)page_bytes[level]);
		break;
	case PLOT_TABLES:
		for (unsigned level = 1; level < SERIES_LEVELS; level++)
			add_curve(panel, s, formatted("level %u", level), s->tables[level], TABLE_BYTES);
		break;
	case PLOT_FAULTS:
		for (unsigned i = 0; i < SERIES_FAULT_COUNT; i++)
			add_curve(panel, s, duplicate(series_fault_name(i)), s->faults[i], per_second);
		break;
	case PLOT_WRITES:
		for (unsigned i = 0; i < SERIES_WRITE_COUNT; i++)
			add_curve(panel, s, duplicate(series_write_name(i)), s->writes[i], per_second);
		break;
	case PLOT_EXITS:
		add_exits(p, panel, mode, per_second);
		break;
	default:
		break;
	}
}

_Static_assert((int)SERIES_FAULT_COUNT <= (int)CURVES_MAX && (int)SERIES_WRITE_COUNT <= (int)CURVES_MAX &&
                       (int)SERIES_LEVELS - 1 <= (int)CURVES_MAX,
               "a colour for each curve");

static void find_top(struct panel *panel, const struct series *series)
{
	for (unsigned step = 0; step < series->steps; step++) {
		double sum = 0;

		for (unsigned i = 0; i < panel->count; i++)
			sum += (double)panel->curves[i].values[step] * panel->curves[i].factor;
		if (sum > panel->top)
			panel->top = sum;
	}
}

static void add_panel(struct picture *p, enum plot_panel what, enum kvm_mode mode)
{
	struct panel *panel = &p->panels[p->panel_count++];

	*panel = (struct panel){.what = what,
	                        .title = panels[what].title,
	                        .bytes = what == PLOT_PAGES || what == PLOT_TABLES};
	if (panels[what].needs_state && !p->series.exact) {
		panel->empty = "Not known: no event of this MMU tells of an entry that is dropped.";
		return;
	}
	add_curves(p, panel, mode);
	find_top(panel, &p->series);
	if (panel->top <= 0)
		panel->empty = panels[what].nothing;
	else if (p->length < 1e-6)
		panel->empty = "The trace is one moment: there is nothing to draw over time.";
}

static void add_panels(struct picture *p, enum kvm_mode mode)
{
	const struct plot_options *options = p->options;

	for (unsigned i = 0; i < options->panel_count; i++)
		add_panel(p, options->panels[i], mode);
	if (options->panel_count)
		return;
	for (unsigned what = 0; what < PLOT_PANELS; what++)
		if ((p->series.exact || !panels[what].needs_state) && (what != PLOT_EXITS || p->series.any_exit))
			add_panel(p, (enum plot_panel)what, mode);
}

/* ---- the picture ------------------------------------------------------------------------------ */

static char *title_of(const struct ask *ask, const struct plot_options *options)
{
	char *path, *name;

	if (options->title)
		return printable(options->title);
	if (strcmp(ask->path, "-") == 0)
		return duplicate("standard input");
	path = duplicate(ask->path);
	name = printable(basename(path));
	free(path);
	return name;
}

static void show_progress(void *arg, double done)
{
	meter_show(arg, done);
}

void picture_make(struct picture *p, const struct ask *ask, unsigned vm, const struct plot_options *options,
                  struct meter *meter)
{
	uint64_t first = ask->host_clock ? 0 : model_first_time(ask->model);

	*p = (struct picture){.ask = ask, .options = options, .title = title_of(ask, options)};
	p->vm_text = ask_vm_text(ask, vm);
	series_make(&p->series, ask, vm, options->steps, show_progress, meter);
	p->marks = series_marks(&p->series, ask, vm);
	for (unsigned i = 0; i < p->series.steps; i++) {
		p->lost |= p->marks[i].lost || p->marks[i].uncounted;
		p->zaps |= p->marks[i].zaps != 0;
	}
	p->begin = (double)(p->series.first > first ? p->series.first - first : 0) * 1e-9;
	p->length = (double)(p->series.last - p->series.first) * 1e-9;
	add_panels(p, model_vm(ask->model, vm)->mode);
}

void picture_free(struct picture *p)
{
	for (unsigned i = 0; i < p->panel_count; i++)
		for (unsigned k = 0; k < p->panels[i].count; k++)
			free(p->panels[i].curves[k].name);
	free(p->rest);
	free(p->marks);
	free(p->title);
	free(p->vm_text);
	series_free(&p->series);
}

/* ---- where all stands --------------------------------------------------------------------------- */

enum { MARGIN_LEFT = 78,
       MARGIN_RIGHT = 24,
       HEADER = 52, /* with a title */
       HEADER_NONE = 6,
       PANEL_TITLE = 22,
       KEY_ROW = 18,
       KEY_SAMPLE = 64,              /* width of an entry without its name */
       KEY_LETTER = 8,               /* gnuplot's guess is less than this */
       KEY_LONGEST = 26,             /* letters */
       KEY_ENTRIES = CURVES_MAX + 2, /* and those of the marks */
       AXIS = 38,                    /* below, with its numbers */
       PLOT_HEIGHT = 130,
       PLOT_LEAST = 40 };

static unsigned header_of(const struct plot_options *options)
{
	return options->title && !*options->title ? HEADER_NONE : HEADER;
}

struct key {
	unsigned entries, letters;
};

/* Of a key with a name of so many letters in it: all entries are as wide as the widest. */
static unsigned key_columns(const struct plot_options *options, unsigned letters)
{
	unsigned columns = (options->width - MARGIN_LEFT - MARGIN_RIGHT) / (KEY_SAMPLE + KEY_LETTER * letters);

	return columns ? columns : 1;
}

/* What stands above the axes of a panel. */
static unsigned above_axes(unsigned entries, unsigned columns)
{
	return PANEL_TITLE + (entries + columns - 1) / columns * KEY_ROW;
}

unsigned plot_least_height(const struct plot_options *options, unsigned count)
{
	return header_of(options) + count * (above_axes(KEY_ENTRIES, key_columns(options, KEY_LONGEST)) + PLOT_LEAST + AXIS);
}

static void note_entry(struct key *key, const char *name)
{
	unsigned letters = (unsigned)strlen(name);

	key->entries++;
	if (letters > key->letters)
		key->letters = letters;
}

static struct key key_of(const struct picture *p, const struct panel *panel)
{
	struct key key = {0};

	if (panel->empty)
		return key;
	for (unsigned i = 0; i < panel->count; i++)
		if (panel->curves[i].any)
			note_entry(&key, panel->curves[i].name);
	if (p->zaps)
		note_entry(&key, PICTURE_ZAPS);
	if (p->lost)
		note_entry(&key, PICTURE_LOST);
	return key;
}

struct layout picture_layout(const struct picture *p)
{
	struct layout out = {.width = p->options->width, .left = MARGIN_LEFT, .right = MARGIN_RIGHT};
	unsigned at = header_of(p->options), other = at, above[PLOT_PANELS] = {0};

	for (unsigned i = 0; i < p->panel_count; i++) {
		struct key key = key_of(p, &p->panels[i]);

		out.panels[i].key_columns = key_columns(p->options, key.letters);
		above[i] = above_axes(key.entries, out.panels[i].key_columns);
		other += above[i] + AXIS;
	}
	out.height = p->options->height ? p->options->height : other + p->panel_count * PLOT_HEIGHT;
	out.plot = (out.height - other) / p->panel_count;
	for (unsigned i = 0; i < p->panel_count; i++) {
		out.panels[i].title = at;
		out.panels[i].axes = at + above[i];
		at += above[i] + out.plot + AXIS;
	}
	return out;
}
