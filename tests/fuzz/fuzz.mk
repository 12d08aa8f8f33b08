# SPDX-License-Identifier: BSD-2-Clause
#
#   make fuzz-visor  devices, loader and instruction emulator on generated input, FUZZ_SECONDS=30 each

FUZZ_SECONDS ?= 30

VISOR_FUZZERS := load multiboot mmio_decode platform
VISOR_FUZZ_FLAGS := $(CSTD) -g -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
VISOR_FUZZ_OBJ := $(patsubst %.c,$(BUILD)/fuzz/%.o,$(wildcard visor/device/*.c visor/load/*.c visor/emulate/*.c)) $(BUILD)/fuzz/visor/lib/calendar.o \
	$(call zydis_objects,$(BUILD)/fuzz)

$(BUILD)/fuzz/visor/%.o: visor/%.c | $(ZYDIS_READY) $(DSDT_HEADER)
	@mkdir -p $(@D)
	clang $(VISOR_FUZZ_FLAGS) -ffreestanding -Iinclude -I. $(ZYDIS_CFLAGS) $(DSDT_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/fuzz/zydis/%.o: $(ZYDIS_DIR)/src/%.c | $(ZYDIS_READY)
	@mkdir -p $(@D)
	clang $(VISOR_FUZZ_FLAGS) $(ZYDIS_CFLAGS) -I$(ZYDIS_DIR)/src -w -c $< -o $@

$(VISOR_FUZZERS:%=$(BUILD)/fuzz/%): $(BUILD)/fuzz/%: tests/fuzz/%_fuzz.c tests/fuzz/guest_memory.h $(VISOR_FUZZ_OBJ) $(LIBVMMU)
	clang $(CSTD) -Wall -Wextra -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
		-Iinclude -I. $< $(VISOR_FUZZ_OBJ) $(LIBVMMU) -o $@

.PHONY: fuzz-visor
fuzz-visor: $(VISOR_FUZZERS:%=$(BUILD)/fuzz/%)
	@tests/fuzz/run $(BUILD) $(FUZZ_SECONDS) $(VISOR_FUZZERS)

-include $(VISOR_FUZZ_OBJ:.o=.d)
