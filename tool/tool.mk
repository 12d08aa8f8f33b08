# SPDX-License-Identifier: BSD-2-Clause
# vmmu, the command.

TOOL_SRC := $(wildcard tool/*.c tool/*/*.c)
PROBE_DIR := $(BUILD)/tool/machine/probe
TOOL_BLOBS := $(PROBE_DIR)/embed.o $(BUILD)/tool/report/blobs.o $(BUILD)/tool/plot/colours.o
TOOL_OBJ := $(TOOL_SRC:%.c=$(BUILD)/%.o) $(TOOL_BLOBS)
TOOL_CFLAGS := $(CSTD) $(WARN) -O2 -g -D_GNU_SOURCE -Iinclude \
	$(shell pkg-config --cflags libtracefs libtraceevent babeltrace2 2>/dev/null)
# pthread_cancel loads libgcc_s when it is called: better it is there.
TOOL_LIBS := -Wl,--push-state,--no-as-needed -lgcc_s -Wl,--pop-state $(shell pkg-config --libs babeltrace2 2>/dev/null) -lncursesw -ltinfo -lbpf -ltracefs -ltraceevent -lpthread -ljansson -lelf -llzma -lz -lbz2 -lzstd -llz4 -lm
VMMU := $(BUILD)/vmmu

.PHONY: tool
#   make tool      the command, build/vmmu
tool: $(VMMU)

# ---- make run -----------------------------------------------------------------

MACHINE     ?= bochs
NESTED      ?=
ifneq ($(NESTED),)
MEMORY      ?= 512M
INITRD      ?= $(BUILD)/kvm-lab/linux-$(MACHINE).cpio.gz
endif
MEMORY      ?= 256M
PAGE_SIZE   ?= 2m
MMU         ?=
INTERACTIVE ?=
KERNEL      ?= .cache/kernels/cloud-amd64/vmlinuz
INITRD      ?= $(BUILD)/initramfs/run.cpio.gz

RUN_NEEDS := $(VMMU) $(BUILD)/visor.elf $(INITRD)

.PHONY: run iso install
#   make run MACHINE=qemu   the same under NPT, in seconds (default: bochs, which has EPT)
#   make run MACHINE=qemu MMU=shadow   without nested paging
#   make run NESTED=1 MACHINE=qemu   Debian's KVM as the guest, and in it Linux
#   make run INTERACTIVE=1  with a shell; also MEMORY=, PAGE_SIZE=4k|2m|1g, KERNEL=, INITRD=
run:
	@scripts/setup build emulators kernels
	@MAKE='$(MAKE)' scripts/build-quietly 'vmmu, the visor and the guest' --no-print-directory \
		BUILD=$(BUILD) $(RUN_NEEDS)
	@scripts/run-guest $(BUILD) $(MACHINE) $(KERNEL) $(INITRD) --memory $(MEMORY) \
		--page-size $(PAGE_SIZE) $(if $(MMU),--mmu $(MMU)) $(if $(INTERACTIVE),--append vmmu.shell) \
		$(if $(NESTED),--nested --append "quiet mitigations=off")

#   make iso       build/vmmu.iso, which boots the same on a real machine
iso: $(RUN_NEEDS)
	$(VMMU) iso --kernel $(KERNEL) --initrd $(INITRD) --memory $(MEMORY) --page-size $(PAGE_SIZE) \
		$(if $(INTERACTIVE),--append vmmu.shell) --output $(BUILD)/vmmu.iso

# ---- make install ---------------------------------------------------------------

MAN_PAGES := $(wildcard docs/man/*.1)

include tool/report/report.mk
include tool/plot/plot.mk
include tool/package/package.mk

#   make install   install-lib, install-tool and visor.elf (DESTDIR, PREFIX)
install: install-lib install-tool $(BUILD)/visor.elf
	install -d $(INSTALL_TO)/lib/vmmu
	install -m 644 $(BUILD)/visor.elf $(INSTALL_TO)/lib/vmmu

# ---- the command ------------------------------------------------------------------

$(VMMU): $(TOOL_OBJ) $(LIBVMMU)
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(TOOL_LIBS)

$(BUILD)/tool/%.o: tool/%.c
	@mkdir -p $(@D)
	$(CC) $(TOOL_CFLAGS) -MMD -MP -c $< -o $@

# The guest that asks a VM what its CPU offers: an image of its own, inside the command.
$(PROBE_DIR)/probe.elf: tool/machine/probe/probe.S tool/machine/probe/probe.h
	@mkdir -p $(@D)
	$(CC) -m32 -c $< -o $(PROBE_DIR)/probe.o
	$(LD) -m elf_i386 -Ttext 0x100000 --build-id=none -o $@ $(PROBE_DIR)/probe.o

$(PROBE_DIR)/embed.o: tool/machine/probe/embed.S $(PROBE_DIR)/probe.elf
	$(CC) -DPROBE_FILE='"$(PROBE_DIR)/probe.elf"' -c $< -o $@

-include $(TOOL_OBJ:.o=.d)
