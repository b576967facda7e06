//! What the process is after the switch: where, who, and with what.

use std::ffi::{CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use common::capability::CapabilitySet;
use common::chain::Chain;
use common::creds::{Capabilities, Credentials, Ids};
use common::limits::Limits;
use common::passwd::{self, Accounts};
use common::{During as _, Error, Result, json, trace};
use nix::errno::Errno;
use nix::unistd::{fchdir, getcwd, getegid, geteuid};
use serde_json::{Map, Value};

use crate::environment::Environment;
use crate::plan::ProcessPlan;
use crate::tree::{Tree, without_umask};

/// All of it found out, while both roots are in reach.
#[derive(Debug)]
pub struct Prepared {
    workdir: PathBuf,
    /// The same, open: no link that changes meanwhile leads elsewhere (CVE-2024-21626).
    directory: OwnedFd,
    environment: Environment,
    credentials: Credentials,
    limits: Limits,
}

impl Prepared {
    /// Finds the user in the new root, and opens the working directory there.
    pub fn new(plan: ProcessPlan, tree: &mut Tree) -> Result<Self> {
        let ProcessPlan {
            workdir,
            mut environment,
            user,
            groups,
            capabilities,
            no_new_privs,
            seccomp,
            limits,
        } = plan;
        let user = Account::find(user.as_deref(), groups.as_deref(), tree)?;
        if let Some(home) = user.as_ref().and_then(|account| account.home.as_deref()) {
            environment.default_home(home);
        }
        let user = user.map(|account| account.ids);
        let workdir = Path::new("/").join(workdir.unwrap_or_default());
        let directory = without_umask(|| tree.directory(&workdir))?;
        let capabilities = if capabilities.is_empty() {
            None
        } else {
            let uid = user.as_ref().map_or(geteuid().as_raw(), |user| user.uid);
            let have = CapabilitySet::bounding();
            let bounding = capabilities.keep_of(have);
            let missing = bounding.difference(have);
            if !missing.is_empty() {
                return Err(Error::new("keep", missing.names().join(" "), "this process cannot have it"));
            }
            // A program that is not root's has only what is ambient.
            let asked = if capabilities.add.all { bounding } else { capabilities.add.named };
            let ambient = if uid == 0 { CapabilitySet::EMPTY } else { asked.intersection(bounding) };
            Some(Capabilities { bounding, ambient })
        };
        // As in Docker, a profile's conditions are on what the process could ever have.
        let could_have = capabilities.map_or_else(CapabilitySet::bounding, |keep| keep.bounding);
        let seccomp = seccomp.map(|profile| profile.compile(could_have)).transpose()?;
        let credentials = Credentials { user, capabilities, no_new_privs, seccomp };
        Ok(Self { workdir, directory, environment, credentials, limits })
    }

    /// What can only be set by the caller's own /proc.
    pub fn apply_before_the_switch(&self) -> Result<()> {
        self.limits.apply_oom_score()
    }

    /// Takes all of it on and becomes COMMAND. Returns only the error.
    pub fn become_command(&self, chain: &Chain) -> Error {
        let environment = self.environment.strings();
        match self.apply(chain, environment.as_deref()) {
            Ok(()) => chain.exec_prepared(environment.as_deref()),
            Err(error) => error,
        }
    }

    fn apply(&self, chain: &Chain, environment: Option<&[CString]>) -> Result<()> {
        // The working directory may be closed to us and open to the user, or the other way round.
        let entered = match fchdir(&self.directory) {
            Err(Errno::EACCES) => false,
            result => result.during("enter the working directory", &self.workdir).map(|()| true)?,
        };
        if entered {
            chain.must_be_there(environment)?;
        }
        self.limits.apply()?;
        self.credentials.apply(|| {
            if !entered {
                fchdir(&self.directory).during("enter the working directory", &self.workdir)?;
            }
            check_the_working_directory(&self.workdir)?;
            chain.prepare()
        })
    }

    /// The same for a process that joins later, as keys of the record's `root`.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut keys = self.credentials.to_json();
        keys.extend(self.limits.to_json());
        keys.insert("workdir".into(), json::from_name(&self.workdir));
        keys.insert(
            "environment".into(),
            self.environment.assignments().iter().map(json::from_name).collect(),
        );
        keys.insert("clear_environment".into(), self.environment.clear.into());
        keys
    }
}

/// A directory that has been moved out of the root meanwhile has no path here (CVE-2024-21626).
fn check_the_working_directory(workdir: &Path) -> Result<()> {
    let there = getcwd().map_err(|errno| {
        Error::new("enter the working directory", workdir, errno).hint("it is not in the new root any more")
    })?;
    trace::step(format_args!("working directory {}", there.display()));
    Ok(())
}

/// Whom to become.
#[derive(Debug, PartialEq, Eq)]
struct Account {
    ids: Ids,
    home: Option<PathBuf>,
}

impl Account {
    /// `--user UID[:GID]|NAME[:GROUP]` and `--groups`, with names from the new root's own files.
    fn find(
        user: Option<&OsStr>,
        groups: Option<&[std::ffi::OsString]>,
        tree: &Tree,
    ) -> Result<Option<Self>> {
        if user.is_none() && groups.is_none() {
            return Ok(None);
        }
        let accounts = match Accounts::of(tree.root()) {
            // Numbers alone need no file, so none can stand in their way.
            Err(_) if is_numeric(user, groups) => Accounts::default(),
            accounts => accounts?,
        };
        let mut account = match user {
            Some(user) => Self::of_user(user, &accounts)?,
            None => {
                let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
                Self { ids: Ids { uid, gid, groups: Vec::new() }, home: None }
            }
        };
        if let Some(groups) = groups {
            let groups = groups.iter().filter(|name| !name.is_empty());
            account.ids.groups = groups.map(|name| group_id(name, &accounts)).collect::<Result<_>>()?;
        }
        let primary = account.ids.gid;
        account.ids.groups.retain(|group| *group != primary);
        account.ids.groups.insert(0, primary);
        Ok(Some(account))
    }

    fn of_user(spec: &OsStr, accounts: &Accounts) -> Result<Self> {
        let (name, group) = split_spec(spec);
        let uid = passwd::id(name.as_bytes());
        let entry = match uid {
            Some(uid) => accounts.user_with_id(uid),
            None => accounts.user_named(name),
        };
        let Some(uid) = uid.or(entry.map(|user| user.uid)) else {
            return Err(Error::new("find the user", name, "the root's /etc/passwd does not have it"));
        };
        // As Docker has it: a user that no file knows has group 0 and home /.
        let home = Some(entry.map_or_else(|| "/".into(), |user| user.home.clone()));
        let (gid, groups) = match group {
            Some(group) => (group_id(group, accounts)?, Vec::new()),
            None => entry.map_or((0, Vec::new()), |user| (user.gid, accounts.groups_of(user))),
        };
        Ok(Self { ids: Ids { uid, gid, groups }, home })
    }
}

fn split_spec(spec: &OsStr) -> (&OsStr, Option<&OsStr>) {
    let mut parts = spec.as_bytes().splitn(2, |&byte| byte == b':').map(OsStr::from_bytes);
    (parts.next().unwrap_or_default(), parts.next())
}

fn group_id(name: &OsStr, accounts: &Accounts) -> Result<u32> {
    passwd::id(name.as_bytes())
        .or_else(|| accounts.group_named(name))
        .ok_or_else(|| Error::new("find the group", name, "the root's /etc/group does not have it"))
}

fn is_numeric(user: Option<&OsStr>, groups: Option<&[std::ffi::OsString]>) -> bool {
    let number = |text: &OsStr| passwd::id(text.as_bytes()).is_some();
    let user = user.is_none_or(|spec| {
        let (user, group) = split_spec(spec);
        number(user) && group.is_some_and(number)
    });
    user && groups.is_none_or(|groups| groups.iter().all(|group| number(group)))
}
