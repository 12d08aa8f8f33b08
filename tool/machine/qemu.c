/* SPDX-License-Identifier: BSD-2-Clause */
/* QEMU: SVM and NPT in its own emulation, or what the host's KVM offers. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"

char *qemu_program(char **error)
{
	const char *override = getenv("VMMU_QEMU");
	char *program = find_program("qemu-system-x86_64", override);

	if (!program && override && *override)
		*error = formatted("VMMU_QEMU names %s, which is no program", override);
	else if (!program)
		*error = duplicate("qemu-system-x86_64 is not installed; Debian has it in the package "
		                   "qemu-system-x86 (scripts/setup emulators installs it)");
	return program;
}

/* QEMU's option parser ends a value at a comma, and takes two for one. */
static char *commas_doubled(const char *text)
{
	char *out = allocate(2 * strlen(text) + 1), *to = out;

	for (; *text; text++) {
		*to++ = *text;
		if (*text == ',')
			*to++ = ',';
	}
	return out;
}

/* A name without commas or spaces for a file, in the emulator's own directory. */
static bool link_into(const char *work, const char *name, const char *path, char **error)
{
	char *link = formatted("%s/%s", work, name), *target = absolute_path(path);
	bool ok = symlink(target, link) == 0;

	if (!ok)
		*error = formatted("%s cannot be made: %s", link, strerror(errno));
	free(link);
	free(target);
	return ok;
}

/* The list for -initrd: each module's file and, after a space, its string. */
static char *module_list(const struct boot_plan *boot, const char *work, char **error)
{
	char *kernel_name = boot_name(boot->kernel), *list = formatted("kernel vmmu:kernel %s", kernel_name);

	free(kernel_name);
	if (!link_into(work, "kernel", boot->kernel, error) ||
	    (boot->initrd && !link_into(work, "initrd", boot->initrd, error)))
		goto fail;
	if (boot->initrd) {
		char *name = boot_name(boot->initrd), *longer = formatted("%s,initrd vmmu:initrd %s", list, name);

		free(name);
		free(list);
		list = longer;
	}
	for (size_t i = 0; i < boot->module_count; i++) {
		char *name = formatted("module%zu", i), *line = commas_doubled(boot->modules[i].command_line);
		char *file = boot_name(boot->modules[i].path);
		char *longer = formatted("%s,%s vmmu:module %s%s%s", list, name, file, *line ? " " : "", line);
		bool ok = link_into(work, name, boot->modules[i].path, error);

		free(list);
		free(name);
		free(line);
		free(file);
		list = longer;
		if (!ok)
			goto fail;
	}
	return list;
fail:
	free(list);
	return NULL;
}

static void add_cpu(const struct machine_plan *plan, struct arguments *command)
{
	arguments_add(command, "-accel");
	arguments_add(command, plan->kind == MACHINE_KVM ? "kvm" : "tcg");
	arguments_add(command, "-cpu");
	arguments_add(command, "%s", plan->cpu ? plan->cpu : plan->kind == MACHINE_KVM ? "host"
	                                                                               : "EPYC,+svm,+npt");
	if (plan->count_instructions) {
		arguments_add(command, "-icount");
		arguments_add(command, "shift=0,sleep=off");
	}
}

static void add_serial(struct arguments *command, const char *name, const char *tty)
{
	arguments_add(command, "-chardev");
	arguments_add(command, "serial,id=%s,path=%s", name, tty);
	arguments_add(command, "-serial");
	arguments_add(command, "chardev:%s", name);
}

static void add_trace_disk(struct arguments *command, const char *trace)
{
	char *path = commas_doubled(trace);

	arguments_add(command, "-drive");
	/* Otherwise a full file system would stop the machine without a word; so the visor hears of it and tells. */
	arguments_add(command, "file=%s,format=raw,if=ide,index=1,werror=report,rerror=report", path);
	free(path);
}

bool qemu_prepare(const struct machine_plan *plan, struct arguments *command, char **error)
{
	const struct boot_plan *boot = &plan->boot;
	char *program = qemu_program(error), *modules;

	if (!program)
		return false;
	modules = module_list(boot, plan->work, error);
	if (!modules) {
		free(program);
		return false;
	}
	arguments_add(command, "%s", program);
	for (const char *const *word = (const char *const[]){"-name", "vmmu", "-machine", "pc", "-nodefaults",
	                                                     "-no-user-config", "-no-reboot", "-display", "none", "-rtc", "base=utc", "-sandbox", QEMU_SANDBOX, NULL};
	     *word; word++)
		arguments_add(command, "%s", *word);
	add_cpu(plan, command);
	arguments_add(command, "-m");
	arguments_add(command, "%" PRIu64 "M", plan->memory >> 20);
	add_serial(command, "console", plan->console_tty);
	add_serial(command, "log", plan->log_tty);
	if (plan->trace)
		add_trace_disk(command, plan->trace);
	arguments_add(command, "-kernel");
	arguments_add(command, "%s", boot->visor);
	arguments_add(command, "-initrd");
	arguments_add(command, "%s", modules);
	arguments_add(command, "-append");
	arguments_add(command, "%s -- %s", boot->visor_words, boot->guest_line);
	free(program);
	free(modules);
	return true;
}
