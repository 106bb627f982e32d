#!/usr/bin/env bash
# The release build. `podspawn` carries the guest inside; the same guest is put beside it, for packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
CARGO=${CARGO:-cargo}

messages=$("$CARGO" build --release --package podspawn --bin podspawn --message-format=json-render-diagnostics)
# cargo says where it put things, whatever its configuration makes of the target folder
guest=$(sed -n 's/.*\["PODSPAWN_GUEST","\([^"]*\)"\].*/\1/p' <<<"$messages")
program=$(sed -n 's/.*"executable":"\([^"]*\/podspawn\)".*/\1/p' <<<"$messages" | tail -n 1)
if [ ! -s "$guest" ] || [ ! -x "$program" ]; then
    echo "build: error: cargo did not say where the program and the guest are" >&2
    exit 1
fi
cmp -s "$guest" "${program%/*}/podspawn-guest" || install -m 0755 "$guest" "${program%/*}/podspawn-guest"
