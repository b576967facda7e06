//! What is meant: one plan for each thing that cgset does.

use std::ffi::OsString;

use common::chain::Chain;
use common::record::Record;
use common::{Error, Result};

use crate::cli::Cli;
use crate::group::Name;
use crate::key::Setting;
use crate::members::Unit;

/// What is to be done.
#[derive(Debug)]
pub enum Plan {
    /// Make a group, set its limits, and move into it.
    Set(Set),
    /// Act on a group that exists.
    Control(Control),
}

/// Make, set, move.
#[derive(Debug)]
pub struct Set {
    /// The group.
    pub group: Name,
    /// In the order in which they were given.
    pub settings: Vec<Setting>,
    /// Who moves in.
    pub who: Who,
    /// Whole processes or threads.
    pub unit: Unit,
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
    /// Kill what is in it.
    pub kill: bool,
    /// Remove it.
    pub delete: bool,
    /// And its child groups.
    pub recursive: bool,
}

impl Plan {
    /// The plan for a command line.
    pub fn new(cli: Cli) -> Result<Self> {
        let Cli { operands, from, pid, threads, rm, kill, delete, recursive, chain } = cli;
        let chain = chain.chain();
        let record = from.as_deref().map(Record::read).transpose()?;
        let mut operands = operands.into_iter();
        if kill || delete {
            let group = match &record {
                Some(record) => group_of(record)?,
                None => group(operands.next())?,
            };
            if operands.len() > 0 || chain.is_some() || !pid.is_empty() || rm || threads {
                return Err(Error::usage(
                    "--kill and --delete act on a group that exists: no KEY=VALUE, --pid, --rm or COMMAND",
                )
                .hint("with --from, GROUP comes from the record too"));
            }
            return Ok(Self::Control(Control { group, kill, delete, recursive }));
        }
        let group = group(operands.next())?;
        let settings = operands.map(setting).collect::<Result<_>>()?;
        let who = match (record, chain) {
            (Some(_), Some(_)) => return Err(Error::usage("--from and COMMAND exclude each other")),
            (Some(_), None) if rm || threads || !pid.is_empty() => {
                return Err(Error::usage("--from names who is moved: no --rm, no --pid"));
            }
            (Some(record), None) => Who::Container(record),
            (None, Some(chain)) if rm && pid.is_empty() => Who::Child(chain),
            (None, _) if rm => {
                return Err(
                    Error::usage("--rm waits for a COMMAND of its own").hint("end the line with -- COMMAND")
                );
            }
            (None, chain) if !pid.is_empty() => Who::Pids(pid, chain),
            (None, chain) => Who::Caller(chain),
        };
        let unit = if threads { Unit::Threads } else { Unit::Processes };
        Ok(Self::Set(Set { group, settings, who, unit }))
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

fn setting(operand: OsString) -> Result<Setting> {
    match operand.to_str() {
        Some(text) => Setting::parse(text),
        None => Err(Error::new("read KEY=VALUE", operand, "it is not UTF-8")),
    }
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
        assert_eq!(set.group, Name::FromTop("demo".into()));
        assert_eq!(set.settings.len(), 1);
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
