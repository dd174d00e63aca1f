# What each target needs is installed by fixtures/lab/setup.sh on Debian, as root.
GO ?= go
FUZZTIME ?= 5000x
CASES ?= 100000
PREFIX ?= /usr/local
LAB := fixtures/lab/setup.sh

.PHONY: all build test bench fuzz campaign fixtures lint lab docs install

all: build

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o build/lvrescue ./cmd/lvrescue

# All tests, those in the VM included: the lab is set up first. The race detector then sees
# all but those that only drive the VM, and the longest comparisons.
test: lab
	$(GO) test -timeout 30m ./...
	$(GO) test -race -short -timeout 30m $$($(GO) list ./... | grep -v -e /fixtures/lab -e /fixtures/vmtest)

lab:
	bash $(LAB)

bench: lab build
	$(GO) run ./fixtures/bench
	$(GO) test -run '^$$' -bench . -benchmem ./...

# Every fuzz target for FUZZTIME: inputs, or a time as go test takes it. Before Go 1.27 a run
# that ends by time may fail with nothing found (https://go.dev/issue/75804). Inputs are large
# here: without a bound, making a find smaller takes all the time.
fuzz:
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
	  done; done

# Random damage to all corpora, held against the promises, until CASES have been run in all.
# build/campaign.json remembers how far it has come.
campaign:
	$(GO) build -buildvcs=auto -o build/campaign ./fixtures/campaign
	build/campaign -total $(CASES)

# Manual pages and shell completions, made from the commands.
docs:
	$(GO) run ./cmd/gendocs build/docs

install: build docs
	install -D build/lvrescue $(DESTDIR)$(PREFIX)/bin/lvrescue
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man8 build/docs/man8/*.8
	install -D -m 644 build/docs/completions/lvrescue.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/lvrescue
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/zsh/site-functions build/docs/completions/_lvrescue
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d build/docs/completions/lvrescue.fish

# Remakes all corpora with real LVM in the VM.
fixtures: lab
	$(GO) run ./fixtures/lab/make

lint:
	@test -z "$$(gofmt -l .)" || { echo "gofmt:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
