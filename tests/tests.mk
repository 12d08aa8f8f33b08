# SPDX-License-Identifier: BSD-2-Clause
#
#   make check     the engine on the simulated machine, and the source checks; under a minute
#   make test      check, unit tests, and guests on both emulators
#   make soak      random operations and schedules for long: SECONDS=600 SEED=1
#   make coverage  lines and branches of engine/ that make check reaches
#
# docs/testing.md says what each part promises.

SAN  := -fno-sanitize-recover=all -fno-omit-frame-pointer
# VMMU_DEBUG: lock contracts that types cannot express are asserted.
ASAN := -O1 -fsanitize=address,undefined $(SAN) -DVMMU_DEBUG
TSAN := -O1 -fsanitize=thread $(SAN) -DVMMU_DEBUG
COV  := -O0 --coverage -fprofile-update=atomic

$(eval $(call engine_variant,asan,$(CC),$(ASAN)))
$(eval $(call engine_variant,tsan,$(CC),$(TSAN)))
$(eval $(call engine_variant,coverage,$(CC),$(COV)))
$(eval $(call sim_variant,asan,$(CC),$(ASAN)))
$(eval $(call sim_variant,tsan,$(CC),$(TSAN)))
$(eval $(call sim_variant,coverage,$(CC),-O1))

# ---- engine tests: one program for each file, in each variant ------------------

ENGINE_TEST_NAMES := $(basename $(notdir $(wildcard tests/engine/*.c)))
ENGINE_TEST_FLAGS := $(CSTD) $(WARN) -D_GNU_SOURCE -g -Iinclude -Isim

# $(call engine_tests,variant,flags)
define engine_tests
$$(BUILD)/$(1)/tests/engine/%: tests/engine/%.c $$(BUILD)/$(1)/libsim.a $$(BUILD)/$(1)/libvmmu.a
	@mkdir -p $$(@D)
	$$(CC) $$(ENGINE_TEST_FLAGS) $(2) -MMD -MP -MF $$@.d $$< $$(filter %.a,$$^) -lcmocka -lpthread -o $$@
-include $$(ENGINE_TEST_NAMES:%=$$(BUILD)/$(1)/tests/engine/%.d)
endef
$(eval $(call engine_tests,asan,$(ASAN)))
$(eval $(call engine_tests,tsan,$(TSAN)))
$(eval $(call engine_tests,coverage,--coverage))

ENGINE_TESTS := $(ENGINE_TEST_NAMES:%=$(BUILD)/asan/tests/engine/%)
THREAD_TESTS := $(BUILD)/tsan/tests/engine/threads

# ---- what others bring ------------------------------------------------------------
#
# A folder's .mk names what is to be built in CHECK_NEEDS, TEST_NEEDS, SOAK_NEEDS
# or COVERAGE_NEEDS and adds commands, each quoted, to CHECK_COMMANDS and so on;
# `--beside "COMMAND"`, one that waits for most of its time, to WAITING_COMMANDS of make test.

CHECK_NEEDS       :=
CHECK_COMMANDS    :=
TEST_NEEDS        :=
TEST_COMMANDS     :=
WAITING_COMMANDS  :=
SOAK_NEEDS        :=
SOAK_COMMANDS     :=
COVERAGE_NEEDS    :=
COVERAGE_COMMANDS :=

# Of the machine tests, and named by commands of other folders.
LINUX_IMAGE ?= .cache/kernels/cloud-amd64/vmlinuz

-include $(filter-out tests/guest/%,$(wildcard tests/*/*.mk)) # machine.mk brings the guests

SOURCE_CHECKS := "tests/check/one-writer" "tests/check/imports" "tests/check/circles $(BUILD)/engine" \
	"tests/check/freestanding $(LIBVMMU)" "tests/check/leftovers" "tests/check/names" "tests/check/statics" \
	"tests/check/format" "tests/check/packages" "tests/check/planted" "tests/check/promises"

# ---- targets ------------------------------------------------------------------------

.PHONY: check test test-all soak coverage

CHECK_ALL := $(ENGINE_TESTS) $(THREAD_TESTS) $(CHECK_COMMANDS) $(SOURCE_CHECKS)

check: $(ENGINE_TESTS) $(THREAD_TESTS) $(LIBVMMU) $(CHECK_NEEDS)
	@tests/run $(CHECK_ALL)

# What is missing on this machine is installed before make looks at any rule that needs it.
test:
	@scripts/setup build emulators tests kernels kernels-i386
	@echo "building what is to be tested"
	@$(MAKE) --no-print-directory -s -j$$(nproc) test-all

test-all: $(ENGINE_TESTS) $(THREAD_TESTS) $(LIBVMMU) $(CHECK_NEEDS) $(TEST_NEEDS) $(UNIT_TESTS) \
		$(MACHINE_NEEDS)
	@tests/run --last "python3 -B $(MACHINE_TEST) --build $(BUILD) --linux $(LINUX_IMAGE) $(MACHINE_ARGS)" \
		$(WAITING_COMMANDS) $(CHECK_ALL) "tests/check/compilers" $(TEST_COMMANDS) $(filter-out $(TEST_COMMANDS),$(UNIT_TESTS))

# Two jobs of half the time for each of the two formats.
SECONDS ?= 600
SEED    := $(or $(SEED),$(shell date +%s))
SOAK    := VMMU_SEED=$(SEED) VMMU_SECONDS=$$(($(SECONDS) / 2))

soak: $(BUILD)/asan/tests/engine/random $(THREAD_TESTS) $(SOAK_NEEDS)
	@echo "SEED=$(SEED) SECONDS=$(SECONDS)"
	@tests/run --jobs 2 "$(SOAK) VMMU_LENGTH=300 $(BUILD)/asan/tests/engine/random" \
		"$(SOAK) $(THREAD_TESTS)" $(SOAK_COMMANDS)

COVERAGE_TESTS := $(ENGINE_TEST_NAMES:%=$(BUILD)/coverage/tests/engine/%)

coverage: $(COVERAGE_TESTS) $(COVERAGE_NEEDS)
	@tests/coverage $(BUILD)/coverage $(COVERAGE_TESTS) $(COVERAGE_COMMANDS)
