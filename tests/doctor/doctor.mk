# SPDX-License-Identifier: BSD-2-Clause
# vmmu doctor on recordings of real KVM, each ill in one way or only looking so.

TEST_NEEDS    += $(BUILD)/tool-asan/vmmu $(VMMU) $(BUILD)/visor.elf guests
TEST_COMMANDS += "python3 -B tests/doctor/doctor.py --build $(BUILD) --vmmu $(BUILD)/tool-asan/vmmu --guest"
