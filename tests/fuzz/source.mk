# SPDX-License-Identifier: BSD-2-Clause
#
#   make fuzz-source  the readers of KVM's recordings on generated input, FUZZ_SECONDS=30

FUZZ_SECONDS ?= 30

SOURCE_FUZZ_SRC := tests/fuzz/source_fuzz.c $(wildcard tool/base/*.c tool/fact/*.c tool/source/*.c \
	tool/kvm/*.c tool/model/*.c) tool/trace/trace_file.c tool/trace/replay.c tool/trace/sidecar.c

$(BUILD)/fuzz/source: $(SOURCE_FUZZ_SRC) $(wildcard tool/*/*.h include/vmmu/*.h) $(LIBVMMU)
	@mkdir -p $(@D)
	clang $(CSTD) -g -O1 -D_GNU_SOURCE -Iinclude $(filter -I/%,$(TOOL_CFLAGS)) \
		-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o $@ $(SOURCE_FUZZ_SRC) $(LIBVMMU) $(TOOL_LIBS)

.PHONY: fuzz-source
fuzz-source: $(BUILD)/fuzz/source
	@tests/fuzz/run $(BUILD) $(FUZZ_SECONDS) source
