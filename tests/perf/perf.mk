# SPDX-License-Identifier: BSD-2-Clause

CHECK_NEEDS    += $(ENGINE_BENCH)
CHECK_COMMANDS += "python3 -B tests/perf/perf_check_test.py"
CHECK_COMMANDS += "python3 -B tests/perf/compare_test.py"
CHECK_COMMANDS += "python3 -B tests/perf/curves_test.py"
CHECK_COMMANDS += "python3 -B tests/perf/kvm_test.py"
CHECK_COMMANDS += "python3 -B tests/perf/bench_test.py"
TEST_NEEDS     += visor tool guests $(CURVES)
TEST_COMMANDS  += "python3 -B bench/engine/curves.py $(CURVES) --compiler $(firstword $(CC))"
TEST_COMMANDS  += "python3 -B $(PERF_CHECK) --or-skip"
