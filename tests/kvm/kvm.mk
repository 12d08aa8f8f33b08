# SPDX-License-Identifier: BSD-2-Clause
#
#   make kvm-lab           the small VMM and what else the KVM lab needs (tests/kvm/lab/lab.py)
#   make kvm-record-test   vmmu record in Debian's kernel: NPT, shadow and nested (QEMU), EPT (Bochs)
#
# The KVM lab: what runs in Debian's kernel inside an emulator (lab/lab.py).

KVM_LAB    := $(BUILD)/kvm-lab
VMM_DIR    := tests/kvm/vmm
VMM_OBJ    := $(KVM_LAB)/vmm.o $(KVM_LAB)/machine.o $(KVM_LAB)/embed.o
LAB_TOOLS  := $(KVM_LAB)/vmm $(KVM_LAB)/linux $(KVM_LAB)/emit

$(KVM_LAB)/guest.elf: $(VMM_DIR)/guest.c $(VMM_DIR)/measure.h $(VMM_DIR)/measure_paged.h $(VMM_DIR)/protocol.h $(VMM_DIR)/guest.ld
	@mkdir -p $(@D)
	$(CC) $(CSTD) -O2 $(WARN) -ffreestanding -nostdlib -static -no-pie -fno-pic -fno-stack-protector -fcf-protection=none \
		-fno-asynchronous-unwind-tables -fno-jump-tables -mno-red-zone -mgeneral-regs-only \
		-Wl,--build-id=none -Wl,--no-warn-rwx-segments -T $(VMM_DIR)/guest.ld -o $@ $<

$(KVM_LAB)/guest.bin: $(KVM_LAB)/guest.elf
	objcopy -O binary $< $@

$(KVM_LAB)/embed.o: $(VMM_DIR)/embed.S $(KVM_LAB)/guest.bin
	$(CC) -DGUEST_FILE='"$(KVM_LAB)/guest.bin"' -c $< -o $@

$(KVM_LAB)/%.o: $(VMM_DIR)/%.c $(VMM_DIR)/kvm.h $(VMM_DIR)/machine.h $(VMM_DIR)/protocol.h
	@mkdir -p $(@D)
	$(CC) $(CSTD) -O2 -g -D_GNU_SOURCE $(WARN) -c $< -o $@

# Static: they run where there is nothing else.
$(KVM_LAB)/vmm: $(VMM_OBJ)
	$(CC) -static -s -o $@ $^ -lpthread

# With the visor's serial port.
$(KVM_LAB)/linux: $(VMM_DIR)/linux.c $(VMM_DIR)/kvm.h visor/device/uart16550.c visor/device/uart16550.h
	@mkdir -p $(@D)
	$(CC) $(CSTD) -O2 -g -D_GNU_SOURCE $(WARN) -I. -static -s -o $@ $(filter %.c,$^)

$(KVM_LAB)/emit: tests/kvm/lab/emit.c
	@mkdir -p $(@D)
	$(CC) $(CSTD) -O2 -D_GNU_SOURCE $(WARN) -static -s -o $@ $<

# Linux in KVM: what `make run NESTED=1` boots.
$(KVM_LAB)/linux-qemu.cpio.gz $(KVM_LAB)/linux-bochs.cpio.gz: $(KVM_LAB)/linux-%.cpio.gz: $(LAB_TOOLS) $(BUILD)/initramfs/workload.cpio.gz \
		tests/kvm/lab/linux_image.py tests/kvm/lab/lab.py tests/kvm/lab/init
	python3 -B tests/kvm/lab/linux_image.py --machine $* --build $(BUILD) --kernel $(dir $(LINUX_IMAGE)) $@

RECORD_TEST := python3 -B tests/kvm/record_test.py --build $(BUILD) --kernel $(dir $(LINUX_IMAGE))

kvm-lab: $(LAB_TOOLS)

kvm-record-test: $(VMMU) $(LAB_TOOLS) $(BUILD)/visor.elf guests
	$(RECORD_TEST)
	$(RECORD_TEST) --machine shadow
	$(RECORD_TEST) --machine nested
	$(RECORD_TEST) --machine bochs

TEST_NEEDS    += $(LAB_TOOLS) $(VMMU)
TEST_COMMANDS += "$(RECORD_TEST)" "$(RECORD_TEST) --machine shadow"

.PHONY: kvm-lab kvm-record-test
