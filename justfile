# What there is to do.
default:
    @just --list

# Everything that CI checks. `.ci/run` and `.ci/requirements.txt` say what it needs.
check:
    .ci/check

# Measure this machine.
bench:
    cargo bench --bench service

# Bring every file into shape.
fmt:
    cargo fmt
    taplo fmt
    buf format --write proto
