//! What is meant: one plan for each thing that cgset does.

use std::ffi::OsString;

use common::chain::Chain;
use common::record::Record;
use common::{Error, Result};

use crate::cli::{Acts, Cli, Devices, Views};
use crate::device::Policy;
use crate::group::Name;
use crate::key::{Setting, check_name};
use crate::members::Unit;
use crate::owner::Owner;

/// What is to be done.
#[derive(Debug)]
pub enum Plan {
    /// Make a group, set its limits, and move into it.
    Set(Set),
    /// Act on a group that exists.
    Control(Control),
    /// Look at a group that exists.
    Show(Show),
}

/// Make, set, move.
#[derive(Debug)]
pub struct Set {
    /// What the group is to be.
    pub wanted: Wanted,
    /// Who moves in.
    pub who: Who,
    /// Whole processes or threads.
    pub unit: Unit,
}

/// A group as it is to be.
#[derive(Debug)]
pub struct Wanted {
    /// Which.
    pub group: Name,
    /// In the order in which they can be set.
    pub settings: Vec<Setting>,
    /// Which devices its processes may use.
    pub devices: Option<Policy>,
    /// To whom it is given.
    pub owner: Option<Owner>,
}

/// Who moves into the group.
#[derive(Debug)]
pub enum Who {
    /// cgset itself, to become this command; nobody without one.
    Caller(Option<Chain>),
    /// A child that becomes the command; the group goes after its end.
    Child(Chain),
    /// These processes; then cgset becomes the command, if there is one.
    Pids(Vec<i32>, Option<Chain>),
    /// The container of this record, which goes on to the next stage.
    Container(Record),
}

/// Act on a group that exists.
#[derive(Debug)]
pub struct Control {
    /// The group.
    pub group: Name,
    /// The record that named it: its container must be what is in the group.
    pub record: Option<Record>,
    /// Freeze or thaw it.
    pub frozen: Option<bool>,
    /// Kill what is in it.
    pub kill: bool,
    /// Remove it.
    pub delete: bool,
    /// And its child groups.
    pub recursive: bool,
}

/// Look at a group that exists.
#[derive(Debug, PartialEq, Eq)]
pub struct Show {
    /// The group.
    pub group: Name,
    /// What of it.
    pub what: What,
    /// Whether as JSON.
    pub json: bool,
}

/// What is shown.
#[derive(Debug, PartialEq, Eq)]
pub enum What {
    /// These settings; all, where none is named.
    Settings(Vec<String>),
    /// What it has used.
    Usage,
    /// The subtree and its processes.
    Members,
}

impl Plan {
    /// The plan for a command line.
    pub fn new(cli: Cli) -> Result<Self> {
        let Cli { operands, from, pid, threads, rm, owner, devices, acts, views, chain } = cli;
        let Devices { device, device_default } = devices;
        let chain = chain.chain()?;
        let record = from.as_deref().map(Record::read).transpose()?;
        let mut operands = operands.into_iter();
        let (controls, shows) = (acts.any(), views.any());
        if !controls && !shows {
            let wanted = Wanted {
                group: group(operands.next())?,
                settings: settings(operands)?,
                devices: Policy::parse(&device, device_default)?,
                owner: owner.as_deref().map(Owner::parse).transpose()?,
            };
            let who = who(record, pid, rm, threads, chain)?;
            let unit = if threads { Unit::Threads } else { Unit::Processes };
            return Ok(Self::Set(Set { wanted, who, unit }));
        }
        let sets = !pid.is_empty() || rm || threads || owner.is_some() || !device.is_empty();
        if (controls && shows) || sets || device_default.is_some() || chain.is_some() {
            return Err(Error::usage(
                "setting a group up, acting on it, and looking at it are done one at a time",
            )
            .hint(
                "KEY=VALUE, --pid, --rm, COMMAND; --freeze, --thaw, --kill, --delete; --get, --stat, --list",
            ));
        }
        let group = match &record {
            Some(record) => group_of(record)?,
            None => group(operands.next())?,
        };
        if !views.get && operands.len() > 0 {
            return Err(Error::usage(
                "one GROUP and no KEY is what --freeze, --kill, --stat and their like take",
            )
            .hint("with --from, GROUP comes from the record"));
        }
        match controls {
            true => Ok(Self::Control(Control::new(group, record, &acts))),
            false => Show::new(group, &views, operands).map(Self::Show),
        }
    }
}

impl Control {
    fn new(group: Name, record: Option<Record>, acts: &Acts) -> Self {
        let Acts { freeze, thaw, kill, delete, recursive } = *acts;
        Self { group, record, frozen: (freeze || thaw).then_some(freeze), kill, delete, recursive }
    }
}

impl Show {
    fn new(group: Name, views: &Views, keys: impl Iterator<Item = OsString>) -> Result<Self> {
        let what = match *views {
            Views { stat: true, .. } => What::Usage,
            Views { list: true, .. } => What::Members,
            Views { .. } => What::Settings(keys.map(key).collect::<Result<_>>()?),
        };
        Ok(Self { group, what, json: views.json })
    }
}

fn who(record: Option<Record>, pids: Vec<i32>, rm: bool, threads: bool, chain: Option<Chain>) -> Result<Who> {
    match (record, chain) {
        (Some(_), Some(_)) => Err(Error::usage("--from and COMMAND exclude each other")),
        (Some(_), None) if rm || threads || !pids.is_empty() => {
            Err(Error::usage("--from says who is moved: no --pid, --threads or --rm"))
        }
        (Some(record), None) => Ok(Who::Container(record)),
        (None, Some(chain)) if rm && pids.is_empty() => Ok(Who::Child(chain)),
        (None, _) if rm => {
            Err(Error::usage("--rm waits for a COMMAND of its own").hint("end the line with -- COMMAND"))
        }
        (None, chain) if !pids.is_empty() => Ok(Who::Pids(pids, chain)),
        (None, chain) => Ok(Who::Caller(chain)),
    }
}

fn group(operand: Option<OsString>) -> Result<Name> {
    let operand =
        operand.ok_or_else(|| Error::usage("no GROUP given").hint("'cgset --help' shows how to use it"))?;
    Name::parse(&operand)
}

fn group_of(record: &Record) -> Result<Name> {
    let cgroup = record.cgroup().ok_or_else(|| {
        Error::new("find the group", "container record", "it has no cgroup")
            .hint("'cgset --from' writes it; a container without one is stopped by killing its pid")
    })?;
    Ok(Name::FromTop(cgroup.path))
}

/// In the order in which they can be set.
fn settings(operands: impl Iterator<Item = OsString>) -> Result<Vec<Setting>> {
    let mut settings = operands.map(setting).collect::<Result<Vec<_>>>()?;
    settings.sort_by_key(Setting::turn);
    Ok(settings)
}

fn setting(operand: OsString) -> Result<Setting> {
    match operand.to_str() {
        Some(text) => Setting::parse(text),
        None => Err(Error::new("read KEY=VALUE", operand, "it is not UTF-8")),
    }
}

fn key(operand: OsString) -> Result<String> {
    let key = operand.to_str().ok_or_else(|| Error::new("read KEY", &operand, "it is not UTF-8"))?;
    check_name(key).map(|()| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches as _;

    fn plan(words: &[&str]) -> Result<Plan> {
        let matches =
            common::app::command::<Cli>().try_get_matches_from([&["cgset"], words].concat()).unwrap();
        Plan::new(Cli::from_arg_matches(&matches).unwrap())
    }

    #[test]
    fn a_group_alone_is_only_made() {
        let Plan::Set(set) = plan(&["demo", "pids.max=3"]).unwrap() else { panic!() };
        assert_eq!(set.wanted.group, Name::FromTop("demo".into()));
        assert_eq!(set.wanted.settings.len(), 1);
        assert!(matches!(set.who, Who::Caller(None)));
    }

    #[test]
    fn who_moves_in_follows_from_the_options() {
        let who = |words: &[&str]| match plan(words).unwrap() {
            Plan::Set(set) => set.who,
            other => panic!("{other:?}"),
        };
        assert!(matches!(who(&["demo", "--", "true"]), Who::Caller(Some(_))));
        assert!(matches!(who(&["--rm", "demo", "--", "true"]), Who::Child(_)));
        assert!(
            matches!(who(&["demo", "--pid", "1", "--pid", "2"]), Who::Pids(pids, None) if pids == [1, 2])
        );
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        for words in [
            &["demo", "--rm"][..],
            &["demo", "--rm", "--pid", "1", "--", "true"],
            &["demo", "--kill", "pids.max=1"],
            &["demo", "--kill", "--", "true"],
            &["--kill"],
            &["demo", "pids.max"],
            &["demo", "--", "true"][..0],
        ] {
            assert_eq!(plan(words).unwrap_err().status(), 125, "{words:?}");
        }
    }
}
