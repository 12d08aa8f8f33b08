# SPDX-License-Identifier: BSD-2-Clause
#
#   make foreign   memtest86+ and Xen, as Debian ships them, under the visor: half an hour. FOREIGN_ARGS="--only memtest.*qemu"
#
# Their packages are fetched into .cache/foreign by apt-get; nothing is installed.

.PHONY: foreign
foreign: visor tool initramfs
	python3 -B tests/foreign/foreign.py --build $(BUILD) --linux $(LINUX_IMAGE) $(FOREIGN_ARGS)
