/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Put a guest's kernel, initrd, modules, command line and firmware tables into
 * its memory and say how its first instruction finds the CPU.
 *
 * Takes Linux bzImages (Linux/x86 boot protocol 2.06 and later), multiboot1
 * images and plain ELF32/ELF64. Images come from outside and may hold
 * anything: every offset and length is checked, and each refusal says why.
 * Freestanding, allocates nothing.
 */
#ifndef VISOR_LOAD_LOAD_H
#define VISOR_LOAD_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "visor/cpu/state.h"

#define LOAD_MAX_MODULES 16
#define LOAD_REASON_SIZE 200

struct load_blob {
	const uint8_t *bytes;
	size_t size;
	const char *command_line;   /* of a multiboot module; NULL = none */
};

struct load_request {
	struct load_blob kernel;
	struct load_blob initrd;    /* size 0 = none. For a multiboot kernel: its first module */
	struct load_blob modules[LOAD_MAX_MODULES];
	unsigned module_count;
	const char *command_line;   /* the guest's own; NULL = empty */
	uint64_t memory_bytes;      /* guest RAM, laid out as memory_map.h says */
	uint32_t cpus;              /* told to the guest in the ACPI MADT */

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
	LOAD_LINUX,       /* bzImage, entered at its 32-bit entry point */
	LOAD_MULTIBOOT,   /* 32-bit protected mode, paging off */
	LOAD_ELF32,       /* entered as multiboot, without the magic in EAX */
	LOAD_ELF64,       /* long mode, first 4 GiB mapped one to one */
};

struct load_result {
	enum load_kind kind;
	struct x86_cpu_state cpu;       /* at the first instruction */
	uint64_t entry;                 /* gpa of the first instruction */
	char reason[LOAD_REASON_SIZE];  /* why it was refused: one line, no newline */
};

/* True: the guest can start. False: result->reason says why not. */
bool load_guest(const struct load_request *request, struct load_result *result);

/* "linux", "multiboot", "elf32", "elf64", "unknown". */
const char *load_kind_name(enum load_kind kind);

#endif
