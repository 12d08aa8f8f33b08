/* SPDX-License-Identifier: BSD-2-Clause */
/* Can this host run the visor under KVM? Asked of the host, then of a VM. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"
#include "probe/probe.h"
#include "process.h"

enum { PROBE_TIMEOUT_MS = 10000 };

/* What isa-debug-exit makes of a value: QEMU's exit status. */
#define EXIT_STATUS_OF(value) ((value) << 1 | 1)

/* Is the module's `nested` parameter on? False also when the module is not there. */
static bool nested_is_on(const char *module)
{
	char *path = formatted("/sys/module/%s/parameters/nested", module);
	char value = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (read(fd, &value, 1) != 1)
			value = 0;
		close(fd);
	}
	free(path);
	return toupper((unsigned char)value) == 'Y' || value == '1';
}

static bool host_offers(char **why_not)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	bool intel = access("/sys/module/kvm_intel", F_OK) == 0;
	bool amd = access("/sys/module/kvm_amd", F_OK) == 0;

	if (fd < 0) {
		*why_not = formatted("/dev/kvm: %s%s", strerror(errno),
		                     errno == EACCES ? " (its group is usually kvm)" : "");
		return false;
	}
	close(fd);
	if (!intel && !amd)
		*why_not = duplicate("neither kvm_intel nor kvm_amd is loaded");
	else if (!nested_is_on("kvm_intel") && !nested_is_on("kvm_amd"))
		*why_not = formatted("nested virtualization is off (load %s with nested=1)",
		                     intel ? "kvm_intel" : "kvm_amd");
	else
		return true;
	return false;
}

static bool write_probe(int fd)
{
	size_t size = (size_t)(probe_image_end - probe_image);

	return write(fd, probe_image, size) == (ssize_t)size;
}

/* QEMU's exit status with the probe as its guest; -1: it did not start or hung. */
static int start_probe(const char *qemu, const char *image)
{
	struct arguments command = {0};
	int status;

	arguments_add(&command, "%s", qemu);
	for (const char *const *word = (const char *const[]){"-accel", "kvm", "-cpu", "host", "-m", "16",
	                                                     "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-sandbox", QEMU_SANDBOX, "-device",
	                                                     "isa-debug-exit,iobase=0xf4,iosize=0x04", "-kernel", NULL};
	     *word; word++)
		arguments_add(&command, "%s", *word);
	arguments_add(&command, "%s", image);
	status = process_run(command.argv, NULL, NULL, PROBE_TIMEOUT_MS);
	arguments_free(&command);
	return status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool judge(int status, enum mmu_kind *mmu, char **why_not)
{
	switch (status) {
	case EXIT_STATUS_OF(PROBE_NPT):
		*mmu = MMU_NPT;
		return true;
	case EXIT_STATUS_OF(PROBE_EPT):
		*mmu = MMU_EPT;
		return true;
	case EXIT_STATUS_OF(PROBE_NOTHING):
		*why_not = duplicate("a VM starts, but its CPU offers neither SVM with NPT nor VMX with EPT");
		return false;
	default:
		*why_not = duplicate("QEMU does not start a VM with KVM here");
		return false;
	}
}

bool kvm_probe(enum mmu_kind *mmu, char **why_not)
{
	bool ok = false;
	char *qemu, image[32];
	int fd;

	if (!host_offers(why_not))
		return false;
	qemu = qemu_program(why_not);
	if (!qemu)
		return false;
	/* A file without a name: nothing is left behind, whatever becomes of us. */
	fd = memfd_create("vmmu-probe", MFD_CLOEXEC);
	snprintf(image, sizeof(image), "/proc/%d/fd/%d", getpid(), fd);
	if (fd < 0 || !write_probe(fd))
		*why_not = formatted("no memory for the guest that asks it: %s", strerror(errno));
	else
		ok = judge(start_probe(qemu, image), mmu, why_not);
	if (fd >= 0)
		close(fd);
	free(qemu);
	return ok;
}
