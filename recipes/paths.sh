#!/bin/sh
# Paths in a directory, for copy to source.

# Where PATH leads in TOP, without links below TOP. Each of its links is read as from a process whose
# root TOP is; nobody changes TOP meanwhile.
resolve() { # TOP PATH
    resolved='' rest=$2/ links=0
    while [ -n "$rest" ]; do
        name=${rest%%/*} rest=${rest#*/}
        case $name in
        '' | .) continue ;;
        ..) resolved=${resolved%/*}; continue ;;
        esac
        if [ -L "$1$resolved/$name" ]; then
            links=$((links + 1))
            [ "$links" -le 40 ] || fail "$2: too many levels of links"
            link=$(readlink "$1$resolved/$name")
            case $link in /*) resolved= ;; esac
            rest=$link/$rest
        else
            resolved=$resolved/$name
        fi
    done
}

# With the owner that was asked for, and its parents with it.
make_directory() { # PATH
    [ ! -d "$1" ] || return 0
    make_directory "${1%/*}"
    mkdir "$1"
    [ -z "$owner" ] || chown -- "$owner" "$1"
}
