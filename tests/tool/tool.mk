# SPDX-License-Identifier: BSD-2-Clause
# Unit tests of the vmmu command: its library under sanitizers.

TOOL_TEST_FLAGS := $(CSTD) $(WARN) -g -O1 -D_GNU_SOURCE -Iinclude $(filter -I/%,$(TOOL_CFLAGS)) \
	-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
TOOL_TEST_SRC := $(filter-out tool/main.c,$(wildcard tool/*/*.c))
TOOL_TEST_OBJ := $(TOOL_TEST_SRC:%.c=$(BUILD)/tool-asan/%.o) $(TOOL_BLOBS)
TOOL_TESTS := $(patsubst tests/tool/%.c,$(BUILD)/tool-asan/tests/%,$(wildcard tests/tool/*.c))

$(BUILD)/tool-asan/tool/%.o: tool/%.c
	@mkdir -p $(@D)
	$(CC) $(TOOL_TEST_FLAGS) -MMD -MP -c $< -o $@

# Reached through a pattern only, they would be deleted after use.
.SECONDARY: $(TOOL_TEST_OBJ)

$(BUILD)/tool-asan/tests/%: tests/tool/%.c tests/tool/trace_maker.h $(TOOL_TEST_OBJ) $(LIBVMMU)
	@mkdir -p $(@D)
	$(CC) $(TOOL_TEST_FLAGS) -o $@ $< $(TOOL_TEST_OBJ) $(LIBVMMU) $(TOOL_LIBS) -lcmocka

# The command itself, with the sanitizers.
VMMU_ASAN := $(BUILD)/tool-asan/vmmu

$(VMMU_ASAN): tool/main.c $(TOOL_TEST_OBJ) $(LIBVMMU)
	$(CC) $(TOOL_TEST_FLAGS) -o $@ $^ $(TOOL_LIBS)

TOOL_SAMPLE := $(BUILD)/tool-asan/sample

$(TOOL_SAMPLE): tests/tool/sample/sample.c tests/tool/trace_maker.h
	@mkdir -p $(@D)
	$(CC) $(TOOL_TEST_FLAGS) -o $@ $<

.PHONY: check-tool
#   make check-tool  unit tests of the command, and the command itself with a stand-in for QEMU
check-tool: $(VMMU) $(TOOL_TESTS) $(VMMU_ASAN) $(TOOL_SAMPLE)
	set -e; for test in $(TOOL_TESTS); do $$test; done
	tests/tool/command.sh $(VMMU_ASAN) $(TOOL_SAMPLE)
	tests/tool/hostile.sh $(VMMU)

TEST_NEEDS    += $(VMMU) $(TOOL_TESTS) $(VMMU_ASAN) $(TOOL_SAMPLE)
WAITING_COMMANDS += --beside "tests/tool/command.sh $(VMMU_ASAN) $(TOOL_SAMPLE)"
TEST_COMMANDS += $(TOOL_TESTS) "tests/tool/hostile.sh $(VMMU)" "tests/tool/pipes.sh $(BUILD)/tool-asan/vmmu $(BUILD)/tool-asan/sample"

-include $(TOOL_TEST_OBJ:.o=.d)
