#!/usr/bin/env bash
# Prints cargo's target folder, wherever cargo's configuration puts it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dir=$("${CARGO:-cargo}" metadata --format-version 1 --no-deps --offline 2>/dev/null |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p') || true
# root may have no cargo where somebody else has built
echo "${dir:-${CARGO_TARGET_DIR:-$PWD/target}}"
