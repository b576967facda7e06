#!/bin/sh
# The steps of build that do more than change the config, for it to source. What RUN and COPY change
# in the image "$image" lands in $work/upper, the upper directory of its layers' union.

# shellcheck disable=SC2086 # words, or none

from() { # IMAGE|STAGE|scratch [AS NAME]
    stage=$((stage + 1))
    image=$work/stage-$stage args='{}'
    case $1 in
    scratch) scratch "$image" ;;
    *) other_image "$1"; cp -R "$other/." "$image"; change "$image/config.json" 'del(.own_cmd)' ;;
    esac
    [ $# -gt 1 ] || return 0
    case $2:$# in [Aa][Ss]:3) ;; *) fail "$2: AS and a name may follow the image" ;; esac
    case $3 in [!a-z]* | *[!a-z0-9_.-]*) fail "$3: not the name of a stage" ;; esac
    ln -s "stage-$stage" "$work/stage-$3"
}

# An earlier stage, by name or number, or an image of the store.
other_image() {
    other=$work/stage-$1
    case $1 in */*) ;; *) [ ! -d "$other" ] || return 0 ;; esac
    other=$work/other
    manifest=$(descriptor "$1")
    open_image "$other" "$manifest"
}

# A container for one command: the chain of the three steps.
run() {
    case $1 in --*) fail "${1%%[[:blank:]]*}: not an option that is known here" ;; esac
    read_config "$image/config.json"
    words=$(dockerfile "$1" '[$args | to_entries[] | "--env=\(.key)=\(.value)"] | @sh')
    command=$(dockerfile "$1" '$text | command | @sh')
    eval "set -- --env=PATH=\$path --env=HOSTNAME=build $words $environment --user=\"\${user:-0}\" \
        --workdir=\"\${workdir:-/}\" \"\$work/root\" -- $command"
    unshare-lite --mount --pid --uts --ipc --cgroup $new_net --hostname build -- \
        unionmount --lower "$work/empty" --layers-from "$image/lowers" --init "$work/init" \
            --upper "$work/upper" --work "$work/upper.work" "$work/root" -- \
        pivot --preset docker --umask 022 --clear-env "$@" </dev/null >&2 || { status=$?; exit 1; }
}

# The image is only mounted: nothing of it runs, and copy keeps to it.
copy() { # TEXT [--unpack]
    operands=$1 unpack=${2-} owner=0:0 base=$work/context
    while :; do
        flag=${operands%%[[:blank:]]*}
        case $flag in
        --from=*) other_image "${flag#*=}"; base=$work/from owner= ;;
        --chown=*) owner=${flag#*=}; case $owner in *:*) ;; *) owner=$owner:$owner ;; esac ;;
        --*) fail "$flag: not an option that is known here" ;;
        *) break ;;
        esac
        operands=${operands#"$flag"}; operands=${operands#"${operands%%[![:blank:]]*}"}
    done
    case $owner in *[!0-9:]*) fail "$owner: owners are numbers here" ;; esac
    [ -z "$owners" ] || owner=
    words=$(dockerfile "$operands" '.config.WorkingDir as $workdir | variables($args) as $vars | $text | operands($vars)
        | .[-1] |= if startswith("/") then . else ($workdir // "") + "/" + . end | @sh' "$image/config.json")
    eval "set -- $words"
    case $unpack:$* in --unpack:*://* | --unpack:git@*) fail "ADD of what is not in the context: not known here" ;; esac
    set -- "$here/copy" $unpack ${owner:+--owner "$owner"} $owners "$base" "$work/root" "$@"
    set -- unionmount --lower "$work/empty" --layers-from "$image/lowers" \
        --upper "$work/upper" --work "$work/upper.work" "$work/root" -- "$@"
    [ "$base" = "$work/context" ] ||
        set -- unionmount --lower "$work/empty" --layers-from "$other/lowers" "$base" -- "$@"
    unshare-lite --mount -- "$@"
}
