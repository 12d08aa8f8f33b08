# SPDX-License-Identifier: BSD-2-Clause
#
#   make compare   the visor and Debian's KVM, same accesses, same emulators: table, CSV and plot (MACHINE=qemu: part of it)

COMPARE_MACHINE := $(if $(filter file default,$(origin MACHINE)),all,$(MACHINE))

compare:
	@scripts/setup build emulators kernels measure
	@MAKE='$(MAKE)' scripts/build-quietly 'vmmu, the visor and both guests' --no-print-directory \
		BUILD=$(BUILD) visor tool guests kvm-lab
	@python3 -B bench/compare/compare.py --build $(BUILD) --kernel $(dir $(LINUX_IMAGE)) \
		--machine $(COMPARE_MACHINE) $(COMPARE_ARGS)

.PHONY: compare
