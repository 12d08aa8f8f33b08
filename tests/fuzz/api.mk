# SPDX-License-Identifier: BSD-2-Clause
# The engine's API under libFuzzer (clang), and as a plain program (gcc) that AFL++ can drive.

FUZZ_FLAGS := $(CSTD) -D_GNU_SOURCE -g -O1 -fno-omit-frame-pointer -Iinclude -Isim -Itests/engine
FUZZ_CHECKS := address,undefined

$(BUILD)/fuzz/api: tests/fuzz/api_fuzz.c $(ENGINE_SRC) $(SIM_SRC) $(wildcard engine/*/*.h engine/*/*/*.h sim/*.h) \
		tests/engine/operation.h
	@mkdir -p $(@D)
	clang $(FUZZ_FLAGS) -Iengine -fsanitize=fuzzer,$(FUZZ_CHECKS) -fno-sanitize-recover=all \
		$(filter %.c,$^) -lpthread -o $@

$(BUILD)/asan/tests/fuzz/api: tests/fuzz/api_fuzz.c tests/fuzz/standalone.c tests/engine/operation.h \
		$(BUILD)/asan/libsim.a $(BUILD)/asan/libvmmu.a
	@mkdir -p $(@D)
	$(CC) $(FUZZ_FLAGS) $(ASAN) $(filter %.c %.a,$^) -lpthread -o $@
