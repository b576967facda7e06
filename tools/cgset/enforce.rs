//! Device rules put into force: devices.allow and devices.deny on v1, a BPF program on v2.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;

use common::sys::bpf;
use common::undo::Changes;
use common::{During as _, Error, Result, trace};
use nix::errno::Errno;

use crate::device::{Access, Policy, Rule};
use crate::file;
use crate::group::{Group, Place};
use crate::hierarchy::Version;

/// The name of our programs, by which a later cgset knows them from those of others.
const NAME: &std::ffi::CStr = c"cgset_devices";

impl Policy {
    /// Puts the policy into force in `group`.
    pub fn apply(&self, group: &Group<'_>, changes: &mut Changes<'_>) -> Result<()> {
        let v1 = group.place_with("devices").filter(|place| place.hierarchy.version == Version::V1);
        match (v1, group.place_with("cgroup")) {
            (Some(place), _) => self.write(place, changes),
            (None, Some(place)) => self.attach(place, changes),
            (None, None) => Err(Error::new("limit devices", &group.name, "no controller for them")
                .hint("it takes cgroup v2, or v1's devices hierarchy, mounted writable")),
        }
    }

    /// v1: everything is denied, or allowed, and the rules are added.
    fn write(&self, place: &Place<'_>, changes: &mut Changes<'_>) -> Result<()> {
        let list = place.file("devices.list");
        let (allow, deny) = (place.file("devices.allow"), place.file("devices.deny"));
        let before = file::read(&list)?;
        changes.made({
            let (allow, deny) = (allow.clone(), deny.clone());
            move || {
                file::put_back(&deny, "a");
                before.lines().for_each(|line| file::put_back(&allow, line));
            }
        });
        match self.default {
            Access::Allow => file::write(&allow, "a")?,
            Access::Deny => file::write(&deny, "a")?,
        }
        for rule in &self.rules {
            rule.written()
                .iter()
                .try_for_each(|line| file::write(&allow, line))
                .map_err(|error| error.or_hint(Some("a group may use only what its parent may use")))?;
        }
        let now = file::read(&list)?;
        let wanted = || self.rules.iter().flat_map(Rule::written);
        let allowed = wanted().all(|line| now.lines().any(|have| have == line || have == "a *:* rwm"));
        let all = now == "a *:* rwm";
        if allowed && (all == (self.default == Access::Allow) || wanted().any(|line| line.starts_with('a'))) {
            return Ok(());
        }
        Err(Error::new("set the device rules", list, format!("the kernel made it {now:?}")))
    }

    /// v2: the new program takes the place of the one that an earlier cgset attached, at once.
    /// Programs of others stay, and what they deny stays denied.
    fn attach(&self, place: &Place<'_>, changes: &mut Changes<'_>) -> Result<()> {
        let directory = place.directory();
        let cgroup = Rc::new(File::open(&directory).during("open", &directory)?);
        let failed = |step: &'static str| {
            let directory = &directory;
            move |errno| Error::new(step, directory, errno).or_hint(hint_for(errno))
        };
        let old = ours(&cgroup).map_err(failed("look for device rules"))?;
        let program = bpf::load(&self.program(), NAME).map_err(failed("load device rules"))?;
        trace::step(format_args!(
            "attach a device program ({} instructions) to {}",
            self.program().len(),
            place.directory().display()
        ));
        bpf::attach(cgroup.as_fd(), program.as_fd(), old.as_ref().map(OwnedFd::as_fd))
            .map_err(failed("attach device rules"))?;
        changes.made(move || {
            let _ = match &old {
                Some(old) => bpf::attach(cgroup.as_fd(), old.as_fd(), Some(program.as_fd())),
                None => bpf::detach(cgroup.as_fd(), program.as_fd()),
            };
        });
        Ok(())
    }
}

/// The program that an earlier cgset attached, by its name.
fn ours(cgroup: &File) -> nix::Result<Option<OwnedFd>> {
    for id in bpf::attached(cgroup.as_fd())? {
        let program = bpf::open(id)?;
        if bpf::name_of(program.as_fd())? == NAME.to_bytes() {
            return Ok(Some(program));
        }
    }
    Ok(None)
}

fn hint_for(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::EPERM | Errno::EACCES => Some(
            "device rules on cgroup v2 are a BPF program: loading one takes CAP_BPF and CAP_NET_ADMIN, or root",
        ),
        Errno::EINVAL | Errno::ENOSYS => {
            Some("device rules on cgroup v2 take a kernel with CONFIG_CGROUP_BPF (and Linux 5.6)")
        }
        _ => None,
    }
}
