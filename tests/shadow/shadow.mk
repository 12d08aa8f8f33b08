# SPDX-License-Identifier: BSD-2-Clause
# Shadow paging: the guest page-table walker, and the maps built from what it finds.
#
#   make check-guest-walk   the walker against its model, every combination; a minute
#   make check-permission   every combination of permission bits on shadow tables; long

SHADOW_TEST_NAMES := $(basename $(notdir $(wildcard tests/shadow/*.c)))

define shadow_tests
$$(BUILD)/$(1)/tests/shadow/%: tests/shadow/%.c $$(BUILD)/$(1)/libsim.a $$(BUILD)/$(1)/libvmmu.a
	@mkdir -p $$(@D)
	$$(CC) $$(ENGINE_TEST_FLAGS) -I. $(2) -MMD -MP -MF $$@.d $$< $$(filter %.o %.a,$$^) -lcmocka -lpthread -o $$@
$$(BUILD)/$(1)/tests/shadow/permission: $$(BUILD)/$(1)/tests/guest/combinations.o
$$(BUILD)/$(1)/tests/guest/combinations.o: tests/guest/permission/combinations.c
	@mkdir -p $$(@D)
	$$(CC) $$(ENGINE_TEST_FLAGS) -I. $(2) -MMD -MP -MF $$@.d -c $$< -o $$@
-include $$(BUILD)/$(1)/tests/guest/combinations.o.d
-include $$(SHADOW_TEST_NAMES:%=$$(BUILD)/$(1)/tests/shadow/%.d)
endef
$(eval $(call shadow_tests,asan,$(ASAN)))
$(eval $(call shadow_tests,tsan,$(TSAN)))
$(eval $(call shadow_tests,coverage,--coverage))

# It damages what the engine keeps to itself.
%/tests/shadow/audit: ENGINE_TEST_FLAGS += -Iengine

SHADOW_TESTS := $(SHADOW_TEST_NAMES:%=$(BUILD)/asan/tests/shadow/%)
SHADOW_TESTS += $(BUILD)/tsan/tests/shadow/threads
CHECK_NEEDS += $(SHADOW_TESTS)
CHECK_COMMANDS += $(SHADOW_TESTS:%="%")
SOAK_NEEDS += $(BUILD)/asan/tests/shadow/random
SOAK_COMMANDS += "$(SOAK) $(BUILD)/asan/tests/shadow/random"
COVERAGE_NEEDS += $(SHADOW_TEST_NAMES:%=$(BUILD)/coverage/tests/shadow/%)
COVERAGE_COMMANDS += $(SHADOW_TEST_NAMES:%="$(BUILD)/coverage/tests/shadow/%")

.PHONY: check-guest-walk check-permission
check-guest-walk: $(BUILD)/asan/tests/shadow/guest_walk
	$< 1

check-permission: $(BUILD)/asan/tests/shadow/permission
	$< 1
