# The distribution's Docker on its usual socket, with gVisor registered. Sourced by engines.sh.

DOCKER_SOCKET=/var/run/docker.sock
DOCKER_CLI=/usr/bin/docker
# Where networks get their addresses: of the ranges that Docker has by default, but in small pieces
DOCKER_POOL=base=172.20.0.0/14,size=26

# docker_answers SOCKET: prints the engine's version.
docker_answers() { timeout 20 "$DOCKER_CLI" -H "unix://$1" version --format '{{.Server.Version}}' 2>/dev/null; }

docker_install() {
    need ca-certificates iptables iproute2 docker.io
    # newer releases ship the client as a package of its own
    [ -x "$DOCKER_CLI" ] || need docker-cli
}

# gVisor's platform and network are the ones that work on every kernel: kvm needs nested virtualisation, and the
# sandbox network stack refuses to start where the root namespace cannot be probed.
docker_register_runsc() {
    local file=/etc/docker/daemon.json
    local entry='{"runtimes":{"runsc":{"path":"/usr/bin/runsc","runtimeArgs":["--platform=ptrace","--network=host"]}}}'
    grep -qs '"runsc"' $file && return 1
    say "registering gVisor (runsc) in $file"
    mkdir -p /etc/docker
    if [ -s $file ]; then
        need jq
        jq --argjson add "$entry" '. * $add' $file >$file.new
    else
        echo "$entry" >$file.new
    fi
    mv $file.new $file
}

docker_knows_runsc() {
    "$DOCKER_CLI" -H "unix://$DOCKER_SOCKET" info --format '{{range $name, $r := .Runtimes}}{{$name}} {{end}}' 2>/dev/null | grep -qw runsc
}

# A daemon that was killed, or a boot on a host whose /run is on disk, leaves pid files; dockerd believes them as soon as
# any process has that number.
docker_drop_stale() { # RUN_ROOT PIDFILE
    local file pid
    for file in "$2" "$1"/containerd/containerd.pid; do
        pid=$(cat "$file" 2>/dev/null) || continue
        case $(cat "/proc/$pid/comm" 2>/dev/null) in
            dockerd | containerd) ;;
            *) rm -f "$file" ;;
        esac
    done
}

docker_start_daemon() {
    if has_systemd; then
        say "starting docker.service"
        systemctl start docker.service || die "docker.service does not start: see \`journalctl -u docker\`"
    else
        say "starting dockerd on $DOCKER_SOCKET, log in $LOG/docker.log"
        docker_drop_stale /var/run/docker /var/run/docker.pid
        # Smaller networks of the ranges that it takes anyway: as they come, some thirty sessions use them up.
        local pools=(--default-address-pool "$DOCKER_POOL")
        ! grep -qs default-address-pools /etc/docker/daemon.json || pools=()
        start_daemon docker dockerd "${pools[@]}"
        await docker 60 docker_answers $DOCKER_SOCKET
    fi
    docker_answers $DOCKER_SOCKET >/dev/null || die "Docker was started and does not answer on $DOCKER_SOCKET"
}

# Docker with gVisor beside its default runtime.
docker_start() {
    local fresh_config=
    docker_install
    need runsc
    docker_register_runsc && fresh_config=1
    if ! docker_answers $DOCKER_SOCKET >/dev/null; then
        docker_start_daemon
    elif [ -n "$fresh_config" ] || ! docker_knows_runsc; then
        say "telling the running dockerd about runsc"
        kill -HUP "$(cat /var/run/docker.pid)"
    fi
    local deadline=$((SECONDS + 15))
    until docker_knows_runsc; do
        [ $SECONDS -lt $deadline ] || die "Docker runs but does not offer the runtime runsc: see /etc/docker/daemon.json"
        sleep 0.2
    done
    READY+=("Docker $(docker_answers $DOCKER_SOCKET) on $DOCKER_SOCKET")
}

# The packet filter rules of the stories' servers, unless this host is a server itself.
docker_drop_rules() {
    [ ! -e /etc/podspawn/config.yaml ] || return 0
    local filter hook
    for filter in iptables ip6tables; do
        for hook in INPUT FORWARD; do
            "$filter" -w -t mangle -S "PODSPAWN-$hook" >/dev/null 2>&1 || continue
            while "$filter" -w -t mangle -D $hook -i pspg-+ -j "PODSPAWN-$hook" 2>/dev/null; do :; done
            "$filter" -w -t mangle -F "PODSPAWN-$hook" && "$filter" -w -t mangle -X "PODSPAWN-$hook"
        done
    done
}

docker_stop() {
    stop_daemon docker 60
    docker_drop_rules
}
