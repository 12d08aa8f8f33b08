# SPDX-License-Identifier: BSD-2-Clause
# vmmu export, its output read by programs that others wrote.

EXPORT_NEEDS    := $(BUILD)/tool-asan/vmmu $(BUILD)/tool-asan/sample $(BUILD)/questions/generate $(VMMU)
EXPORT_COMMANDS := "tests/export/export.sh $(BUILD)"

.PHONY: check-export
#   make check-export  what vmmu export writes, read by babeltrace2 and others
check-export: $(EXPORT_NEEDS)
	@tests/run $(EXPORT_COMMANDS)

TEST_NEEDS    += $(EXPORT_NEEDS)
TEST_COMMANDS += $(EXPORT_COMMANDS)
