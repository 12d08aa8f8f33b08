# SPDX-License-Identifier: BSD-2-Clause

CHECK_COMMANDS += "python3 -B tests/perf/perf_check_test.py"
