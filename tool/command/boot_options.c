/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot_options.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/text.h"
#include "../run/guest_files.h"
#include "../run/visor_path.h"

#define MEMORY_DEFAULT (256ull << 20)

/*
 * A Linux guest gets these words first: its console on the first serial port,
 * addresses that the symbol table knows, and an end instead of a hang.
 */
#define LINUX_DEFAULT_APPEND "console=ttyS0 nokaslr panic=-1"

enum {
	OPTION_KERNEL = 'k',
	OPTION_INITRD = 'i',
	OPTION_APPEND = 'a',
	OPTION_MEMORY = 'M',
	OPTION_MMU = 0x400,
	OPTION_PAGE_SIZE,
	OPTION_FAULT_AROUND,
	OPTION_MODULE,
	OPTION_NO_DEFAULT,
	OPTION_PREALLOC,
	OPTION_NO_RUN_AHEAD,
	OPTION_REQUIRE_ISOLATION,
	OPTION_INTERCEPT,
	OPTION_TEST_DEVICE,
	OPTION_NESTED,
};

void boot_options_init(struct boot_options *options)
{
	*options = (struct boot_options){
		.memory = MEMORY_DEFAULT, .page_size = "2m", .append = duplicate("")};
}

void boot_options_free(struct boot_options *options)
{
	for (size_t i = 0; i < options->module_count; i++)
		free((char *)(uintptr_t)options->modules[i].path);
	free(options->modules);
	free(options->append);
	free(options->visor);
	free(options->visor_words);
	free(options->guest_line);
}

/* FILE or FILE=COMMAND LINE */
static void add_module(struct boot_options *options, const char *argument)
{
	char *path = duplicate(argument), *line = strchr(path, '=');
	struct boot_module *module;

	if (line)
		*line++ = '\0';
	options->modules = reallocate(options->modules, (options->module_count + 1) * sizeof(*options->modules));
	module = &options->modules[options->module_count++];
	*module = (struct boot_module){path, line ? line : ""};
}

static void add_append(struct boot_options *options, const char *text)
{
	char *longer = formatted("%s%s%s", options->append, *options->append ? " " : "", text);

	free(options->append);
	options->append = longer;
}

static bool is_page_size(const char *text)
{
	return strcmp(text, "4k") == 0 || strcmp(text, "2m") == 0 || strcmp(text, "1g") == 0;
}

static bool is_fault_around(const char *text)
{
	static const char *const counts[] = {"1", "2", "4", "8", "16", "32", "64"};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		if (strcmp(text, counts[i]) == 0)
			return true;
	}
	return false;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct boot_options *options = state->input;

	switch (key) {
	case OPTION_KERNEL:
		options->kernel = arg;
		return 0;
	case OPTION_INITRD:
		options->initrd = arg;
		return 0;
	case OPTION_MODULE:
		add_module(options, arg);
		return 0;
	case OPTION_APPEND:
		add_append(options, arg);
		return 0;
	case OPTION_NO_DEFAULT:
		options->no_default_append = true;
		return 0;
	case OPTION_MEMORY:
		if (!parse_size(arg, &options->memory) || options->memory == 0 || options->memory % 4096)
			argp_error(state, "--memory is a size in whole pages, like 256M or 1G, not \"%s\"", arg);
		return 0;
	case OPTION_MMU:
		if (!parse_mmu(arg, &options->mmu) || options->mmu == MMU_AUTO)
			argp_error(state, "--mmu is ept, npt or shadow, not \"%s\"", arg);
		return 0;
	case OPTION_PAGE_SIZE:
		if (!is_page_size(arg))
			argp_error(state, "--page-size is 4k, 2m or 1g, not \"%s\"", arg);
		options->page_size = arg;
		return 0;
	case OPTION_FAULT_AROUND:
		if (!is_fault_around(arg))
			argp_error(state, "--fault-around is a number of pages: 1 (off), 2, 4, 8, 16, 32 or 64, not \"%s\"", arg);
		options->fault_around = arg;
		return 0;
	case OPTION_PREALLOC:
		options->prealloc = true;
		return 0;
	case OPTION_NO_RUN_AHEAD:
		options->no_run_ahead = true;
		return 0;
	case OPTION_REQUIRE_ISOLATION:
		options->require_isolation = true;
		return 0;
	case OPTION_NESTED:
		options->nested = true;
		return 0;
	case OPTION_INTERCEPT:
		if (strcmp(arg, "cr3") != 0 && strcmp(arg, "invlpg") != 0 && strcmp(arg, "cr3,invlpg") != 0 &&
		    strcmp(arg, "invlpg,cr3") != 0)
			argp_error(state, "--intercept takes cr3, invlpg or cr3,invlpg, not \"%s\"", arg);
		options->intercept = arg;
		return 0;
	case OPTION_TEST_DEVICE:
		options->test_device = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "what is \"%s\"? (a kernel is given with --kernel)", arg);
		return 0;
	case ARGP_KEY_END:
		if (options->nested && options->mmu == MMU_SHADOW)
			argp_error(state, "--nested needs EPT or NPT: it cannot be had with --mmu shadow");
		if (options->fault_around && options->mmu == MMU_SHADOW)
			argp_error(state, "--fault-around is for EPT and NPT: shadow tables map neighbours in any case");
		if (!options->kernel)
			argp_error(state, "which kernel? Give --kernel K (scripts/setup fetches one to "
			                  ".cache/kernels/cloud-amd64/vmlinuz)");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option parser_options[] = {
	{"kernel", OPTION_KERNEL, "K", 0, "The guest: a Linux bzImage, a multiboot image, or an ELF file", 1},
	{"initrd", OPTION_INITRD, "I", 0, "Its initial ramdisk", 1},
	{"append", OPTION_APPEND, "S", 0,
         "Its command line; for Linux, what follows \"" LINUX_DEFAULT_APPEND "\"", 1},
	{"no-default-append", OPTION_NO_DEFAULT, NULL, 0, "Leave those words out", 1},
	{"module", OPTION_MODULE, "FILE[=S]", 0,
         "A module for a multiboot guest, with its command line; may be repeated", 1},
	{"memory", OPTION_MEMORY, "N", 0, "Guest memory (default 256M)", 1},
	{"mmu", OPTION_MMU, "ept|npt|shadow", 0,
         "Which second-level paging, or none of it: shadow tables (default: what the machine has)", 2},
	{"page-size", OPTION_PAGE_SIZE, "4k|2m|1g", 0, "Largest page in the tables (default 2m)", 2},
	{"fault-around", OPTION_FAULT_AROUND, "N", 0,
         "EPT, NPT: where a page of 4 KiB is mapped, map up to N with it; a power of 2 up to 64 (default 1: the page alone)", 2},
	{"prealloc", OPTION_PREALLOC, NULL, 0,
         "Allocate and clear guest memory before the start; the tables stay empty", 2},
	{"no-run-ahead", OPTION_NO_RUN_AHEAD, NULL, 0,
         "Shadow tables: do not run programs ahead to the next page that they touch first", 2},
	{"require-isolation", OPTION_REQUIRE_ISOLATION, NULL, 0,
         "Refuse a machine and paging mode that do not keep the guest off the visor's memory", 2},
	{"intercept", OPTION_INTERCEPT, "cr3,invlpg", 0,
         "Let loads of CR3, INVLPG or both exit where no paging mode here needs it, for comparison", 2},
	{"nested", OPTION_NESTED, NULL, 0,
         "Give the guest VMX or SVM, so that it can run guests of its own", 2},
	{"test-device", OPTION_TEST_DEVICE, NULL, 0, "Give the guest the port of the project's own tests", 2},
	{0},
};

const struct argp boot_argp = {.options = parser_options, .parser = parse};

static bool check_modules(const struct boot_options *options, uint64_t *images, char **error)
{
	for (size_t i = 0; i < options->module_count; i++) {
		struct bytes file;

		if (!bytes_read(options->modules[i].path, &file, error))
			return false;
		*images += file.size;
		bytes_free(&file);
	}
	return true;
}

bool boot_options_check(const struct boot_options *options, uint64_t *images, char **error)
{
	struct guest_image kernel;
	uint64_t initrd = 0;

	if (!guest_kernel_check(options->kernel, &kernel, error) ||
	    (options->initrd && !guest_initrd_check(options->initrd, &initrd, error)) ||
	    !guest_memory_check(&kernel, initrd, options->memory, error))
		return false;
	*images = kernel.bytes + initrd;
	return check_modules(options, images, error);
}

bool boot_options_spare(const struct boot_options *options, const char *path, char **error)
{
	bool read;

	if (!path)
		return true;
	read = is_same_file(path, options->kernel) || (options->initrd && is_same_file(path, options->initrd));
	for (size_t i = 0; i < options->module_count && !read; i++)
		read = is_same_file(path, options->modules[i].path);
	if (read)
		*error = formatted("%s is what the guest is booted from: it is not written over", path);
	return !read;
}

/* The default words are for Linux; to another kernel they mean nothing. */
static bool wants_default_append(const struct boot_options *options)
{
	struct guest_image kernel;
	char *ignored = NULL;
	bool is_linux = guest_kernel_check(options->kernel, &kernel, &ignored) && kernel.kind == GUEST_LINUX;

	free(ignored);
	return is_linux && !options->no_default_append;
}

bool boot_options_plan(struct boot_options *options, bool traced, struct boot_plan *plan, char **error)
{
	bool defaults = wants_default_append(options);

	options->visor = visor_path(error);
	if (!options->visor)
		return false;
	options->visor_words = formatted("memory=%" PRIu64 "K mmu=%s page-size=%s trace=%s prealloc=%s test-device=%s%s%s%s%s%s%s%s",
	                                 options->memory >> 10, mmu_name(options->mmu), options->page_size,
	                                 traced ? "disk" : "off", options->prealloc ? "on" : "off",
	                                 options->test_device ? "on" : "off",
	                                 options->no_run_ahead ? " run-ahead=off" : "",
	                                 options->require_isolation ? " require-isolation=on" : "",
	                                 options->nested ? " nested=on" : "",
	                                 options->fault_around ? " fault-around=" : "", options->fault_around ? options->fault_around : "",
	                                 options->intercept ? " intercept=" : "", options->intercept ? options->intercept : "");
	options->guest_line = formatted("%s%s%s", defaults ? LINUX_DEFAULT_APPEND : "",
	                                defaults && *options->append ? " " : "", options->append);
	*plan = (struct boot_plan){
		.visor = options->visor,
		.kernel = options->kernel,
		.initrd = options->initrd,
		.modules = options->modules,
		.module_count = options->module_count,
		.visor_words = options->visor_words,
		.guest_line = options->guest_line,
	};
	return true;
}
