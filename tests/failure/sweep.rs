//! The machinery: a command line is run once to see which system calls it makes, then once for
//! each of them with that one failing.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::process::Output;

use crate::common::needs::in_uml;
use crate::common::{Scene, eventually};
use crate::look::{LOOK, state};

/// What changes the state of the process or of the machine, or decides about it. Left out are
/// memory, what reads an open file, and fcntl(2), whose F_GETFD is Rust's own check.
pub const CALLS: &str = "unshare,setns,clone,clone3,fork,vfork,execve,execveat,wait4,exit_group,\
    fsopen,fsconfig,fsmount,fspick,move_mount,open_tree,mount_setattr,mount,umount2,pivot_root,chroot,\
    mkdir,mkdirat,mknodat,symlinkat,linkat,rename,renameat,renameat2,unlink,unlinkat,rmdir,\
    open,openat,openat2,write,pwrite64,ftruncate,copy_file_range,sendfile,fchown,fchownat,fchmod,fchmodat,\
    utimensat,setxattr,fsetxattr,lsetxattr,removexattr,fremovexattr,lremovexattr,flock,\
    sethostname,setdomainname,setgroups,setuid,setgid,setresuid,setresgid,capget,capset,prctl,seccomp,\
    prlimit64,setrlimit,chdir,fchdir,getcwd,dup2,dup3,close_range,ioctl,socket,bpf,memfd_create,\
    pidfd_open,pidfd_send_signal,signalfd4,pipe2,rt_sigprocmask,rt_sigaction,setsid,poll,fstatfs,statfs";

/// Of Rust's runtime and glibc before main, and what only reads one bit.
const NOT_OURS: [&str; 10] = [
    "rt_sigaction(SIGPIPE",
    "rt_sigaction(SIGSEGV",
    "rt_sigaction(SIGBUS",
    "events=0}",
    "prlimit64(0, RLIMIT_STACK, NULL",
    "/proc/self/maps",
    "PR_CAPBSET_READ",
    "PR_CAP_AMBIENT_IS_SET",
    "exit_group(",
    "rmdir(", // what only cleans up
];

/// What COMMAND calls, too. It counts on from the tool that became it, so that beyond that count it is hit.
const COMMANDS: [&str; 8] =
    ["openat", "write", "dup2", "execve", "ioctl", "statfs", "fstatfs", "rt_sigaction"];

/// A system call of a run: the `nth` of its name in its process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    pub name: String,
    pub nth: u32,
    /// How strace showed it, in a run without errors.
    pub shown: String,
    /// Whether COMMAND ran by then, so that only its watchers were left to fail.
    pub late: bool,
    /// Whether the root was another by then: what was made in it may be out of reach, and stays.
    pub switched: bool,
}

/// The same number of such a call is also that of an error's own way out in another process, or of Rust's
/// runtime, which aborts.
const BEYOND_TELLING: [&str; 4] = ["write", "poll", "rt_sigaction", "rt_sigprocmask"];

/// How most lines are looked at.
const QUICKLY: &str = "-f --seccomp-bpf";

/// What is run.
pub struct Line<'a> {
    pub scene: &'a Scene,
    /// A shell script in which `$STRACE` stands before what is looked at, and `$LOOK` is COMMAND's script.
    /// What it prints is what came of it; nothing, where the tool failed.
    pub script: String,
    /// The name of COMMAND's program, if the tool is to become one.
    pub command: Option<&'a str>,
    /// What may be otherwise where a call failed: a word of the line that `LOOK` prints, and why that is as good.
    pub excused: &'a [(&'a str, &'a str)],
    /// Which calls are to fail, as strace(1) takes them.
    pub calls: String,
    /// How to look: `-f` at children too, `--seccomp-bpf` quickly, which also sets no_new_privs (strace(1)).
    pub strace: &'a str,
}

impl<'a> Line<'a> {
    /// One that ends in a shell.
    pub fn new(scene: &'a Scene, script: String) -> Self {
        Self { scene, script, command: Some("sh"), excused: &[], calls: CALLS.to_owned(), strace: QUICKLY }
    }

    /// One of a tool that becomes no COMMAND.
    pub fn alone(scene: &'a Scene, script: String) -> Self {
        Self { command: None, ..Self::new(scene, script) }
    }

    /// Fails every `stride`th of its calls with EPERM, one at a time.
    pub fn sweep(&self, stride: usize) {
        let reference = self.traced("-e trace=unshare");
        assert!(reference.status.success(), "{reference:?}");
        let reference = state(&reference.stdout);
        let calls = self.calls();
        let there = self.scene.processes();
        let bad: Vec<_> = calls
            .iter()
            .step_by(strided(stride))
            .filter_map(|call| self.wrong(call, &reference, &there))
            .collect();
        assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), calls.len(), bad.join("\n"));
    }

    /// What went wrong when `call` failed.
    fn wrong(&self, call: &Call, reference: &str, there: &[i32]) -> Option<String> {
        let Call { name, nth, .. } = call;
        let run = self.traced(&format!("-e trace={name} -e inject={name}:error=EPERM:when={nth}"));
        let said = String::from_utf8_lossy(&run.stderr);
        let complain = |what: &str| Some(format!("{what}: {call:?}\n{:?} {said}", run.status.code()));
        let found = state(&run.stdout);
        let left = self.left(call, there);
        if !left.is_empty() {
            return complain(&format!("left {left}"));
        }
        match run.status.code() {
            // The same number may be one of COMMAND's own.
            Some(0 | 125) if call.late => None,
            Some(0) if self.is_as_good(reference, &found) => None,
            Some(0) => {
                complain(&format!("success, but with a difference\n{}", difference(reference, &found)))
            }
            Some(125 | 126) if !run.stdout.is_empty() => {
                complain("the tool failed, but not before it took effect")
            }
            Some(125 | 134) if run.stdout.is_empty() && BEYOND_TELLING.contains(&&**name) => None,
            Some(125 | 126) if !is_one_error(&said) => complain("not one error of one tool"),
            Some(125 | 126) => None,
            _ => complain("another exit status"),
        }
    }

    fn is_as_good(&self, reference: &str, found: &str) -> bool {
        let excused = |line: &str| self.excused.iter().any(|(word, _)| line.contains(word));
        difference(reference, found).lines().all(excused)
    }

    /// What is there of the scene after a run.
    fn left(&self, call: &Call, there: &[i32]) -> String {
        let scene = self.scene;
        let mut file = fs::read_to_string(scene.path("left")).unwrap_or_default();
        if call.switched || call.late {
            file.clear();
        }
        let mut left: Vec<_> = scene.mounts().iter().map(|path| path.display().to_string()).collect();
        left.extend(scene.processes().iter().filter(|pid| !there.contains(pid)).map(ToString::to_string));
        if ["--rm", "--delete"].iter().any(|option| self.script.contains(option)) {
            left.extend(scene.cgroups().iter().map(|path| path.display().to_string()));
        }
        left.join(" ") + &file
    }

    /// Kills every `stride`th caller at its call, all at once with what it started; then nothing may be left
    /// but a cgroup, and the same line must succeed.
    pub fn kill(&self, stride: usize) {
        let reference = self.traced("-e trace=unshare");
        assert!(reference.status.success(), "{reference:?}");
        let reference = state(&reference.stdout);
        for call in self.calls().iter().filter(|call| !call.late).step_by(strided(stride)) {
            let Call { name, nth, .. } = call;
            let run = self.traced(&format!("-e trace={name} -e inject={name}:signal=KILL:when={nth}"));
            let what = format!("{call:?}\n{:?} {}", run.status, String::from_utf8_lossy(&run.stderr));
            // The kernel ends the others once their parent, or PID 1, has ended.
            eventually(&what, || self.scene.processes().is_empty());
            assert_eq!(self.scene.mounts(), [] as [std::path::PathBuf; 0], "mounts left: {what}");
            // Without strace, and on what the killed run has left.
            let again = self.scene.sh(&self.script).env("STRACE", "").env("LOOK", LOOK).output().unwrap();
            assert!(again.status.success(), "again: {again:?}\n{what}");
            let found = state(&again.stdout);
            assert!(self.is_as_good(&reference, &found), "again: {}\n{what}", difference(&reference, &found));
        }
    }

    fn traced(&self, options: &str) -> Output {
        // The cgroup is what may stay of a chain, unless a container was there before.
        for cgroup in self.scene.cgroups() {
            let _ = fs::remove_dir(&cgroup);
        }
        let trace = self.scene.path("trace");
        let strace = format!("strace {} -qq -o {} {options}", self.strace, trace.display());
        self.scene.sh(&self.script).env("STRACE", strace).env("LOOK", LOOK).output().unwrap()
    }

    /// The calls it makes.
    fn calls(&self) -> Vec<Call> {
        let run = self.traced(&format!("-e trace={}", self.calls));
        assert!(run.status.success(), "{run:?}");
        self.parse(&fs::read(self.scene.path("trace")).unwrap())
    }

    /// Each process counts its own calls (strace(1): "per tracee"), and of those with the same number one is enough.
    fn parse(&self, trace: &[u8]) -> Vec<Call> {
        let follow = self.strace.contains("-f");
        let text = String::from_utf8_lossy(trace);
        let mut counts = HashMap::<(&str, &str), u32>::new();
        let (mut over, mut seen, mut calls) = (None, BTreeSet::new(), Vec::new());
        let (mut switched, mut forked) = (false, false);
        // The first is strace's own execve(2), and not counted.
        for line in text.lines().skip(1) {
            let (pid, shown) = if follow { line.split_once(' ').unwrap_or_default() } else { ("", line) };
            let shown = shown.trim_start();
            let Some((name, _)) = shown.split_once('(') else { continue };
            if over == Some(pid) || !self.calls.split(',').any(|known| known == name) {
                continue;
            }
            let nth = counts.entry((pid, name)).or_default();
            *nth += 1;
            if NOT_OURS.iter().all(|word| !shown.contains(word)) && seen.insert((name, *nth)) {
                let late = over.is_some() || forked;
                calls.push(Call {
                    name: name.to_owned(),
                    nth: *nth,
                    shown: shown.to_owned(),
                    late,
                    switched,
                });
            }
            switched |= name == "pivot_root";
            forked |= !follow && name.starts_with("clone"); // and COMMAND runs unseen
            if self.command.is_some_and(|command| is_exec_of(shown, command)) {
                over = Some(pid);
            }
        }
        if let Some(pid) = over {
            let most =
                |name: &str| counts.iter().find(|(of, _)| **of == (pid, name)).map_or(0, |(_, count)| *count);
            calls.retain(|call| !COMMANDS.contains(&&*call.name) || call.nth <= most(&call.name));
        }
        calls
    }
}

/// Whether this execve(2) has run the program `name`.
fn is_exec_of(shown: &str, name: &str) -> bool {
    let path = shown.strip_prefix("execve(\"").and_then(|rest| rest.split('"').next());
    path.is_some_and(|path| Path::new(path).ends_with(name)) && !shown.contains(" = -1 ")
}

/// One line of one tool, and perhaps its hint.
fn is_one_error(said: &str) -> bool {
    let lines: Vec<_> = said.lines().collect();
    let tool = |line: &str| line.split_once(": ").map(|(tool, _)| tool.to_owned());
    let hints = lines.iter().filter(|line| line.contains(": hint: ")).count();
    (1..=2).contains(&lines.len())
        && lines.len() - hints == 1
        && lines.iter().all(|line| tool(line) == tool(lines[0]))
}

fn difference(a: &str, b: &str) -> String {
    let without = |a: &str, b: &str, sign: &str| {
        let gone = a.lines().filter(|line| !b.lines().any(|other| other == *line));
        gone.map(|line| format!("{sign} {line}\n")).collect::<String>()
    };
    without(a, b, "-") + &without(b, a, "+")
}

fn strided(stride: usize) -> usize {
    match std::env::var("FAILURE_STRIDE") {
        Ok(number) => number.parse().unwrap(),
        Err(_) if in_uml() => stride * 8,
        Err(_) => stride,
    }
}
