# SPDX-License-Identifier: BSD-2-Clause
#
#   make bench     the figures of the README, measured here and held to it (MACHINE=qemu: part of it)
#   make claims    what shadow paging costs and nested paging saves, phase by phase, beside KVM
#   make claims MACHINE=qemu   the part of it that takes seconds

bench:
	@scripts/setup build emulators kernels measure
	@MAKE='$(MAKE)' scripts/build-quietly 'vmmu, the visor and the guests' --no-print-directory \
		BUILD=$(BUILD) visor tool guests initramfs
	python3 -B bench/bench.py --build $(BUILD) --linux $(LINUX_IMAGE) \
		--machine $(CLAIMS_MACHINE) $(BENCH_ARGS)

# ---- make claims ---------------------------------------------------------------

PHASES         := $(INITRAMFS_BUILD)/phases.cpio.gz
CLAIMS_NEEDS   := $(VMMU) $(BUILD)/visor.elf $(PHASES) $(BUILD)/guest/guest.elf $(BUILD)/guest/legacy.elf
CLAIMS_MACHINE := $(if $(filter file default,$(origin MACHINE)),all,$(MACHINE))

initramfs: $(PHASES)

$(INITRAMFS_BUILD)/phases: bench/claims/phases.c visor/vm/test_device.h
	@mkdir -p $(@D)
	$(CC) $(CSTD) -O2 $(WARN) -I. -static -s $< -o $@

$(PHASES): $(INITRAMFS_BUILD)/phases
	rm -rf $(INITRAMFS_BUILD)/phases.tree
	install -D -m 755 $< $(INITRAMFS_BUILD)/phases.tree/init
	$(call pack,$(INITRAMFS_BUILD)/phases.tree)

claims:
	@scripts/setup build emulators kernels measure
	@MAKE='$(MAKE)' scripts/build-quietly 'vmmu, the visor and the phases' --no-print-directory \
		BUILD=$(BUILD) $(CLAIMS_NEEDS)
	@python3 -B bench/claims/answer.py --build $(BUILD)
	@python3 -B bench/claims/claims.py --build $(BUILD) --linux $(LINUX_IMAGE) --machine $(CLAIMS_MACHINE) \
		--json $(BUILD)/claims.json $(CLAIMS_ARGS)

.PHONY: bench claims
