/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel_memory.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What the program and we share: the value of an array map that is mapped here. */
struct window {
	uint64_t address, bytes; /* asked for */
	uint64_t when;
	int64_t result; /* 0, or a negative errno */
	uint8_t data[KERNEL_READ_MAX];
};

struct kernel_memory {
	int map, program;
	struct window *window;
	struct btf *kernel, *kvm;
};

/* ---- the program ------------------------------------------------------------------ */

#define REG_OP(op, to, from, offset_, value) \
	((struct bpf_insn){.code = (op), .dst_reg = (to), .src_reg = (from), .off = (offset_), .imm = (value)})
#define LOAD(to, from, offset_) REG_OP(BPF_LDX | BPF_MEM | BPF_DW, to, from, offset_, 0)
#define STORE(to, offset_, from) REG_OP(BPF_STX | BPF_MEM | BPF_DW, to, from, offset_, 0)
#define MOVE(to, from) REG_OP(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0)
#define ADD(to, value) REG_OP(BPF_ALU64 | BPF_ADD | BPF_K, to, 0, 0, value)
#define SET(to, value) REG_OP(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value)
#define SKIP_IF_ABOVE(reg, value, count) REG_OP(BPF_JMP | BPF_JGT | BPF_K, reg, 0, count, value)
#define CALL(helper) REG_OP(BPF_JMP | BPF_CALL, 0, 0, 0, helper)
#define EXIT() REG_OP(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/*
 * Type "syscall": it runs when we ask, in our context, once. Its helpers are those of every
 * program of one who may read the kernel (CAP_PERFMON), unless a lockdown forbids them.
 */
static int load_program(int map)
{
	const struct bpf_insn code[] = {
		/* R6 = the window */
		REG_OP(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_6, BPF_PSEUDO_MAP_VALUE, 0, map),
		{0},
		LOAD(BPF_REG_2, BPF_REG_6, offsetof(struct window, bytes)),
		SKIP_IF_ABOVE(BPF_REG_2, KERNEL_READ_MAX, 7),
		LOAD(BPF_REG_3, BPF_REG_6, offsetof(struct window, address)),
		MOVE(BPF_REG_1, BPF_REG_6),
		ADD(BPF_REG_1, offsetof(struct window, data)),
		CALL(BPF_FUNC_probe_read_kernel),
		STORE(BPF_REG_6, offsetof(struct window, result), BPF_REG_0),
		CALL(BPF_FUNC_ktime_get_ns),
		STORE(BPF_REG_6, offsetof(struct window, when), BPF_REG_0),
		SET(BPF_REG_0, 0),
		EXIT(),
	};
	struct bpf_prog_load_opts options = {.sz = sizeof(options), .prog_flags = BPF_F_SLEEPABLE};

	/* The licence is what the kernel asks of programs that use its helpers for tracing. */
	return bpf_prog_load(BPF_PROG_TYPE_SYSCALL, "vmmu_read", "Dual BSD/GPL", code, ARRAY_SIZE(code), &options);
}

static bool open_window(struct kernel_memory *m, char **error)
{
	struct bpf_map_create_opts options = {.sz = sizeof(options), .map_flags = BPF_F_MMAPABLE};

	m->map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "vmmu_window", sizeof(uint32_t), sizeof(struct window), 1, &options);
	if (m->map < 0) {
		*error = formatted("this kernel lets us use no BPF: %s", strerror(-m->map));
		return false;
	}
	m->window = mmap(NULL, sizeof(struct window), PROT_READ | PROT_WRITE, MAP_SHARED, m->map, 0);
	if (m->window == MAP_FAILED) {
		m->window = NULL;
		*error = formatted("the map of a BPF program: %s", strerror(errno));
		return false;
	}
	m->program = load_program(m->map);
	if (m->program < 0)
		*error = formatted("this kernel does not take a BPF program that reads its memory: %s",
		                   strerror(-m->program));
	return m->program >= 0;
}

/* KVM's types are in its module's BTF, or in the kernel's where it is built in. */
static bool open_types(struct kernel_memory *m, char **error)
{
	m->kernel = btf__load_vmlinux_btf();
	if (!m->kernel) {
		*error = duplicate("this kernel does not describe its types (no BTF)");
		return false;
	}
	m->kvm = btf__load_module_btf("kvm", m->kernel);
	if (!m->kvm && btf__find_by_name_kind(m->kernel, "kvm_mmu_page", BTF_KIND_STRUCT) < 0) {
		*error = duplicate("this kernel does not describe KVM's types (no BTF of kvm)");
		return false;
	}
	return true;
}

static int say_nothing(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level;
	(void)format;
	(void)arguments;
	return 0;
}

struct kernel_memory *kernel_memory_open(char **error)
{
	struct kernel_memory *m = allocate(sizeof(*m));

	*m = (struct kernel_memory){.map = -1, .program = -1};
	libbpf_set_print(say_nothing);
	if (open_window(m, error) && open_types(m, error))
		return m;
	kernel_memory_close(m);
	return NULL;
}

void kernel_memory_close(struct kernel_memory *m)
{
	if (!m)
		return;
	btf__free(m->kvm);
	btf__free(m->kernel);
	if (m->window)
		munmap(m->window, sizeof(struct window));
	if (m->program >= 0)
		close(m->program);
	if (m->map >= 0)
		close(m->map);
	free(m);
}

bool kernel_read(struct kernel_memory *m, uint64_t address, void *to, size_t bytes, uint64_t *when)
{
	struct bpf_test_run_opts run = {.sz = sizeof(run)};
	volatile struct window *w = m->window;

	if (bytes > KERNEL_READ_MAX)
		return false;
	w->address = address;
	w->bytes = bytes;
	w->result = -EIO;
	if (bpf_prog_test_run_opts(m->program, &run) || w->result)
		return false;
	memcpy(to, m->window->data, bytes);
	if (when)
		*when = w->when;
	return true;
}

uint64_t kernel_word(struct kernel_memory *m, uint64_t address)
{
	uint64_t word = 0;

	return kernel_read(m, address, &word, sizeof(word), NULL) ? word : 0;
}

/* ---- symbols ---------------------------------------------------------------------- */

/* "ffffffffc0a5e2c0 d vm_list\t[kvm]" */
uint64_t kernel_symbol_in(FILE *from, const char *name, const char *module)
{
	char *line = NULL;
	size_t room = 0;
	uint64_t found = 0;

	while (!found && getline(&line, &room, from) > 0) {
		char symbol[256], of[64] = "";
		unsigned long long address;
		char kind;

		if (sscanf(line, "%llx %c %255s [%63[^]]]", &address, &kind, symbol, of) >= 3 &&
		    strcmp(symbol, name) == 0 && strcmp(of, module ? module : "") == 0)
			found = address;
	}
	free(line);
	return found;
}

uint64_t kernel_symbol(const char *name, const char *module)
{
	FILE *from = fopen("/proc/kallsyms", "re");
	uint64_t found = from ? kernel_symbol_in(from, name, module) : 0;

	if (from)
		fclose(from);
	return found;
}

/* ---- types ------------------------------------------------------------------------ */

static const struct btf_type *plain(const struct btf *types, uint32_t id)
{
	const struct btf_type *type = btf__type_by_id(types, id);

	while (type && (btf_is_mod(type) || btf_is_typedef(type)))
		type = btf__type_by_id(types, type->type);
	return type;
}

/* The member of this name (`length` bytes of it), also within what has no name. */
static bool find_member(const struct btf *types, const struct btf_type *type, const char *name, size_t length,
                        unsigned depth, uint32_t *bits, const struct btf_type **of)
{
	const struct btf_member *member;

	if (!type || !btf_is_composite(type) || depth > 8)
		return false;
	member = btf_members(type);
	for (uint32_t i = 0; i < btf_vlen(type); i++, member++) {
		const char *its = btf__name_by_offset(types, member->name_off);
		uint32_t at = btf_member_bit_offset(type, i);

		if (its && *its) {
			if (strlen(its) != length || memcmp(its, name, length) != 0)
				continue;
			*bits += at;
			*of = plain(types, member->type);
			return true;
		}
		*bits += at;
		if (find_member(types, plain(types, member->type), name, length, depth + 1, bits, of))
			return true;
		*bits -= at;
	}
	return false;
}

bool kernel_member_in(const struct btf *types, const char *type, const char *path, uint32_t *offset)
{
	int id = btf__find_by_name_kind(types, type, BTF_KIND_STRUCT);
	const struct btf_type *at;
	uint32_t bits = 0;

	if (id < 0)
		return false;
	at = btf__type_by_id(types, (uint32_t)id);
	for (;;) {
		size_t length = strcspn(path, ".");

		if (!find_member(types, at, path, length, 0, &bits, &at))
			return false;
		if (!path[length])
			break;
		path += length + 1;
	}
	*offset = bits / 8;
	return true;
}

bool kernel_member(struct kernel_memory *m, const char *type, const char *path, uint32_t *offset)
{
	return (m->kvm && kernel_member_in(m->kvm, type, path, offset)) ||
	       kernel_member_in(m->kernel, type, path, offset);
}
