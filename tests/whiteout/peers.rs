//! Round trips with the programs that others use: umoci, skopeo and a registry.

use std::time::Duration;

use crate::common::registry::Registry;
use crate::common::{Need, Scene, needs};
use crate::pack::{EVERYTHING, OF_ROOT};
use crate::place::{By, disk};
use crate::tree::described;

const NEEDS: [Need; 7] = [
    Need::Root,
    Need::Program("umoci"),
    Need::Program("skopeo"),
    Need::Program("docker-registry"),
    Need::Program("jq"),
    Need::Program("setfacl"),
    Need::Program("setfattr"),
];

/// Three layers: everything, and what two containers, one after the other, made of it; `shown` is what they add up to.
fn layers(scene: &Scene) {
    disk(scene, "disk");
    scene
        .sh(&format!("cd disk; {EVERYTHING} {OF_ROOT} mv all 1; mkdir 2 3 work2 work3 merged shown"))
        .assert()
        .success();
    By::Root.sh(
        scene,
        "disk",
        "overlay lowerdir=1,upperdir=2,workdir=work2 merged; cd merged
        rm -r dir/file sticky; echo changed >>dir/again; chmod 600 old; mkdir sticky; echo new >sticky/new
        chown 77:88 big; mkdir -p new/deep; ln dir/again new/other; rm long-link; mkdir long-link; touch -d @7 long-link new
        cd ..; umount merged; overlay lowerdir=2:1,upperdir=3,workdir=work3 merged; cd merged
        rm -r new/deep dir/link; mkdir dir/link; echo x >dir/link/file; rm -r long-link; echo file >long-link; rm disk
        setfattr -n user.more -v 2 old; mv pipe pipe2; touch -d @9 . dir; cd ..; cp -a merged/. shown",
    );
}

/// Makes an OCI layout `layout` of the layers `$1` to the last.
const MAKE_LAYOUT: &str = r#"
make_layout() {
  mkdir -p layout/blobs/sha256; printf '{"imageLayoutVersion":"1.0.0"}' >layout/oci-layout; : >layers; : >diffs
  for layer in "$@"; do
    whiteout pack $layer >layer.tar || return; sum=$(sha256sum <layer.tar | cut -d ' ' -f 1); size=$(stat -c %s layer.tar)
    mv layer.tar layout/blobs/sha256/$sum; echo "\"sha256:$sum\"" >>diffs
    echo "{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:$sum\",\"size\":$size}" >>layers
  done
  jq -c -s '{architecture:"amd64",os:"linux",config:{Cmd:["/bin/sh"]},rootfs:{type:"layers",diff_ids:.}}' diffs >config
  config=$(put config); jq -c -s --argjson config "$config" '{schemaVersion:2,config:($config+{mediaType:"application/vnd.oci.image.config.v1+json"}),layers:.}' layers >manifest
  jq -n -c --argjson manifest "$(put manifest)" '{schemaVersion:2,manifests:[$manifest+{mediaType:"application/vnd.oci.image.manifest.v1+json",annotations:{"org.opencontainers.image.ref.name":"latest"}}]}' >layout/index.json
}
put() {
  sum=$(sha256sum <$1 | cut -d ' ' -f 1); printf '{"digest":"sha256:%s","size":%s}' $sum $(stat -c %s $1); cp $1 layout/blobs/sha256/$sum
}
"#;

#[test]
fn an_image_of_our_layers_survives_skopeo_a_registry_and_umoci() {
    if !needs(&NEEDS) {
        return;
    }
    let scene = Scene::new();
    layers(&scene);
    let registry = Registry::start(&scene);
    let script = format!(
        "cd disk; {MAKE_LAYOUT} make_layout 1 2 3 &&
        skopeo copy -q --dest-tls-verify=false oci:layout:latest docker://127.0.0.1:{port}/ours:latest &&
        skopeo copy -q --src-tls-verify=false docker://127.0.0.1:{port}/ours:latest oci:back:latest &&
        umoci unpack --image back:latest bundle",
        port = registry.port()
    );
    scene.sh(&script).env("HOME", scene.path("")).timeout(Duration::from_secs(240)).assert().success();
    assert_eq!(described(&scene.path("disk/bundle/rootfs")), described(&scene.path("disk/shown")));
}

#[test]
fn layers_that_umoci_packed_unpack_to_the_same_tree() {
    if !needs(&NEEDS) {
        return;
    }
    let scene = Scene::new();
    layers(&scene);
    // umoci makes two more layers of changes, and we unpack all five.
    let script = format!(
        "cd disk; {MAKE_LAYOUT} make_layout 1 2 3 && umoci unpack --image layout:latest bundle || exit
        cd bundle/rootfs; rm -r new; echo umoci >dir/umoci; ln dir/umoci umoci2; chmod 4755 big; touch -d @11 dir; rm old; cd ../..
        umoci repack --image layout:latest --refresh-bundle bundle || exit
        cd bundle/rootfs; rm -r dir; mkdir dir; echo again >dir/x; ln -s x dir/l; setfattr -n user.u -v 1 dir/x; mkfifo dir/p; cd ../..
        umoci repack --image layout:latest --refresh-bundle bundle || exit
        blob() {{ echo layout/blobs/$(echo $1 | tr : /); }}
        manifest=$(blob $(jq -r '.manifests[] | select(.annotations[\"org.opencontainers.image.ref.name\"]==\"latest\").digest' layout/index.json))
        for layer in $(jq -r '.layers[].digest' $manifest); do
          n=$((n+1)); if gzip -t $(blob $layer) 2>&-; then gzip -dc $(blob $layer); else cat $(blob $layer); fi >layer$n.tar
          whiteout unpack ours$n <layer$n.tar || exit; lower=ours$n${{lower:+:$lower}}
          mkdir -p root; whiteout unpack --apply root <layer$n.tar || exit
        done; echo $lower >lower; umoci unpack --image layout:latest theirs"
    );
    scene.sh(&script).env("HOME", scene.path("")).timeout(Duration::from_secs(240)).assert().success();
    // umoci's layers have whole seconds, and say nothing of the top directory.
    let below = |path: &str| described(&scene.path(path)).lines().skip(1).collect::<Vec<_>>().join("\n");
    let expected = below("disk/theirs/rootfs");
    assert_eq!(below("disk/root"), expected);
    By::Root.sh(&scene, "disk", "mkdir seen; overlay lowerdir=$(cat lower) merged; cp -a merged/. seen");
    assert_eq!(below("disk/seen"), expected);
}
