#!/bin/sh
# Containers, for the recipes to source after store.sh: a directory of containers/ each, with rw
# (the writable layer), work, init (the init layer), root (where the union is mounted, for the
# container alone), record.json, log (of a container in the background) and status (once it ended).
. "$here/attach.sh"

container() { # NAME: its directory
    case $1 in
    '' | [!A-Za-z0-9]* | *[!A-Za-z0-9_.-]*) fail "'$1': not the name of a container" ;;
    esac
    [ ${#1} -le 63 ] || fail "'$1': longer than a host name may be"
    echo "$store/containers/$1"
}
found_container() {
    directory=$(container "$1")
    [ -e "$directory/record.json" ] || fail "$1: no such container"
}

# A PID and a start time name one process for good.
is_running() { # DIRECTORY
    start=$(jq -r '.start_time // 0' "$1/record.json") && pid=$(jq -r '.pid // "none"' "$1/record.json") || return 1
    { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || return 1
    # From the third field on, behind the name in parentheses.
    # shellcheck disable=SC2086 # words
    set -- ${stat##*) }
    [ "$1" != Z ] && [ "${20}" = "$start" ]
}

# Ends all that runs in the container, however far it was built.
end_container() { # DIRECTORY
    if jq -e .cgroup "$1/record.json" >/dev/null && cgset --from "$1/record.json" --list >/dev/null 2>&1; then
        cgset --from "$1/record.json" --kill --delete
    elif is_running "$1"; then
        kill -KILL "$pid"
        while is_running "$1"; do sleep 0.02; done
    fi
}

set_net() { # none|host: what unshare-lite is told
    case $1 in none) new_net='--net --lo' ;; host) new_net= ;; *) misused "--net $1: none or host" ;; esac
}

# The container ends with its command.
ended() { # DIRECTORY [yes]: and is removed
    [ -e "$1/record.json" ] || return 0 # somebody else did
    end_container "$1"
    if [ -n "$2" ]; then remove_container "$1"; else echo "$status" >"$1/status"; fi
}

# It goes at once: whoever still has to do with it finds none. What is left when we are killed goes
# as any directory of work does.
remove_container() { # DIRECTORY
    gone=$store/.work.${1##*/}.$$
    mv -T "$1" "$gone" 2>/dev/null || [ ! -e "$1" ] || fail "$1: cannot be removed"
    rm -rf "$gone"
}

# A step of the container: the tool reads its record, and writes it with what it added.
step() { # TOOL ARGUMENT...
    tool=$1
    shift
    "$tool" --from "$record" "$@" >"$record.new" && mv "$record.new" "$record"
}

# On cgroup v2, where groups may be given away: one that holds processes has no limited ones below it.
beside_own_cgroup() { # NAME
    own=$(sed -n 's/^0:://p' /proc/self/cgroup)
    printf '%s\n' "${own%/*}/$1"
}

# What belongs to one run and not to an image.
make_init_layer() { # DIRECTORY HOST-NAME host|none
    mkdir -p "$1/etc" "$1/dev" "$1/proc" "$1/sys"
    printf '127.0.0.1 localhost %s\n::1 localhost\n' "$2" >"$1/etc/hosts"
    echo "$2" >"$1/etc/hostname"
    : >"$1/etc/resolv.conf"
    [ "$3" != host ] || cat /etc/resolv.conf >"$1/etc/resolv.conf"
}

# Where commands are looked for, unless the image says so.
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# What an image says of its commands. A variable without a value would be the caller's own.
read_config() { # CONFIG
    words=$(jq -r '.config // {} | @sh "user=\(.User // "") workdir=\(.WorkingDir // "")
        environment=\([.Env[]? | select(contains("=")) | "--env=" + .] | @sh)
        entrypoint=\(.Entrypoint // [] | @sh) cmd=\(.Cmd // [] | @sh)"' "$1")
    eval "$words"
}
