//! Root filesystem and root switch: mount(8), pivot_root(8) and chroot(1) say by their own arguments
//! what unionmount and pivot say by theirs, and what comes of it is the same.

use crate::common::{Need, Scene, needs, stdout};
use crate::differences::Differs;
use crate::{run, run_privately};

/// Two layers, `top` over `bottom`, and a writable one.
const UNION: Differs<&str> = Differs {
    ours: "unionmount -l bottom -l top -u upper -w work merged",
    theirs: "mount -t overlay overlay -o lowerdir=top:bottom,upperdir=upper,workdir=work merged",
};

/// The two layers alone.
const READ_ONLY_UNION: Differs<&str> = Differs {
    ours: "unionmount -l bottom -l top merged",
    theirs: "mount -t overlay overlay -o lowerdir=top:bottom merged",
};

/// The switch to `root`, before COMMAND.
const SWITCH: Differs<&str> = Differs {
    ours: "exec pivot --method pivot_root root --",
    theirs: "mount --bind root root; mkdir -p root/old; cd root; pivot_root . old; /bin/busybox umount -l old; /bin/busybox rmdir old; exec",
};

/// The root changed by chroot(2) alone, as another user.
const CHROOT: Differs<&str> = Differs {
    ours: "pivot --method chroot --user 1000:1001 --groups 10 root --",
    theirs: "chroot --userspec=1000:1001 --groups=10 root",
};

fn layers(scene: &Scene) {
    for directory in ["merged", "upper", "work", "top/both", "bottom/both"] {
        scene.dir(directory);
    }
    scene.file("bottom/file", "bottom\n");
    scene.file("bottom/lower", "bottom\n");
    scene.file("top/file", "top\n");
    scene.file("bottom/both/b", "");
    scene.file("top/both/t", "");
}

#[test]
fn the_upmost_layer_wins_and_changes_are_recorded_alike() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    layers(&scene);
    let script = format!(
        "{}; cat merged/file merged/lower; ls merged/both
         echo more >>merged/lower; rm merged/file; rm -r merged/both; mkdir merged/both; touch merged/both/new; umount merged
         stat -c '%n %F %t,%T' upper/* | sort; cat upper/lower bottom/lower
         getfattr --absolute-names -n trusted.overlay.opaque --only-values upper/both;",
        UNION.here()
    );
    let expected = "top\nbottom\nb\nt\n\
        upper/both directory 0,0\nupper/file character special file 0,0\nupper/lower regular file 0,0\n\
        bottom\nmore\nbottom\ny";
    run_privately(&scene, &script).success().stdout(expected);
}

#[test]
fn layers_without_a_writable_one_are_read_only() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    layers(&scene);
    let script = format!(
        "{}; cat merged/file; (echo x >merged/x) 2>/dev/null || echo refused",
        READ_ONLY_UNION.here()
    );
    run_privately(&scene, &script).success().stdout("top\nrefused\n");
}

#[test]
fn after_the_switch_the_new_root_is_all_there_is() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.dir("root/proc");
    let look = "/bin/sh -c 'ls /; ls ../../..; cat /etc/passwd | grep -c .; mount -t proc proc /proc; grep -c . /proc/self/mountinfo; pwd'";
    let seen = stdout(&run_privately(&scene, &format!("{} {look}", SWITCH.here())).success());
    let root = "bin\netc\nproc\nroot\ntmp\n";
    assert_eq!(seen, format!("{root}{root}2\n2\n/\n"), "root and proc are the only mounts");
}

#[test]
fn a_changed_root_has_its_user_its_directory_and_its_exit_status() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.file("root/plain", "");
    let script = format!(
        "{0} /bin/sh -c 'id -u; id -g; id -G; pwd; ls /'
         for command in /no/such no-such /plain '/bin/sh -c \"exit 7\"'; do eval {0} $command || echo $?; done",
        CHROOT.here()
    );
    let expected = "1000\n1001\n1001 10\n/\nbin\netc\nplain\nroot\ntmp\n127\n127\n126\n7\n";
    run_privately(&scene, &script).success().stdout(expected);
    // chroot(1) has the same three statuses, 125 among them.
    let missing = CHROOT.here().replace(" root", " no-such-root");
    run(&scene, &format!("$unshare --mount -- {missing} /bin/true")).code(125);
}
