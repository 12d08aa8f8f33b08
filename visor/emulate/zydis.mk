# SPDX-License-Identifier: BSD-2-Clause
#
# Zydis, the instruction decoder, compiled from Debian's source package without
# a C library: decoder only, no text output, no tables of the Knights Corner. The
# same options for the visor and for user-space tests; only $(ZYDIS_CFLAGS_EXTRA)
# differ. What includes its headers passes $(ZYDIS_CFLAGS) and depends on
# $(ZYDIS_READY).

ZYDIS_DIR    := .cache/zydis
ZYCORE_DIR   := .cache/zycore
ZYDIS_READY  := $(ZYDIS_DIR)/src/Decoder.c
ZYDIS_CFLAGS := -isystem $(ZYDIS_DIR)/include -isystem $(ZYCORE_DIR)/include \
                -DZYAN_NO_LIBC -DZYDIS_STATIC_BUILD -DZYCORE_STATIC_BUILD -DZYDIS_DISABLE_ENCODER \
                -DZYDIS_DISABLE_FORMATTER -DZYDIS_DISABLE_KNC
ZYDIS_PARTS  := Decoder DecoderData SharedData Mnemonic Register MetaInfo
ZYDIS_SRC    := $(ZYDIS_PARTS:%=$(ZYDIS_DIR)/src/%.c)

$(ZYDIS_READY):
	scripts/fetch-zydis

$(filter-out $(ZYDIS_READY),$(ZYDIS_SRC)): $(ZYDIS_READY)

# $(call zydis_objects,DIR) names the objects under DIR; $(call zydis_rule,DIR,FLAGS)
# makes the rule for them. Warnings are Zydis' own affair.
zydis_objects = $(ZYDIS_PARTS:%=$(1)/zydis/%.o)
define zydis_rule
$(1)/zydis/%.o: $(ZYDIS_DIR)/src/%.c visor/emulate/zydis.mk | $(ZYDIS_READY)
	@mkdir -p $$(@D)
	$$(CC) $(2) $(ZYDIS_CFLAGS) -I$(ZYDIS_DIR)/src -w -c $$< -o $$@
endef
