# SPDX-License-Identifier: BSD-2-Clause
# vmmu, the command.

VMMU_VERSION := 0.1.0

TOOL_SRC := $(wildcard tool/*.c tool/*/*.c)
PROBE_DIR := $(BUILD)/tool/machine/probe
TOOL_OBJ := $(TOOL_SRC:%.c=$(BUILD)/%.o) $(PROBE_DIR)/embed.o
TOOL_CFLAGS := $(CSTD) $(WARN) -O2 -g -D_GNU_SOURCE -DVMMU_VERSION='"$(VMMU_VERSION)"' -Iinclude
TOOL_LIBS := -ljansson -lelf -llzma -lz -lbz2 -lzstd -llz4
VMMU := $(BUILD)/vmmu

.PHONY: tool
#   make tool      the command, build/vmmu
tool: $(VMMU)

# libvmmu is built without position-independent code, to fit a bare-metal program too.
$(VMMU): $(TOOL_OBJ) $(LIBVMMU)
	@mkdir -p $(@D)
	$(CC) -no-pie -o $@ $^ $(TOOL_LIBS)

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
