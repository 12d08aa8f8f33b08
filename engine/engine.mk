# SPDX-License-Identifier: BSD-2-Clause
# libvmmu: freestanding, no libc, no floating point or vector registers, so that
# the same objects link into a bare-metal hypervisor and into user space: into a
# fixed-address image as well as into a position-independent program.

ENGINE_SRC := $(sort $(wildcard engine/*/*.c engine/*/*/*.c))
ENGINE_CFLAGS := $(CSTD) $(WARN) -O2 -g -ffreestanding -fno-stack-protector -fPIC -fvisibility=hidden \
	-mgeneral-regs-only -mno-red-zone -fno-asynchronous-unwind-tables -ffunction-sections \
	-Iinclude -Iengine
ENGINE_OBJ := $(ENGINE_SRC:%.c=$(BUILD)/%.o)
LIBVMMU := $(BUILD)/libvmmu.a

.PHONY: lib
#   make lib       the engine alone, build/libvmmu.a
lib: $(LIBVMMU)

$(LIBVMMU): $(ENGINE_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/engine/%.o: engine/%.c
	@mkdir -p $(@D)
	$(CC) $(ENGINE_CFLAGS) -MMD -MP -c $< -o $@

# Sanitized and instrumented builds of the same sources: $(call engine_variant,name,compiler,flags)
define engine_variant
ENGINE_OBJ_$(1) := $$(ENGINE_SRC:%.c=$$(BUILD)/$(1)/%.o)
$$(BUILD)/$(1)/libvmmu.a: $$(ENGINE_OBJ_$(1))
	@rm -f $$@
	$$(AR) rcs $$@ $$^
$$(BUILD)/$(1)/engine/%.o: engine/%.c
	@mkdir -p $$(@D)
	$(2) $$(CSTD) $$(WARN) -g -ffreestanding -Iinclude -Iengine $(3) -MMD -MP -c $$< -o $$@
-include $$(ENGINE_OBJ_$(1):.o=.d)
endef

-include $(ENGINE_OBJ:.o=.d)
