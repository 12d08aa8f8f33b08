/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's memory, read by a BPF program of ten instructions that copies what it is
 * asked for (helper bpf_probe_read_kernel: an address that is not there is an error, never
 * a crash), and where its symbols and the members of its structures are.
 */
#ifndef TOOL_RECORD_KERNEL_MEMORY_H
#define TOOL_RECORD_KERNEL_MEMORY_H

#include "../base/base.h"

#define KERNEL_READ_MAX 4096

struct kernel_memory;

/* On failure NULL, with *error saying what the kernel does not allow or lacks. */
struct kernel_memory *kernel_memory_open(char **error);
void kernel_memory_close(struct kernel_memory *m);

/* Up to KERNEL_READ_MAX bytes. *when: nanoseconds of CLOCK_MONOTONIC after the reading; may be NULL. */
bool kernel_read(struct kernel_memory *m, uint64_t address, void *to, size_t bytes, uint64_t *when);
/* One word; 0 when it cannot be read. */
uint64_t kernel_word(struct kernel_memory *m, uint64_t address);

/* An address of /proc/kallsyms, in this module (NULL: the kernel itself); 0: not there or hidden. */
uint64_t kernel_symbol(const char *name, const char *module);
/* The same on any text in the form of that file. */
uint64_t kernel_symbol_in(FILE *from, const char *name, const char *module);

/*
 * Where a member is, in bytes: "arch.tdp_mmu_roots" of struct "kvm". Members of anonymous
 * structures and unions are found, too. False: this kernel has none of that name.
 */
bool kernel_member(struct kernel_memory *m, const char *type, const char *path, uint32_t *offset);

struct btf;
/* The same in types that the caller has. */
bool kernel_member_in(const struct btf *types, const char *type, const char *path, uint32_t *offset);

#endif
