# Shared by the scripts in this folder: messages, packages, daemons with their logs. Sourced, never run.
# Everything that these scripts keep on the host lies under the four folders below and can be deleted.

RUN=/run/podspawn-test          # pid files, sockets, engines.env: worthless after a boot
LOG=/var/log/podspawn-test      # one log per daemon
CACHE=/var/cache/podspawn-test  # downloaded packages, image archives
DATA=/var/lib/podspawn-test     # data of the second Docker and of the registry

say() { printf '%s: %s\n' "${PROGRAM:-setup}" "$*" >&2; }
die() { say "error: $*"; exit 1; }

# The rest of the script as root, with sudo where the caller is somebody else.
become_root() {
    [ "$(id -u)" = 0 ] && return
    command -v sudo >/dev/null || die "must run as root: sudo is not installed"
    exec sudo -- "$0" "$@"
}

has_systemd() { [ -d /run/systemd/system ]; }

# need PACKAGE...: installs those that are missing. Nothing that a package brings is started by it (an sshd must not
# come up on port 22 because tests want the program), so that every start is one that we announce.
need() {
    local missing=() package policy=/usr/sbin/policy-rc.d wrote=
    for package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    say "installing ${missing[*]}"
    mkdir -p "$LOG"
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
        wrote=1
    fi
    local status=0
    {
        apt_get update && apt_get install -y --no-install-recommends "${missing[@]}"
    } >"$LOG/apt.log" 2>&1 </dev/null || status=$?
    [ -z "$wrote" ] || rm -f $policy
    [ $status = 0 ] || die_with_log "cannot install ${missing[*]}" "$LOG/apt.log"
}

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@"; }

die_with_log() {
    say "error: $1; the end of $2:"
    tail -n 25 "$2" >&2 2>/dev/null || true
    exit 1
}

# The field of /proc/PID/stat that tells one process from a later one with the same number.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# daemon_pid NAME: prints the pid of a daemon that we started and that still runs.
daemon_pid() {
    local pid started
    read -r pid started 2>/dev/null <"$RUN/$1.pid" || return 1
    [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ] && echo "$pid"
}

# start_daemon NAME COMMAND...: in a session of its own, output to its log, no descriptor of ours kept open, so that
# neither this script's end nor a pipe that somebody reads it through has to do with it.
start_daemon() {
    local name=$1 log="$LOG/$1.log" fd
    shift
    mkdir -p "$RUN" "$LOG"
    printf -- '--- %s: %s\n' "$(date -u +%FT%TZ)" "$*" >>"$log"
    (
        exec </dev/null >>"$log" 2>&1
        for fd in /proc/self/fd/*; do
            fd=${fd##*/}
            [ "$fd" -le 2 ] || eval "exec $fd>&-" 2>/dev/null || true
        done
        cd /
        exec setsid -- "$@"
    ) &
    echo "$! $(start_time $!)" >"$RUN/$name.pid"
}

# stop_daemon NAME [SECONDS]: asks it and its children to end, waits, then insists.
stop_daemon() {
    local pid
    pid=$(daemon_pid "$1") || { rm -f "$RUN/$1.pid"; return 0; }
    say "stopping $1 (pid $pid)"
    # it leads a process group of its own: some daemons go on as a child that does not hear of its parent's end
    kill -TERM -- "-$pid" 2>/dev/null || true
    timeout "${2:-30}" tail --pid="$pid" -s 0.1 -f /dev/null || true
    kill -KILL -- "-$pid" 2>/dev/null || true
    rm -f "$RUN/$1.pid"
}

# await NAME SECONDS COMMAND...: until COMMAND succeeds; fails with the log of daemon NAME when it ends or takes longer.
await() {
    local name=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        daemon_pid "$name" >/dev/null || die_with_log "$name ended instead of starting" "$LOG/$name.log"
        [ $SECONDS -lt $deadline ] || die_with_log "$name does not answer" "$LOG/$name.log"
        sleep 0.2
    done
}

# What is in the run folder from before a boot names processes that are gone and numbers that others have now.
# Where /run is a tmpfs there is nothing to do.
forget_previous_boot() {
    local boot
    boot=$(cat /proc/sys/kernel/random/boot_id)
    mkdir -p "$RUN"
    if [ "$(cat "$RUN/boot-id" 2>/dev/null)" != "$boot" ]; then
        find "$RUN" -mindepth 1 -maxdepth 1 ! -name lock -exec rm -rf --one-file-system {} +
        echo "$boot" >"$RUN/boot-id"
        return 0
    fi
    return 1
}
