/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/vm/options.h"

#include <vmmu/types.h>

#include "visor/lib/format.h"
#include "visor/lib/string.h"
#include "visor/lib/words.h"
#include "visor/load/memory_map.h"

#define GUEST_SEPARATOR " -- "
#define MEMORY_DEFAULT (256ull << 20)

struct choice {
	const char *word;
	unsigned value;
};

static const struct choice switches[] = {{"off", 0}, {"on", 1}, {0}};
static const struct choice ends[] = {{"halt", 0}, {"exit", 1}, {0}};
static const struct choice sinks[] = {{"off", 0}, {"disk", 1}, {0}};
static const struct choice mmus[] = {
	{"auto", OPTIONS_MMU_AUTO}, {"ept", OPTIONS_MMU_EPT}, {"npt", OPTIONS_MMU_NPT}, {"shadow", OPTIONS_MMU_SHADOW}, {0}};
static const struct choice page_sizes[] = {
	{"4k", VMMU_LEVEL_4K}, {"2m", VMMU_LEVEL_2M}, {"1g", VMMU_LEVEL_1G}, {0}};
static const struct choice neighbours[] = {{"1", 0}, {"2", 1}, {"4", 2}, {"8", 3}, {"16", 4}, {"32", 5}, {"64", 6}, {0}};

static bool word_is(const char *word, const char *end, const char *text)
{
	return (size_t)(end - word) == strlen(text) && strncmp(word, text, (size_t)(end - word)) == 0;
}

static bool choose(const char *value, const char *end, const struct choice *from, unsigned *out)
{
	for (; from->word; from++) {
		if (word_is(value, end, from->word)) {
			*out = from->value;
			return true;
		}
	}
	return false;
}

static bool choose_flag(const char *value, const char *end, const struct choice *from, bool *out)
{
	unsigned chosen;

	if (!choose(value, end, from, &chosen))
		return false;
	*out = chosen;
	return true;
}

/* "cr3", "invlpg" or both with a comma between them. */
static bool choose_intercepts(const char *value, const char *end, struct options *out)
{
	while (value <= end) {
		const char *stop = value;

		while (stop < end && *stop != ',')
			stop++;
		if (word_is(value, stop, "cr3"))
			out->intercept_cr3 = true;
		else if (word_is(value, stop, "invlpg"))
			out->intercept_invlpg = true;
		else
			return false;
		value = stop + 1;
	}
	return true;
}

/* 1: taken. 0: a known word with a wrong value. -1: not a word of ours. */
static int read_word(const char *word, const char *end, struct options *out)
{
	const char *value;
	unsigned mmu;

	if ((value = after_prefix(word, "memory=")))
		return parse_size(value, end, &out->memory_bytes) &&
		       out->memory_bytes >= GUEST_MEMORY_MIN && out->memory_bytes <= 1ull << 40 &&
		       out->memory_bytes % VMMU_PAGE_SIZE == 0;
	if ((value = after_prefix(word, "mmu="))) {
		if (!choose(value, end, mmus, &mmu))
			return 0;
		out->mmu = (enum options_mmu)mmu;
		return 1;
	}
	if ((value = after_prefix(word, "page-size=")))
		return choose(value, end, page_sizes, &out->max_level);
	if ((value = after_prefix(word, "fault-around=")))
		return choose(value, end, neighbours, &out->fault_around);
	if ((value = after_prefix(word, "trace=")))
		return choose_flag(value, end, sinks, &out->trace);
	if ((value = after_prefix(word, "prealloc=")))
		return choose_flag(value, end, switches, &out->prealloc);
	if ((value = after_prefix(word, "require-isolation=")))
		return choose_flag(value, end, switches, &out->require_isolation);
	if ((value = after_prefix(word, "run-ahead=")))
		return choose_flag(value, end, switches, &out->run_ahead);
	if ((value = after_prefix(word, "at-end=")))
		return choose_flag(value, end, ends, &out->exit_at_end);
	if ((value = after_prefix(word, "nested=")))
		return choose_flag(value, end, switches, &out->nested);
	if ((value = after_prefix(word, "intercept=")))
		return choose_intercepts(value, end, out);
	if ((value = after_prefix(word, "test-device=")))
		return choose_flag(value, end, switches, &out->test_device);
	return -1;
}

static bool read_words(const char *line, const char *end, struct options *out, char *reason, unsigned size)
{
	const char *word = line;

	while (word < end) {
		const char *stop = word;
		int taken;

		while (stop < end && *stop != ' ')
			stop++;
		taken = stop > word ? read_word(word, stop, out) : 1;
		/* The first word may be the visor's own file name: QEMU puts it there. */
		if (taken == 0 || (taken < 0 && word != line)) {
			snprintf(reason, size, taken ? "unknown word \"%.*s\" on the visor's command line" : "bad value in \"%.*s\" on the visor's command line",
			         (int)(stop - word), word);
			return false;
		}
		word = stop + 1;
	}
	return true;
}

/* The word `role` in `text`, standing alone: returns what follows it, or NULL. */
static const char *role_in(const char *text, const char *role)
{
	size_t n = strlen(role);

	for (const char *found = text; (found = strstr(found, role)); found += n) {
		bool starts = found == text || found[-1] == ' ';

		if (starts && (found[n] == 0 || found[n] == ' '))
			return found[n] ? found + n + 1 : "";
	}
	return NULL;
}

enum module_role {
	ROLE_KERNEL,
	ROLE_INITRD,
	ROLE_MODULE,
	ROLES
};

/* The first role in `text`, *rest what follows it: another one behind it is for the guest, which may be a visor, too. */
static enum module_role first_role(const char *text, const char **rest)
{
	static const char *const roles[ROLES] = {
		[ROLE_KERNEL] = "vmmu:kernel", [ROLE_INITRD] = "vmmu:initrd", [ROLE_MODULE] = "vmmu:module"};
	enum module_role first = ROLES;

	*rest = NULL;
	for (enum module_role role = ROLE_KERNEL; role < ROLES; role++) {
		const char *behind = role_in(text, roles[role]);

		/* The longest rest is that of the first word: all roles are equally long. */
		if (behind && (!*rest || strlen(behind) > strlen(*rest))) {
			*rest = behind;
			first = role;
		}
	}
	return first;
}

static bool read_module(const struct boot_module *m, struct options *out, char *reason, unsigned size)
{
	struct load_blob blob = {.bytes = (const uint8_t *)(uintptr_t)m->base, .size = m->end - m->base};
	const char *rest;
	enum module_role role = first_role(m->text, &rest);

	if (role == ROLE_KERNEL) {
		blob.name = rest;
		if (out->kernel.bytes) {
			snprintf(reason, size, "two modules have the role vmmu:kernel");
			return false;
		}
		out->kernel = blob;
	} else if (role == ROLE_INITRD) {
		blob.name = rest;
		if (out->initrd.bytes) {
			snprintf(reason, size, "two modules have the role vmmu:initrd");
			return false;
		}
		out->initrd = blob;
	} else if (role == ROLE_MODULE) {
		blob.command_line = rest;
		if (out->module_count == LOAD_MAX_MODULES) {
			snprintf(reason, size, "more than %u modules have the role vmmu:module", LOAD_MAX_MODULES);
			return false;
		}
		out->modules[out->module_count++] = blob;
	} else {
		snprintf(reason, size, "module \"%s\" names no role: vmmu:kernel, vmmu:initrd or vmmu:module",
		         m->text);
		return false;
	}
	return true;
}

bool options_read(const struct boot_info *boot, struct options *out, char *reason, unsigned size)
{
	const char *line = boot->command_line;
	const char *guest = strstr(line, GUEST_SEPARATOR);
	const char *end = guest ? guest : line + strlen(line);

	memset(out, 0, sizeof(*out));
	out->memory_bytes = MEMORY_DEFAULT;
	out->max_level = VMMU_LEVEL_2M;
	out->run_ahead = true;
	out->guest_command_line = guest ? guest + strlen(GUEST_SEPARATOR) : "";
	if (!read_words(line, end, out, reason, size))
		return false;
	for (unsigned i = 0; i < boot->module_count; i++) {
		if (!read_module(&boot->modules[i], out, reason, size))
			return false;
	}
	if (!out->kernel.bytes) {
		snprintf(reason, size, "no module has the role vmmu:kernel: there is nothing to run");
		return false;
	}
	return true;
}
