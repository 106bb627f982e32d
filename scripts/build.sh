#!/usr/bin/env bash
# The release build. `podspawn` carries the guest inside; the same guest is put beside it for packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
CARGO=${CARGO:-cargo}
release=${CARGO_TARGET_DIR:-target}/release
"$CARGO" build --release --package podspawn
