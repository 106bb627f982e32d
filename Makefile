# The doors of the house. The work is done by cargo and by scripts/.
CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
# where cargo's configuration puts it; asked only by those who need it
TARGET = $(shell scripts/target-dir.sh)
RELEASE = $(TARGET)/release

INSTALL := install
BIN := $(DESTDIR)$(PREFIX)/bin
LIB := $(DESTDIR)$(PREFIX)/lib/podspawn
SHARE := $(DESTDIR)$(PREFIX)/share/podspawn
UNITS := $(DESTDIR)$(PREFIX)/lib/systemd/system
DOC := $(DESTDIR)$(PREFIX)/share/doc/podspawn

export CARGO

.DEFAULT_GOAL := help
.PHONY: help run build test soak bench engines install uninstall clean fmt

help: ## this text
	@echo 'podspawn: private containers over plain SSH, and throwaway machines locally'
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do \
		printf '%-16s %s\n' "$$target" "$$text"; done
	@echo
	@echo 'Variables: PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) CARGO_TARGET_DIR=$(TARGET)'

run: ## sets up what is missing, builds, and puts you into a throwaway container
	@MAKE='$(MAKE)' scripts/run.sh

build: ## release build of everything into cargo's target folder
	@scripts/build.sh

test: ## installs and starts the engines, then format, lints and all tests (needs root or sudo)
	@scripts/test.sh

soak: ## the longer proofs: many kills, many rounds (needs root or sudo)
	@scripts/test.sh --soak

bench: ## the speed budgets, as a table and in bench.json (needs root or sudo)
	@scripts/bench.sh

engines: ## installs and starts every container engine that tests run against
	@scripts/engines.sh start

install: ## puts the built files where a package would [PREFIX= DESTDIR=]
	@test -x $(RELEASE)/podspawn || $(MAKE) --no-print-directory build
	set -e; release=$(RELEASE); \
		: renamed into place, as users log in through it at every moment; \
		$(INSTALL) -D -m 0755 $$release/podspawn $(BIN)/.podspawn.new; \
		mv -f $(BIN)/.podspawn.new $(BIN)/podspawn; \
		$(INSTALL) -D -m 0755 $$release/podspawn-guest $(LIB)/podspawn-guest; \
		$(INSTALL) -D -m 0644 $$release/pam_podspawn.so $(LIB)/pam_podspawn.so
	$(INSTALL) -D -m 0644 config.example.yaml $(SHARE)/config.example.yaml
	set -e; unit=$$(mktemp); trap 'rm -f "$$unit"' EXIT; for file in packaging/systemd/*; do \
		sed 's|/usr/local/bin/podspawn|$(PREFIX)/bin/podspawn|' $$file >"$$unit"; \
		$(INSTALL) -D -m 0644 "$$unit" $(UNITS)/$$(basename $$file); done
	set -e; for file in $$(find profiles examples -type f 2>/dev/null); do $(INSTALL) -D -m 0644 $$file $(SHARE)/$$file; done
	set -e; for file in $$(find README.md ARCHITECTURE.md CHANGELOG.md SECURITY.md docs -type f); do $(INSTALL) -D -m 0644 $$file $(DOC)/$$file; done
	$(INSTALL) -D -m 0644 LICENSE $(DOC)/copyright

uninstall: ## removes what install put there [PREFIX= DESTDIR=]
	rm -rf $(BIN)/podspawn $(LIB) $(SHARE) $(DOC)
	rm -f $(addprefix $(UNITS)/,$(notdir $(wildcard packaging/systemd/*)))

fmt: ## formats the code
	$(CARGO) fmt --all

clean: ## removes what cargo built (engines, images and caches stay)
	$(CARGO) clean
