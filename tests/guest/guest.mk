# SPDX-License-Identifier: BSD-2-Clause
#
# The test guest (a multiboot1 kernel, in ELF32 and in ELF64 form), a smaller one
# that stays in 32-bit modes (legacy.elf), the permission guest, and the initramfs
# images for Linux.

GUEST_DIR   := tests/guest
GUEST_BUILD := $(BUILD)/guest
# What a 32-bit guest can do too.
GUEST_BOTH  := main command_line console ram random string timers device space model guest_model claims stress_switch \
               stress_alias stress_stores stress_reuse stress_large stress_garbage stress_control \
               touch slots slots_random platform ahead ahead_loops user user_entry
GUEST_SRC   := $(GUEST_BOTH) tests cpu memory exec fault_around mmio time control debug breakpoints nmi nested_garbage nested_stores nested_svm nested_svm_rights nested_svm_hostile nested_vmx nested_vmx_rights nested_vmx_controls nested_vmx_edges nested_vmx_hostile nested_vmx_l1 events delivery delivery_paging \
               delivery_tables paging hostile registers fresh bench stress_pcid stress_hostile stress_code
GUEST_OBJ   := $(GUEST_BUILD)/boot.o $(GUEST_SRC:%=$(GUEST_BUILD)/%.o)
LEGACY_SRC  := $(GUEST_BOTH) nested_svm_legacy tests_legacy cpu_legacy real_mode task_switch umip refused stress_off stress_modes
LEGACY_OBJ  := $(GUEST_BUILD)/legacy/boot_legacy.o $(LEGACY_SRC:%=$(GUEST_BUILD)/legacy/%.o)
GUEST_ALL_CFLAGS := $(CSTD) -O2 -g $(WARN) -MMD -MP -I. -Iinclude -ffreestanding -fno-pic -fno-stack-protector \
                -fno-asynchronous-unwind-tables -fcf-protection=none -mno-red-zone -mgeneral-regs-only \
                -ffunction-sections
GUEST_CFLAGS     := -m64 $(GUEST_ALL_CFLAGS)
GUEST_LINK  := $(CC) -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,max-page-size=4096 \
               -Wl,--no-warn-rwx-segments -Wl,--gc-sections -T $(GUEST_DIR)/guest.ld
GUEST64     := $(GUEST_BUILD)/guest64.elf
PERMISSION  := $(GUEST_BUILD)/permission.elf
# 32-bit code, and the simulated machine's model of a CPU.
PERMISSION_SRC := $(addprefix permission/,boot attempt main combinations features processor access deviations) \
                  command_line console string guest_model
PERMISSION_OBJ := $(PERMISSION_SRC:%=$(GUEST_BUILD)/legacy/%.o)
GUEST32     := $(GUEST_BUILD)/guest.elf
GUEST_LEGACY := $(GUEST_BUILD)/legacy.elf

OWN_GDT      := $(GUEST_BUILD)/own_gdt.elf

guests: $(GUEST32) $(GUEST64) $(GUEST_LEGACY) $(PERMISSION) $(OWN_GDT)

$(GUEST_BUILD)/%.o: $(GUEST_DIR)/%.c
	@mkdir -p $(@D)
	$(CC) $(GUEST_CFLAGS) -c $< -o $@

$(GUEST_BUILD)/%.o: $(GUEST_DIR)/%.S
	@mkdir -p $(@D)
	$(CC) -m64 -MMD -MP -c $< -o $@

# The model of a CPU's walk, which the simulated machine is judged by too.
$(GUEST_BUILD)/guest_model.o: sim/guest_model.c
	@mkdir -p $(@D)
	$(CC) $(GUEST_CFLAGS) -c $< -o $@

$(GUEST_BUILD)/legacy/guest_model.o: sim/guest_model.c
	@mkdir -p $(@D)
	$(CC) -m32 $(GUEST_ALL_CFLAGS) -c $< -o $@

$(GUEST64): $(GUEST_OBJ) $(GUEST_DIR)/guest.ld
	$(GUEST_LINK) -m64 $(GUEST_OBJ) -o $@

# What multiboot1 loaders take: the same image as ELF32. GRUB reads all of a file, so debugging
# information, which guest64.elf has, would cost each start on Bochs a tenth of a second.
$(GUEST32): $(GUEST64)
	objcopy -O elf32-i386 --strip-debug $< $@

# The 32-bit guest. What it does not use is left out, 64-bit divisions among it: they need a library.
# (GCC remarks at the public headers that older ones aligned 64-bit atomics otherwise there.)
$(GUEST_BUILD)/legacy/%.o: $(GUEST_DIR)/%.c
	@mkdir -p $(@D)
	$(CC) -m32 $(GUEST_ALL_CFLAGS) -Wno-psabi -c $< -o $@

$(GUEST_BUILD)/legacy/%.o: $(GUEST_DIR)/%.S
	@mkdir -p $(@D)
	$(CC) -m32 -MMD -MP -c $< -o $@

$(GUEST_LEGACY): $(LEGACY_OBJ) $(GUEST_DIR)/guest.ld
	$(GUEST_LINK) -m32 $(LEGACY_OBJ) -o $@

$(PERMISSION): $(PERMISSION_OBJ) $(GUEST_DIR)/guest.ld
	$(GUEST_LINK) -m32 $(PERMISSION_OBJ) -o $@

$(OWN_GDT): $(GUEST_BUILD)/legacy/own_gdt.o $(GUEST_DIR)/guest.ld
	$(GUEST_LINK) -m32 $< -o $@

-include $(GUEST_OBJ:.o=.d) $(LEGACY_OBJ:.o=.d) $(PERMISSION_OBJ:.o=.d)

.PHONY: guests

# ---- initramfs images --------------------------------------------------------
#
# run.cpio.gz greets and powers off, or gives a shell; workload.cpio.gz is the
# machine tests' workload, ptrace.cpio.gz attacks the visor by breakpoints, workload32.cpio.gz a small one for i386 kernels. Nothing in them depends on when or where they are
# packed: file times, owners, inode numbers and order are fixed.

INITRAMFS_BUILD := $(BUILD)/initramfs
BUSYBOX         ?= /bin/busybox

initramfs: $(INITRAMFS_BUILD)/ptrace.cpio.gz $(INITRAMFS_BUILD)/run.cpio.gz $(INITRAMFS_BUILD)/workload.cpio.gz $(INITRAMFS_BUILD)/workload32.cpio.gz

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

$(INITRAMFS_BUILD)/ptrace: $(GUEST_DIR)/initramfs/ptrace.c
	@mkdir -p $(@D)
	$(CC) $(CSTD) -O2 $(WARN) -static -s $< -o $@

$(INITRAMFS_BUILD)/ptrace.cpio.gz: $(INITRAMFS_BUILD)/ptrace
	rm -rf $(INITRAMFS_BUILD)/ptrace.tree
	install -D -m 755 $< $(INITRAMFS_BUILD)/ptrace.tree/init
	$(call pack,$(INITRAMFS_BUILD)/ptrace.tree)

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
