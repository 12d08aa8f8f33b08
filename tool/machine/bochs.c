/* SPDX-License-Identifier: BSD-2-Clause */
/* Bochs: VMX and EPT (or SVM and NPT), started through BIOS and GRUB from an image of ours. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"

#define BIOS "/usr/share/bochs/BIOS-bochs-latest"
#define VGA_BIOS "/usr/share/seabios/vgabios-stdvga.bin"

char *bochs_program(char **error)
{
	const char *override = getenv("VMMU_BOCHS");
	char *program = find_program("bochs", override);

	if (!program && override && *override)
		*error = formatted("VMMU_BOCHS names %s, which is no program", override);
	else if (!program)
		*error = duplicate("bochs is not installed; Debian has it in the packages bochs, bochs-term and "
		                   "bochsbios (scripts/setup emulators installs them)");
	return program;
}

static bool have_bios(char **error)
{
	static const struct {
		const char *path, *package;
	} files[] = {{BIOS, "bochsbios"},
	             {VGA_BIOS, "seabios"}};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (access(files[i].path, R_OK) != 0) {
			*error = formatted("%s is missing; Debian has it in the package %s "
			                   "(scripts/setup emulators installs it)",
			                   files[i].path, files[i].package);
			return false;
		}
	}
	return true;
}

static void write_settings(const struct machine_plan *plan, FILE *to)
{
	unsigned megabytes = (unsigned)(plan->memory >> 20);

	fprintf(to, "config_interface: textconfig\n");
	fprintf(to, "display_library: term\n");
	/* The models that have VMX with EPT, and SVM with NPT. */
	fprintf(to, "cpu: model=%s, count=1, ips=100000000, reset_on_triple_fault=0, ignore_bad_msrs=1\n",
	        plan->cpu ? plan->cpu : plan->mmu != MMU_NPT ? "corei7_skylake_x"
	                                                     : "ryzen");
	fprintf(to, "memory: guest=%u, host=%u\n", megabytes, megabytes);
	fprintf(to, "romimage: file=" BIOS "\n");
	fprintf(to, "vgaromimage: file=" VGA_BIOS "\n");
	fprintf(to, "ata0-master: type=cdrom, path=boot.iso, status=inserted\n");
	/* A link in the working directory: bochsrc values end at a comma. */
	if (plan->trace)
		fprintf(to, "ata0-slave: type=disk, path=trace, mode=flat\n");
	fprintf(to, "boot: cdrom\n");
	fprintf(to, "com1: enabled=1, mode=term, dev=%s\n", plan->console_tty);
	fprintf(to, "com2: enabled=1, mode=term, dev=%s\n", plan->log_tty);
	/* Virtual time goes by instructions executed, as fast as the host can. */
	fprintf(to, "clock: sync=none, time0=utc\n");
	/* Without it the start aborts where there is no sound card. */
	fprintf(to, "sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy\n");
	fprintf(to, "plugin_ctrl: unmapped=0, biosdev=0, speaker=0, extfpuirq=0, parallel=0, gameport=0, "
	            "busmouse=0\n");
	/* Bochs calls each EPT violation an error and would write a line for it. */
	fprintf(to, "error: action=ignore\ninfo: action=ignore\npanic: action=fatal\nlog: bochs.log\n");
}

static bool write_file(const char *work, const char *name, const struct machine_plan *plan, char **error)
{
	char *path = formatted("%s/%s", work, name);
	FILE *to = fopen(path, "we");
	bool ok = to;

	if (to && plan)
		write_settings(plan, to);
	else if (to)
		fputs("c\n", to); /* Debian's Bochs is the debugger build: tell it to run */
	if (to)
		ok = fclose(to) == 0;
	if (!ok)
		*error = formatted("%s cannot be written: %s", path, strerror(errno));
	free(path);
	return ok;
}

static bool link_trace(const struct machine_plan *plan, char **error)
{
	char *link;
	bool ok;

	if (!plan->trace)
		return true;
	link = formatted("%s/trace", plan->work);
	ok = symlink(plan->trace, link) == 0;
	if (!ok)
		*error = formatted("%s cannot be made: %s", link, strerror(errno));
	free(link);
	return ok;
}

bool bochs_prepare(const struct machine_plan *plan, struct arguments *command, char **error)
{
	char *program = bochs_program(error), *iso = formatted("%s/boot.iso", plan->work);
	bool ok = program && have_bios(error) && boot_iso_make(&plan->boot, plan->work, iso, true, error) &&
	          link_trace(plan, error) && write_file(plan->work, "bochsrc", plan, error) &&
	          write_file(plan->work, "start", NULL, error);

	if (ok) {
		arguments_add(command, "%s", program);
		for (const char *const *word = (const char *const[]){"-q", "-f", "bochsrc", "-rc", "start", NULL};
		     *word; word++)
			arguments_add(command, "%s", *word);
	}
	free(program);
	free(iso);
	return ok;
}
