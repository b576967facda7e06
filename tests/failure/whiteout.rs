//! whiteout: the layer is as it was, or all that was asked for is done.

use crate::common::{Need, Scene, needs};
use crate::sweep::{CALLS, Line};

/// What decides about a layer here is what is read of it.
const READING: &str = "read,pread64,lseek,getdents64,newfstatat,statx,readlinkat,ppoll,\
    fgetxattr,lgetxattr,getxattr,flistxattr,llistxattr,listxattr";

/// A line that makes the directory `place`, has `line` work on it, and prints what is there then. Where that
/// fails, `place` must be as it was: else the difference is written to the file `left`. Without strace, `line`
/// gets what the last run has left.
pub fn on_layer<'a>(scene: &'a Scene, prepare: &str, line: &str) -> Line<'a> {
    let script = format!(
        r#"same_time() {{ tac | xargs touch -hd @7; }}
        look() {{
            find place -printf '%P %y %m %U:%G %s %n %T@ %l\n' | sort
            find place | sort | xargs getfattr -hd -m-
            find place -type f | sort | xargs -r md5sum
        }}
        [ -z "$STRACE" ] || {{ rm -rf place left; mkdir place; {prepare}; find place | same_time; }}
        look >before
        {line}
        status=$?
        if [ $status -eq 0 ]; then look; else look | diff before - >left; fi
        exit $status"#
    );
    Line { calls: format!("{CALLS},{READING}"), ..Line::alone(scene, script) }
}

/// A layer with something of each kind, and with marks as overlay writes them.
pub const LAYER: &str = "
    mkdir -p place/etc/sub place/opaque; echo x >place/etc/file; chmod 4755 place/etc/file; ln place/etc/file place/etc/hard
    ln -s file place/etc/link; chown -h 5:6 place/etc/link; mkfifo place/etc/pipe; mknod place/etc/null c 1 3
    truncate -s 64K place/etc/sparse; echo end >>place/etc/sparse; setfattr -n trusted.note -v y place/etc/file
    mknod -m 0 place/gone c 0 0; mknod -m 0 place/etc/gone c 0 0; chown 7:8 place/etc/gone
    setfattr -n trusted.overlay.opaque -v y place/opaque; setfattr -n trusted.overlay.origin -v y place/etc/file";

pub fn scene() -> Option<Scene> {
    needs(&[Need::Root, Need::Program("strace"), Need::Program("getfattr")]).then(Scene::new)
}

/// Those that the scene's filesystem can hold: before Linux 6.6 tmpfs has no user attributes.
pub fn formats(scene: &Scene) -> &'static [&'static str] {
    match xattr::set(scene.path(""), "user.test", b"") {
        Ok(()) => &["overlay", "oci", "xattr"],
        Err(_) => &["overlay", "oci"],
    }
}

#[test]
fn marks_are_made_or_not() {
    let Some(scene) = scene() else { return };
    for format in formats(&scene) {
        for operation in ["create", "opaque"] {
            let line = format!(
                "$STRACE whiteout {operation} --format {format} place/one place/two/three
                 status=$?; find place | same_time; (exit $status)"
            );
            let prepare = match operation {
                "create" => "mkdir place/two",
                _ => "mkdir -p place/one place/two/three",
            };
            on_layer(&scene, prepare, &line).sweep(7);
        }
    }
}

#[test]
fn marks_are_removed_or_not() {
    let Some(scene) = scene() else { return };
    for format in formats(&scene) {
        let prepare = format!("{LAYER}; whiteout convert --to {format} place; : >place/opaque/.wh..opq");
        let line = "$STRACE whiteout remove place/gone place/opaque place/etc/gone
            status=$?; find place | same_time; (exit $status)";
        on_layer(&scene, &prepare, line).sweep(11);
    }
}

#[test]
fn a_layer_is_converted_or_not() {
    let Some(scene) = scene() else { return };
    let conversions = [
        ("overlay", "oci", "place"),
        ("oci", "overlay", "."),
        ("overlay", "xattr", "."),
        ("xattr", "overlay", "place"),
    ];
    for (from, to, directory) in conversions {
        if [from, to].iter().all(|format| formats(&scene).contains(format)) {
            let line = format!(
                "( [ {directory} = place ] || cd place; $STRACE whiteout convert --to {to} {directory} )"
            );
            on_layer(&scene, &converted(from), &line).sweep(41);
        }
    }
}

/// A layer in this format; in OCI's also with whiteouts beside what they hide.
fn converted(format: &str) -> String {
    let beside = if format == "oci" { ": >place/etc/.wh.file; : >place/etc/.wh.sub" } else { ":" };
    format!("{LAYER}; whiteout convert --to {format} place; {beside}")
}

#[test]
fn a_result_is_printed_whole_or_not_at_all() {
    let Some(scene) = scene() else { return };
    scene
        .sh("mkdir -p lower/opaque lower/etc; touch lower/gone lower/opaque/x lower/etc/gone")
        .assert()
        .success();
    for operation in ["list", "diff --lower lower --upper"] {
        on_layer(&scene, LAYER, &format!("$STRACE whiteout {operation} place")).sweep(41);
    }
}

/// Half an archive is none: unpack refuses it.
#[test]
fn an_archive_is_packed_whole_or_is_none() {
    let Some(scene) = scene() else { return };
    let line = "$STRACE whiteout pack place >archive
        status=$?; if [ $status -eq 0 ]; then md5sum <archive; else whiteout unpack place/next <archive 2>&-; fi
        echo place | same_time; (exit $status)";
    on_layer(&scene, LAYER, line).sweep(41);
}

#[test]
fn an_archive_is_unpacked_or_not() {
    let Some(scene) = scene() else { return };
    archive(&scene);
    for prepare in [":", "mkdir -m 700 place/new"] {
        on_layer(&scene, prepare, UNPACK).sweep(41);
    }
}

/// Unpacks the archive, unless a run that was killed has just done it.
pub const UNPACK: &str = "[ -e place/new/etc ] || $STRACE whiteout unpack place/new <archive
    status=$?; { find place/new -type c 2>&-; echo place; } | same_time; (exit $status)";

/// Until the first deletion nothing is changed, and after it nothing is left that is not of the layer.
#[test]
fn an_archive_is_applied_or_not() {
    let Some(scene) = scene() else { return };
    archive(&scene);
    let line = format!(
        "{APPLY} || {{
            status=$?; echo place | same_time; [ -e place/gone/x ] || look | grep -vF .wh..wh. >before; (exit $status)
         }}"
    );
    on_layer(&scene, ROOT, &line).sweep(61);
}

/// A root filesystem, on which an archive of [`LAYER`] has something of each kind to do.
pub const ROOT: &str = "mkdir -p place/gone/x place/etc/sub place/etc/gone place/opaque/x place/etc/null; echo x >place/etc/sub/x; \
    echo y >place/etc/link; echo z >place/etc/file";

/// Applies the archive to it.
pub const APPLY: &str = "$STRACE whiteout unpack --apply place <archive";

/// Makes the file `archive`, of [`LAYER`].
pub fn archive(scene: &Scene) {
    scene
        .sh(&format!(
            "mkdir place; {LAYER}; find place | tac | xargs touch -hd @7; whiteout pack place >archive; rm -r place"
        ))
        .assert()
        .success();
}
