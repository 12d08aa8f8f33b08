# SPDX-License-Identifier: BSD-2-Clause
# The page of vmmu report in a headless browser.

.PHONY: check-report
#   make check-report  pages of vmmu report in headless Chromium
check-report: $(BUILD)/tool-asan/vmmu $(BUILD)/questions/generate $(VMMU)
	tests/report/palette.py
	tests/report/browser.py $(BUILD)

TEST_NEEDS    += $(BUILD)/tool-asan/vmmu $(BUILD)/questions/generate $(VMMU)
TEST_COMMANDS += "tests/report/palette.py" "tests/report/browser.py $(BUILD)"
