# SPDX-License-Identifier: BSD-2-Clause
#   make bench-engine   instructions of each of the engine's operations (valgrind)
#   make perf-check     compare them, and the guests' figures, with bench/engine/baseline.json
#   make perf-baseline  write that file anew: after a change that is meant to move them
#   make curves        how the engine's costs grow with a VM (valgrind): text, CSV and SVG (gnuplot)

ENGINE_BENCH := $(BUILD)/bench/engine/operations

$(ENGINE_BENCH): bench/engine/operations.c bench/engine/host.c bench/engine/host.h $(LIBVMMU)
	@mkdir -p $(@D)
	$(CC) $(CSTD) $(WARN) -O2 -g -Iinclude $(filter %.c %.a,$^) -o $@

CURVES := $(BUILD)/bench/engine/curves

$(CURVES): bench/engine/curves.c bench/engine/host.c bench/engine/host.h $(LIBVMMU)
	@mkdir -p $(@D)
	$(CC) $(CSTD) $(WARN) -O2 -g -Iinclude $(filter %.c %.a,$^) -o $@

PERF_NEEDS := $(ENGINE_BENCH) $(VMMU) $(BUILD)/visor.elf $(BUILD)/guest/guest.elf
PERF_CHECK := bench/engine/perf_check.py --build $(BUILD) --compiler $(firstword $(CC))

.PHONY: bench-engine perf-check perf-baseline curves
curves: $(CURVES)
	@python3 -B bench/engine/curves.py $< --long --csv $(BUILD)/curves.csv --svg $(BUILD)/curves.svg \
		--compiler $(firstword $(CC)) $(CURVES_ARGS)
	@echo "$(BUILD)/curves.csv and $(BUILD)/curves.svg hold the points"
bench-engine: $(ENGINE_BENCH)
	@python3 -B $(PERF_CHECK) --native --show
perf-check: $(PERF_NEEDS)
	@python3 -B $(PERF_CHECK)
perf-baseline: $(PERF_NEEDS)
	@python3 -B $(PERF_CHECK) --write
	@python3 -B tests/docs/figures_test.py --write
