#!/usr/bin/env bash
# Installs and starts every engine that the tests run against, on a Debian or Ubuntu host, as root.
#   engines.sh start   what is missing is installed, started and filled with the test images; each step is said first
#   engines.sh stop    ends what `start` started; packages, images and caches stay
#   engines.sh env     prints where everything is (KEY=value)
# Run it as often as you like: when everything answers, it changes nothing and takes a second or two.
set -euo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# the caller's engine settings must not lead our clients elsewhere
unset DOCKER_HOST DOCKER_CONTEXT DOCKER_CONFIG CONTAINER_HOST

PROGRAM=engines
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for part in common docker docker26 registry podman images; do
    # shellcheck source=/dev/null
    . "$HERE/lib/$part.sh"
done
IMAGE_PULL=$REGISTRY/$IMAGE_BUSYBOX
READY=()

write_env() {
    cat >"$RUN/engines.env.new" <<ENV
DOCKER_CLI=$DOCKER_CLI
DOCKER_SOCKET=$DOCKER_SOCKET
DOCKER26_SOCKET=$DOCKER26_SOCKET
DOCKER26_NETNS=$DOCKER26_NETNS
PODMAN_SOCKET=$PODMAN_SOCKET
PODMAN_USER=$PODMAN_USER
PODMAN_UID=$PODMAN_UID
PODMAN_GID=$(id -g $PODMAN_USER)
PODMAN_HOME=$PODMAN_HOME
PODMAN_RUNTIME_DIR=$PODMAN_RUNTIME_DIR
REGISTRY=$REGISTRY
IMAGE_DEBIAN=$IMAGE_DEBIAN
IMAGE_SUDO=$IMAGE_SUDO
IMAGE_BUSYBOX=$IMAGE_BUSYBOX
IMAGE_UID1000=$IMAGE_UID1000
IMAGE_SERVER=$IMAGE_SERVER
IMAGE_PULL=$IMAGE_PULL
ENV
    mv "$RUN/engines.env.new" "$RUN/engines.env"
}

start() {
    if forget_previous_boot; then podman_forget_previous_boot; fi
    need openssh-server openssh-client openssh-sftp-server rsync curl libnss-systemd openssl strace xauth xz-utils git
    # sshd's unit makes it when it starts; without it sshd does not even say how it is configured
    mkdir -p /run/sshd
    docker_start
    docker26_start
    registry_start
    podman_start
    load_docker Docker $DOCKER_SOCKET
    load_docker Docker $DOCKER_SOCKET server
    load_docker 'the newer Docker' $DOCKER26_SOCKET
    load_podman
    push_to_registry
    write_env
    local line
    for line in "${READY[@]}"; do say "ready: $line"; done
}

stop() {
    rm -f "$RUN/engines.env"
    podman_stop
    registry_stop
    docker26_stop
    docker_stop
}

become_root "$@"
mkdir -p "$RUN" "$LOG" "$CACHE" "$DATA"
case ${1:-} in
    start | stop)
        # two at once would install and start the same things
        exec 9>"$RUN/lock"
        flock 9
        "$1"
        ;;
    env) cat "$RUN/engines.env" 2>/dev/null || die "the engines are not set up: run \`scripts/engines.sh start\`" ;;
    *) die "usage: scripts/engines.sh start|stop|env" ;;
esac
