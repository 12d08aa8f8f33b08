# SPDX-License-Identifier: BSD-2-Clause
# The faults of real boots, recorded, played again: a regression test and a workload.
#   make bench-replay  instructions of the engine per recorded fault (valgrind)

RECORDINGS := $(sort $(wildcard tests/recording/*.rec))
RECORDING_FLAGS := $(CSTD) $(WARN) -D_GNU_SOURCE -g -Iinclude
RECORDING_NEEDS := tests/recording/recording.c tests/recording/recording.h

$(BUILD)/tests/recording/record: tests/recording/record.c $(RECORDING_NEEDS) $(LIBVMMU)
	@mkdir -p $(@D)
	$(CC) $(RECORDING_FLAGS) -O1 $(filter %.c %.a,$^) -o $@

$(BUILD)/tests/recording/replay: tests/recording/replay.c $(RECORDING_NEEDS) $(LIBVMMU)
	@mkdir -p $(@D)
	$(CC) $(RECORDING_FLAGS) -O2 $(filter %.c %.a,$^) -o $@

$(BUILD)/asan/tests/recording/replay: tests/recording/replay.c $(RECORDING_NEEDS) $(BUILD)/asan/libvmmu.a
	@mkdir -p $(@D)
	$(CC) $(RECORDING_FLAGS) $(ASAN) $(filter %.c %.a,$^) -o $@

CHECK_NEEDS += $(BUILD)/asan/tests/recording/replay
CHECK_COMMANDS += "$(BUILD)/asan/tests/recording/replay $(RECORDINGS)"

.PHONY: bench-replay
bench-replay: $(BUILD)/tests/recording/replay
	@for r in $(RECORDINGS); do tests/recording/instructions $< $$r || exit 1; done
