# SPDX-License-Identifier: BSD-2-Clause
#
#   make fuzz-trace  the trace reader on generated input, FUZZ_SECONDS=30

FUZZ_SECONDS ?= 30

TRACE_FUZZ_SRC := tests/fuzz/trace_fuzz.c $(wildcard tool/base/*.c) tool/symbols/symbols.c \
	tool/symbols/symbols_text.c tool/symbols/symbols_elf.c tool/symbols/symbols_kallsyms.c \
	tool/symbols/bzimage.c tool/symbols/decompress.c tool/trace/trace_file.c tool/trace/replay.c \
	tool/trace/verify.c tool/trace/rules.c tool/trace/describe.c tool/source/stream.c

$(BUILD)/fuzz/trace: $(TRACE_FUZZ_SRC) $(wildcard tool/*/*.h include/vmmu/*.h) $(LIBVMMU)
	@mkdir -p $(@D)
	clang $(CSTD) -g -O1 -D_GNU_SOURCE -Iinclude -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=all -o $@ $(TRACE_FUZZ_SRC) $(LIBVMMU) $(TOOL_LIBS)

.PHONY: fuzz-trace
fuzz-trace: $(BUILD)/fuzz/trace
	@tests/fuzz/run $(BUILD) $(FUZZ_SECONDS) trace
