# A first look, the tests, and everything that a change must pass. Needs Rust, a C compiler and a
# Redis or Valkey server (tests/redis-server says where one comes from).

CARGO ?= cargo
# Where `make tools` puts what `make check` needs.
export PATH := $(CURDIR)/target/tools/bin:$(PATH)

# Where Redis comes from; whatever fails here fails the target.
with_redis = REELQ_REDIS_SERVER="$$(tests/redis-server)" || exit 1; export REELQ_REDIS_SERVER;

.PHONY: help demo test upgrade-test bench check deny tools

help:
	@echo "make demo    Redis, a stand-in for the API, workers, a gateway and jobs, for less than a minute"
	@echo "make test    all tests"
	@echo "make upgrade-test   workers of an earlier version beside this one's"
	@echo "make bench   what the queue costs; target/bench.json (docs/performance.md)"
	@echo "make check   formatting, lints, documentation, licences of the dependencies"
	@echo "make tools   cargo-deny, for make check, under target/"

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

# Advisories need a database from the network; .config/deny.toml says how to look at them too.
deny:
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: make tools" >&2; exit 1; }
	$(CARGO) deny --locked --config .config/deny.toml check bans licenses sources

tools:
	$(CARGO) install --debug --locked --quiet cargo-deny --version 0.20.2 --root target/tools
