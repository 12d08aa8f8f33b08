# SPDX-License-Identifier: BSD-2-Clause

CHECK_COMMANDS += "python3 -B tests/claims/claims_test.py"
TEST_NEEDS     += visor tool guests
TEST_COMMANDS  += "python3 -B bench/claims/answer.py --build $(BUILD)"
