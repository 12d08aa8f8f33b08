# SPDX-License-Identifier: BSD-2-Clause
#
#   make unit      the visor's devices, loader and instruction emulator, in user space

UNIT_DIR := $(BUILD)/unit
UNIT_SAN := -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
UNIT_CFLAGS := $(CSTD) $(WARN) $(UNIT_SAN) -Iinclude -I.

# The visor's own code, as in the visor but for the C library's string functions and snprintf.
UNIT_SRC := $(wildcard visor/device/*.c visor/load/*.c visor/emulate/*.c) visor/vm/options.c visor/lib/calendar.c visor/lib/words.c visor/lib/crc32c.c \
	visor/host/calibrate.c visor/host/frame.c visor/host/object.c visor/host/order.c visor/cpu/event.c visor/vm/msr_list.c visor/vm/trace_disk.c
UNIT_OBJ := $(UNIT_SRC:%.c=$(UNIT_DIR)/%.o) $(UNIT_DIR)/visor/cpu/native_run.S.o $(call zydis_objects,$(UNIT_DIR))
UNIT_LIB := $(UNIT_DIR)/libplatform.a
UNIT_TESTS := $(patsubst tests/unit/%.c,$(UNIT_DIR)/%,$(wildcard tests/unit/*.c))

$(UNIT_DIR)/visor/%.o: visor/%.c | $(ZYDIS_READY) $(DSDT_HEADER)
	@mkdir -p $(@D)
	$(CC) $(UNIT_CFLAGS) -ffreestanding $(ZYDIS_CFLAGS) $(DSDT_CFLAGS) -MMD -MP -c $< -o $@

$(UNIT_DIR)/visor/%.S.o: visor/%.S
	@mkdir -p $(@D)
	$(CC) -c $< -o $@

$(eval $(call zydis_rule,$(UNIT_DIR),$(UNIT_SAN)))

$(UNIT_LIB): $(UNIT_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

# The visor's entry code, with a guest in place of the instructions that enter one.
$(UNIT_DIR)/entry/%.o: tests/unit/entry/%.S visor/%/entry.S visor/cpu/gpr.h tests/unit/entry/guest.inc
	@mkdir -p $(@D)
	$(CC) -I. -c $< -o $@

$(UNIT_DIR)/cpu_entry: tests/unit/cpu_entry.c $(UNIT_DIR)/entry/svm.o $(UNIT_DIR)/entry/vmx.o $(UNIT_LIB)
	$(CC) $(UNIT_CFLAGS) $(ZYDIS_CFLAGS) -MMD -MP $< $(filter %.o,$^) -lcmocka -o $@

# Other programs have a guest's memory of their own.
$(UNIT_DIR)/vm_memory: tests/unit/vm_memory.c $(UNIT_DIR)/visor/vm/memory.o $(UNIT_LIB) $(LIBVMMU)
	$(CC) $(UNIT_CFLAGS) $(ZYDIS_CFLAGS) -MMD -MP $< $(filter %.o %.a,$^) -lcmocka -o $@

$(UNIT_DIR)/%: tests/unit/%.c $(UNIT_LIB) $(LIBVMMU)
	$(CC) $(UNIT_CFLAGS) $(ZYDIS_CFLAGS) -MMD -MP $< $(UNIT_LIB) $(LIBVMMU) -lcmocka -o $@

.PHONY: unit
unit: $(UNIT_TESTS)
	@for t in $^; do echo "$$t"; $$t || exit 1; done

-include $(UNIT_OBJ:.o=.d) $(UNIT_DIR)/visor/vm/memory.d $(UNIT_TESTS:=.d)
