# SPDX-License-Identifier: BSD-2-Clause
#
#   make examples   programs that embed libvmmu

EXAMPLE := $(BUILD)/examples/embed

examples: $(EXAMPLE)

$(EXAMPLE): examples/embed.c $(LIBVMMU) $(wildcard include/vmmu/*.h)
	@mkdir -p $(@D)
	$(CC) $(CSTD) -O2 -g $(WARN) -Iinclude $< $(LIBVMMU) -o $@

# The example must run, and show what its comments promise: a 2 MiB leaf, a
# 4 KiB leaf behind it, and an access that is a device's.
example-test: $(EXAMPLE)
	$(EXAMPLE) > $(EXAMPLE).out
	grep -q 'at gpa 0x1234: .*at level 2$$' $(EXAMPLE).out
	grep -q 'at gpa 0x200010: .*at level 1$$' $(EXAMPLE).out
	grep -q 'at gpa 0xfee00020: emulate-mmio$$' $(EXAMPLE).out
	grep -q '  level 2, table .*rwx' $(EXAMPLE).out
	grep -q 'kvm_tdp_mmu_spte_changed' $(EXAMPLE).out
	@echo "example-test: passed"

.PHONY: examples example-test
