//! What is meant: the arguments, checked, with every file that they name opened, since
//! its name may mean another file, or nothing, once we are inside.

use std::ffi::CString;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use common::cgroup::Entrance;
use common::chain::Chain;
use common::creds::Credentials;
use common::limits::Limits;
use common::namespace::{NamespaceFile, NamespaceKind};
use common::process::Process;
use common::record::{self, Record};
use common::{During as _, Error, Result};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::choice::Chosen;
use crate::cli::{BecomeArgs, Cli, EnterArgs};
use crate::restrict::Imposed;

/// All that the tool will do.
#[derive(Debug)]
pub(crate) struct Plan {
    pub target: Process,
    pub action: Action,
}

#[derive(Debug)]
pub(crate) enum Action {
    List { json: bool },
    Enter(Box<Entry>),
}

/// What to enter, and as whom.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Entered together, through the target's pidfd.
    pub kinds: Vec<NamespaceKind>,
    /// Entered one by one.
    pub files: Vec<NamespaceFile>,
    pub root: Option<OwnedFd>,
    /// A root inside the entered one: where pivot could only chroot, the namespace's root is not the container's.
    pub chroot: Option<PathBuf>,
    pub directory: Directory,
    pub cgroup: Option<Entrance>,
    pub environment: Option<Vec<CString>>,
    pub uid: Become,
    pub gid: Become,
    pub keep_caps: bool,
    /// What COMMAND must not exceed.
    pub credentials: Credentials,
    pub limits: Limits,
    pub fork: bool,
    /// COMMAND gets a new terminal.
    pub tty: bool,
    pub chain: Chain,
}

/// Which id to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Become {
    /// The caller's own, whatever it means inside.
    Unchanged,
    /// That of root, in a user namespace that maps it.
    RootIfMapped,
    /// This one.
    Id(u32),
}

/// The working directory to begin in.
#[derive(Debug)]
pub(crate) enum Directory {
    /// As it is, or `/` where the root or the mount namespace changes.
    Unchanged,
    /// The target's own, or `/` where that is out of the root's reach.
    Targets(OwnedFd),
    /// A directory named by the caller, and seen from outside.
    Outer(OwnedFd, PathBuf),
    /// A directory named by the caller, and looked up inside.
    Inner(PathBuf),
}

impl Plan {
    pub(crate) fn new(cli: Cli) -> Result<Self> {
        let Cli { target, from, enter, become_, list, json, chain } = cli;
        let record = from.as_deref().map(Record::read).transpose()?;
        let target = match (&record, target) {
            (Some(record), _) => record.process()?,
            (None, Some(pid)) => Process::open(pid)?,
            (None, None) => return Err(Error::usage("no target: give -t PID or --from FILE")),
        };
        refuse_kernel_thread(&target)?;
        let action = if list {
            Action::List { json }
        } else {
            Action::Enter(Box::new(Entry::new(&target, record.as_ref(), enter, become_, chain.required()?)?))
        };
        Ok(Self { target, action })
    }
}

impl Directory {
    fn new(
        wd: Option<Option<PathBuf>>,
        wdns: Option<PathBuf>,
        recorded: Option<PathBuf>,
        everything: bool,
        targets: &Path,
    ) -> Result<Self> {
        Ok(match (wd, wdns, recorded) {
            (_, Some(inside), _) => Self::Inner(inside),
            (Some(Some(outside)), _, _) => Self::Outer(open_directory(&outside)?, outside),
            (Some(None), _, _) => Self::Targets(open_directory(targets)?),
            (None, None, Some(inside)) if everything => Self::Inner(inside),
            (None, None, _) if everything => Self::Targets(open_directory(targets)?),
            (None, None, _) => Self::Unchanged,
        })
    }
}

impl Entry {
    fn new(
        target: &Process,
        record: Option<&Record>,
        enter: EnterArgs,
        who: BecomeArgs,
        chain: Chain,
    ) -> Result<Self> {
        let EnterArgs { namespaces, all, root, wd, wdns, join_cgroup } = enter;
        let BecomeArgs {
            env,
            setuid,
            setgid,
            preserve_credentials,
            keep_caps,
            tty,
            no_fork,
            privileged,
            user_parent,
        } = who;
        let asked = namespaces.by_kind();
        let places = root.is_some() || wd.is_some() || wdns.is_some() || join_cgroup;
        let everything = !places && !all && asked.iter().all(|(_, given)| given.is_none());
        let Chosen { kinds, files } = Chosen::new(target, &asked, everything || all, user_parent)?;

        let proc = |what: &str| Path::new("/proc").join(target.pid().to_string()).join(what);
        let enters = |kind| kinds.contains(&kind) || files.iter().any(|file| file.kind == kind);
        // The caller's own id may mean nothing in another user namespace.
        let ids_lost = enters(NamespaceKind::User) && !preserve_credentials;
        let by_default = if ids_lost { Become::RootIfMapped } else { Become::Unchanged };
        let root_record = record.and_then(Record::root);
        let whom_is_said = setuid.is_some() || setgid.is_some() || preserve_credentials;
        let held = !privileged && (everything || record.is_some());
        let mut imposed = Imposed::new(root_record.as_ref(), whom_is_said, held.then_some(target))?;
        let entry = Self {
            root: match root {
                None if everything => Some(open_directory(&proc("root"))?),
                None => None,
                Some(directory) => Some(open_directory(&directory.unwrap_or_else(|| proc("root")))?),
            },
            chroot: root_record
                .filter(|root| everything && root.method == "chroot")
                .map(|root: record::Root| root.path),
            directory: Directory::new(wd, wdns, imposed.workdir.take(), everything, &proc("cwd"))?,
            cgroup: (join_cgroup || everything).then(|| Entrance::to_that_of(target.pid())).transpose()?,
            environment: match env {
                true => Some(read_environment(target, &proc("environ"))?),
                false => imposed.environment(),
            },
            uid: setuid.map_or(by_default, Become::Id),
            gid: setgid.map_or(by_default, Become::Id),
            keep_caps,
            credentials: imposed.credentials,
            limits: imposed.limits,
            fork: enters(NamespaceKind::Pid) && !no_fork,
            tty,
            kinds,
            files,
            chain,
        };
        target.still_running()?; // what was opened by its PID is its own
        Ok(entry)
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .during("open the directory", path)
        .map_err(|error| {
            let hint = (error.errno() == Some(nix::errno::Errno::EACCES))
                .then_some("looking into another user's process takes CAP_SYS_PTRACE: be its owner or root");
            error.or_hint(hint)
        })
}

fn read_environment(target: &Process, path: &Path) -> Result<Vec<CString>> {
    let read = || fs::read(path).during("read", path);
    let mut bytes = read()?;
    // It has none for the moment in which it executes another program.
    while bytes.is_empty() && common::procfs::stat(target.pid())?.environment_end == 0 {
        target.still_running()?;
        sleep(Duration::from_millis(1));
        bytes = read()?;
    }
    let variables = bytes.split(|&byte| byte == 0).filter(|variable| !variable.is_empty());
    // Split at NUL, so that none is left inside.
    Ok(variables.filter_map(|variable| CString::new(variable).ok()).collect())
}

/// A kernel thread shares the machine's own namespaces, and has no program or root of its own to join.
fn refuse_kernel_thread(target: &Process) -> Result<()> {
    // It has no memory, so no line of it in status.
    if common::procfs::status(target.pid(), "VmSize").is_ok() {
        return Ok(());
    }
    target.still_running()?;
    Err(Error::new("join", target.to_string(), "it is a kernel thread"))
}
