# SPDX-License-Identifier: BSD-2-Clause

TEST_NEEDS    += $(DEB)
TEST_COMMANDS += "tests/package/deb_test.sh $(BUILD) $(VMMU_VERSION)" "tests/package/alone_test.sh"
