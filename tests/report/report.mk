# SPDX-License-Identifier: BSD-2-Clause
# The page of vmmu report in a headless browser.

.PHONY: check-report
#   make check-report  pages of vmmu report in headless Chromium
check-report: $(BUILD)/tool-asan/vmmu $(BUILD)/questions/generate $(BUILD)/questions/generate-vmmu $(VMMU)
	tests/report/palette.py
	tests/report/browser.py $(BUILD)

.PHONY: pictures
#   make pictures  the pictures of README.md and docs/plot.md anew, of build/run-bochs.trace (make run) and of a recording of KVM
pictures: $(VMMU)
	tests/report/pictures.py $(VMMU) $(BUILD)/run-bochs.trace docs/images

TEST_NEEDS    += $(BUILD)/tool-asan/vmmu $(BUILD)/questions/generate $(BUILD)/questions/generate-vmmu $(VMMU)
TEST_COMMANDS += "tests/report/palette.py" "tests/report/browser.py $(BUILD)"
