# SPDX-License-Identifier: BSD-2-Clause
# Inside the engine: several maps in one VM, the trees of slots, and a
# guest format that no register chooses.

MAP_TESTS := $(basename $(notdir $(wildcard tests/map/*.c)))

# $(call map_tests,variant,flags)
define map_tests
$$(BUILD)/$(1)/tests/map/%: tests/map/%.c $$(BUILD)/$(1)/libvmmu.a
	@mkdir -p $$(@D)
	$$(CC) $$(ENGINE_TEST_FLAGS) -Iengine $(2) -MMD -MP -MF $$@.d $$< $$(filter %.a,$$^) -lcmocka -o $$@
-include $$(MAP_TESTS:%=$$(BUILD)/$(1)/tests/map/%.d)
endef
$(eval $(call map_tests,asan,$(ASAN)))
$(eval $(call map_tests,coverage,--coverage))

CHECK_NEEDS       += $(MAP_TESTS:%=$(BUILD)/asan/tests/map/%)
CHECK_COMMANDS    += $(MAP_TESTS:%="$(BUILD)/asan/tests/map/%")
COVERAGE_NEEDS    += $(MAP_TESTS:%=$(BUILD)/coverage/tests/map/%)
COVERAGE_COMMANDS += $(MAP_TESTS:%="$(BUILD)/coverage/tests/map/%")
