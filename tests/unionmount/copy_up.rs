//! What a file keeps, and what it loses, when it is copied to the writable layer.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::common::{Need, needs, stdout};
use crate::{private, two_layers};

#[test]
fn capabilities_live_through_a_copy_to_the_upper() {
    if !needs(&[Need::Root, Need::Program("setfattr")]) {
        return;
    }
    let scene = two_layers();
    // cap_net_raw=ep, as setcap(8) writes it.
    let capability = "0x0100000200200000000000000000000000000000";
    let run = private(
        &scene,
        &format!(
            "setfattr -n security.capability -v {capability} bottom/only
             unionmount -l bottom -u up merged; touch merged/only; chmod 755 merged/only
             getfattr --only-values -n security.capability up/only | wc -c"
        ),
    );
    // chmod(2) keeps them, and so did the copy.
    assert_eq!(stdout(&run.success()), "20\n");
}

#[test]
fn acls_live_through_a_copy_to_the_upper() {
    if !needs(&[Need::Root, Need::Program("setfacl")]) {
        return;
    }
    let scene = two_layers();
    scene.dir("bottom/dir");
    let run = private(
        &scene,
        "setfacl -m u:5:rwx,g:6:r bottom/only; setfacl -m u:7:rx -d -m u:8:rwx bottom/dir
         acls() { (cd $1; getfacl -n only dir) }
         unionmount -l bottom -u up merged; acls bottom >1; echo more >>merged/only; touch merged/dir/new
         acls merged | diff 1 -; acls up | diff 1 -; grep -c user:[58]:rwx 1; getfacl -n merged/dir/new | grep -c user:8:rwx",
    );
    assert_eq!(stdout(&run.success()), "2\n1\n");
}

#[test]
fn hard_links_of_a_layer_are_broken_by_a_copy_unless_there_is_an_index() {
    if !needs(&[Need::Root]) {
        return;
    }
    for (option, other) in [("", "bottom only"), ("--index", "changed\n")] {
        let scene = two_layers();
        fs::hard_link(scene.path("bottom/only"), scene.path("bottom/again")).unwrap();
        let run = private(
            &scene,
            &format!(
                "unionmount {option} -l bottom -u up merged; echo changed >merged/only; cat merged/again"
            ),
        );
        assert_eq!(stdout(&run.success()), other, "{option}");
        // In the layer itself they are still one, and as they were.
        let layer = fs::metadata(scene.path("bottom/again")).unwrap();
        assert_eq!((layer.nlink(), layer.len()), (2, 11), "{option}");
    }
}
