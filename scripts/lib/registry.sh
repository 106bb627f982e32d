# A registry on loopback, so that pulls and pushes are real without a network. Sourced by engines.sh.
# The second Docker has a loopback of its own: a second process there serves the same folder.

REGISTRY=127.0.0.1:5000

# registry_answers [COMMAND PREFIX...]: does /v2/ answer there?
registry_answers() {
    timeout 5 "$@" bash -c "exec 3<>/dev/tcp/${REGISTRY/://} && printf 'GET /v2/ HTTP/1.0\r\n\r\n' >&3 && head -n1 <&3 | grep -q ' 200 '" 2>/dev/null
}

registry_start() {
    need docker-registry iproute2
    mkdir -p "$DATA/registry"
    cat >"$RUN/registry.yml" <<YAML
version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: $DATA/registry}
  delete: {enabled: true}
http: {addr: "$REGISTRY"}
YAML
    if ! registry_answers; then
        say "starting a registry on $REGISTRY, log in $LOG/registry.log"
        start_daemon registry docker-registry serve "$RUN/registry.yml"
        await registry 20 registry_answers
    fi
    if ! registry_answers ip netns exec $DOCKER26_NETNS; then
        say "starting the same registry for the newer Docker, log in $LOG/registry26.log"
        start_daemon registry26 ip netns exec $DOCKER26_NETNS docker-registry serve "$RUN/registry.yml"
        await registry26 20 registry_answers ip netns exec $DOCKER26_NETNS
    fi
    READY+=("a registry on $REGISTRY")
}

registry_stop() {
    stop_daemon registry
    stop_daemon registry26
}
