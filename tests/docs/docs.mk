# SPDX-License-Identifier: BSD-2-Clause
# What documents print is what happens: their commands are run, their pictures drawn again.

TEST_NEEDS     += visor tool guests initramfs
CHECK_COMMANDS += "python3 -B tests/docs/matching_test.py" "tests/docs/pictures"
TEST_COMMANDS  += "python3 -B tests/docs/documents_test.py --build $(BUILD)"
