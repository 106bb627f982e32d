# A newer Docker beside the distribution's, so that the conformance suite meets two generations of the API.
# It is unpacked, not installed: own programs, data, run folder, socket, configuration. Its network namespace is its own,
# since two daemons cannot share one set of iptables chains; its process ids are the host's. Sourced by engines.sh.

DOCKER26_SOCKET=$RUN/docker26.sock
DOCKER26_NETNS=podspawn-test-docker26
DOCKER26_ROOT=$CACHE/docker26/root
DOCKER26_SUITE=trixie

docker26_unpack() {
    [ -e "$CACHE/docker26/complete" ] && return
    local work=$CACHE/docker26 keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    need debian-archive-keyring
    say "downloading Docker from Debian $DOCKER26_SUITE into $work (unpacked there, not installed)"
    rm -rf "$work"
    mkdir -p "$work"/{lists/partial,archives/partial,debs,root,etc} "$LOG"
    printf 'deb [signed-by=%s] http://deb.debian.org/debian %s main\n' $keyring $DOCKER26_SUITE >"$work/etc/sources.list"
    # a view of apt of its own: the host's sources, lists and preferences are neither read nor changed. Nor is what is
    # installed: a newer Docker there would be the version that apt looks for.
    local apt=(-o Dir::Etc::SourceList="$work/etc/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
        -o Dir::State::Status=/dev/null -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work" -o Dir::Cache::Archives="$work/archives"
        -o Acquire::Languages=none -o APT::Sandbox::User=root)
    (
        cd "$work/debs"
        apt_get "${apt[@]}" update
        apt_get "${apt[@]}" download docker.io containerd tini
        for deb in *.deb; do dpkg -x "$deb" "$work/root"; done
    ) >"$LOG/docker26-unpack.log" 2>&1 || die_with_log "cannot unpack the newer Docker" "$LOG/docker26-unpack.log"
    rm -rf "$work"/{lists,archives,debs}
    local program
    for program in sbin/dockerd bin/containerd bin/containerd-shim-runc-v2; do
        if ldd "$work/root/usr/$program" 2>&1 | grep -q 'not found'; then
            ldd "$work/root/usr/$program" >>"$LOG/docker26-unpack.log" 2>&1 || true
            die_with_log "$program of Debian $DOCKER26_SUITE does not run on this host" "$LOG/docker26-unpack.log"
        fi
    done
    touch "$work/complete"
}

docker26_start() {
    local version
    # runc is the distribution's: a newer one wants a newer libc
    need iproute2 iptables runc
    docker26_unpack
    # the name may be left from before a boot, with no namespace behind it
    if ! nsenter --net=/run/netns/$DOCKER26_NETNS true 2>/dev/null; then
        say "making the network namespace $DOCKER26_NETNS"
        ip netns delete $DOCKER26_NETNS 2>/dev/null || true
        ip netns add $DOCKER26_NETNS
    fi
    ip -n $DOCKER26_NETNS link set lo up
    if ! version=$(docker_answers $DOCKER26_SOCKET); then
        say "starting the newer dockerd on $DOCKER26_SOCKET, log in $LOG/docker26.log"
        docker_drop_stale "$RUN/docker26" "$RUN/docker26-dockerd.pid"
        mkdir -p "$DATA/docker26" "$RUN/docker26"
        echo '{}' >"$RUN/docker26/daemon.json"
        # not by ip-netns-exec: it mounts a /sys without the cgroups
        start_daemon docker26 nsenter --net=/run/netns/$DOCKER26_NETNS -- \
            env PATH="$DOCKER26_ROOT/usr/sbin:$DOCKER26_ROOT/usr/bin:$PATH" \
            "$DOCKER26_ROOT/usr/sbin/dockerd" --config-file "$RUN/docker26/daemon.json" \
            --host "unix://$DOCKER26_SOCKET" --pidfile "$RUN/docker26-dockerd.pid" \
            --data-root "$DATA/docker26" --exec-root "$RUN/docker26" \
            --add-runtime "host=$(PATH=/usr/sbin:/usr/bin command -v runc)" --default-runtime host \
            --default-address-pool "$DOCKER_POOL" --init-path "$DOCKER26_ROOT/usr/bin/tini-static"
        await docker26 60 docker_answers $DOCKER26_SOCKET
        version=$(docker_answers $DOCKER26_SOCKET)
    fi
    READY+=("Docker $version on $DOCKER26_SOCKET")
}

docker26_stop() {
    stop_daemon docker26 60
    ip netns delete $DOCKER26_NETNS 2>/dev/null || true
}
