# SPDX-License-Identifier: BSD-2-Clause
# Every tests/fuzz/NAME_fuzz.c is a fuzz target; NAME.mk beside it says how $(BUILD)/fuzz/NAME is built.
#   make fuzz      all fuzz targets, FUZZ_SECONDS=30 each

FUZZ_SECONDS ?= 30
FUZZ_NAMES := $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c))
FUZZ_PROGRAMS := $(FUZZ_NAMES:%=$(BUILD)/fuzz/%)

.PHONY: fuzz
fuzz: $(FUZZ_PROGRAMS)
	@tests/fuzz/run $(BUILD) $(FUZZ_SECONDS) $(FUZZ_NAMES)

TEST_NEEDS += $(FUZZ_PROGRAMS)
TEST_COMMANDS += "tests/fuzz/run $(BUILD) 4 1 $(FUZZ_NAMES)"

# What fuzzing has found to be worth keeping is tried again by every check, without clang.
CHECK_NEEDS += $(BUILD)/asan/tests/fuzz/api
CHECK_COMMANDS += "$(BUILD)/asan/tests/fuzz/api tests/fuzz/corpus/api"
