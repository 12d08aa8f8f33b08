# SPDX-License-Identifier: BSD-2-Clause
# Nested guests: the map that merges a guest hypervisor's tables with ours.

NESTED_TEST_NAMES := $(basename $(notdir $(wildcard tests/nested/*.c)))

define nested_tests
$$(BUILD)/$(1)/tests/nested/%: tests/nested/%.c $$(BUILD)/$(1)/libsim.a $$(BUILD)/$(1)/libvmmu.a
	@mkdir -p $$(@D)
	$$(CC) $$(ENGINE_TEST_FLAGS) $(2) -MMD -MP -MF $$@.d $$< $$(filter %.a,$$^) -lcmocka -lpthread -o $$@
-include $$(NESTED_TEST_NAMES:%=$$(BUILD)/$(1)/tests/nested/%.d)
endef
$(eval $(call nested_tests,asan,$(ASAN)))
$(eval $(call nested_tests,tsan,$(TSAN)))
$(eval $(call nested_tests,coverage,--coverage))

NESTED_TESTS := $(NESTED_TEST_NAMES:%=$(BUILD)/asan/tests/nested/%)
NESTED_TESTS += $(BUILD)/tsan/tests/nested/threads
CHECK_NEEDS += $(NESTED_TESTS)
CHECK_COMMANDS += $(NESTED_TESTS:%="%")
COVERAGE_NEEDS += $(NESTED_TEST_NAMES:%=$(BUILD)/coverage/tests/nested/%)
COVERAGE_COMMANDS += $(NESTED_TEST_NAMES:%="$(BUILD)/coverage/tests/nested/%")
