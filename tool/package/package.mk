# SPDX-License-Identifier: BSD-2-Clause
# The command alone, installed or as a Debian package: no visor, emulator, kernel or Zydis.

DEB := $(BUILD)/vmmu_$(VMMU_VERSION)_$(shell dpkg --print-architecture 2>/dev/null).deb
TOOL_DOCS := $(wildcard docs/kvm*.md docs/questions.md docs/doctor.md docs/report.md docs/plot.md docs/export.md docs/trace-format.md)
COMPLETION := tool/completion
# Where zsh looks: /usr belongs to packages.
ZSH_FUNCTIONS = $(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)

#   make install-tool   the command, its man pages and completions (DESTDIR, PREFIX); needs `scripts/setup tool`
install-tool: $(VMMU)
	install -d $(INSTALL_TO)/bin $(INSTALL_TO)/share/man/man1 $(INSTALL_TO)/share/doc/vmmu
	install -m 755 $(VMMU) $(INSTALL_TO)/bin
	install -m 644 $(MAN_PAGES) $(INSTALL_TO)/share/man/man1
	install -m 644 $(TOOL_DOCS) $(INSTALL_TO)/share/doc/vmmu
	if [ -f $(COMPLETION)/vmmu.bash ]; then \
		install -D -m 644 $(COMPLETION)/vmmu.bash $(INSTALL_TO)/share/bash-completion/completions/vmmu; fi
	if [ -f $(COMPLETION)/_vmmu ]; then \
		install -D -m 644 $(COMPLETION)/_vmmu $(INSTALL_TO)/share/zsh/$(ZSH_FUNCTIONS)/_vmmu; fi

#   make deb       build/vmmu_VERSION_ARCH.deb, a Debian package of the command alone
deb:
	@scripts/setup tool
	@$(MAKE) --no-print-directory $(DEB)

$(DEB): $(VMMU) $(MAN_PAGES) $(TOOL_DOCS) scripts/make-deb tool/package/copyright LICENSE
	rm -rf $(BUILD)/deb
	@$(MAKE) --no-print-directory -s install-tool DESTDIR=$(abspath $(BUILD)/deb) PREFIX=/usr
	strip $(BUILD)/deb/usr/bin/vmmu
	scripts/make-deb $(BUILD)/deb $(VMMU_VERSION) $@
	@echo $@

.PHONY: install-tool deb
