#!/usr/bin/env bash
# The release build. `podspawn` carries the guest and the PAM module inside; the same files are put beside it, for packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
CARGO=${CARGO:-cargo}

messages=$("$CARGO" build --release --package podspawn --bin podspawn --message-format=json-render-diagnostics)
# cargo says where it put things, whatever its configuration makes of the target folder
guest=$(sed -n 's/.*\["PODSPAWN_GUEST","\([^"]*\)"\].*/\1/p' <<<"$messages")
module=$(sed -n 's/.*\["PODSPAWN_PAM","\([^"]*\)"\].*/\1/p' <<<"$messages")
program=$(sed -n 's/.*"executable":"\([^"]*\/podspawn\)".*/\1/p' <<<"$messages" | tail -n 1)
if [ ! -s "$guest" ] || [ ! -s "$module" ] || [ ! -x "$program" ]; then
    echo "build: error: cargo did not say where the program, the guest and the PAM module are" >&2
    exit 1
fi
cmp -s "$guest" "${program%/*}/podspawn-guest" || install -m 0755 "$guest" "${program%/*}/podspawn-guest"
cmp -s "$module" "${program%/*}/pam_podspawn.so" || install -m 0644 "$module" "${program%/*}/pam_podspawn.so"
