# SPDX-License-Identifier: BSD-2-Clause
#
#   make check     engine and sim under sanitizers, scripts; under a minute
ASAN := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
$(eval $(call engine_variant,asan,$(CC),$(ASAN)))
$(eval $(call sim_variant,asan,$(CC),$(ASAN)))

ENGINE_TESTS := $(wildcard tests/engine/*.c)

$(BUILD)/asan/tests/engine/%: tests/engine/%.c $(BUILD)/asan/libsim.a $(BUILD)/asan/libvmmu.a
	@mkdir -p $(@D)
	$(CC) $(CSTD) $(WARN) -D_GNU_SOURCE -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -Iinclude -Isim -Itests/engine $< $(BUILD)/asan/libsim.a $(BUILD)/asan/libvmmu.a -lcmocka -lpthread -o $@
