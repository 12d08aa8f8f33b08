# SPDX-License-Identifier: BSD-2-Clause
# Which faults do the tests notice? An engine as a shared library, so that the
# test programs are linked once and only the engine is built anew per fault.
#   make mutation  plant faults in the engine, one at a time; writes docs/mutation.md

MUTATION := $(BUILD)/mutation
# The quick ones first: most faults are caught by the first few tests.
MUTATION_SLOW := mmio random memory
MUTATION_QUICK := $(filter-out threads $(MUTATION_SLOW),$(ENGINE_TEST_NAMES))
MUTATION_TESTS := $(MUTATION_QUICK) $(MUTATION_SLOW)
MUTATION_SHADOW := shadow guest_walk shadow-exits shadow-regressions shadow-random
MUTATION_NESTED := nested-await nested-nested nested-regressions nested-combinations nested-walk nested-memory nested-random
MUTATION_HOSTS := $(HOST_TEST_NAMES:%=hosts-%)
MUTATION_JOBS ?= 2

$(eval $(call engine_variant,mutation/asan,$(CC),$(ASAN) -fPIC))
$(eval $(call engine_variant,mutation/tsan,$(CC),$(TSAN) -fPIC))

# $(call mutation_library,variant,flags)
define mutation_library
$(MUTATION)/$(1)/libvmmu.so: $$(ENGINE_OBJ_mutation/$(1))
	$$(CC) $(2) -shared $$^ -o $$@
endef
$(eval $(call mutation_library,asan,$(ASAN)))
$(eval $(call mutation_library,tsan,$(TSAN)))

# $(call mutation_program,variant,flags,name,sources)
define mutation_program
$(MUTATION)/$(1)/$(3): $(4) $$(BUILD)/$(1)/libsim.a $(MUTATION)/$(1)/libvmmu.so
	$$(CC) $$(ENGINE_TEST_FLAGS) -Itests/schedule $(2) $$(filter %.c %.a,$$^) \
		-L$(MUTATION)/$(1) -lvmmu -lcmocka -lpthread -o $$@
endef
$(foreach t,$(MUTATION_TESTS),$(eval $(call mutation_program,asan,$(ASAN),$(t),tests/engine/$(t).c)))
$(foreach t,$(MUTATION_SHADOW),$(eval $(call mutation_program,asan,$(ASAN),$(t),tests/shadow/$(t:shadow-%=%).c)))
$(foreach t,$(MUTATION_NESTED),$(eval $(call mutation_program,asan,$(ASAN),$(t),tests/nested/$(t:nested-%=%).c)))
$(foreach t,$(MUTATION_HOSTS),$(eval $(call mutation_program,asan,$(ASAN),$(t),tests/hosts/$(t:hosts-%=%).c)))
$(eval $(call mutation_program,tsan,$(TSAN),hosts-looking,tests/hosts/looking.c))
MUTATION_MAPS := maps slot_tree
$(foreach t,$(MUTATION_MAPS),$(eval $(call mutation_program,asan,$(ASAN) -Iengine,$(t),tests/map/$(t).c)))
$(eval $(call mutation_program,asan,$(ASAN),schedule,$(filter-out %/threads.c,$(wildcard tests/schedule/*.c))))
$(eval $(call mutation_program,tsan,$(TSAN),threads,tests/engine/threads.c))
$(eval $(call mutation_program,tsan,$(TSAN),scenarios,tests/schedule/threads.c tests/schedule/scenarios.c))
$(eval $(call mutation_program,tsan,$(TSAN),shadow-threads,tests/shadow/threads.c))

MUTATION_PROGRAMS := $(MUTATION_TESTS:%=$(MUTATION)/asan/%) $(MUTATION_MAPS:%=$(MUTATION)/asan/%) $(MUTATION)/asan/schedule \
	$(MUTATION)/tsan/threads $(MUTATION)/tsan/scenarios \
	$(MUTATION_SHADOW:%=$(MUTATION)/asan/%) $(MUTATION_NESTED:%=$(MUTATION)/asan/%) $(MUTATION)/tsan/shadow-threads \
	$(MUTATION_HOSTS:%=$(MUTATION)/asan/%) $(MUTATION)/tsan/hosts-looking

.PHONY: mutation
mutation: $(MUTATION_PROGRAMS)
	tests/mutation/run --base $(MUTATION) --jobs $(MUTATION_JOBS) --report docs/mutation.md \
		--asan "$(CC) $(CSTD) -g -ffreestanding -Iinclude $(ASAN)" \
		--tsan "$(CC) $(CSTD) -g -ffreestanding -Iinclude $(TSAN)" \
		--tests $(MUTATION_QUICK:%=$(MUTATION)/asan/%) $(MUTATION_MAPS:%=$(MUTATION)/asan/%) $(MUTATION_HOSTS:%=$(MUTATION)/asan/%) \
			"$(MUTATION)/asan/schedule --direct $(SCHEDULE_CHECK_DIRECT)" \
			$(MUTATION_SLOW:%=$(MUTATION)/asan/%) \
		--thread-tests "$(MUTATION)/tsan/scenarios 5" $(MUTATION)/tsan/threads $(MUTATION)/tsan/hosts-looking \
		--shadow-tests $(filter-out %/guest_walk,$(MUTATION_SHADOW:%=$(MUTATION)/asan/%)) \
			$(MUTATION_NESTED:%=$(MUTATION)/asan/%) \
			"$(MUTATION)/asan/schedule --shadow $(SCHEDULE_CHECK_SHADOW)" \
			"$(MUTATION)/asan/schedule --nested $(SCHEDULE_CHECK_NESTED)" \
			"$(MUTATION)/asan/schedule --nested $(SCHEDULE_CHECK_INVEPT)" \
			"$(MUTATION)/asan/schedule --nested $(SCHEDULE_CHECK_WALK)" $(MUTATION)/asan/guest_walk \
		--shadow-thread-tests $(MUTATION)/tsan/shadow-threads \
		$(MUTATION_ONLY:%=--only %) $(MUTATION_ARGS)
