/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines on a terminal, by curses; or one frame after the other where there is none. */
#include <locale.h>
#include <ncurses.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "top.h"

static SCREEN *screen;

bool screen_open(char **error)
{
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		*error = duplicate("top needs a terminal; --batch prints one frame after the other");
		return false;
	}
	setlocale(LC_CTYPE, "");
	screen = newterm(NULL, stdout, stdin);
	if (!screen) {
		*error = formatted("the terminal \"%s\" is not known; --batch needs none", getenv("TERM") ? getenv("TERM") : "");
		return false;
	}
	cbreak();
	noecho();
	curs_set(0);
	keypad(stdscr, TRUE);
	set_escdelay(25);
	if (has_colors()) {
		start_color();
		use_default_colors();
		init_pair(LOOK_ALARM, COLOR_RED, -1);
	}
	return true;
}

void screen_close(void)
{
	if (!screen)
		return;
	endwin();
	delscreen(screen);
	screen = NULL;
}

void screen_size(unsigned *rows, unsigned *columns)
{
	*rows = (unsigned)LINES;
	*columns = (unsigned)COLS;
}

void screen_show(const struct frame *frame)
{
	static const attr_t looks[LOOKS] = {
		[LOOK_HEAD] = A_REVERSE,
		[LOOK_DIM] = A_DIM,
		[LOOK_CHOSEN] = A_BOLD | A_REVERSE,
		[LOOK_ALARM] = A_BOLD,
	};

	erase();
	for (size_t i = 0; i < frame->count && i < (size_t)LINES; i++) {
		const struct line *line = &frame->lines[i];
		attr_t attributes = looks[line->look] | (line->look == LOOK_ALARM && has_colors() ? (attr_t)COLOR_PAIR(LOOK_ALARM) : 0);

		attrset(attributes);
		if (line->look == LOOK_HEAD || line->look == LOOK_CHOSEN)
			mvhline((int)i, 0, ' ' | attributes, COLS);
		mvaddnstr((int)i, 0, line->text, COLS);
	}
	refresh();
}

int screen_key(int milliseconds)
{
	int key;

	timeout(milliseconds);
	key = getch();
	switch (key) {
	case ERR:
		return TOP_KEY_NONE;
	case KEY_RESIZE:
		return TOP_KEY_CHANGED;
	case KEY_UP:
		return 'k';
	case KEY_DOWN:
		return 'j';
	case KEY_ENTER:
	case '\n':
		return '\r';
	default:
		return key < TOP_KEY_OTHER ? key : TOP_KEY_OTHER;
	}
}

void screen_print(const struct frame *frame)
{
	for (size_t i = 0; i < frame->count; i++)
		puts(frame->lines[i].text);
	putchar('\n');
	fflush(stdout);
}
