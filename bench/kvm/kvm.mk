# SPDX-License-Identifier: BSD-2-Clause
#
#   make bench-record   what vmmu record costs a VM, in instructions

bench-record: $(VMMU) $(LAB_TOOLS)
	@python3 -B bench/kvm/overhead.py --build $(BUILD) --kernel $(dir $(LINUX_IMAGE)) $(RECORD_ARGS)

.PHONY: bench-record
