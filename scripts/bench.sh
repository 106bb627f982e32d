#!/usr/bin/env bash
# Measures the promises about speed: engines, release build, then the rows. Arguments go to the program (--pairs N,
# --only TEXT). Root is needed to act as the account of rootless Podman, and to set up an sshd of its own on loopback with
# accounts, which are removed again. What is missing (sshd, its clients, engines) is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
CARGO=${CARGO:-cargo}
if [ "$(id -u)" != 0 ]; then
    echo "bench: needs root: going on with sudo" >&2
    exec sudo -- env "PATH=$PATH" "HOME=$HOME" "CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}" "RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}" \
        "CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/root}" "CARGO=$CARGO" "$PWD/scripts/bench.sh" "$@"
fi
target=$(scripts/target-dir.sh)
scripts/engines.sh start
"$CARGO" build --release --quiet --package podspawn --bin podspawn
"$CARGO" build --release --quiet --package podspawn-bench
# what the rows set up on this host goes with each row; after an interruption it goes here
trap '"$target/release/podspawn-bench" --clean' EXIT
"$target/release/podspawn-bench" --json "$target/bench.json" "$@"
