# SPDX-License-Identifier: BSD-2-Clause

CHECK_COMMANDS += "python3 -B tests/claims/claims_test.py"
