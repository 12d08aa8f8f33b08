# SPDX-License-Identifier: BSD-2-Clause
# Questions about recordings of real KVM, asked of the command with sanitizers.

.PHONY: check-questions
#   make check-questions  what vmmu says of recordings of KVM, against golden answers
check-questions: $(BUILD)/tool-asan/vmmu
	tests/questions/questions.sh $<

TEST_NEEDS    += $(BUILD)/tool-asan/vmmu
TEST_COMMANDS += "tests/questions/questions.sh $(BUILD)/tool-asan/vmmu"
