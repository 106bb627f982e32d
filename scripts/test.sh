#!/usr/bin/env bash
# Everything that must hold: the engines answer, the format, the lints, all tests. `--soak` runs the longer rounds.
# Root is needed: tests look into containers, act as the account of rootless Podman and make namespaces.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ "$(id -u)" != 0 ]; then
    echo "test: the tests need root: going on with sudo" >&2
    exec sudo -- env "PATH=$PATH" "HOME=$HOME" "CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}" "RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}" \
        "CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/root}" "CARGO=${CARGO:-cargo}" \
        "PODSPAWN_SOAK_SECONDS=${PODSPAWN_SOAK_SECONDS:-}" "PODSPAWN_SEED=${PODSPAWN_SEED:-}" "$PWD/scripts/test.sh" "$@"
fi
CARGO=${CARGO:-cargo}
step() { echo "test: $*" >&2; }
command -v cc >/dev/null || scripts/run.sh step_toolchain

step "$CARGO fmt --check"
"$CARGO" fmt --all --check
# Engines are unpacked and started while the compiler works. They are waited for in any case: half an installation helps nobody.
env --default-signal=INT,QUIT scripts/engines.sh start &
engines=$!
trap 'wait' EXIT
step "$CARGO clippy"
"$CARGO" clippy --workspace --all-targets --quiet -- -D warnings
# and without what only tests switch on
"$CARGO" clippy --package podspawn --lib --bins --quiet -- -D warnings
"$CARGO" test --workspace --no-run --quiet
wait "$engines"
# A shell that starts this in the background, or nohup, ignores these for all its children; stories press Ctrl-C and hang up.
with_signals=(env --default-signal=HUP,INT,QUIT)
# Stories wait for engines and clocks more than they compute; some of them count on an engine that is not overrun.
threads=$((2 * $(nproc)))
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((threads < 8 ? threads : 8))}
case ${1:-} in
    --soak)
        step "$CARGO test, long rounds"
        PODSPAWN_SOAK=1 "${with_signals[@]}" "$CARGO" test --workspace --no-fail-fast -- --include-ignored
        ;;
    *)
        step "$CARGO test"
        "${with_signals[@]}" "$CARGO" test --workspace --no-fail-fast
        ;;
esac
