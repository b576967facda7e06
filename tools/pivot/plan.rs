//! What is meant: the validated plan, plain data.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use common::capability::{Capability, CapabilitySet};
use common::chain::Chain;
use common::limits::Limits;
use common::{During as _, Error, Result};

use crate::asked::{Asked, in_order};
use crate::cli::{Cli, MethodArg, MountArgs, Preset, ProcessArgs};
use crate::environment::Environment;
use crate::seccomp::Profile;
use crate::tmpfs::Tmpfs;
use crate::volume::Volume;

/// All that was asked for.
#[derive(Debug)]
pub struct Plan {
    pub new_root: PathBuf,
    pub force: bool,
    pub mounts: Mounts,
    pub switch: Switch,
    pub process: ProcessPlan,
}

/// Whose root is switched.
#[derive(Debug)]
pub enum Aim {
    /// This process's, which then becomes COMMAND.
    Command(Chain),
    /// That of the container whose record is in this file.
    Container(PathBuf),
}

/// What is mounted in the new root, in this order.
#[derive(Debug, Default, PartialEq)]
pub struct Mounts {
    pub proc: bool,
    pub sys: bool,
    pub dev: bool,
    /// mqueue, cgroup, and Docker's masked and read-only paths.
    pub rest_of_api: bool,
    /// The tmpfs and the volumes.
    pub asked: Vec<Asked>,
    pub mask: Vec<PathBuf>,
    pub read_only_paths: Vec<PathBuf>,
    pub read_only: bool,
}

/// How the root is switched.
#[derive(Debug)]
pub struct Switch {
    pub method: MethodArg,
    pub keep_old: Option<PathBuf>,
}

/// What becomes of the process after the switch.
#[derive(Debug)]
pub struct ProcessPlan {
    pub workdir: Option<PathBuf>,
    pub environment: Environment,
    pub user: Option<OsString>,
    pub groups: Option<Vec<OsString>>,
    pub capabilities: CapabilityPlan,
    pub no_new_privs: bool,
    pub seccomp: Option<Profile>,
    pub limits: Limits,
}

/// `--cap-drop` and `--cap-add`, as Docker has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilityPlan {
    pub drop: Selection,
    pub add: Selection,
    /// What a preset starts from, in place of all that there is.
    pub of: Option<CapabilitySet>,
}

/// Some capabilities, or all that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub all: bool,
    pub named: CapabilitySet,
}

impl Plan {
    /// Checks what was typed and turns it into what is meant.
    pub fn from_cli(cli: Cli) -> Result<(Aim, Self)> {
        let Cli { new_root, from, method, keep_old, force, preset, mounts, process, chain } = cli;
        if keep_old.is_some() && matches!(method, MethodArg::Move | MethodArg::Chroot) {
            return Err(Error::usage("--keep-old takes pivot_root, which --method rules out"));
        }
        let aim = match (from, chain.chain()?) {
            (Some(file), None) => Aim::Container(file),
            (None, Some(command)) => Aim::Command(command),
            (None, None) => {
                return Err(Error::usage("no COMMAND given")
                    .hint("end the line with -- COMMAND [ARG...], or give a container with --from"));
            }
            (Some(_), Some(_)) => {
                return Err(Error::usage("--from and COMMAND exclude each other")
                    .hint("'nsenter-lite --from FILE -- COMMAND' runs a command in the container"));
            }
        };
        let plan = Self {
            // Entering a mount namespace changes the working directory.
            new_root: absolute(&new_root)?,
            force,
            mounts: Mounts::from_args(mounts, preset)?,
            switch: Switch { method, keep_old },
            process: ProcessPlan::from_args(process, preset)?,
        };
        Ok((aim, plan))
    }

    /// Whether all that is asked for is chroot(2), which changes no mount namespace.
    pub fn leaves_mounts_alone(&self) -> bool {
        self.switch.method == MethodArg::Chroot && self.mounts == Mounts::default()
    }
}

impl Mounts {
    fn from_args(args: MountArgs, preset: Option<Preset>) -> Result<Self> {
        let MountArgs { volumes, tmpfs, mount_api, proc, sys, dev, mask, read_only_path, read_only } = args;
        let mount_api = mount_api || preset.is_some();
        let tmpfs = tmpfs.iter().map(|text| Tmpfs::parse(text)).collect::<Result<_>>()?;
        let volumes = volumes.iter().map(|text| Volume::parse(text)).collect::<Result<_>>()?;
        Ok(Self {
            proc: proc || mount_api,
            sys: sys || mount_api,
            dev: dev || mount_api,
            rest_of_api: mount_api,
            asked: in_order(tmpfs, volumes),
            mask,
            read_only_paths: read_only_path,
            read_only: read_only || preset == Some(Preset::Strict),
        })
    }
}

impl ProcessPlan {
    fn from_args(args: ProcessArgs, preset: Option<Preset>) -> Result<Self> {
        let ProcessArgs {
            workdir,
            env,
            env_file,
            clear_env,
            user,
            groups,
            cap_drop,
            cap_add,
            no_new_privs,
            seccomp,
            rlimit,
            umask,
            oom_score_adj,
        } = args;
        Ok(Self {
            workdir,
            environment: Environment::new(clear_env, &env_file, &env)?,
            user,
            groups,
            capabilities: CapabilityPlan {
                drop: Selection::parse(&cap_drop)?,
                add: Selection::parse(&cap_add)?,
                of: preset.map(|preset| match preset {
                    Preset::Docker => dockers_capabilities(),
                    Preset::Strict => CapabilitySet::EMPTY,
                }),
            },
            no_new_privs: no_new_privs || preset == Some(Preset::Strict),
            seccomp: match seccomp {
                Some(name) if name == Path::new("unconfined") => None,
                Some(file) => Some(Profile::read(&file)?),
                None => preset.map(|_| Profile::dockers()).transpose()?,
            },
            limits: Limits { rlimits: rlimit, umask, oom_score_adj },
        })
    }
}

/// `path` from the root down, links left as they are.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).during("find", path)
}

impl Selection {
    fn parse(names: &[String]) -> Result<Self> {
        let mut selection = Self::default();
        for name in names.iter().filter(|name| !name.is_empty()) {
            if name.eq_ignore_ascii_case("all") {
                selection.all = true;
                continue;
            }
            let one = CapabilitySet::named(name).ok_or_else(|| {
                Error::usage(format!("no capability is named {name}"))
                    .hint("capabilities(7) lists them; the CAP_ before the name may be left out")
            })?;
            selection.named = selection.named.union(one);
        }
        Ok(selection)
    }

    fn is_empty(self) -> bool {
        !self.all && self.named.is_empty()
    }
}

/// What Docker leaves to a container.
fn dockers_capabilities() -> CapabilitySet {
    use Capability::*;
    [
        CAP_AUDIT_WRITE,
        CAP_CHOWN,
        CAP_DAC_OVERRIDE,
        CAP_FOWNER,
        CAP_FSETID,
        CAP_KILL,
        CAP_MKNOD,
        CAP_NET_BIND_SERVICE,
        CAP_NET_RAW,
        CAP_SETFCAP,
        CAP_SETGID,
        CAP_SETPCAP,
        CAP_SETUID,
        CAP_SYS_CHROOT,
    ]
    .into_iter()
    .fold(CapabilitySet::EMPTY, |set, one| set.union(CapabilitySet::one(one)))
}

impl CapabilityPlan {
    /// Whether nothing was asked for: then the kernel's rules alone decide.
    pub fn is_empty(self) -> bool {
        self.drop.is_empty() && self.add.is_empty() && self.of.is_none()
    }

    /// What stays of `have`. As Docker has it: of 'all' on both sides the named ones of the
    /// other are the exception.
    pub fn keep_of(self, have: CapabilitySet) -> CapabilitySet {
        let Self { drop, add, of } = self;
        match (drop.all, add.all) {
            (_, true) => have.difference(drop.named),
            (true, false) => add.named,
            (false, false) => {
                let start = of.map_or(have, |some| some.intersection(have));
                start.difference(drop.named).union(add.named)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn plan(words: &str) -> Result<Plan> {
        Plan::from_cli(Cli::try_parse_from(words.split(' ')).unwrap()).map(|(_, plan)| plan)
    }

    fn caps(drop: &str, add: &str) -> CapabilityPlan {
        let list = |text: &str| Selection::parse(&text.split(',').map(str::to_owned).collect::<Vec<_>>());
        CapabilityPlan { drop: list(drop).unwrap(), add: list(add).unwrap(), of: None }
    }

    #[test]
    fn mount_api_means_all_of_its_parts() {
        let Mounts { proc, sys, dev, rest_of_api, .. } = plan("pivot --mount-api /x -- true").unwrap().mounts;
        assert!(proc && sys && dev && rest_of_api);
        assert!(!plan("pivot --proc /x -- true").unwrap().mounts.rest_of_api);
    }

    #[test]
    fn a_command_or_a_record_is_needed_and_not_both() {
        assert!(plan("pivot /x").unwrap_err().to_string().contains("no COMMAND"));
        assert!(plan("pivot --from - /x -- true").unwrap_err().to_string().contains("exclude"));
    }

    #[test]
    fn only_a_bare_chroot_leaves_the_mounts_alone() {
        assert!(plan("pivot --method chroot /x -- true").unwrap().leaves_mounts_alone());
        assert!(!plan("pivot --method chroot --proc /x -- true").unwrap().leaves_mounts_alone());
        assert!(!plan("pivot /x -- true").unwrap().leaves_mounts_alone());
    }

    #[test]
    fn capabilities_are_kept_as_docker_keeps_them() {
        let set = |names: &str| {
            Selection::parse(&names.split(',').map(str::to_owned).collect::<Vec<_>>()).unwrap().named
        };
        let have = set("chown,kill,mknod");
        assert_eq!(caps("all", "kill").keep_of(have), set("kill"));
        assert_eq!(caps("mknod", "all").keep_of(have), set("chown,kill"));
        assert_eq!(caps("kill,mknod", "").keep_of(have), set("chown"));
        assert_eq!(caps("all", "").keep_of(have), CapabilitySet::EMPTY);
        assert!(caps("", "").is_empty());
        let preset = CapabilityPlan { of: Some(set("chown,sys_admin")), ..caps("", "kill") };
        assert_eq!(preset.keep_of(have), set("chown,kill"));
    }
}
