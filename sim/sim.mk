# SPDX-License-Identifier: BSD-2-Clause
# The simulated machine that the engine's tests run on. Always built with the
# same instrumentation as the engine beneath it: $(call sim_variant,name,compiler,flags)
# makes $(BUILD)/name/libsim.a.

SIM_SRC := $(wildcard sim/*.c)
SIM_CFLAGS := $(CSTD) $(WARN) -D_GNU_SOURCE -g -Iinclude -Isim

define sim_variant
SIM_OBJ_$(1) := $$(SIM_SRC:%.c=$$(BUILD)/$(1)/%.o)
$$(BUILD)/$(1)/libsim.a: $$(SIM_OBJ_$(1))
	@rm -f $$@
	$$(AR) rcs $$@ $$^
$$(BUILD)/$(1)/sim/%.o: sim/%.c
	@mkdir -p $$(@D)
	$(2) $$(SIM_CFLAGS) $(3) -MMD -MP -c $$< -o $$@
-include $$(SIM_OBJ_$(1):.o=.d)
endef
