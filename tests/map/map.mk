# SPDX-License-Identifier: BSD-2-Clause
# Inside the engine: several maps in one VM, which no mode of the API makes yet.

$(BUILD)/%/tests/map/maps: tests/map/maps.c $(BUILD)/%/libvmmu.a
	@mkdir -p $(@D)
	$(CC) $(ENGINE_TEST_FLAGS) -Iengine $(MAP_FLAGS_$*) -MMD -MP -MF $@.d $< $(filter %.a,$^) -lcmocka -o $@
MAP_FLAGS_asan := $(ASAN)
MAP_FLAGS_coverage := --coverage
-include $(BUILD)/asan/tests/map/maps.d $(BUILD)/coverage/tests/map/maps.d

CHECK_NEEDS += $(BUILD)/asan/tests/map/maps
CHECK_COMMANDS += "$(BUILD)/asan/tests/map/maps"
COVERAGE_NEEDS += $(BUILD)/coverage/tests/map/maps
COVERAGE_COMMANDS += "$(BUILD)/coverage/tests/map/maps"
