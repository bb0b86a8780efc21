# A first look, the tests, and everything that a change must pass. Needs Rust, a C compiler and a
# Redis or Valkey server (tests/redis-server says where one comes from).

CARGO ?= cargo
CARGO_DENY_VERSION = 0.20.2

# Where Redis comes from; whatever fails here fails the target.
with_redis = REELQ_REDIS_SERVER="$$(tests/redis-server)" || exit 1; export REELQ_REDIS_SERVER;

.PHONY: help demo test check deny

help:
	@echo "make demo    Redis, a stand-in for the API, workers and jobs, for less than a minute"
	@echo "make test    all tests"
	@echo "make check   formatting, lints, documentation, licences of the dependencies"

# The dev profile: it is built in a third of the time, and the tests use the same build.
demo:
	@$(with_redis) $(CARGO) run --locked -- demo

test:
	@$(with_redis) $(CARGO) test --locked

check: deny
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --no-default-features --lib -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --no-default-features --lib

# Advisories need a database from the network: `cargo deny --config .config/deny.toml check` looks at them too.
deny:
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: cargo install --debug" \
	    "--locked cargo-deny --version $(CARGO_DENY_VERSION)" >&2; exit 1; }
	$(CARGO) deny --locked --config .config/deny.toml check bans licenses sources
