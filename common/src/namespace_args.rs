//! The options that name namespaces, the same in every tool that makes or enters them.

use std::path::PathBuf;

use clap::Args;

use crate::namespace::NamespaceKind;

/// Each `None` where not given, `Some(None)` where given alone, `Some(Some(FILE))` with a file.
#[derive(Args, Debug)]
pub struct NamespaceArgs {
    /// Mount namespace
    #[arg(short, long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    mount: Option<Option<PathBuf>>,
    /// UTS namespace: host and domain name
    #[arg(short, long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    uts: Option<Option<PathBuf>>,
    /// IPC namespace
    #[arg(short, long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    ipc: Option<Option<PathBuf>>,
    /// Network namespace
    #[arg(short, long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    net: Option<Option<PathBuf>>,
    /// PID namespace
    #[arg(short, long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pid: Option<Option<PathBuf>>,
    /// User namespace
    #[arg(short = 'U', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    user: Option<Option<PathBuf>>,
    /// Cgroup namespace
    #[arg(short = 'C', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    cgroup: Option<Option<PathBuf>>,
    /// Time namespace
    #[arg(short = 'T', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    time: Option<Option<PathBuf>>,
}

impl NamespaceArgs {
    /// What was given for each kind, in the order of [`NamespaceKind::ALL`].
    #[must_use]
    pub fn by_kind(self) -> [(NamespaceKind, Option<Option<PathBuf>>); 8] {
        let Self { mount, uts, ipc, net, pid, user, cgroup, time } = self;
        [
            (NamespaceKind::User, user),
            (NamespaceKind::Mount, mount),
            (NamespaceKind::Pid, pid),
            (NamespaceKind::Uts, uts),
            (NamespaceKind::Ipc, ipc),
            (NamespaceKind::Net, net),
            (NamespaceKind::Cgroup, cgroup),
            (NamespaceKind::Time, time),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Tool {
        #[command(flatten)]
        namespaces: NamespaceArgs,
    }

    #[test]
    fn short_letters_combine_as_util_linux_has_them() {
        let tool = Tool::try_parse_from(["tool", "-muinpC", "-T", "-U=/tmp/u"]).unwrap();
        for (kind, given) in tool.namespaces.by_kind() {
            let file = (kind == NamespaceKind::User).then(|| "/tmp/u".into());
            assert_eq!(given, Some(file), "{}", kind.name());
        }
    }

    #[test]
    fn they_are_in_the_order_of_all() {
        let none = Tool::try_parse_from(["tool"]).unwrap().namespaces.by_kind();
        assert_eq!(none, NamespaceKind::ALL.map(|kind| (kind, None)));
    }
}
