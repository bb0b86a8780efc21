# A first look, the tests, and everything that a change must pass. Needs Rust, a C compiler and a
# Redis or Valkey server (tests/redis-server says where one comes from).

CARGO ?= cargo
# Where `make tools` puts what `make check` needs.
export PATH := $(CURDIR)/target/tools/bin:$(PATH)

# Where Redis comes from; whatever fails here fails the target.
with_redis = REELQ_REDIS_SERVER="$$(tests/redis-server)" || exit 1; export REELQ_REDIS_SERVER;

.PHONY: help demo test upgrade-test bench check deny tools tree install dist dist-tools

help:
	@echo "make demo    Redis, a stand-in for the API, workers, a gateway and jobs, for less than a minute"
	@echo "make test    all tests"
	@echo "make upgrade-test  workers of an earlier version beside this one's"
	@echo "make bench   what the queue costs; target/bench.json (docs/performance.md)"
	@echo "make check   formatting, lints, documentation, licences of the dependencies"
	@echo "make tools   cargo-deny, for make check, under target/"
	@echo "make install the program, its manual and completions, under PREFIX (/usr/local)"
	@echo "make dist    an archive of them with checksum and licences; make dist-tools first"

# The dev profile: there is no link-time optimisation to wait for, and the tests use the same build.
demo:
	@$(with_redis) $(CARGO) run --locked -- demo

# The last lines say what could not be tested here.
skipped = target/skipped.txt
test:
	@mkdir -p target && rm -f $(skipped)
	@$(with_redis) REELQ_SKIPPED=$(CURDIR)/$(skipped) $(CARGO) test --locked
	@if [ -s $(skipped) ]; then sort -u $(skipped); else echo "nothing was skipped"; fi

# Workers of the commit in tests/upgrade-from beside this one's. What is not there is built first.
upgrade-test:
	@$(with_redis) REELQ_OLD_PROGRAM="$$(tests/old-program)" || exit 1; export REELQ_OLD_PROGRAM; \
	$(CARGO) test --locked --test it -- --list upgrade:: | grep ': test$$' && \
	$(CARGO) test --locked --test it -- upgrade:: --nocapture

# Options behind --: `make bench BENCH='--rounds 1 --drain 100000'`, or one part: BENCH=lives.
BENCH ?=
bench:
	@$(with_redis) $(CARGO) bench --locked --bench reelq -- $(BENCH)

check: deny
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --no-default-features --lib -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --no-default-features --lib

# What is installed, and the archive of it.
PREFIX ?= /usr/local
PROFILE ?= release
version = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
archive = reelq-$(version)-$(shell rustc -vV | sed -n 's/^host: //p')
tree = target/dist/$(archive)
share = $(tree)/share
program = target/$(PROFILE:dev=debug)/reelq

tree:
	$(CARGO) build --locked --profile $(PROFILE) --bin reelq
	rm -rf $(tree)
	mkdir -p $(tree)/bin $(share)/man $(share)/doc/reelq $(share)/bash-completion/completions \
		$(share)/zsh/site-functions $(share)/fish/vendor_completions.d
	strip -o $(tree)/bin/reelq $(program)
	$(program) manual $(share)/man/man1
	$(program) completions bash >$(share)/bash-completion/completions/reelq
	$(program) completions zsh >$(share)/zsh/site-functions/_reelq
	$(program) completions fish >$(share)/fish/vendor_completions.d/reelq.fish
	cp -R README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT docs config deploy $(share)/doc/reelq/

install: tree
	mkdir -p "$(DESTDIR)$(PREFIX)"
	cp -Rf $(tree)/. "$(DESTDIR)$(PREFIX)/"

# Of the licences the crates bring their texts along: nobody else is asked for them.
dist: tree
	@command -v cargo-about >/dev/null || { echo "cargo-about is missing: make dist-tools" >&2; exit 1; }
	$(CARGO) fetch --locked
	$(CARGO) about generate --frozen --config .config/about.toml --fail \
		--output-file $(share)/doc/reelq/THIRD-PARTY.txt .config/about.hbs
	tar -C target/dist -czf target/dist/$(archive).tar.gz $(archive)
	cd target/dist && { sha256sum $(archive).tar.gz || shasum -a 256 $(archive).tar.gz; } >SHA256SUMS
	@echo "target/dist/$(archive).tar.gz"

# Advisories need a database from the network; .config/deny.toml says how to look at them too.
deny:
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: make tools" >&2; exit 1; }
	$(CARGO) deny --locked --config .config/deny.toml check bans licenses sources

tools:
	$(CARGO) install --debug --locked --quiet cargo-deny --version 0.20.2 --root target/tools

dist-tools:
	$(CARGO) install --locked --quiet cargo-about --version 0.9.3 --features cli --root target/tools
