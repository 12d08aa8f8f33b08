# SPDX-License-Identifier: BSD-2-Clause
#
# The page of `vmmu report`: page/ and the parts of d3 that it uses, Debian's
# packages of them, become one script by esbuild. What a page allows its browser
# names script and style sheet by their SHA-256.

PAGE_DIR  := $(BUILD)/tool/report/page
PAGE_SRC  := $(wildcard tool/report/page/*)
# Where Debian's packages of npm's modules are.
NODE_PATH ?= /usr/share/nodejs
ESBUILD   := NODE_PATH=$(NODE_PATH) esbuild --log-level=warning --minify --target=chrome90,firefox113,safari16.4

D3_LICENCE := /usr/share/doc/node-d3/copyright

$(PAGE_DIR)/script.js: $(PAGE_SRC)
	@mkdir -p $(@D)
	@command -v esbuild >/dev/null && test -d $(NODE_PATH)/d3-scale || { \
		echo "The page of vmmu report is made with esbuild and d3, and one of them is missing here:" >&2; \
		echo "scripts/setup tool installs both (Debian's packages esbuild and node-d3)." >&2; exit 1; }
	cp $(D3_LICENCE) $(PAGE_DIR)/d3-licence.txt
	$(ESBUILD) --bundle --format=iife --loader:.txt=text --alias:d3-licence=./$(PAGE_DIR)/d3-licence.txt \
		tool/report/page/main.js --outfile=$@

$(PAGE_DIR)/style.css: $(PAGE_SRC) $(PAGE_DIR)/script.js
	$(ESBUILD) tool/report/page/style.css --outfile=$@

$(PAGE_DIR)/%.hash: $(PAGE_DIR)/%
	sha256sum $< | cut -c1-64 | tr a-f A-F | basenc --base16 -d | base64 >$@

$(BUILD)/tool/report/blobs.o: tool/report/blobs.S tool/report/page/body.html $(PAGE_DIR)/style.css \
		$(PAGE_DIR)/style.css.hash $(PAGE_DIR)/script.js $(PAGE_DIR)/script.js.hash
	$(CC) -DSTYLE_FILE='"$(PAGE_DIR)/style.css"' -DSTYLE_HASH_FILE='"$(PAGE_DIR)/style.css.hash"' \
		-DBODY_FILE='"tool/report/page/body.html"' -DSCRIPT_FILE='"$(PAGE_DIR)/script.js"' \
		-DSCRIPT_HASH_FILE='"$(PAGE_DIR)/script.js.hash"' -c $< -o $@
