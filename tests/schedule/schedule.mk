# SPDX-License-Identifier: BSD-2-Clause
# Interleavings: the scenarios over all schedules (fibers), and on threads.
#   make schedule  the long exploration: SCHEDULE_BOUND=3 SCHEDULE_RUNS=50000

SCHEDULE_FLAGS := $(CSTD) $(WARN) -D_GNU_SOURCE -g -Iinclude -Isim -Itests/schedule
SCHEDULE_BOUND ?= 3
SCHEDULE_RUNS ?= 50000
# How much of it `make check` does.
SCHEDULE_CHECK_DIRECT := --bound 2 --runs 300 --jobs 1
SCHEDULE_CHECK_NESTED := --bound 2 --runs 40 --samples 60 --jobs 1
# Two interruptions at certain places: all schedules of that one.
SCHEDULE_CHECK_INVEPT := --only nested-invept --bound 2 --runs 2000 --jobs 1
# And this one comes up when the host takes memory back between a look and a mark.
SCHEDULE_CHECK_WALK := --only nested-walk-and-host --bound 2 --runs 3000 --jobs 1
SCHEDULE_CHECK_SHADOW := --bound 2 --runs 6 --samples 30 --jobs 1

# $(call schedule_program,variant,flags,program,sources)
define schedule_program
$$(BUILD)/$(1)/tests/schedule/$(3): $(4) tests/schedule/scenarios.c \
		$(wildcard tests/schedule/*.h) \
		$$(BUILD)/$(1)/libsim.a $$(BUILD)/$(1)/libvmmu.a
	@mkdir -p $$(@D)
	$$(CC) $$(SCHEDULE_FLAGS) $(2) $$(filter %.c %.a,$$^) -lpthread -o $$@
endef
SCHEDULE_SOURCES := $(addprefix tests/schedule/,schedule.c explore.c direct.c shadow.c nested.c guest.c)
$(eval $(call schedule_program,asan,$(ASAN),schedule,$(SCHEDULE_SOURCES)))
$(eval $(call schedule_program,coverage,--coverage -DVMMU_COVERAGE,schedule,$(SCHEDULE_SOURCES)))
$(eval $(call schedule_program,tsan,$(TSAN),threads,tests/schedule/threads.c))

SCHEDULE := $(BUILD)/asan/tests/schedule/schedule

.PHONY: schedule
schedule: $(SCHEDULE)
	$< --bound $(SCHEDULE_BOUND) --runs $(SCHEDULE_RUNS)

CHECK_NEEDS += $(SCHEDULE) $(BUILD)/tsan/tests/schedule/threads
CHECK_COMMANDS += "$(SCHEDULE) --direct $(SCHEDULE_CHECK_DIRECT)" \
	"$(SCHEDULE) --shadow $(SCHEDULE_CHECK_SHADOW)" \
	"$(SCHEDULE) --nested $(SCHEDULE_CHECK_NESTED)" \
	"$(SCHEDULE) --nested $(SCHEDULE_CHECK_INVEPT)" \
	"$(SCHEDULE) --nested $(SCHEDULE_CHECK_WALK)" \
	"$(BUILD)/tsan/tests/schedule/threads 5"
SOAK_NEEDS += $(SCHEDULE)
SOAK_COMMANDS += "$(SCHEDULE) --bound 4 --seed $(SEED) --jobs 1 --seconds $(SECONDS)"
COVERAGE_NEEDS += $(BUILD)/coverage/tests/schedule/schedule
COVERAGE_COMMANDS += "$(BUILD)/coverage/tests/schedule/schedule --direct --bound 1 --runs 100 --jobs 1" \
	"$(BUILD)/coverage/tests/schedule/schedule --shadow --bound 1 --runs 10 --samples 10 --jobs 1" \
	"$(BUILD)/coverage/tests/schedule/schedule --nested --bound 1 --runs 10 --samples 10 --jobs 1"
