#!/bin/sh
# The names of the images in the store, and the blobs behind them, for the recipes
# to source after store.sh.

# NAME[:TAG], with the tag.
reference() {
    case /$1/ in
    *[!A-Za-z0-9._/:-]* | *//* | */[!A-Za-z0-9]* | *[!A-Za-z0-9]/* | *..*) fail "'$1': not the name of an image" ;;
    esac
    case ${1##*/} in *:*) echo "$1" ;; *) echo "$1:latest" ;; esac
}

hex() { # DIGEST
    case ${1#sha256:} in
    *[!0-9a-f]*) ;;
    *) [ ${#1} -ne 71 ] || { echo "${1#sha256:}"; return; } ;;
    esac
    fail "'$1': not a SHA-256 digest"
}
blob() { name=$(hex "$1"); echo "$store/images/blobs/sha256/$name"; }

# The descriptor of an image's manifest, as the index has it.
descriptor() { # NAME[:TAG]
    ref=$(reference "$1")
    jq -ce --arg ref "$ref" '[.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == $ref)][0]
        // empty | del(.annotations)' "$store/images/index.json" || fail "$ref: no such image here, pull or build it"
}

name_image() { # NAME:TAG DESCRIPTOR
    (
        flock 9
        jq --arg ref "$1" --argjson descriptor "$2" '.manifests |=
            map(select(.annotations["org.opencontainers.image.ref.name"] != $ref))
            + [$descriptor + {annotations: {"org.opencontainers.image.ref.name": $ref}}]' \
            "$store/images/index.json" >"$work/index.json"
        mv "$work/index.json" "$store/images/index.json"
    ) 9<"$store/images"
}
