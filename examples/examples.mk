# SPDX-License-Identifier: BSD-2-Clause
#
#   make examples  programs that embed libvmmu

EXAMPLE := $(BUILD)/examples/embed

examples: $(EXAMPLE)

$(EXAMPLE): examples/embed.c $(LIBVMMU) $(wildcard include/vmmu/*.h)
	@mkdir -p $(@D)
	$(CC) $(CSTD) -O2 -g $(WARN) -Iinclude $< $(LIBVMMU) -o $@

.PHONY: examples
