/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmmu top: what happens to second-level tables, while it happens. The parts:
 *
 *   top.c      options, the thread that reads, keys
 *   gather.c   from facts to counts: by VM, by region, by the guest's function
 *   frame.c    from counts to lines
 *   screen.c   lines on a terminal, or printed one frame after the other
 *   host.c     the host's own KVM as a source
 */
#ifndef TOOL_TOP_H
#define TOOL_TOP_H

#include "../question/ask.h"
#include "../question/group.h"

/* ---- gather.c ---- */

/* What is counted of a VM, a region or a function; `rate` is per second, over the last interval. */
enum counter { COUNT_FAULTS,
	       COUNT_WRITES,
	       COUNT_DROPS,
	       COUNT_DEVICE,
	       COUNTERS };

struct counts {
	uint64_t total[COUNTERS], before[COUNTERS];
	double rate[COUNTERS];
};

/* A spot's key is the VM, and below it the number of a region of 2 MiB or the low bits of a rip. */
enum { REGION_SHIFT = 21,
       KEY_SHIFT = 52 };
static inline uint64_t spot_key(unsigned vm, uint64_t low) { return (uint64_t)vm << KEY_SHIFT | low << (64 - KEY_SHIFT) >> (64 - KEY_SHIFT); }
static inline unsigned spot_vm(uint64_t key) { return (unsigned)(key >> KEY_SHIFT); }
static inline uint64_t spot_low(uint64_t key) { return key << (64 - KEY_SHIFT) >> (64 - KEY_SHIFT); }

/* A region of guest memory, or a place in the guest's code. */
struct spot {
	uint64_t key;
	struct counts counts;
	uint64_t last; /* fact */
};

struct spots {
	struct map places;
	struct spot *list;
	size_t count, room;
};

struct vm_counts {
	struct counts counts;
	uint64_t cause[FACT_CAUSE_END], cause_before[FACT_CAUSE_END];
	double cause_rate[FACT_CAUSE_END];
	int64_t leaves[4], tables; /* by level; tables that entries name */
	bool accesses;             /* accesses to devices have events of their own */
};

struct gather {
	struct vm_counts *vms;
	size_t vm_count;
	struct spots regions, places;
	uint64_t taken; /* facts */
	uint64_t time, time_before;
	uint64_t lost;
};

void gather_init(struct gather *gather);
void gather_free(struct gather *gather);
/* The facts that have come since the last call. */
void gather_take(struct gather *gather, const struct ask *ask);
/* An interval is over, which took so many seconds of the clock on the wall. */
void gather_tick(struct gather *gather, double seconds);

/* ---- frame.c ---- */

enum sort { SORT_FAULTS,
	    SORT_WRITES,
	    SORT_DROPS,
	    SORT_DEVICE,
	    SORT_TOTAL,
	    SORT_ADDRESS,
	    SORTS };
extern const char *const sort_names[SORTS];

enum look { LOOK_PLAIN,
	    LOOK_HEAD,
	    LOOK_DIM,
	    LOOK_CHOSEN,
	    LOOK_ALARM,
	    LOOKS };

struct line {
	enum look look;
	char *text;
};

struct frame {
	struct line *lines;
	size_t count, room;
};

/* What is looked at. */
struct view {
	enum sort sort;
	bool functions;  /* the lower list is by the guest's functions, not by regions */
	bool frozen;     /* numbers stay */
	bool ended;      /* nothing more will come */
	bool history;    /* of the chosen region instead of the lists */
	size_t chosen;   /* line of the list */
	uint64_t region; /* key of the chosen one; history is its */
	size_t scroll;   /* lines of the history passed over */
	unsigned vm;     /* UINT_MAX: all */
	unsigned rows, columns;
	bool help;
};

void frame_make(struct frame *frame, const struct ask *ask, struct gather *gather, struct view *view);
void frame_free(struct frame *frame);

/* ---- screen.c ---- */

/* curses has names of its own that begin with KEY_. */
enum key { TOP_KEY_NONE,
	   TOP_KEY_CHANGED, /* the size of the terminal */
	   TOP_KEY_OTHER = 256 };

bool screen_open(char **error);
void screen_close(void);
void screen_size(unsigned *rows, unsigned *columns);
void screen_show(const struct frame *frame);
/* The next key, or 0 after so many milliseconds. Arrows and Enter as letters: k, j, and '\r'. */
int screen_key(int milliseconds);
/* Without a terminal: the frame as text, and an empty line. */
void screen_print(const struct frame *frame);

/* ---- host.c ---- */

struct host;
/* Switch on KVM's events in an instance of our own. `path`: where they come out as text. The caller frees *path. */
struct host *host_open(bool exits, char **path, char **error);
/* VMs and threads that are new get their names. */
void host_look(struct host *host);
void host_close(struct host *host);

int question_top(int argc, char **argv);

#endif
