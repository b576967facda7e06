//! From the old namespaces to the new ones, and to the process that lives there.

use std::process::ExitCode;

use common::cgroup::Entrance;
use common::chain::Chain;
use common::namespace::{self, NamespaceKind};
use common::supervise::{self, Options};
use common::{Error, Result, procfs, trace};
use nix::sched::unshare;

use crate::maps::Maps;
use crate::outsider::Outsider;
use crate::plan::{Ending, Inside, Pin, Plan};
use crate::{detach, inside, pin, refusal};

/// The helpers that stay outside, as far as they are needed.
#[derive(Debug)]
pub(crate) struct Outside {
    mapper: Option<Outsider>,
    pinner: Option<Outsider>,
    /// A PID namespace can be pinned only once it has its PID 1.
    pid_pinner: Option<Outsider>,
}

impl Outside {
    /// Forks them; must be done before unshare(2).
    pub(crate) fn fork(plan: &Plan) -> Result<Self> {
        let (of_pid, others): (Vec<Pin>, Vec<Pin>) =
            plan.pins.iter().cloned().partition(|pin| pin.kind == NamespaceKind::Pid);
        let pinner = |pins: Vec<Pin>| -> Result<Option<Outsider>> {
            if pins.is_empty() {
                return Ok(None);
            }
            let me = procfs::own_pid()?; // it looks us up in /proc
            Outsider::fork(move || pin::bind_all(&pins, me)).map(Some)
        };
        let mapper = |maps: &Maps| -> Result<Option<Outsider>> {
            if maps.is_empty() {
                return Ok(None);
            }
            let me = procfs::own_pid()?;
            Outsider::fork(|| maps.write(me)).map(Some)
        };
        Ok(Self { mapper: mapper(&plan.maps)?, pinner: pinner(others)?, pid_pinner: pinner(of_pid)? })
    }

    /// Writes the id maps.
    pub(crate) fn write_maps(&mut self) -> Result<()> {
        self.mapper.take().map_or(Ok(()), |mut mapper| mapper.act())
    }

    /// Pins all but a PID namespace.
    pub(crate) fn pin(&mut self) -> Result<()> {
        self.pinner.as_mut().map_or(Ok(()), Outsider::act)
    }

    /// Pins the PID namespace: said by its PID 1.
    fn pin_pid(&mut self) -> Result<()> {
        self.pid_pinner.as_mut().map_or(Ok(()), Outsider::act)
    }

    /// Lets what they made stand: all of it or nothing.
    pub(crate) fn keep(&mut self) -> Result<()> {
        let kept = self.pinners().try_for_each(Outsider::keep);
        kept.inspect_err(|_| self.take_back())
    }

    /// Has it taken back after all.
    pub(crate) fn take_back(&mut self) {
        self.each(Outsider::take_back);
    }

    fn each(&mut self, tell: fn(&mut Outsider)) {
        self.pinners().for_each(tell);
    }

    fn pinners(&mut self) -> impl Iterator<Item = &mut Outsider> {
        [&mut self.pinner, &mut self.pid_pinner].into_iter().flatten()
    }
}

/// unshare(2) of all kinds at once: a user namespace among them gives the right to the others.
pub(crate) fn enter_new_namespaces(plan: &Plan) -> Result<()> {
    let kinds: Vec<_> = plan.kinds.iter().copied().filter(|kind| !plan.is_for_the_child(*kind)).collect();
    unshare_kinds(&kinds)
}

fn unshare_kinds(kinds: &[NamespaceKind]) -> Result<()> {
    if kinds.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    trace::step(format_args!("unshare {}", names.join(", ")));
    unshare(namespace::flags(kinds)).map_err(|errno| refusal::explain(errno, kinds))
}

/// The end of the story, in one of four ways.
pub(crate) fn finish(plan: Plan, mut outside: Outside) -> Result<ExitCode> {
    let own_cgroup_namespace = plan.is_for_the_child(NamespaceKind::Cgroup);
    let Plan { inside: furniture, ending, record, cgroup, kinds, .. } = plan;
    let into_cgroup = cgroup.as_ref().and_then(Entrance::v2_directory);
    if matches!(ending, Ending::Fork { .. }) {
        outside.each(Outsider::leave_to_the_child);
    }
    let begin = |outside: &mut Outside| {
        outside.each(Outsider::take_over);
        cgroup.as_ref().map_or(Ok(()), Entrance::enter_v1)?;
        if own_cgroup_namespace {
            unshare_kinds(&[NamespaceKind::Cgroup])?; // its root is the cgroup that we are in by now
        }
        outside.pin_pid()
    };
    match ending {
        Ending::Become(chain) => {
            cgroup.as_ref().map_or(Ok(()), Entrance::enter)?;
            Err(become_command(&furniture, &mut outside, &chain))
        }
        Ending::Fork { chain, init, death_signal } => {
            let options = Options { death_signal: Some(death_signal), into_cgroup, ..Options::default() };
            // `move`: the helpers wait for the last of us that holds their line, which must be the child.
            let ended = supervise::run(&options, move |parent| {
                begin(&mut outside)?;
                if !init {
                    return Err(become_command(&furniture, &mut outside, &chain));
                }
                outside.each(Outsider::leave_to_the_child);
                let options = Options { init_for: Some(parent), ..Options::default() };
                supervise::run(&options, move |_| {
                    outside.each(Outsider::take_over);
                    Err(become_command(&furniture, &mut outside, &chain))
                })
            })?;
            Ok(ExitCode::from(ended.status()))
        }
        Ending::Detach => {
            let furnish = |outside: &mut Outside| begin(outside).and_then(|()| inside::furnish(&furniture));
            detach::start(record.unwrap_or_default(), &kinds, into_cgroup, &mut outside, furnish)
        }
        Ending::PinOnly => {
            inside::furnish(&furniture)?;
            outside.keep()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn become_command(furniture: &Inside, outside: &mut Outside, chain: &Chain) -> Error {
    if let Err(error) = inside::furnish(furniture).and_then(|()| outside.keep()) {
        return error;
    }
    let error = chain.exec();
    outside.take_back();
    error
}
