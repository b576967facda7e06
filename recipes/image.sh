#!/bin/sh
# Images, for the recipes to source after store.sh: opened into a directory with manifest.json,
# config.json and lowers (its layers as directories, bottom first, one a line), given more layers,
# and put into the store again.
. "$here/index.sh"

open_image() { # DIRECTORY DESCRIPTOR
    mkdir -p "$1"
    from=$(blob "$(printf '%s' "$2" | jq -r .digest)")
    cp "$from" "$1/manifest.json"
    from=$(blob "$(jq -r .config.digest "$1/manifest.json")")
    cp "$from" "$1/config.json"
    unpack_layers "$1"
}

scratch() { # DIRECTORY
    mkdir -p "$1"
    jq -nc '{schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json", layers: []}' >"$1/manifest.json"
    case $(uname -m) in x86_64) machine=amd64 ;; aarch64) machine=arm64 ;; *) machine=$(uname -m) ;; esac
    jq -nc --arg machine "$machine" --arg path "$path" '{architecture: $machine, os: "linux", config: {Env: ["PATH=" + $path]},
        rootfs: {type: "layers", diff_ids: []}, history: []}' >"$1/config.json"
    : >"$1/lowers"
}

# Unpacks what is not unpacked yet. One layer may stand in an image more than once: the uppermost counts.
unpack_layers() { # DIRECTORY
    jq -r -s '[.[0].layers, .[1].rootfs.diff_ids] |
        if (.[0] | length) == (.[1] | length) then transpose[] else error("an image needs a diff id for each layer") end |
        "\(.[0].digest) \(.[0].mediaType) \(.[1])"' "$1/manifest.json" "$1/config.json" >"$work/layers"
    while read -r digest type diff; do
        diff=$(hex "$diff")
        archive=$(blob "$digest")
        [ -d "$store/layers/$diff" ] || unpack_layer "$archive" "$type" "$diff"
        echo "$store/layers/$diff"
    done <"$work/layers" >"$work/all"
    tac "$work/all" | awk '!seen[$0]++' | tac >"$1/lowers"
}

unpack_layer() { # BLOB MEDIA-TYPE DIFF-ID
    case $2 in
    *gzip) open='gzip -dc' ;;
    *zstd) open='zstd -dc' ;;
    *tar) open='cat' ;;
    *) fail "$2: not a kind of layer that can be unpacked" ;;
    esac
    # Layers are shared by diff id: none may pass for another.
    sum=$($open <"$1" | sha256sum)
    [ "${sum%% *}" = "$3" ] || fail "sha256:$3: the layer has another content"
    # shellcheck disable=SC2086 # words, or nothing
    $open <"$1" | whiteout unpack --skip-devices $owners "$work/layer"
    # Where another was faster, its layer serves.
    mv -T "$work/layer" "$store/layers/$3" 2>/dev/null || [ -d "$store/layers/$3" ]
    rm -rf "$work/layer"
}

put_blob() { # FILE MEDIA-TYPE: its descriptor
    sum=$(sha256sum <"$1")
    size=$(stat -c %s "$1")
    mv "$1" "$store/images/blobs/sha256/${sum%% *}"
    printf '{"mediaType":"%s","digest":"sha256:%s","size":%s}' "$2" "${sum%% *}" "$size"
}

change() { # FILE JQ-ARGUMENT...
    changed=$1
    shift
    jq -c -L "$here" "$@" "$changed" >"$work/changed"
    mv "$work/changed" "$changed"
}

created() { date -u -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}" +%Y-%m-%dT%H:%M:%SZ; }

instruct() { # DIRECTORY INSTRUCTION TEXT: what changes the config alone
    change "$1/config.json" --arg name "$2" --arg text "$3" --argjson args "$args" --arg created "$(created)" \
        'include "dockerfile"; instruct($name; $text; $args)
            | .history += [{created: $created, created_by: "\($name) \($text)", empty_layer: true}]'
}

# What CREATED-BY changed becomes the image's next layer.
add_layer() { # DIRECTORY UPPER CREATED-BY
    whiteout pack "$2" >"$work/layer.tar"
    layer=$(put_blob "$work/layer.tar" application/vnd.oci.image.layer.v1.tar)
    change "$1/manifest.json" --argjson layer "$layer" '.layers += [$layer]'
    change "$1/config.json" --argjson layer "$layer" --arg by "$3" --arg created "$(created)" \
        '.rootfs.diff_ids += [$layer.digest] | .history += [{created: $created, created_by: $by}]'
    unpack_layers "$1"
}

# Prints the image's id.
put_image() { # DIRECTORY NAME:TAG
    jq -cS --arg created "$(created)" '.created = $created | del(.own_cmd)' "$1/config.json" >"$work/config"
    config=$(put_blob "$work/config" application/vnd.oci.image.config.v1+json)
    jq -cS --argjson config "$config" '.config = $config' "$1/manifest.json" >"$work/manifest"
    manifest=$(put_blob "$work/manifest" application/vnd.oci.image.manifest.v1+json)
    [ -z "$2" ] || name_image "$2" "$manifest"
    printf '%s' "$config" | jq -r .digest
}
