#!/bin/sh
# A command in a container, with the caller in front of it, for the recipes to source.

# COMMAND in the container, on a terminal of its own or on none, and its status in $status. A shell
# passes signals on only while it waits for a child in the background, but has that ignore the
# keyboard's signals and read nothing: both are put right here.
attach() { # RECORD ''|--tty COMMAND [ARG...]
    [ -e /proc/self/fd/0 ] || exec </dev/null
    exec 3<&0
    record=$1 tty=$2
    shift 2
    # shellcheck disable=SC2086 # a word, or none
    set -- nsenter-lite --from "$record" $tty -- "$@"
    [ -n "$tty" ] || set -- setsid "$@"
    env --default-signal=HUP,INT,QUIT "$@" <&3 3<&- &
    child=$!
    for signal in ${signals-HUP INT QUIT TERM}; do
        # shellcheck disable=SC2064 # this child
        trap "kill -s $signal $child 2>/dev/null || :" "$signal"
    done
    while :; do
        wait "$child" && status=0 || status=$?
        kill -0 "$child" 2>/dev/null || break
    done
}
