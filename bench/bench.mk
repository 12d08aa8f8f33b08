# SPDX-License-Identifier: BSD-2-Clause
#
#   make bench     the figures of the README, measured here

bench: visor tool guests initramfs
	python3 -B bench/bench.py --build $(BUILD) --linux $(LINUX_IMAGE) $(BENCH_ARGS)

.PHONY: bench
