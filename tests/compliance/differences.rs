//! What differs on purpose, each with its reason, and what the installed util-linux does not have yet.

use crate::common::{Scene, stdout};
use crate::{Peer, peer};

/// What a case expects of the one and of the other. One that no case uses is dead code.
pub(crate) struct Differs<T> {
    pub ours: T,
    pub theirs: T,
}

impl<T: Copy> Differs<T> {
    /// What is expected of the peer of this run.
    pub(crate) fn here(&self) -> T {
        match peer() {
            Peer::Ours => self.ours,
            Peer::Theirs => self.theirs,
        }
    }
}

/// The tool's own failure: ours is told from COMMAND's, as env(1), chroot(1) and docker run have it.
pub(crate) const OWN_FAILURE: Differs<i32> = Differs { ours: 125, theirs: 1 };

/// How the tool ends when its child died of SIGTERM: ours with a status, which an exec of the
/// tool by a supervisor shows as a shell would; theirs dies of the signal as well.
pub(crate) const CHILD_DIED_OF_SIGTERM: Differs<(Option<i32>, Option<i32>)> =
    Differs { ours: (Some(143), None), theirs: (None, Some(15)) };

/// `--pid` alone: a PID namespace is for children, so that ours forks; COMMAND of theirs stays outside.
pub(crate) const PID_ALONE_IS_PID_1: Differs<bool> = Differs { ours: true, theirs: false };

/// A forked child: ours dies with the tool unless told otherwise, so that nothing is left running.
pub(crate) const CHILD_DIES_WITH_THE_TOOL: Differs<bool> = Differs { ours: true, theirs: false };

/// Without COMMAND: ours has nothing to do, theirs runs $SHELL.
pub(crate) const WITHOUT_COMMAND: Differs<(i32, &str)> =
    Differs { ours: (125, ""), theirs: (0, "the shell\n") };

/// COMMAND without `--` before it: ours refuses it, lest a mistyped option's value become COMMAND.
pub(crate) const WITHOUT_SEPARATOR: Differs<(i32, &str)> = Differs { ours: (125, ""), theirs: (0, "ran\n") };

/// setgroups(2) of root in `--map-root-user`: ours leaves it allowed where the kernel lets root,
/// theirs denies it to root and user alike.
pub(crate) const SETGROUPS_OF_ROOT: Differs<&str> = Differs { ours: "allow\n", theirs: "deny\n" };

/// And so `--setgroups allow` with `--map-root-user` by root: theirs calls it a contradiction.
pub(crate) const SETGROUPS_ALLOWED_TO_ROOT: Differs<(i32, &str)> =
    Differs { ours: (0, "allow\n"), theirs: (1, "") };

/// `--setgroups deny` with `--map-root-user`: ours denies it before the group map is written, theirs
/// (2.38) tries to once more afterwards, which the kernel refuses.
pub(crate) const SETGROUPS_DENIED_BESIDE_A_MAP: Differs<(i32, &str)> =
    Differs { ours: (0, "deny\n"), theirs: (1, "") };

/// Entering a user namespace with setgroups denied: ours keeps the groups that it cannot leave,
/// theirs gives up, unless with `--preserve-credentials`.
pub(crate) const ENTERS_WHERE_SETGROUPS_IS_DENIED: Differs<(i32, &str)> =
    Differs { ours: (0, "0\n"), theirs: (1, "") };

/// `--map-auto` beside an id mapped otherwise: ours hands on all ids that were granted, theirs
/// one less for each id that it goes around.
pub(crate) const GRANTED_IDS_LOST: Differs<u32> = Differs { ours: 0, theirs: 1 };

/// `--user=FILE`: ours binds it from the old user namespace, where it may; theirs tries to from inside.
pub(crate) const PINS_A_USER_NAMESPACE: Differs<(i32, &str)> =
    Differs { ours: (0, "ran\n"), theirs: (1, "") };

/// `nsenter -t PID` alone: ours enters all that differs, theirs nothing.
pub(crate) const ENTERS_ALL_BY_DEFAULT: Differs<bool> = Differs { ours: true, theirs: false };

/// nsenter by files alone: ours wants a target all the same (`-t $$`), since what is not named is the target's.
pub(crate) const WITHOUT_TARGET: Differs<(i32, &str)> = Differs { ours: (125, ""), theirs: (0, "ran\n") };

/// `--root` without a working directory: ours goes to the new root's `/`, theirs stays outside (CVE-2024-21626).
pub(crate) const ROOT_LEAVES_THE_OLD_DIRECTORY: Differs<bool> = Differs { ours: true, theirs: false };

/// `--wd=DIR` outside of `--root=DIR`: ours refuses the way out (CVE-2024-21626), theirs offers it as a "tunnel".
pub(crate) const TUNNEL: Differs<i32> = Differs { ours: 125, theirs: 0 };

/// An optional value glued to its letter: ours wants `-n=FILE`, since `-nFILE` may be meant as letters.
pub(crate) const VALUE_OF_A_LETTER: Differs<&str> = Differs { ours: "=", theirs: "" };

/// A range of `--map-users` and `--map-groups`. Ours is that of util-linux 2.39 and later;
/// before, it was OUTER,INNER,COUNT.
pub(crate) fn range(inner: u32, outer: u32, count: u32) -> String {
    if peer() == Peer::Theirs && version() < (2, 39) {
        return format!("{outer},{inner},{count}");
    }
    format!("{inner}:{outer}:{count}")
}

/// nsenter's options that ours has and an older util-linux lacks, with the version that brought them.
pub(crate) const NEWER: [(&str, (u32, u32)); 4] =
    [("--env", (2, 39)), ("--join-cgroup", (2, 40)), ("--keep-caps", (2, 40)), ("--user-parent", (2, 41))];

/// Whether the peer of this run lacks this option of nsenter; then it is sure to refuse it.
pub(crate) fn is_lacking(option: &str) -> bool {
    let (_, since) = NEWER.iter().find(|(name, _)| *name == option).expect("an option of the table");
    if peer() == Peer::Ours || version() >= *since {
        return false;
    }
    let refusal = Scene::new().sh(&format!("nsenter -t $$ {option} -- echo ran")).assert();
    refusal.code(OWN_FAILURE.theirs).stdout("");
    true
}

/// The installed util-linux, major and minor.
fn version() -> (u32, u32) {
    let said = stdout(&Scene::new().sh("unshare --version").assert().success());
    let number = said.split_whitespace().last().unwrap();
    let mut parts = number.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap(), parts.next().unwrap())
}

/// util-linux's options that ours leaves out, with the reason: (tool, option, reason).
pub(crate) const LEFT_OUT: [(&str, &str, &str); 9] = [
    ("unshare", "map-user", "--map-users UID:OUTER:1"),
    ("unshare", "map-group", "--map-groups GID:OUTER:1"),
    ("unshare", "root", "pivot's step"),
    ("unshare", "wd", "pivot's step: --workdir"),
    ("unshare", "load-interp", "binfmt_misc is no step of a container"),
    ("unshare", "owner", "for namespaces that others are to own: run it as that user"),
    ("unshare", "forward-signals", "ours always does"),
    ("nsenter", "follow-context", "SELinux"),
    ("nsenter", "net-socket", "a socket's namespace is no container"),
];
