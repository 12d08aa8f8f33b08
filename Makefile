# SPDX-License-Identifier: BSD-2-Clause
#
#   make run     boot Linux under lazily built tables and show them
#   make test    everything that is checked
#   make help    the other targets
#
# One make for the whole tree: each folder says what it builds in its own .mk,
# so that every file's rule is found beside it.

.DEFAULT_GOAL := all
BUILD  ?= build
PREFIX ?= /usr/local
CC     ?= gcc
AR     ?= ar

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -Werror
CSTD := -std=gnu11

all: lib visor tool

include engine/engine.mk
-include sim/sim.mk
-include visor/visor.mk
-include tool/tool.mk
-include examples/examples.mk
-include bench/engine/engine.mk
-include tests/tests.mk
-include bench/bench.mk
-include bench/kvm/kvm.mk
-include bench/compare/compare.mk

.PHONY: all clean help
clean:
	rm -rf $(BUILD)

help:
	@sed -n 's/^#   \(make.*\)/\1/p' Makefile $(wildcard */*.mk */*/*.mk)
