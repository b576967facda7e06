#!/bin/sh
# The store, for the recipes to source: images/ is an OCI image layout, layers/ has the layers of
# its images unpacked, each under its diff id, and containers/ a directory for each container.
# There is no daemon: what two may do at once appears by a rename, or is done under a lock.
#
# What an image says is data. A digest is checked before it becomes a path, and a list of words
# goes through jq's @sh to `eval "set -- $words"`, which gives each back as it was.
set -eu
umask 022
export LC_ALL=C
me=${0##*/}
case ${1-} in -h | --help) echo "$usage"; exit ;; esac

fail() { printf '%s: %s\n' "$me" "$*" >&2; exit 125; }
misused() { printf "%s: %s\nTry '%s -h'.\n" "$me" "$*" "$me" >&2; exit 125; }

# Whatever fails is 125, or COMMAND's own status once that is known.
status=125 work='' at=
leave() { # CODE
    [ "$1" -eq 0 ] && status=0 || [ -z "$at" ] || printf '%s: %s: failed\n' "$me" "$at" >&2
    [ "$1" -eq 0 ] || [ "$status" -ne 0 ] || status=125
    [ -z "$work" ] || rm -rf "$work"
    exit "$status"
}
trap 'leave $?' EXIT
trap 'exit 125' HUP INT TERM

for program in unshare-lite jq flock; do
    command -v "$program" >/dev/null || fail "$program: not found in PATH"
done
[ "$(id -u)" -eq 0 ] && store=/var/lib || store=${XDG_DATA_HOME:-${HOME-}/.local/share}
export CONTAINER_STEPS="${CONTAINER_STEPS:-$store/container-steps}"
store=$CONTAINER_STEPS
case $store in
*[:[:cntrl:]]*) fail "$store: no colon or newline can be in a store's name: skopeo and lists would end there" ;;
[!/]*) fail "$store: a store has an absolute path" ;;
esac

# An ordinary user goes on as root of a user namespace, with all the ids that it may have.
as_root() { # "$@"
    if [ "$(id -u)" -ne 0 ]; then
        auto=--map-auto
        for file in /etc/subuid /etc/subgid; do
            cut -d : -f 1 "$file" 2>/dev/null | grep -qxF -e "$(id -un 2>/dev/null)" -e "$(id -u)" || auto=
        done
        exec unshare-lite --map-root-user $auto -- "$0" "$@"
    fi
    # The kernel would make what is set-user-ID in a layer anybody's, were the store open (CVE-2021-41091).
    # shellcheck disable=SC2174 # its parents may be anybody's to enter
    [ -e "$store" ] || mkdir -p -m 700 "$store"
    [ "$(stat -c %u:%a "$store")" = 0:700 ] || fail "$store: has to be its user's own, with mode 700"
    mkdir -p "$store/images/blobs/sha256" "$store/layers" "$store/containers"
    make_work
    if ! [ -e "$store/images/oci-layout" ]; then
        echo '{"schemaVersion":2,"manifests":[]}' >"$work/index.json"
        mv -n "$work/index.json" "$store/images/index.json"
        echo '{"imageLayoutVersion":"1.0.0"}' >"$store/images/oci-layout"
    fi
    # One id alone cannot tell the owners of files apart.
    ids=$(awk '{ n += $3 } END { printf "%.0f", n }' /proc/self/uid_map)
    [ "$ids" -gt 1 ] && owners='' || owners=--no-same-owner
}

# A directory to work in, locked as long as we or what we started use it. One that is not locked
# was left by a recipe that was killed.
make_work() {
    exec 8<"$store"
    flock 8
    for left in "$store"/.work.*; do
        [ ! -d "$left" ] || flock -n "$left" rm -rf "$left" || :
    done
    work=$(mktemp -d "$store/.work.XXXXXX")
    exec 7<"$work"
    flock 7
    exec 8<&-
}

quoted() { printf '%s\n' "$1" | sed "s/'/'\\\\''/g; 1s/^/'/; \$s/\$/'/"; }
