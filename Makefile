# The ways to work with this repository. CI runs exactly these.
#
#   make run     install what is missing, build, start the server
#   make test    install what is missing, run all tests
#   make check   formatting, lints, documentation, walls, licences
#   make e2e     only the end-to-end tests
#   make fuzz    fuzz every parser for SECONDS (default 30) each
#   make bench   measure against nginx-rtmp and the floor (about 40 minutes; nothing else may run)

# rustup's own place, in case it was installed a moment ago and is not on the PATH yet.
export PATH := $(PATH):$(HOME)/.cargo/bin
CARGO ?= cargo
SECONDS ?= 30
ARGS ?=
PY := target/tools/py
export OXCAST_FFMPEG_NEW ?= $(CURDIR)/target/tools/ffmpeg-new

# The pages, which become part of the program; any of them stands for all, as Vite writes all at once.
PAGES := web/dist/players/index.html
PAGES_SOURCES := $(shell find web -name node_modules -prune -o -path 'web/dist*' -prune -o -type f -print)

.PHONY: run build test check e2e fuzz bench tools-build tools-test tools-bench

run: $(PAGES)
	$(CARGO) build --release --bin oxcast
	target/release/oxcast $(ARGS)

build: $(PAGES)
	$(CARGO) build --release --bin oxcast

test: tools-test $(PAGES)
	tools/pages test
	tools/suite

check: $(PAGES)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --quiet
	$(CARGO) test -p server --test walls --test config_docs
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --all-features check licenses bans; \
	else echo "cargo-deny is not installed: licences and bans are not checked (cargo install cargo-deny)"; fi

e2e: tools-test $(PAGES)
	$(CARGO) test -p server --test e2e

fuzz: tools-build
	fuzz/run $(SECONDS)

bench: tools-bench
	$(CARGO) build --release --bins
	target/release/oxbench run

$(PAGES): $(PAGES_SOURCES) | tools-build
	@tools/pages build

tools-build:
	@tools/install build

tools-test:
	@tools/install test

tools-bench:
	@tools/install bench
