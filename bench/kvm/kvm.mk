# SPDX-License-Identifier: BSD-2-Clause
#
#   make bench-record   what vmmu record costs a VM, in instructions
#   make bench-nested-boot   Linux in KVM on the visor and on KVM: exits by level and cause, tables (MACHINE=bochs: there)
#   make bench-nested   what a guest's guest pays for its exits, with KVM between, on the visor and on KVM (MACHINE=bochs: there)

bench-record: $(VMMU) $(LAB_TOOLS)
	@python3 -B bench/kvm/overhead.py --build $(BUILD) --kernel $(dir $(LINUX_IMAGE)) $(RECORD_ARGS)

bench-nested: $(VMMU) $(LAB_TOOLS) $(BUILD)/visor.elf
	@python3 -B bench/kvm/nested.py --build $(BUILD) --kernel $(dir $(LINUX_IMAGE)) \
		$(if $(filter command line,$(origin MACHINE)),--machine $(MACHINE)) $(NESTED_ARGS)

bench-nested-boot: $(VMMU) $(LAB_TOOLS) $(BUILD)/visor.elf initramfs
	@python3 -B bench/kvm/nested_boot.py --build $(BUILD) --kernel $(dir $(LINUX_IMAGE)) \
		$(if $(filter command line,$(origin MACHINE)),--machine $(MACHINE)) $(NESTED_BOOT_ARGS)

.PHONY: bench-record bench-nested bench-nested-boot
