#!/usr/bin/env bash
# From a fresh Debian or Ubuntu host to a private container: sets up what is missing (a C compiler, a container engine,
# a base image), builds the release, then `podspawn run scratch`. Each thing that is installed or started is said first.
# With a terminal it ends in a shell; without one a short command runs in the machine, and its status is ours.
set -euo pipefail
PROGRAM=setup
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SELF=$ROOT/scripts/run.sh
for part in common docker images; do
    # shellcheck source=/dev/null
    . "$ROOT/scripts/lib/$part.sh"
done

DEFAULT_IMAGE=ubuntu:24.04 # what podspawn takes when nothing else is configured

# as_root STEP: this script's step, with sudo where the caller is somebody else.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -- "$SELF" "$@"; fi
}

engine() { perl "$ROOT/scripts/lib/engine-http.pl" "$@"; }

# Where an engine may answer, in the order in which podspawn looks.
engine_sockets() {
    local given runtime=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
    for given in "${DOCKER_HOST:-}" "$(context_host)" "${CONTAINER_HOST:-}"; do
        [ -z "$given" ] || { echo "${given#unix://}" && return; }
    done
    printf '%s\n' /var/run/docker.sock "$runtime/docker.sock" "${HOME:-/root}/.docker/desktop/docker.sock" \
        "$runtime/podman/podman.sock" /run/podman/podman.sock
}

# The engine of Docker's context, where one is chosen.
context_host() {
    local config=${DOCKER_CONFIG:-${HOME:-/root}/.docker} name=${DOCKER_CONTEXT:-} meta
    [ -n "$name" ] || name=$(sed -nE 's/.*"currentContext"[[:space:]]*:[[:space:]]*"([^"]*)".*/\1/p' "$config/config.json" 2>/dev/null) || true
    case $name in '' | default) return ;; esac
    meta=$config/contexts/meta/$(printf %s "$name" | sha256sum | cut -d' ' -f1)/meta.json
    sed -nE 's/.*"Host"[[:space:]]*:[[:space:]]*"([^"]*)".*/\1/p' "$meta" 2>/dev/null | head -n 1 || true
}

# Prints the first socket that answers us.
answering_socket() {
    local socket
    for socket in $(engine_sockets); do
        if [ -S "$socket" ] && engine "$socket" GET /_ping >/dev/null 2>&1; then
            echo "$socket"
            return
        fi
    done
    return 1
}

step_toolchain() { need gcc libc6-dev; }

step_engine() {
    docker_install
    [ -n "$(docker_answers $DOCKER_SOCKET)" ] || docker_start_daemon
}

# step_base_image SOCKET NAME
step_base_image() {
    local socket=$1 name=$2
    need ca-certificates
    ensure_tar host
    say "loading $name into the engine"
    engine "$socket" POST "/images/create?fromSrc=-&repo=${name%:*}&tag=${name##*:}&changes=CMD%20%5B%22bash%22%5D" "$(image_tar host)" >/dev/null ||
        die "the engine at $socket did not take the image"
}

case ${1:-} in
    step_toolchain | step_engine | step_base_image)
        # not at the same time as another setup
        mkdir -p "$RUN" "$LOG"
        exec 9>"$RUN/lock"
        flock 9
        "$@"
        exit
        ;;
esac

# the owner of the machine; services and bare containers have no such variable
export USER=${USER:-$(id -un)}

command -v cargo >/dev/null || die "cargo is not in PATH: install the Rust toolchain first (see README.md)"
command -v cc >/dev/null || as_root step_toolchain

sudo=()
if ! socket=$(answering_socket); then
    if [ -n "${DOCKER_HOST:-}$(context_host)${CONTAINER_HOST:-}" ]; then
        # somebody chose an engine: it may be remote, which podspawn can tell, and it is not ours to replace
        socket=
    else
        as_root step_engine
        socket=/var/run/docker.sock
        if ! engine $socket GET /_ping >/dev/null 2>&1; then
            say "the engine's socket belongs to root: running the machine with sudo"
            sudo=(sudo --)
        fi
    fi
fi

"${MAKE:-make}" --no-print-directory -s -C "$ROOT" build
binary=$("$ROOT/scripts/target-dir.sh")/release/podspawn

image=()
if [ -n "$socket" ]; then
    has_image() { "${sudo[@]}" perl "$ROOT/scripts/lib/engine-http.pl" "$socket" GET "/images/$1/json" >/dev/null 2>&1; }
    if ! has_image "$DEFAULT_IMAGE"; then
        base=$(host_image_name)
        if ! has_image "$base"; then
            say "pulling $DEFAULT_IMAGE"
            answer=$("${sudo[@]}" perl "$ROOT/scripts/lib/engine-http.pl" "$socket" POST \
                "/images/create?fromImage=${DEFAULT_IMAGE%:*}&tag=${DEFAULT_IMAGE##*:}" 2>&1) || true
            if ! has_image "$DEFAULT_IMAGE"; then
                say "no registry is reachable ($(sed -nE 's/.*"message":"(([^"\\]|\\.)*)".*/\1/p' <<<"$answer" | tail -n 1 | tr -d '\\'))"
                say "building the base image $base from the distribution's packages instead"
                as_root step_base_image "$socket" "$base"
            fi
        fi
        has_image "$DEFAULT_IMAGE" || image=(--image "$base")
    fi
fi

if [ -t 0 ] && [ -t 1 ]; then
    say "podspawn run scratch ${image[*]}"
    exec "${sudo[@]}" "$binary" run scratch "${image[@]}"
fi
# shellcheck disable=SC2016  # expanded inside the machine
command='echo "hello from $(hostname), as $(id -un) (uid $(id -u))"; head -n 1 /etc/os-release'
say "podspawn run scratch ${image[*]} <<< '$command'"
printf '%s\n' "$command" | "${sudo[@]}" "$binary" run scratch "${image[@]}"
