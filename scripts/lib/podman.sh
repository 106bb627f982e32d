# Rootless Podman under an account of its own, its API on a socket. Sourced by engines.sh.
# The account has no password and no other use. Everything of it may be thrown away.

PODMAN_USER=podspawn-test

podman_account() {
    PODMAN_UID=$(id -u $PODMAN_USER)
    PODMAN_HOME=$(getent passwd $PODMAN_USER | cut -d: -f6)
    PODMAN_RUNTIME_DIR=/run/user/$PODMAN_UID
    PODMAN_SOCKET=$PODMAN_RUNTIME_DIR/podman/podman.sock
    # a command of that account, with nothing of our environment
    AS_PODMAN=(env -i HOME="$PODMAN_HOME" USER=$PODMAN_USER LOGNAME=$PODMAN_USER XDG_RUNTIME_DIR="$PODMAN_RUNTIME_DIR"
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
        setpriv --reuid="$PODMAN_UID" --regid="$(id -g $PODMAN_USER)" --init-groups --)
}

# Run there: Podman insists on a working directory that it may enter.
podman_cli() { (cd "$PODMAN_HOME" && "${AS_PODMAN[@]}" podman "$@" </dev/null); }

# The first subordinate id after every range handed out so far.
next_subid() { awk -F: 'BEGIN {m = 100000} $2 + $3 > m {m = $2 + $3} END {print m}' "$1"; }

podman_prepare() {
    need podman runc slirp4netns uidmap netavark aardvark-dns iptables conmon catatonit fuse-overlayfs util-linux
    if ! id $PODMAN_USER >/dev/null 2>&1; then
        say "making the account $PODMAN_USER for rootless Podman"
        useradd --create-home --shell /bin/bash --password '*' $PODMAN_USER
    fi
    podman_account
    local file
    for file in /etc/subuid /etc/subgid; do
        touch $file
        grep -q "^$PODMAN_USER:" $file || echo "$PODMAN_USER:$(next_subid $file):65536" >>$file
    done
    # slirp4netns opens it as the account
    if [ ! -c /dev/net/tun ]; then
        mkdir -p /dev/net
        mknod /dev/net/tun c 10 200
    fi
    chmod 666 /dev/net/tun

    install -d -m 700 -o $PODMAN_USER -g $PODMAN_USER "$PODMAN_RUNTIME_DIR" "$PODMAN_RUNTIME_DIR/podman"
    local config=$PODMAN_HOME/.config/containers
    install -d -o $PODMAN_USER -g $PODMAN_USER "$PODMAN_HOME/.config" "$config"
    # runc: crun refuses hosts with both generations of cgroups. exit_command_delay: how long each API exec leaves its
    # conmon behind (300 s by default). The overlay driver is named since Podman otherwise copies whole layers.
    cat >"$config/containers.conf" <<CONF
[containers]
netns = "bridge"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
init_path = "/usr/bin/catatonit"
events_logger = "file"
exit_command_delay = 10
[engine.runtimes]
runc = ["/usr/sbin/runc", "/usr/bin/runc"]
[network]
network_backend = "netavark"
CONF
    printf '[storage]\ndriver = "overlay"\n' >"$config/storage.conf"
    printf 'unqualified-search-registries = []\n[[registry]]\nlocation = "%s"\ninsecure = true\n' "$REGISTRY" >"$config/registries.conf"
    printf '{"default": [{"type": "insecureAcceptAnything"}]}\n' >"$config/policy.json"
    chown -R $PODMAN_USER:$PODMAN_USER "$config"
}

# On a host whose /run is on disk Podman cannot see that the machine was booted, and believes in containers that are gone.
podman_forget_previous_boot() {
    id $PODMAN_USER >/dev/null 2>&1 || return 0
    podman_account
    rm -rf --one-file-system "$PODMAN_RUNTIME_DIR"/{libpod,containers,runc,crun,netns,podman,overlay*,vfs*} \
        "/tmp/podman-run-$PODMAN_UID" "/tmp/containers-user-$PODMAN_UID" 2>/dev/null || true
}

podman_start() {
    local version
    podman_prepare
    if ! version=$(docker_answers "$PODMAN_SOCKET"); then
        say "starting rootless Podman's service as $PODMAN_USER on $PODMAN_SOCKET, log in $LOG/podman.log"
        stop_daemon podman 5
        rm -f "$PODMAN_SOCKET"
        # the process that held the account's user namespace was killed: Podman wants to be told
        local pause
        pause=$(cat "$PODMAN_RUNTIME_DIR/libpod/tmp/pause.pid" 2>/dev/null || true)
        if [ -n "$pause" ] && ! kill -0 "$pause" 2>/dev/null; then
            podman_cli system migrate >>"$LOG/podman.log" 2>&1 || die_with_log "Podman cannot begin anew" "$LOG/podman.log"
        fi
        start_daemon podman "${AS_PODMAN[@]}" env -C "$PODMAN_HOME" podman system service --time=0 "unix://$PODMAN_SOCKET"
        await podman 60 docker_answers "$PODMAN_SOCKET"
        version=$(docker_answers "$PODMAN_SOCKET")
    fi
    READY+=("rootless Podman $version on $PODMAN_SOCKET")
}

podman_stop() {
    id $PODMAN_USER >/dev/null 2>&1 || return 0
    podman_account
    command -v podman >/dev/null || return 0
    daemon_pid podman >/dev/null || return 0
    podman_cli stop --all --time 2 >/dev/null 2>&1 || true
    stop_daemon podman 5
    # ends the process that holds the account's user namespace
    podman_cli system migrate >/dev/null 2>&1 || true
}
