# SPDX-License-Identifier: BSD-2-Clause
#
# AML for the guest's DSDT, as a C array. Whoever compiles visor/load/acpi_tables.c
# depends on $(DSDT_HEADER) and passes $(DSDT_CFLAGS).

DSDT_HEADER := $(BUILD)/visor/load/dsdt_aml.h
DSDT_CFLAGS := -I$(BUILD)/visor/load

# iasl names its output after the source; -tc writes a C array of the AML.
$(DSDT_HEADER): visor/load/dsdt.asl
	@mkdir -p $(@D)
	@iasl -vs -tc -p $(@D)/dsdt $< > $(@D)/iasl.log 2>&1 || { cat $(@D)/iasl.log; exit 1; }
	@sed 's/^unsigned char/static const unsigned char/' $(@D)/dsdt.hex > $@
