//! `--seccomp FILE`: a profile in Docker's JSON format, compiled into a filter.

mod bpf;
mod profile;
mod rules;

use std::path::Path;

use common::capability::CapabilitySet;
use common::seccomp::Filter;
use common::{Error, Result};

pub use profile::Profile;

/// Docker's default, which is also that of the presets.
const DOCKER: &str = include_str!("docker.json");

impl Profile {
    /// The profile of the presets.
    pub fn dockers() -> Result<Self> {
        Self::parse(DOCKER.as_bytes(), Path::new("docker"))
    }

    /// The filter for a process with these capabilities on the running kernel.
    pub fn compile(&self, have: CapabilitySet) -> Result<Filter> {
        let native = rules::Architecture::native().ok_or_else(|| {
            Error::new("compile", "the seccomp profile", "system calls of this architecture are not known")
        })?;
        let release = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
        let kernel = profile::version(&release.unwrap_or_default()).unwrap_or((0, 0));
        let tables = self.tables(native, have, kernel);
        let program = bpf::program(&tables);
        if program.len() > common::seccomp::MAX_LENGTH {
            return Err(Error::new("compile", "the seccomp profile", "it is too long for the kernel"));
        }
        Ok(Filter { program, flags: self.flags() })
    }
}
