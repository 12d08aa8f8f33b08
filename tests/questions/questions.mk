# SPDX-License-Identifier: BSD-2-Clause
# Questions about recordings of real KVM, asked of the command with sanitizers.

.PHONY: check-questions
#   make check-questions  what vmmu says of recordings of KVM, against golden answers
check-questions: $(BUILD)/tool-asan/vmmu $(BUILD)/tool-asan/sample $(BUILD)/questions/generate $(BUILD)/questions/generate-vmmu
	tests/questions/questions.sh $(BUILD)
	tests/questions/document.py $(BUILD)/tool-asan/vmmu docs/kvm.md docs/kvm-cases.md docs/doctor.md
	tests/questions/completion.sh $(BUILD)/tool-asan/vmmu
	tests/questions/damage.py $(BUILD)/tool-asan/vmmu
	tests/questions/known_truth.py $(VMMU) 1
	tests/questions/schema.py $(VMMU) $(BUILD)/tool-asan/sample
	tests/questions/large.sh $(VMMU) $(BUILD)/questions/generate
	tests/questions/large_vmmu.sh $(VMMU) $(BUILD)/questions/generate-vmmu

# Large recordings, to measure with: build/questions/generate dat 100000000 4194304 >FILE
$(BUILD)/questions/generate: tests/questions/generate.c
	@mkdir -p $(@D)
	$(CC) $(CSTD) $(WARN) -O2 -o $@ $<

# Large vmmu traces: build/questions/generate-vmmu 100000000 4194304 >FILE
$(BUILD)/questions/generate-vmmu: tests/questions/generate_vmmu.c $(LIBVMMU)
	@mkdir -p $(@D)
	$(CC) $(CSTD) $(WARN) -O2 -Iinclude -o $@ $^

TEST_NEEDS    += $(BUILD)/tool-asan/vmmu $(BUILD)/tool-asan/sample $(BUILD)/questions/generate $(VMMU) \
	$(BUILD)/questions/generate-vmmu
WAITING_COMMANDS += --beside "tests/questions/questions.sh $(BUILD)"
TEST_COMMANDS += \
	"tests/questions/document.py $(BUILD)/tool-asan/vmmu docs/kvm.md docs/kvm-cases.md docs/doctor.md" \
	"tests/questions/completion.sh $(BUILD)/tool-asan/vmmu" \
	"tests/questions/damage.py $(BUILD)/tool-asan/vmmu" \
	"tests/questions/known_truth.py $(VMMU) 1" \
	"tests/questions/schema.py $(VMMU) $(BUILD)/tool-asan/sample" \
	"tests/questions/large.sh $(VMMU) $(BUILD)/questions/generate" \
	"tests/questions/large_vmmu.sh $(VMMU) $(BUILD)/questions/generate-vmmu"
