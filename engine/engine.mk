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

# ---- make install-lib ------------------------------------------------------------

VMMU_VERSION := $(shell sed -n 's/^\#define VMMU_VERSION "\(.*\)"/\1/p' include/vmmu/version.h)

# Absolute: vmmu.pc must be right wherever pkg-config is called from.
PREFIX_PATH = $(abspath $(PREFIX))
LIBDIR      = $(PREFIX_PATH)/lib
INSTALL_TO  = $(DESTDIR)$(PREFIX_PATH)

.PHONY: install-lib
#   make install-lib  headers, libvmmu.a, vmmu.pc and the example (DESTDIR, PREFIX, LIBDIR); needs a C compiler only
install-lib: $(LIBVMMU)
	install -d $(INSTALL_TO)/include/vmmu $(DESTDIR)$(LIBDIR)/pkgconfig $(INSTALL_TO)/share/doc/vmmu/examples
	install -m 644 include/vmmu/*.h $(INSTALL_TO)/include/vmmu
	install -m 644 $(LIBVMMU) $(DESTDIR)$(LIBDIR)
	sed -e 's|@PREFIX@|$(PREFIX_PATH)|' -e 's|@LIBDIR@|$(patsubst $(PREFIX_PATH)/%,$${prefix}/%,$(abspath $(LIBDIR)))|' \
		-e 's|@VERSION@|$(VMMU_VERSION)|' engine/vmmu.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/vmmu.pc
	chmod 644 $(DESTDIR)$(LIBDIR)/pkgconfig/vmmu.pc
	install -m 644 examples/*.c $(INSTALL_TO)/share/doc/vmmu/examples

# ---- objects ---------------------------------------------------------------------

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
