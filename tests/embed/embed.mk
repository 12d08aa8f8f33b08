# SPDX-License-Identifier: BSD-2-Clause
# libvmmu as others take it in: from C++, and from where make install puts it.

CHECK_NEEDS    += $(LIBVMMU)
CHECK_COMMANDS += "tests/embed/languages $(LIBVMMU)" "tests/embed/install $(BUILD)"
