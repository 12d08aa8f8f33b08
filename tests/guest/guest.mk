# SPDX-License-Identifier: BSD-2-Clause
#
# The test guest (a multiboot1 kernel, in ELF32 and in ELF64 form) and the
# initramfs images for Linux.

GUEST_DIR   := tests/guest
GUEST_BUILD := $(BUILD)/guest
GUEST_SRC   := runtime cpu device touch memory exec mmio platform time delivery paging hostile \
               slots slots_random bench
GUEST_OBJ   := $(GUEST_BUILD)/boot.o $(GUEST_SRC:%=$(GUEST_BUILD)/%.o)
GUEST_CFLAGS := $(CSTD) -O2 -g $(WARN) -MMD -MP -I. -Iinclude -m64 -ffreestanding -fno-pic -fno-stack-protector \
                -fno-asynchronous-unwind-tables -fcf-protection=none -mno-red-zone -mgeneral-regs-only
GUEST64     := $(GUEST_BUILD)/guest64.elf
GUEST32     := $(GUEST_BUILD)/guest.elf

guests: $(GUEST32) $(GUEST64)

$(GUEST_BUILD)/%.o: $(GUEST_DIR)/%.c
	@mkdir -p $(@D)
	$(CC) $(GUEST_CFLAGS) -c $< -o $@

$(GUEST_BUILD)/%.o: $(GUEST_DIR)/%.S
	@mkdir -p $(@D)
	$(CC) -m64 -MMD -MP -c $< -o $@

$(GUEST64): $(GUEST_OBJ) $(GUEST_DIR)/guest.ld
	$(CC) -m64 -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,max-page-size=4096 \
		-Wl,--no-warn-rwx-segments -T $(GUEST_DIR)/guest.ld $(GUEST_OBJ) -o $@

# What multiboot1 loaders take: the same image as ELF32.
$(GUEST32): $(GUEST64)
	objcopy -O elf32-i386 $< $@

-include $(GUEST_OBJ:.o=.d)

.PHONY: guests
