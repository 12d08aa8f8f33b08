# SPDX-License-Identifier: BSD-2-Clause
#
# The colours of `vmmu plot` are those of the report's page, which are told apart by
# colour-blind readers (tests/report/palette.py). They stand in its style sheet alone.

PLOT_COLOURS := card ink soft line faint warn c1 c2 c3 c4 c5 c6

# One line of eight bytes for each: the order is enum plot_colour's (tool/plot/colours.h).
$(BUILD)/tool/plot/colours.txt: tool/report/page/style.css tool/plot/plot.mk
	@mkdir -p $(@D)
	for name in $(PLOT_COLOURS); do \
		sed -n "s/^.*--$$name: \(#[0-9a-f]\{6\}\);.*/\1/p" $< | head -1; \
	done >$@.new
	test $$(wc -c <$@.new) -eq $$((8 * $(words $(PLOT_COLOURS)))) && mv $@.new $@

$(BUILD)/tool/plot/colours.o: tool/plot/colours.S $(BUILD)/tool/plot/colours.txt
	$(CC) -DCOLOURS_FILE='"$(BUILD)/tool/plot/colours.txt"' -c $< -o $@
