# The images that tests and `make run` start from, built from the distribution's packages: no registry is needed.
# An image archive is made once per recipe and kept in the cache; an engine gets it when its label tells another recipe.
# Sourced by engines.sh.

IMAGE_DEBIAN=podspawn-test/debian:12
IMAGE_SUDO=podspawn-test/sudo:12
IMAGE_BUSYBOX=podspawn-test/busybox:1
IMAGE_UID1000=podspawn-test/uid1000:12
IMAGE_SERVER=podspawn-test/server:1
IMAGES=(debian sudo busybox uid1000)

DEBIAN_PACKAGES=bash,ca-certificates,git,less,ncurses-term,procps,tmux,util-linux,bsdutils,bsdextrautils,vim
SERVER_PACKAGES=apt,bash,systemd,systemd-sysv,dbus,libpam-systemd,libnss-systemd,openssh-server,openssh-client,docker.io,iptables,iproute2,procps
declare -A IMAGE_NAME=([debian]=$IMAGE_DEBIAN [sudo]=$IMAGE_SUDO [busybox]=$IMAGE_BUSYBOX [uid1000]=$IMAGE_UID1000 [server]=$IMAGE_SERVER)
declare -A IMAGE_CMD=([debian]='["bash"]' [sudo]='["bash"]' [busybox]='["sh"]' [uid1000]='["bash"]' [server]='["/sbin/init"]')
# What an image is made of. A change here is a new recipe, and every engine gets the new image.
declare -A IMAGE_RECIPE=(
    [debian]="bookworm $DEBIAN_PACKAGES"
    [sudo]="bookworm $DEBIAN_PACKAGES,openssh-client,openssh-sftp-server,rsync,sudo"
    [busybox]="busybox-static, every applet as a link"
    [uid1000]="bookworm $DEBIAN_PACKAGES; useradd --uid 1000 resident"
)

# A base image of this host's own distribution, for `make run` where no registry is reachable. On Debian 12 it is made of
# the same parts as the tests' image.
host_release() { (. /etc/os-release && echo "${ID:-debian} ${VERSION_ID:-12} ${VERSION_CODENAME:-bookworm}"); }
read -r HOST_ID HOST_VERSION HOST_CODENAME < <(host_release)
case $HOST_ID in debian | ubuntu) ;; *) HOST_ID=debian HOST_VERSION=12 HOST_CODENAME=bookworm ;; esac
host_image_name() { echo "podspawn-base:$HOST_ID-$HOST_VERSION"; }
IMAGE_NAME[host]=$(host_image_name)
IMAGE_CMD[host]='["bash"]'
IMAGE_RECIPE[host]="$HOST_CODENAME $DEBIAN_PACKAGES"
# A whole host: what an administrator has before podspawn comes. Of this host's distribution, since programs that are built
# here run there.
IMAGE_RECIPE[server]="$HOST_CODENAME $SERVER_PACKAGES; what belongs to the kernel is masked; no first boot"

recipe_id() { printf '%s' "${IMAGE_RECIPE[$1]} ${IMAGE_CMD[$1]}" | sha256sum | cut -c1-16; }
image_tar() { echo "$CACHE/images/$(recipe_id "$1").tar"; }

# mmdebstrap_tar RECIPE TAR [OPTION...]: a minimal release with the recipe's packages and no package lists.
mmdebstrap_tar() {
    local recipe=$1 tar=$2
    shift 2
    need mmdebstrap debian-archive-keyring
    case ${recipe%% *} in bookworm | trixie) ;; *) [ "$HOST_ID" = debian ] || need ubuntu-keyring distro-info-data ;; esac
    mmdebstrap --quiet --mode=root --format=tar --variant=minbase --include="${recipe#* }" \
        --aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --dpkgopt='path-exclude=/usr/share/locale/*' "$@" "${recipe%% *}" "$tar"
}

build_debian() { mmdebstrap_tar "${IMAGE_RECIPE[debian]}" "$1"; }
build_host() { mmdebstrap_tar "${IMAGE_RECIPE[host]}" "$1"; }
build_sudo() { mmdebstrap_tar "${IMAGE_RECIPE[sudo]}" "$1"; }

build_uid1000() {
    ensure_tar debian
    local tree=$1.tree
    rm -rf --one-file-system "$tree"
    mkdir -p "$tree"
    tar -xf "$(image_tar debian)" -C "$tree" --numeric-owner --xattrs --exclude='./dev/*'
    chroot "$tree" useradd --create-home --shell /bin/bash --uid 1000 resident
    tar -cf "$1" -C "$tree" --numeric-owner --xattrs --sort=name .
    rm -rf --one-file-system "$tree"
}

# Started in a container it must not touch what belongs to the kernel: devices, modules, kernel parameters, terminals.
build_server() {
    local components=main
    [ "$HOST_ID" = debian ] || components=main,universe
    mmdebstrap_tar "$HOST_CODENAME $SERVER_PACKAGES" "$1" --components=$components --customize-hook='chroot "$1" systemctl mask \
        systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service \
        systemd-sysctl.service systemd-modules-load.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
        systemd-remount-fs.service systemd-random-seed.service systemd-timesyncd.service systemd-journald-audit.socket \
        systemd-networkd.service systemd-resolved.service dev-hugepages.mount dev-mqueue.mount sys-kernel-config.mount \
        sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount getty.target console-getty.service \
        systemd-firstboot.service apt-daily.timer apt-daily-upgrade.timer' --customize-hook='rm -f "$1"/etc/ssh/ssh_host_*; : >"$1/etc/machine-id"' \
        --customize-hook='printf "[Unit]\nBefore=ssh.service\n[Service]\nType=oneshot\nExecStart=/usr/bin/ssh-keygen -A\n[Install]\nWantedBy=multi-user.target\n" >"$1/etc/systemd/system/host-keys.service"; chroot "$1" systemctl enable host-keys.service'
}

build_busybox() {
    need busybox-static
    local tree=$1.tree applet
    rm -rf --one-file-system "$tree"
    mkdir -p "$tree"/{bin,sbin,usr/bin,usr/sbin,etc,proc,sys,dev,root,home,run,var}
    mkdir -m 1777 "$tree/tmp"
    cp /bin/busybox "$tree/bin/busybox"
    /bin/busybox --list-full | while read -r applet; do
        [ "$applet" = bin/busybox ] || { mkdir -p "$tree/${applet%/*}" && ln -sf /bin/busybox "$tree/$applet"; }
    done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$tree/etc/passwd"
    echo 'root:x:0:' >"$tree/etc/group"
    tar -cf "$1" -C "$tree" --numeric-owner --owner=0 --group=0 --sort=name .
    rm -rf --one-file-system "$tree"
}

ensure_tar() {
    local name=$1 tar started=$SECONDS
    tar=$(image_tar "$name")
    [ -s "$tar" ] && return
    say "building the image ${IMAGE_NAME[$name]} from packages: ${IMAGE_RECIPE[$name]}"
    mkdir -p "$CACHE/images" "$LOG"
    rm -rf --one-file-system "$tar.part"
    "build_$name" "$tar.part" >"$LOG/image-$name.log" 2>&1 </dev/null || die_with_log "cannot build ${IMAGE_NAME[$name]}" "$LOG/image-$name.log"
    mv "$tar.part" "$tar"
    say "built ${IMAGE_NAME[$name]} in $((SECONDS - started)) s"
}

IMAGE_LABEL=org.podspawn.test.recipe

# load_docker LABEL SOCKET [NAME...]: the images that this engine lacks, of the usual ones or of those named.
load_docker() {
    local name have names=("${@:3}")
    [ ${#names[@]} -gt 0 ] || names=("${IMAGES[@]}")
    for name in "${names[@]}"; do
        have=$("$DOCKER_CLI" -H "unix://$2" image inspect --format "{{index .Config.Labels \"$IMAGE_LABEL\"}}" "${IMAGE_NAME[$name]}" 2>/dev/null || true)
        [ "$have" != "$(recipe_id "$name")" ] || continue
        ensure_tar "$name"
        say "loading ${IMAGE_NAME[$name]} into $1"
        "$DOCKER_CLI" -H "unix://$2" import --change "CMD ${IMAGE_CMD[$name]}" --change "LABEL $IMAGE_LABEL=$(recipe_id "$name")" \
            "$(image_tar "$name")" "${IMAGE_NAME[$name]}" >/dev/null || die "cannot load ${IMAGE_NAME[$name]} into $1"
    done
}

# Podman's own API finds a short name under localhost/, its Docker-compatible API under docker.io/: it gets both.
load_podman() {
    local name have
    for name in "${IMAGES[@]}"; do
        have=$(podman_cli image inspect --format "{{index .Labels \"$IMAGE_LABEL\"}}" "docker.io/${IMAGE_NAME[$name]}" 2>/dev/null || true)
        [ "$have" != "$(recipe_id "$name")" ] || continue
        ensure_tar "$name"
        say "loading ${IMAGE_NAME[$name]} into rootless Podman"
        (
            cd "$PODMAN_HOME"
            "${AS_PODMAN[@]}" podman import --quiet --change "CMD ${IMAGE_CMD[$name]}" --change "LABEL $IMAGE_LABEL=$(recipe_id "$name")" \
                - "localhost/${IMAGE_NAME[$name]}" <"$(image_tar "$name")"
        ) >/dev/null || die "cannot load ${IMAGE_NAME[$name]} into Podman"
        podman_cli tag "localhost/${IMAGE_NAME[$name]}" "docker.io/${IMAGE_NAME[$name]}"
    done
}

# The smallest image is in the registry too, for pulls, as $IMAGE_PULL, and in the place of the default image, for hosts that
# have this registry as their mirror.
push_to_registry() {
    local mark name
    mark=$DATA/registry/pushed-$(recipe_id busybox)-2
    [ -e "$mark" ] && return
    for name in "$IMAGE_PULL" "$REGISTRY/library/ubuntu:24.04"; do
        say "pushing $IMAGE_BUSYBOX to the registry as $name"
        "$DOCKER_CLI" -H "unix://$DOCKER_SOCKET" tag "$IMAGE_BUSYBOX" "$name"
        "$DOCKER_CLI" -H "unix://$DOCKER_SOCKET" push "$name" >"$LOG/push.log" 2>&1 || die_with_log "cannot push $name" "$LOG/push.log"
        "$DOCKER_CLI" -H "unix://$DOCKER_SOCKET" rmi "$name" >/dev/null
    done
    touch "$mark"
}
