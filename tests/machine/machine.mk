# SPDX-License-Identifier: BSD-2-Clause
#
#   make machine-test        guests on QEMU (NPT) and Bochs (EPT)
#   make machine-test-qemu   only those on QEMU, in seconds
#   make machine-test-bochs  only those on Bochs
#   make machine-test-long   also every kernel in every mode on every machine: half an hour
#   make permission          every combination of permission bits on every machine: EVERY=1 MACHINE=all
#   make soak-hostile        hostile random guests on each emulator and MMU: SECONDS=600 (of each) SEED=1 SOAK_ARGS="--only qemu"
#   make stress              the stress guests, seed after seed: SECONDS=600 SEED=1 MACHINE=qemu

include tests/guest/guest.mk

MACHINE_TEST   := tests/machine/machine_test.py
EXPECT         := $(BUILD)/tests/machine/expect
MACHINE_NEEDS  := visor tool guests initramfs kvm-lab $(EXPECT)
CHECK_NEEDS    += $(EXAMPLE) $(EXPECT)
CHECK_COMMANDS += "examples/check $(EXAMPLE)" "python3 -B tests/machine/expect_test.py $(EXPECT)" \
	"python3 -B tests/machine/exit_table_test.py"
MACHINE_ARGS   ?=

$(EXPECT): tests/machine/expect.c $(LIBVMMU) $(wildcard include/vmmu/*.h)
	@mkdir -p $(@D)
	$(CC) $(CSTD) -O2 -g $(WARN) -Iinclude $< $(LIBVMMU) -o $@

machine-test: $(MACHINE_NEEDS)
	python3 -B $(MACHINE_TEST) --build $(BUILD) --linux $(LINUX_IMAGE) $(MACHINE_ARGS)

machine-test-long: $(MACHINE_NEEDS)
	python3 -B $(MACHINE_TEST) --build $(BUILD) --linux $(LINUX_IMAGE) --long $(MACHINE_ARGS)

machine-test-qemu machine-test-bochs: machine-test-%: $(MACHINE_NEEDS)
	python3 -B $(MACHINE_TEST) --build $(BUILD) --linux $(LINUX_IMAGE) --machine $* $(MACHINE_ARGS)

permission: visor tool guests
	python3 -B tests/machine/permission.py --build $(BUILD) --every $(or $(EVERY),1) \
		--machine $(if $(filter command line,$(origin MACHINE)),$(MACHINE),all)

stress: visor tool guests $(EXPECT)
	python3 -B tests/machine/stress.py --build $(BUILD) --seconds $(SECONDS) --seed $(SEED) \
		--machine $(if $(filter command line,$(origin MACHINE)),$(MACHINE),qemu)

soak-hostile: visor tool guests
	@echo "SEED=$(SEED) SECONDS=$(SECONDS)"
	python3 -B tests/machine/soak_hostile.py --build $(BUILD) --seconds $(SECONDS) --seed $(SEED) $(SOAK_ARGS)

.PHONY: soak-hostile machine-test machine-test-long machine-test-qemu machine-test-bochs permission stress
