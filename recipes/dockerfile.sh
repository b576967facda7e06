#!/bin/sh
# What build reads, for it to source: the Dockerfile and the context. What instructions mean for an
# image's config is in dockerfile.jq.

# The instructions of a Dockerfile, one a line: its line number, name and text with tabs between them.
instructions() { # FILE
    awk '
        BEGIN {
            split("FROM RUN COPY ADD ARG ENV LABEL EXPOSE USER WORKDIR ENTRYPOINT CMD", names)
            for (i in names) known[names[i]] = 1
        }
        function wrong(why) { printf "build: %s:%d: %s\n", FILENAME, start, why >"/dev/stderr"; bad = 1; exit 1 }
        function instruction() {
            name = text
            sub(/[ \t].*/, "", name)
            sub(/^[^ \t]+[ \t]*/, "", text)
            sub(/[ \t]+$/, "", text)
            if (!(toupper(name) in known)) wrong(name ": not an instruction that is known here")
            if (text == "") wrong(name ": takes an argument")
            if (text ~ /(^|[ \t])[0-9]*<<-?["\047]?[A-Za-z_]/) wrong(name ": here-documents are not known here")
            printf "%d\t%s\t%s\n", start, toupper(name), text
            text = ""
        }
        { sub(/\r$/, "") }
        /^[ \t]*#/ || /^[ \t]*$/ { next } # between continued lines too
        text == "" { start = NR; sub(/^[ \t]+/, "") }
        { text = text $0 }
        sub(/\\[ \t]*$/, "", text) { next }
        { instruction() }
        END { if (!bad && text != "") instruction() }
    ' "$1"
}

# A copy of the context: what Docker sends to its daemon, without what .dockerignore names. Nobody
# changes it meanwhile, all of it is root's, and none of its links leads out.
take_context() { # DIRECTORY
    : >"$work/ignore"
    : >"$work/ignore-anywhere"
    if [ -f "$1/.dockerignore" ]; then
        ! grep -n '^!' "$1/.dockerignore" >&2 || fail "$1/.dockerignore: exceptions are not known here"
        sed -e 's/[[:space:]]*$//' -e '/^#/d' -e '/^$/d' -e 's,^/*,,' -e 's,/*$,,' -e 's,/\*\*$,,' \
            "$1/.dockerignore" >"$work/ignored"
        sed -n 's,^\*\*/,,p' "$work/ignored" >"$work/ignore-anywhere"
        sed -e '/^\*\*/d' -e 's,^,./,' "$work/ignored" >"$work/ignore"
    fi
    mkdir "$work/context"
    tar -C "$1" --wildcards --no-wildcards-match-slash --anchored --exclude-from="$work/ignore" \
        --no-anchored --exclude-from="$work/ignore-anywhere" -cf "$work/context.tar" .
    tar -C "$work/context" --no-same-owner -xpf "$work/context.tar"
    rm "$work/context.tar"
}

# A jq program that knows what instructions mean; $text, $args, $given and $global are data.
dockerfile() { # TEXT PROGRAM [FILE]
    line=$1 program=$2
    shift 2
    [ $# -gt 0 ] || set -- -n
    jq -rc -L "$here" --arg text "$line" --argjson args "$args" --argjson given "$given" \
        --argjson global "$global" "include \"dockerfile\"; $program" "$@"
}
