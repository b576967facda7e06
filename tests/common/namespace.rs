//! The kinds of namespace as options and as files, and those that the tests are in.

/// Long option, short letter, name of the file in /proc/PID/ns. All but the first and the last are
/// what every container has.
pub const KINDS: [(&str, &str, &str); 8] = [
    ("--user", "-U", "user"),
    ("--mount", "-m", "mnt"),
    ("--pid", "-p", "pid"),
    ("--uts", "-u", "uts"),
    ("--ipc", "-i", "ipc"),
    ("--net", "-n", "net"),
    ("--cgroup", "-C", "cgroup"),
    ("--time", "-T", "time"),
];

/// The namespace of the tests, as readlink shows it.
pub fn own_namespace(kind: &str) -> String {
    let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    link.to_str().unwrap().to_owned()
}
