/* SPDX-License-Identifier: BSD-2-Clause */
/* What all questions share: their file, their options, and how they print. */
#ifndef TOOL_QUESTION_ASK_H
#define TOOL_QUESTION_ASK_H

#include <argp.h>
#include <inttypes.h>
#include <jansson.h>

#include <vmmu/types.h>

#include "../base/text.h"
#include "../model/model.h"
#include "../symbols/symbols.h"

struct ask {
	/* options */
	const char *path;
	const char *symbols_path;
	const char *vm_name; /* number, PID or name; NULL = the first one, or all */
	const char *since, *until, *at;
	uint64_t vcpu; /* UINT64_MAX: all */
	uint64_t last; /* show so many; UINT64_MAX: not said */
	bool json, host_clock, no_index, follow;
	enum colour_mode colour;
	/* made by ask_open */
	struct model *model;
	struct symbols symbols;
	const struct palette *palette;
	unsigned vm;       /* the one asked for, else 0 */
	bool all_vms;      /* none was named */
	uint64_t from, to; /* facts [from, to) are asked for */
	uint64_t moment;   /* --at: facts before this number have happened */
	uint64_t moment_time;
	unsigned width; /* of the terminal; 0: not bounded */
	json_t *result; /* --json: what is printed at the end */
};

/*
 * FILE, and the options that say what of it is looked at. `input` of this child parser,
 * and of the next, is the struct ask.
 */
extern const struct argp ask_trace_argp;
/* The same with the options that every question has beside, on how it prints. */
extern const struct argp ask_argp;
/* --at */
extern const struct argp ask_moment_argp;

/* The parser of a question with no options of its own; its struct ask stands first in the input. */
error_t ask_parse_alone(int key, char *arg, struct argp_state *state);
/* The children of one without --at. */
extern const struct argp_child ask_children[];

void ask_init(struct ask *ask);
/* --symbols, or else those of the kernel that the file beside a vmmu trace names. False: the user has been told. */
bool ask_load_symbols(struct ask *ask);
/* False: the user has been told. */
bool ask_open(struct ask *ask);
/* Say what makes every answer of this recording doubtful (tool/question/doubts.c). */
void ask_doubts(struct ask *ask);
/* Print the JSON if that was wanted, close everything. Returns the exit status. */
int ask_close(struct ask *ask, int status);

/* While following: is the VM that --vm names there by now? */
bool ask_find_vm_late(struct ask *ask);
/* Does the fact belong to what --vm and --vcpu name? */
bool ask_wants(const struct ask *ask, const struct fact *fact);

/* A line on standard output, cut to the terminal's width. */
void ask_line(const struct ask *ask, const char *format, ...) PRINTF_LIKE(2, 3);
/* A heading, bold. */
void ask_heading(const struct ask *ask, const char *format, ...) PRINTF_LIKE(2, 3);

/* "1.234567" since the first event, or the recording's own clock with --host-clock. */
struct short_text ask_time(const struct ask *ask, uint64_t time);
/* The moment of --at, likewise. */
struct short_text ask_moment_time(const struct ask *ask);
/* Is `path`, where something is to be written, the trace itself? "-" is standard input there, and standard output here. */
bool ask_is_trace(const struct ask *ask, const char *path);

/* "12 us", "3.4 ms", "1.2 s" */
struct short_text ask_duration(uint64_t ns);
/* "VM 1, NPT, 4 levels, qemu-system-x86 (PID 193)". The caller frees. */
char *ask_vm_text(const struct ask *ask, unsigned vm);
/* ", VM 2" where there is more than one to tell apart, else "". The caller frees. */
char *ask_which_vm(const struct ask *ask, unsigned vm);
/* "tvmm (PID 193)". The caller frees. */
char *ask_thread_text(const struct ask *ask, uint32_t thread);
/* "write", "fetch by the guest's page walk", from a fault. The caller frees. */
char *ask_access_text(const struct ask *ask, const struct fact *fault);
/* "memset+0x7", "0x100000". The caller frees. */
char *ask_place_text(const struct ask *ask, uint64_t rip);
enum kvm_mode ask_mode(const struct ask *ask, const struct fact *fact);

/* Bits of a fault's error code, in one form for EPT and NPT. */
enum { ACCESS_READ = 1,
       ACCESS_WRITE = 2,
       ACCESS_FETCH = 4,
       ACCESS_PRESENT = 8,
       ACCESS_WALK = 16,
       ACCESS_DEVICE = 32 /* a reserved bit: so KVM marks entries of devices under NPT */ };
unsigned ask_access(enum kvm_mode mode, uint64_t error);

/* By a FACT_FAULT_END's result, what was done instead of an entry, so that the guest goes on. */
enum instead { INSTEAD_NOTHING,  /* nothing: the access comes again, or is not known to be done */
	       INSTEAD_DEVICE,   /* the access is a device's */
	       INSTEAD_EMULATED, /* a write to a guest's table or to read-only memory, done by the host or dropped */
	       INSTEAD_GUEST,    /* the guest, or the guest's hypervisor, has got the fault */
	       INSTEAD_ALLOWED /* the tables allow it already */ };
enum instead ask_instead(uint64_t result);

/* How many lines a list has when --last does not say. */
uint64_t ask_limit(const struct ask *ask, uint64_t usual);
/* No VM in the trace, or none that this question can be asked of: the user has been told. */
bool ask_has_vms(const struct ask *ask);
/* Parses, opens, and refuses a trace without VMs. False: the status is EXIT_TROUBLE. */
bool ask_begin(struct ask *ask, const struct argp *argp, int argc, char **argv, void *question);

json_t *json_number(uint64_t value);
/* 64-bit words do not fit JSON's numbers: "0x..." */
json_t *json_hex(uint64_t value);
json_t *json_seconds(const struct ask *ask, uint64_t time);

#endif
