# SPDX-License-Identifier: BSD-2-Clause
# vmmu top: in a terminal of tmux, and on a host with KVM in the lab.

TEST_NEEDS    += $(BUILD)/tool-asan/vmmu $(BUILD)/tool-asan/sample $(VMMU) $(LAB_TOOLS)
TEST_COMMANDS += "python3 -B tests/top/top.py --vmmu $(BUILD)/tool-asan/vmmu" \
	"python3 -B tests/top/top.py --build $(BUILD) --kernel $(dir $(LINUX_IMAGE)) --host"
