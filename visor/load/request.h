/* SPDX-License-Identifier: BSD-2-Clause */
/* What the loader is asked for, and what it answers. */
#ifndef VISOR_LOAD_REQUEST_H
#define VISOR_LOAD_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "visor/cpu/state.h"

#define LOAD_MAX_MODULES 16
#define LOAD_REASON_SIZE 200

struct load_blob {
	const uint8_t *bytes;
	size_t size;
	const char *command_line; /* of a multiboot module: its string, by custom the file's name first; NULL = none */
	const char *name;         /* of kernel and initrd: the file's; NULL or "" = "kernel", "initrd" */
};

struct load_request {
	struct load_blob kernel;
	struct load_blob initrd; /* size 0 = none. For a multiboot kernel: its first module */
	struct load_blob modules[LOAD_MAX_MODULES];
	unsigned module_count;
	const char *command_line; /* the guest's own; NULL = empty */
	uint64_t memory_bytes;    /* guest RAM, laid out as memory_map.h says */
	uint32_t cpus;            /* told to the guest in the ACPI MADT */

	/*
	 * Copy into guest memory. Called only for addresses inside
	 * guest_memory_slots(); false when there is no frame to be had. The loader
	 * takes it that guest memory reads as zeros before.
	 */
	bool (*write)(void *ctx, uint64_t gpa, const void *bytes, size_t n);
	void *ctx;
};

enum load_kind {
	LOAD_UNKNOWN = 0,
	LOAD_LINUX,     /* bzImage, entered at its 32-bit entry point */
	LOAD_MULTIBOOT, /* 32-bit protected mode, paging off */
	LOAD_ELF32,     /* entered as multiboot, without the magic in EAX */
	LOAD_ELF64,     /* long mode, first 4 GiB mapped one to one */
};

struct load_result {
	enum load_kind kind;
	struct x86_cpu_state cpu;      /* at the first instruction */
	uint64_t entry;                /* gpa of the first instruction */
	char reason[LOAD_REASON_SIZE]; /* why it was refused: one line, no newline */
};

#endif
