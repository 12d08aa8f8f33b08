# SPDX-License-Identifier: BSD-2-Clause
# The bare-metal hypervisor: one image for GRUB and for qemu-system-x86_64 -kernel.
# Not a vector register is named: the guest's stay in the CPU while the visor runs.

VISOR := $(BUILD)/visor.elf
VISOR_CFLAGS := $(CSTD) $(WARN) -O2 -g -ffreestanding -fstack-protector -mstack-protector-guard=global -fno-pic -fno-pie \
	-mgeneral-regs-only -mno-red-zone -fno-asynchronous-unwind-tables -ffunction-sections \
	-fdata-sections -fno-strict-aliasing -Iinclude -I.
VISOR_C := $(wildcard visor/*/*.c)
VISOR_S := $(wildcard visor/*/*.S)
VISOR_OBJ := $(VISOR_C:%.c=$(BUILD)/%.o) $(VISOR_S:%.S=$(BUILD)/%.S.o)
VISOR_LD := visor/boot/visor.ld

include visor/emulate/zydis.mk
include visor/load/load.mk

.PHONY: visor
#   make visor     the hypervisor, build/visor.elf
visor: $(VISOR)

# Boot loaders want a 32-bit image (Multiboot 0.6.96, 3.1.3); visor.debug has the symbols.
$(VISOR): $(BUILD)/visor.debug
	objcopy -S -O elf32-i386 $< $@

$(BUILD)/visor.debug: $(VISOR_OBJ) $(call zydis_objects,$(BUILD)/visor) $(LIBVMMU) $(VISOR_LD)
	$(LD) -nostdlib -static -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments --gc-sections \
		-T $(VISOR_LD) -o $@ $(filter %.o,$^) $(LIBVMMU)

$(BUILD)/visor/%.o: visor/%.c | $(ZYDIS_READY) $(DSDT_HEADER)
	@mkdir -p $(@D)
	$(CC) $(VISOR_CFLAGS) $(ZYDIS_CFLAGS) $(DSDT_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/visor/%.S.o: visor/%.S
	@mkdir -p $(@D)
	$(CC) $(VISOR_CFLAGS) -MMD -MP -c $< -o $@

$(eval $(call zydis_rule,$(BUILD)/visor,$(VISOR_CFLAGS)))

-include $(VISOR_OBJ:.o=.d)
