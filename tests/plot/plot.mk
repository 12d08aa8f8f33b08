# SPDX-License-Identifier: BSD-2-Clause
# The pictures of vmmu plot.

PLOT_NEEDS    := $(BUILD)/tool-asan/vmmu $(BUILD)/tool-asan/sample
PLOT_COMMANDS := "tests/plot/plot.py $(BUILD)"

.PHONY: check-plot
#   make check-plot  the pictures of vmmu plot: their numbers, held against the trace's events
check-plot: $(PLOT_NEEDS)
	@tests/run $(PLOT_COMMANDS)

TEST_NEEDS    += $(PLOT_NEEDS)
TEST_COMMANDS += $(PLOT_COMMANDS)
