# SPDX-License-Identifier: BSD-2-Clause
# Interleavings: the scenarios over all schedules (fibers), and on threads.
#   make schedule  the long exploration: SCHEDULE_BOUND=3 SCHEDULE_RUNS=50000

SCHEDULE_COMMON := tests/schedule/scenarios.c
SCHEDULE_FLAGS := $(CSTD) $(WARN) -D_GNU_SOURCE -g -Iinclude -Isim -Itests/schedule
SCHEDULE_BOUND ?= 3
SCHEDULE_RUNS ?= 50000

$(BUILD)/asan/tests/schedule/schedule: tests/schedule/schedule.c tests/schedule/explore.c \
		$(SCHEDULE_COMMON) tests/schedule/explore.h tests/schedule/scenarios.h \
		$(BUILD)/asan/libsim.a $(BUILD)/asan/libvmmu.a
	@mkdir -p $(@D)
	$(CC) $(SCHEDULE_FLAGS) $(ASAN) $(filter %.c %.a,$^) -lpthread -o $@

.PHONY: schedule
schedule: $(BUILD)/asan/tests/schedule/schedule
	$< --bound $(SCHEDULE_BOUND) --runs $(SCHEDULE_RUNS)
