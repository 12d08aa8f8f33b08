# SPDX-License-Identifier: BSD-2-Clause
# Hosts on the public headers alone, each with a habit of its own; one program a file.

HOST_TEST_NAMES := $(basename $(notdir $(wildcard tests/hosts/*.c)))
# What needs real threads to be wrong; the others bring threads of their own where it matters.
HOST_THREAD_NAMES := looking log

define host_tests
$$(BUILD)/$(1)/tests/hosts/%: tests/hosts/%.c $$(BUILD)/$(1)/libvmmu.a
	@mkdir -p $$(@D)
	$$(CC) $$(CSTD) $$(WARN) -D_GNU_SOURCE -g -Iinclude $(2) -MMD -MP -MF $$@.d $$< \
		$$(filter %.a,$$^) -lcmocka -lpthread -o $$@
-include $$(HOST_TEST_NAMES:%=$$(BUILD)/$(1)/tests/hosts/%.d)
endef
$(eval $(call host_tests,asan,$(ASAN)))
$(eval $(call host_tests,tsan,$(TSAN)))
$(eval $(call host_tests,coverage,--coverage))

HOST_TESTS := $(HOST_TEST_NAMES:%=$(BUILD)/asan/tests/hosts/%) \
	$(HOST_THREAD_NAMES:%=$(BUILD)/tsan/tests/hosts/%)
CHECK_NEEDS += $(HOST_TESTS)
CHECK_COMMANDS += $(HOST_TESTS:%="%")
COVERAGE_NEEDS += $(HOST_TEST_NAMES:%=$(BUILD)/coverage/tests/hosts/%)
COVERAGE_COMMANDS += $(HOST_TEST_NAMES:%="$(BUILD)/coverage/tests/hosts/%")
