#!/usr/bin/env bash
# Runs every fuzz target, or the named ones: scripts/fuzz.sh [SECONDS [TARGET…]], 60 s each unless told otherwise.
# The stable toolchain will do: the coverage that libFuzzer steers by comes from LLVM, not from a sanitizer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../fuzz"
CARGO=${CARGO:-cargo}
seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(basename -s .rs fuzz_targets/*.rs)

host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    RUSTFLAGS+=" -Cllvm-args=-sanitizer-coverage-$option"
done
# With a target of their own, build scripts and macros are left as they are.
"$CARGO" build --release --quiet --target "$host" --target-dir "${CARGO_TARGET_DIR:-target}"

for target in "${targets[@]}"; do
    echo "fuzz: $target for $seconds s" >&2
    mkdir -p "corpus/$target" artifacts
    "${CARGO_TARGET_DIR:-target}/$host/release/$target" "corpus/$target" "seeds/$target" \
        -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=5 -artifact_prefix="artifacts/$target-"
done
