//! What is meant: the arguments, checked, as plain data.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use common::cgroup::Entrance;
use common::chain::Chain;
use common::namespace::NamespaceKind;
use common::record::Record;
use common::{Error, Result};
use nix::sys::signal::Signal;

use crate::cli::{Cli, InsideArgs, MapArgs, NewArgs, Propagation};
use crate::clock::{Clock, Offset};
use crate::maps::Maps;

/// All that the tool will do.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The kinds to unshare, in the order of [`NamespaceKind::ALL`].
    pub kinds: Vec<NamespaceKind>,
    pub pins: Vec<Pin>,
    pub maps: Maps,
    pub offsets: Vec<(Clock, Offset)>,
    pub inside: Inside,
    pub record: Option<Record>,
    /// Where the record's cgroup lets the first process in.
    pub cgroup: Option<Entrance>,
    pub ending: Ending,
}

/// A namespace to bind to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pin {
    pub kind: NamespaceKind,
    pub file: PathBuf,
}

/// What is set once inside, before COMMAND.
#[derive(Debug)]
pub(crate) struct Inside {
    /// `None`: leave as it is.
    pub propagation: Option<Propagation>,
    pub hostname: Option<OsString>,
    pub domainname: Option<OsString>,
    pub loopback: bool,
    pub proc_directory: Option<PathBuf>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub keep_caps: bool,
}

/// How it ends.
#[derive(Debug)]
pub(crate) enum Ending {
    /// This process becomes COMMAND.
    Become(Chain),
    /// A child becomes COMMAND, and we its supervisor.
    Fork { chain: Chain, init: bool, death_signal: Signal },
    /// An idle PID 1 stays behind.
    Detach,
    /// The namespaces live on in the files that they are pinned to.
    PinOnly,
}

impl Plan {
    pub(crate) fn new(cli: Cli) -> Result<Self> {
        let Cli { new, maps, inside, fork, init, kill_child, detach, from, chain } = cli;
        let NewArgs { namespaces, all, propagation } = new;
        let is_implied = |kind| match kind {
            NamespaceKind::User => wants_user(&maps),
            NamespaceKind::Time => false,
            NamespaceKind::Mount => all || inside.mount_proc.is_some(),
            _ => all,
        };
        let asked = namespaces.by_kind();
        let wanted = asked.iter().filter(|(kind, given)| given.is_some() || is_implied(*kind));
        let kinds: Vec<_> = wanted.map(|(kind, _)| *kind).collect();
        let pins = asked.into_iter().filter_map(|(kind, given)| Some(Pin { kind, file: given.flatten()? }));
        let pins: Vec<_> = pins.collect();
        check_supported(&kinds)?;

        let forks = fork
            || kill_child.is_some()
            || kinds.contains(&NamespaceKind::Pid)
            || kinds.contains(&NamespaceKind::Time);
        let death_signal = kill_child.map_or(Signal::SIGKILL, |signal| signal.0);
        let ending = match (chain.chain()?, detach) {
            (Some(chain), _) if forks => Ending::Fork { chain, init, death_signal },
            (Some(chain), _) => Ending::Become(chain),
            (None, true) => Ending::Detach,
            (None, false) => pin_only(&pins)?,
        };
        let offsets = offsets(&inside, &kinds)?;
        let record = from.as_deref().map(Record::read).transpose()?;
        let cgroup = record.as_ref().and_then(Record::cgroup);
        Ok(Self {
            maps: Maps::new(maps, kinds.contains(&NamespaceKind::User))?,
            inside: Inside::new(inside, &kinds, propagation)?,
            record,
            cgroup: cgroup.map(|cgroup| Entrance::open(&cgroup.path)).transpose()?,
            kinds,
            pins,
            offsets,
            ending,
        })
    }
}

impl Plan {
    /// A cgroup namespace's root is where its first process is (cgroup_namespaces(7)): one that
    /// starts in a cgroup of its own makes the namespace there.
    pub(crate) fn is_for_the_child(&self, kind: NamespaceKind) -> bool {
        kind == NamespaceKind::Cgroup
            && self.cgroup.is_some()
            && self.kinds.contains(&kind)
            && matches!(self.ending, Ending::Fork { .. } | Ending::Detach)
    }
}

impl Inside {
    fn new(args: InsideArgs, kinds: &[NamespaceKind], propagation: Propagation) -> Result<Self> {
        let InsideArgs {
            setuid,
            setgid,
            keep_caps,
            hostname,
            domainname,
            lo,
            mount_proc,
            monotonic: _,
            boottime: _,
        } = args;
        requires("--hostname", hostname.is_some(), NamespaceKind::Uts, kinds)?;
        requires("--domainname", domainname.is_some(), NamespaceKind::Uts, kinds)?;
        requires("--lo", lo, NamespaceKind::Net, kinds)?;
        for name in [&hostname, &domainname].into_iter().flatten() {
            // sethostname(2): __NEW_UTS_LEN.
            if name.is_empty() || name.len() > 64 {
                return Err(Error::new("set the name", name, "a host or domain name has 1 to 64 bytes"));
            }
        }
        let new_mounts = kinds.contains(&NamespaceKind::Mount);
        Ok(Self {
            propagation: Some(propagation).filter(|mode| new_mounts && *mode != Propagation::Unchanged),
            hostname,
            domainname,
            loopback: lo,
            proc_directory: mount_proc.map(|directory| directory.unwrap_or_else(|| "/proc".into())),
            uid: setuid,
            gid: setgid,
            keep_caps,
        })
    }
}

fn wants_user(maps: &MapArgs) -> bool {
    let MapArgs { map_root_user, map_current_user, map_users, map_groups, map_auto, setgroups } = maps;
    *map_root_user
        || *map_current_user
        || *map_auto
        || !map_users.is_empty()
        || !map_groups.is_empty()
        || setgroups.is_some()
}

fn offsets(args: &InsideArgs, kinds: &[NamespaceKind]) -> Result<Vec<(Clock, Offset)>> {
    requires("--monotonic", args.monotonic.is_some(), NamespaceKind::Time, kinds)?;
    requires("--boottime", args.boottime.is_some(), NamespaceKind::Time, kinds)?;
    let both = [(Clock::Monotonic, args.monotonic), (Clock::Boottime, args.boottime)];
    Ok(both.into_iter().filter_map(|(clock, offset)| Some((clock, offset?))).collect())
}

/// Changing what is the machine's own would be the opposite of isolation.
fn requires(option: &str, given: bool, kind: NamespaceKind, kinds: &[NamespaceKind]) -> Result<()> {
    if !given || kinds.contains(&kind) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{option} needs --{}: without it, it would change the caller's own",
        kind.name()
    )))
}

fn check_supported(kinds: &[NamespaceKind]) -> Result<()> {
    if !Path::new("/proc/self/ns").exists() {
        return Ok(()); // without /proc only unshare(2) can tell
    }
    let Some(missing) = kinds.iter().find(|kind| !kind.is_supported()) else { return Ok(()) };
    let needs = match missing {
        NamespaceKind::Time => "it needs Linux 5.6 with CONFIG_TIME_NS",
        _ => "it needs a kernel with CONFIG_NAMESPACES and this kind switched on",
    };
    Err(Error::new("unshare", format!("{} namespace", missing.name()), "this kernel does not have it")
        .hint(needs))
}

fn pin_only(pins: &[Pin]) -> Result<Ending> {
    if pins.is_empty() {
        return Err(Error::usage(
            "nothing to do: no COMMAND, no --detach, and no namespace to pin to a file",
        )
        .hint("end the line with -- COMMAND [ARG...]"));
    }
    if pins.iter().any(|pin| pin.kind == NamespaceKind::Pid) {
        return Err(Error::usage(
            "a PID namespace lives only as long as its PID 1: to pin one, give a COMMAND or --detach",
        ));
    }
    Ok(Ending::PinOnly)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn plan(words: &str) -> Result<Plan> {
        Plan::new(Cli::try_parse_from(format!("unshare-lite {words}").split(' ')).unwrap())
    }

    #[test]
    fn a_pid_namespace_forks_and_the_others_do_not() {
        assert!(matches!(
            plan("--pid -- x").unwrap().ending,
            Ending::Fork { init: false, death_signal: Signal::SIGKILL, .. }
        ));
        assert!(matches!(plan("--mount --uts -- x").unwrap().ending, Ending::Become(_)));
        assert!(matches!(plan("--mount --fork -- x").unwrap().ending, Ending::Fork { .. }));
        assert!(matches!(
            plan("--mount --kill-child=TERM -- x").unwrap().ending,
            Ending::Fork { death_signal: Signal::SIGTERM, .. }
        ));
    }

    #[test]
    fn all_is_all_but_user_and_time() {
        use NamespaceKind::{Cgroup, Ipc, Mount, Net, Pid, Uts};
        assert_eq!(plan("--all -- x").unwrap().kinds, [Mount, Pid, Uts, Ipc, Net, Cgroup]);
    }

    #[test]
    fn a_map_means_a_user_namespace_and_mount_proc_a_mount_namespace() {
        assert_eq!(plan("-r --mount-proc -- x").unwrap().kinds, [NamespaceKind::User, NamespaceKind::Mount]);
    }

    #[test]
    fn propagation_is_private_in_a_new_mount_namespace_only() {
        assert_eq!(plan("-m -- x").unwrap().inside.propagation, Some(Propagation::Private));
        assert_eq!(plan("-m --propagation unchanged -- x").unwrap().inside.propagation, None);
        assert_eq!(plan("-u -- x").unwrap().inside.propagation, None);
    }

    #[test]
    fn what_would_change_the_callers_own_is_refused() {
        for words in ["--hostname a -- x", "--domainname a -n -- x", "--lo -u -- x", "--monotonic 1 -- x"] {
            assert!(plan(words).unwrap_err().to_string().contains("needs --"), "{words}");
        }
    }

    #[test]
    fn with_nothing_to_do_it_says_so() {
        assert!(plan("--pid").unwrap_err().to_string().contains("nothing to do"));
        assert!(plan("--pid=/f").unwrap_err().to_string().contains("PID 1"));
        assert!(matches!(plan("--net=/f").unwrap().ending, Ending::PinOnly));
    }
}
