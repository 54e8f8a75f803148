# What there is to do.
default:
    @just --list

# Everything that CI checks. `.ci/run` and `.ci/requirements.txt` say what it needs.
check:
    .ci/check

# The faults at length: fifty kills, twenty stops, many times the seeds and histories that CI has; the counts are printed.
torture:
    WALLET_TEST_ALL=1 WALLET_CRASH_ROUNDS=50 WALLET_STOP_ROUNDS=20 WALLET_TORTURE=1 \
        cargo test --test it -- --nocapture crash:: disk:: faults:: hostile_clients:: unread:: idle:: overload:: \
        stop:: bad_database:: displaced:: simulation:: start:: store:: wal:: linearizability:: schemathesis:: \
        protocol:: postgres::

# Three PostgreSQL nodes under Patroni and two wallets: whatever can fail fails under load, fifty times; prints the gaps.
failover:
    WALLET_TEST_ALL=1 WALLET_FAILOVER_ROUNDS="${WALLET_FAILOVER_ROUNDS:-50}" \
        cargo test --test it -- --nocapture failover::

# Search the parsers with libFuzzer, a minute each; `just fuzz -max_total_time=3600` for an hour.
fuzz *options:
    fuzz/run {{ options }}

# Change the rules of money in every small way, and tell which change no unit test notices. `.ci/mutants` says how.
mutants *options:
    .ci/mutants {{ options }}

# Look for known vulnerabilities. It fetches the advisories of RustSec from GitHub, which CI must not depend on.
audit:
    cargo deny --locked check advisories

# Write a bill of materials of the program (CycloneDX 1.5) to `wallet.cdx.json`. Needs cargo-cyclonedx.
sbom:
    cargo cyclonedx --format json --spec-version 1.5 --target x86_64-unknown-linux-gnu --no-build-deps

# Measure this machine.
bench:
    cargo bench --bench service

# Bring every file into shape.
fmt:
    cargo fmt
    taplo fmt
    buf format --write proto
