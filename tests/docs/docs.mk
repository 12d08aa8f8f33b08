# SPDX-License-Identifier: BSD-2-Clause
# What documents print is what happens: their commands are run, their pictures drawn again.
#
#   make docs-test-long   every command that a document gives, those that take minutes, too
#   tests/docs/documents_test.py --write   put into the documents what is printed now

TEST_NEEDS     += visor tool guests initramfs
CHECK_COMMANDS += "python3 -B tests/docs/matching_test.py" "python3 -B tests/docs/same_test.py" "tests/docs/pictures" \
	"python3 -B tests/docs/figures_test.py"
TEST_COMMANDS  += "python3 -B tests/docs/documents_test.py --build $(BUILD)" \
	"python3 -B tests/docs/shell_test.py --build $(BUILD)" \
	"python3 -B tests/docs/man_test.py --build $(BUILD)"

docs-test-long: visor tool guests initramfs
	python3 -B tests/docs/shell_test.py --build $(BUILD) --long
	python3 -B tests/docs/documents_test.py --build $(BUILD) --long

.PHONY: docs-test-long
