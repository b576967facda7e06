//! What COMMAND finds itself in, told by itself.

use std::fs;

/// A shell script without a fork, because its calls must not be taken for the tools'. It holds no `'`.
pub const LOOK: &str = r#"
    while read -r id parent device line; do echo "mount $line"; done </proc/self/mountinfo
    while read -r line; do echo "status $line"; done </proc/self/status
    while read -r line; do echo "cgroup $line"; done </proc/self/cgroup
    while read -r line; do echo "limit $line"; done </proc/self/limits
    while read -r line; do echo "net $line"; done </proc/net/dev
    for file in kernel/hostname kernel/domainname; do read -r name </proc/sys/$file; echo "name $name"; done
    read -r score </proc/self/oom_score_adj; echo "score $score"
    pwd
    umask
    exec ls -l /proc/self/ns"#;

const STATUS: [&str; 10] =
    ["Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp_filters", "NSpid", "SigBlk", "SigIgn", "Umask"];

/// What `LOOK` printed, without what differs from run to run, and without the cgroup
/// hierarchies that no limit was asked of: where one of them is closed, cgset leaves it out.
pub fn state(printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(printed);
    let has_v1 = text.contains(":pids:/");
    let is_asked = |line: &str| match has_v1 {
        true => ["memory", "pids"].iter().any(|controller| line.contains(controller)),
        false => true,
    };
    text.lines().filter_map(|line| kept(line, is_asked)).collect::<Vec<_>>().join("\n")
}

fn kept(line: &str, is_asked: impl Fn(&str) -> bool) -> Option<String> {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    match kind {
        // It is 1 or another number each time.
        "status" if rest.starts_with("NSpid") => {
            let pids = rest.split('\t').skip(1).map(|pid| if pid == "1" { "1" } else { "N" });
            Some(pids.collect::<Vec<_>>().join(" "))
        }
        "status" => STATUS.iter().any(|key| rest.starts_with(key)).then(|| line.to_owned()),
        "mount" if rest.contains(" - cgroup") => is_asked(rest).then(|| without_numbers(line)),
        "mount" => Some(without_numbers(line)),
        "cgroup" => is_asked(rest).then(|| rest.split_once(':').unwrap().1.to_owned()),
        "net" => rest.split(':').next().map(str::to_owned),
        _ => match line.split_once(" -> ") {
            Some((_, link)) => {
                Some(format!("{} {}", link.split(':').next().unwrap(), is_the_tests_own(link)))
            }
            None => Some(line.to_owned()),
        },
    }
}

/// Of peer groups.
fn without_numbers(line: &str) -> String {
    let word = |word: &str| match word.split_once(':') {
        Some((tag @ ("master" | "shared" | "propagate_from"), _)) => tag.to_owned(),
        _ => word.to_owned(),
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Whether a namespace, as a link in /proc shows it, is that of the tests.
fn is_the_tests_own(link: &str) -> bool {
    let kind = link.split(':').next().unwrap();
    fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_str() == Some(link)
}
