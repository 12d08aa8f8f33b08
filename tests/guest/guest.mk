# SPDX-License-Identifier: BSD-2-Clause
#
# The test guest (a multiboot1 kernel, in ELF32 and in ELF64 form) and the
# initramfs images for Linux.

GUEST_DIR   := tests/guest
GUEST_BUILD := $(BUILD)/guest
GUEST_SRC   := main tests console ram random string cpu timers device touch memory exec mmio platform time delivery \
               paging hostile slots slots_random bench
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

# ---- initramfs images --------------------------------------------------------
#
# run.cpio.gz greets and powers off, or gives a shell; workload.cpio.gz is the
# machine tests' workload, workload32.cpio.gz a small one for i386 kernels. Nothing in them depends on when or where they are
# packed: file times, owners, inode numbers and order are fixed.

INITRAMFS_BUILD := $(BUILD)/initramfs
BUSYBOX         ?= /bin/busybox

initramfs: $(INITRAMFS_BUILD)/run.cpio.gz $(INITRAMFS_BUILD)/workload.cpio.gz $(INITRAMFS_BUILD)/workload32.cpio.gz

# $(call pack,TREE): the tree as a compressed newc archive, the target.
define pack
find $(1) -exec touch -h -d @0 {} +
cd $(1) && find . -mindepth 1 | LC_ALL=C sort | cpio --quiet -o -H newc --reproducible -R 0:0 > $(abspath $@).cpio
gzip -9 -n < $@.cpio > $@.partial
rm $@.cpio
mv $@.partial $@
endef

$(INITRAMFS_BUILD)/workload: $(GUEST_DIR)/initramfs/workload.c
	@mkdir -p $(@D)
	$(CC) $(CSTD) -O2 $(WARN) -static -s $< -o $@

$(INITRAMFS_BUILD)/workload.cpio.gz: $(INITRAMFS_BUILD)/workload
	rm -rf $(INITRAMFS_BUILD)/workload.tree
	install -D -m 755 $< $(INITRAMFS_BUILD)/workload.tree/init
	$(call pack,$(INITRAMFS_BUILD)/workload.tree)

$(INITRAMFS_BUILD)/workload32: $(GUEST_DIR)/initramfs/init32.S
	@mkdir -p $(@D)
	$(CC) -m32 -nostdlib -static -no-pie -s $< -o $@

$(INITRAMFS_BUILD)/workload32.cpio.gz: $(INITRAMFS_BUILD)/workload32
	rm -rf $(INITRAMFS_BUILD)/workload32.tree
	install -D -m 755 $< $(INITRAMFS_BUILD)/workload32.tree/init
	$(call pack,$(INITRAMFS_BUILD)/workload32.tree)

$(INITRAMFS_BUILD)/run.cpio.gz: $(GUEST_DIR)/initramfs/run-init $(BUSYBOX)
	rm -rf $(INITRAMFS_BUILD)/run.tree
	install -D -m 755 $(GUEST_DIR)/initramfs/run-init $(INITRAMFS_BUILD)/run.tree/init
	install -D -m 755 $(BUSYBOX) $(INITRAMFS_BUILD)/run.tree/bin/busybox
	$(call pack,$(INITRAMFS_BUILD)/run.tree)

.PHONY: initramfs
