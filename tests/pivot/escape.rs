//! Attacks by an image, by COMMAND, or by another process that shares a volume: each is tried on
//! the real tool, and the host must be as it was. (The known ones by number in SECURITY.md.)

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{inside, inside_of};
use crate::common::needs::in_uml;
use crate::common::scene::USER;
use crate::common::{Need, Scene, eventually, needs, path_of, stderr, stdout};

/// CVE-2024-21626: a working directory that is a descriptor of the host's.
#[test]
fn a_working_directory_through_proc_leads_nowhere() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let root = scene.rootfs("root");
    for target in ["/proc/self/cwd", "/proc/1/root", "/proc/self/root/.."] {
        let _ = fs::remove_file(root.join("link"));
        symlink(target, root.join("link")).unwrap();
        for workdir in [target, "/link"] {
            let line = format!(
                "unshare --mount pivot --proc --workdir {workdir} root -- /bin/sh -c 'pwd; ls /' 9</"
            );
            let output = scene.sh(&line).output().unwrap();
            assert_eq!(output.status.code(), Some(125), "{workdir}");
        }
    }
    for number in 0..24 {
        let workdir = format!("/proc/self/fd/{number}");
        let line = format!(
            "unshare --mount pivot --proc --workdir {workdir} root -- /bin/true 3</ 7</ 9</ 12</ 20</"
        );
        scene.sh(&line).assert().code(125);
    }
    scene.assert_nothing_left();
}

/// CVE-2024-21626: with the working directory itself the host's.
#[test]
fn the_callers_working_directory_does_not_get_in() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    for method in ["pivot_root", "move", "chroot"] {
        let seen =
            inside(&scene, &format!("--proc --method {method}"), "pwd; ls ..; ls /proc/self/cwd/../../..");
        let listing = "bin\netc\nproc\nroot\ntmp";
        assert_eq!(seen, format!("/\n{listing}\n{listing}"), "{method}");
    }
}

/// CVE-2024-21626: COMMAND, or its interpreter, by way of a descriptor that the caller left open.
#[test]
fn a_command_through_an_inherited_descriptor_is_not_found() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.file("root/script", "#!/proc/self/fd/9/bin/busybox sh\necho out\n");
    scene.sh("chmod +x root/script").assert().success();
    let run = |command: &str| {
        let line = format!("unshare --mount pivot --proc root -- {command} 9</ 3</ 200</");
        scene.sh(&line).output().unwrap()
    };
    for number in [3, 9, 200] {
        let output = run(&format!("/proc/self/fd/{number}/bin/busybox echo out"));
        assert_eq!(output.status.code(), Some(127), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(run("/script").status.code(), Some(126));
    // Nor by one of the tool's own.
    for number in 3..40 {
        let output = run(&format!("/proc/self/fd/{number}/../../../../../../usr/bin/env"));
        assert!(matches!(output.status.code(), Some(126 | 127)), "{number}");
    }
}

/// A process that renames and links the parts of the mount target all the time.
struct Swapper {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Swapper {
    /// `at` is now a directory, now a link to `host`.
    fn start(at: std::path::PathBuf, host: std::path::PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let (directory, link) = (at.with_extension("d"), at.with_extension("l"));
            fs::create_dir_all(&directory).unwrap();
            symlink(&host, &link).unwrap();
            let mut rounds = 0;
            while !stopped.load(Ordering::Relaxed) {
                // What stands at `at` is exchanged; a failing step is one of the other side's.
                let _ = fs::rename(&directory, &at);
                let _ = fs::rename(&at, &directory);
                let _ = fs::rename(&link, &at);
                let _ = fs::rename(&at, &link);
                rounds += 1;
                if in_uml() {
                    // One slow CPU: the other side must get to run.
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
            rounds
        });
        Self { stop, thread: Some(thread) }
    }

    fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// CVE-2021-30465, CVE-2024-45310: the target is swapped for a link while the mount is made.
#[test]
fn a_target_that_is_swapped_meanwhile_stays_inside_or_the_tool_fails() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let shared = scene.dir("shared");
    let host = scene.dir("host");
    scene.file("data/mark", "");
    let swapper = Swapper::start(shared.join("t"), host.clone());
    // A shell that keeps the mount namespace shows in its own table where the mounts are.
    let script = "for i in 1 2 3 4; do
          unshare --mount pivot --mount-api -V shared:/shared -V data:/shared/t/x -V /etc/hostname:/shared/t/f root -- \
            /bin/sh -c \"cat /proc/self/mountinfo\" >> tables 2>> errors
        done; true";
    // Some thousands of mounts, unless the machine is slow.
    let (start, rounds) = (Instant::now(), if in_uml() { 1 } else { 200 });
    for _ in (0..rounds).take_while(|_| start.elapsed() < Duration::from_secs(10)) {
        scene.sh(script).assert().success();
    }
    // No attack where no run succeeds: at times the mount must be made, at its target.
    let mount_points = || -> Vec<String> {
        let tables = fs::read_to_string(scene.path("tables")).unwrap();
        tables.lines().filter_map(|line| line.split(' ').nth(4).map(str::to_owned)).collect()
    };
    eventually("a volume is mounted at the swapped target", || {
        scene.sh(script).assert().success();
        mount_points().iter().any(|at| at == "/shared/t/x")
    });
    assert_eq!(fs::read_dir(&host).unwrap().count(), 0, "something was made in the host's directory");
    assert!(swapper.stop() > 10, "the swapper did not get to run");
    let place = host.display().to_string();
    assert!(!mount_points().iter().any(|at| at.starts_with(&place)));
    scene.assert_nothing_left();
}

/// CVE-2024-23652: taking back what was made follows no link either.
#[test]
fn taking_back_removes_nothing_of_the_hosts() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let shared = scene.dir("shared");
    let host = scene.dir("host");
    scene.dir("host/x");
    let swapper = Swapper::start(shared.join("t"), host.clone());
    for _ in 0..if in_uml() { 3 } else { 40 } {
        let line = "unshare --mount pivot -V shared:/shared -V /etc:/shared/t/x -V missing-or-not:/y root -- /bin/true";
        scene.sh(line).assert().code(125);
        let line = "unshare --mount pivot -V shared:/shared -V /etc:/shared/t/x root -- /bin/missing";
        assert!(!scene.sh(line).output().unwrap().status.success());
        assert!(host.join("x").is_dir());
    }
    swapper.stop();
    scene.assert_nothing_left();
}

/// CVE-2019-16884, CVE-2023-27561: a decoy for /proc in the image, or something put over it.
#[test]
fn proc_is_procfs_whatever_the_image_holds() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.file("root/proc/self/attr/exec", "decoy");
    scene.file("root/proc/sys/kernel/hostname", "decoy");
    let seen = inside_of(
        &scene,
        "--mount --pid --fork",
        "--mount-api",
        "stat -f -c %T /proc; cat /proc/self/attr/exec /proc/sys/kernel/hostname | grep -c decoy || true",
    );
    assert_eq!(seen, "proc\n0");
    for option in [
        "-V /etc:/proc",
        "-V /etc:/proc/",
        "-V /etc:/x/../proc",
        "--tmpfs /proc",
        "-V /etc:/proc/sys",
        "--tmpfs /sys",
    ] {
        let line = format!("unshare --mount pivot --mount-api {option} root -- /bin/true");
        let output = scene.sh(&line).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{option}");
    }
}

/// CVE-2025-31133: the image's /dev/null is a link, so that masking would show another file.
#[test]
fn a_mask_is_the_callers_null_device_and_not_the_images() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let root = scene.rootfs("root");
    fs::create_dir(root.join("dev")).unwrap();
    symlink("/etc/passwd", root.join("dev/null")).unwrap();
    scene.file("root/secret", "secret");
    assert_eq!(inside(&scene, "--mask /secret", "cat /secret; stat -c %t:%T /secret"), "1:3");
}

/// CVE-2019-14271: the image's libraries are not loaded to look up a user.
#[test]
fn no_library_of_the_image_is_loaded() {
    if !needs(&[Need::Root, Need::Program("strace")]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    scene.file("root/lib/x86_64-linux-gnu/libnss_files.so.2", "planted");
    scene.file("root/etc/nsswitch.conf", "passwd: files planted\n");
    let line =
        "unshare --mount strace -f -o trace -e trace=open,openat,openat2 pivot --user ann root -- /bin/true";
    scene.sh(line).assert().success();
    let trace = fs::read_to_string(scene.path("trace")).unwrap();
    assert!(trace.contains("etc/passwd"), "{trace}");
    assert!(!trace.contains("libnss") && !trace.contains("nsswitch"), "{trace}");
}

/// CVE-2022-0492, CVE-2023-25809: cgroup files that could be written.
#[test]
fn no_cgroup_file_can_be_written() {
    if !needs(&[Need::Root, Need::Cgroup]) {
        return;
    }
    let scene = Scene::new();
    let script = "n=0; for f in $(find /sys/fs/cgroup -type f -name release_agent -o -type f -name cgroup.procs -o -type f -name notify_on_release); do \
                  n=$((n+1)); echo 1 2>/dev/null > $f && echo $f; done 2>/dev/null; mkdir /sys/fs/cgroup/x 2>/dev/null && echo made; echo tried $n";
    let seen = inside_of(&scene, "--mount --cgroup", "--mount-api", script);
    let tried = seen.strip_prefix("tried ").unwrap_or_else(|| panic!("written to: {seen}"));
    assert!(tried.parse::<u32>().unwrap() >= 1, "no cgroup file was there to be tried");
}

/// CVE-2017-5226: keys pushed into the terminal of the caller.
#[test]
fn a_preset_lets_nobody_push_keys_into_the_callers_terminal() {
    if !needs(&[Need::Root, Need::Program("script"), Need::Program("perl")]) {
        return;
    }
    let scene = Scene::new();
    let push = |options: &str, request: &str| {
        scene.file(
            "push.pl",
            &format!("ioctl(STDIN, {request}, my $c = 'x') ? print 'pushed' : print \"refused: $!\";\n"),
        );
        let file = scene.path("push.pl");
        let line = format!(
            "script -qec 'unshare --mount --pid --fork pivot {options} / -- perl {}' /dev/null",
            file.display()
        );
        stdout(&scene.sh(&line).assert())
    };
    for preset in ["docker", "strict"] {
        // The kernel looks at the lower 32 bits only, and so does the filter (CVE-2019-10063).
        for request in ["0x5412", "0x100005412", "0x541c"] {
            let seen = push(&format!("--preset {preset}"), request);
            assert!(seen.contains("refused: Operation not permitted"), "{preset} {request}: {seen}");
        }
    }
    // Root may do so where nothing was asked for: the attack itself is real.
    assert!(push("--proc", "0x5412").contains("pushed"));
}

/// A record that names another process's mount namespace than a container's.
#[test]
fn the_machines_root_is_not_switched_by_a_forged_record() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    let script = "sleep 100 & printf '{\"pid\":%d,\"start_time\":%d}' $! $(cut -d' ' -f22 /proc/$!/stat) | pivot --from - root; s=$?; kill $!; exit $s";
    let assert = scene.sh(script).assert().code(125);
    assert!(stderr(&assert).contains("mount namespace"), "{}", stderr(&assert));
    assert!(fs::exists("/etc/passwd").unwrap());
}

/// CVE-2019-5736: the tool's own binary as COMMAND, to be overwritten from inside.
#[test]
fn the_tools_binary_on_the_host_is_out_of_reach() {
    if !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.rootfs("root");
    // A copy, so that an attack that succeeds harms nobody but this test.
    scene.dir("tools");
    let tool = scene.path("tools/pivot");
    fs::copy(path_of("pivot"), &tool).unwrap();
    let own = fs::metadata(&tool).unwrap();
    scene.file("root/entry", "#!/proc/self/exe --from=-\n");
    scene.sh("chmod +x root/entry && mkfifo wait").assert().success();
    // It waits inside for a record on its standard input, run in two ways.
    for command in ["/proc/self/exe --from - /", "/entry"] {
        let line = format!("unshare --mount --pid --fork tools/pivot --proc root -- {command} < wait");
        let mut child = scene.std_sh(&line).stderr(std::process::Stdio::null()).spawn().unwrap();
        let writer = fs::OpenOptions::new().write(true).open(scene.path("wait")).unwrap();
        let is_ours = |pid: &i32| {
            let same = |exe: fs::Metadata| (exe.dev(), exe.ino()) == (own.dev(), own.ino());
            fs::metadata(format!("/proc/{pid}/exe")).is_ok_and(same)
                && fs::metadata(format!("/proc/{pid}/root/entry")).is_ok()
        };
        let mut pid = None;
        eventually("the tool is inside, as COMMAND", || {
            pid = scene.processes().into_iter().find(is_ours);
            pid.is_some()
        });
        let pid = pid.unwrap();
        // As the attack does it: hold it, wait for its end, open for writing.
        let held = fs::File::open(format!("/proc/{pid}/exe")).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        drop(writer);
        child.wait().unwrap();
        eventually("all of it ends", || scene.processes().is_empty());
        let again = format!("/proc/self/fd/{}", held.as_raw_fd());
        let error = fs::OpenOptions::new().write(true).open(again).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{command}");
    }
    scene.assert_nothing_left();
}

/// The same where the tool may not mount: then it is a copy in memory that takes no write.
#[test]
fn without_the_right_to_mount_the_tool_runs_from_memory() {
    let scene = Scene::new();
    scene.sh("mkfifo -m 666 wait").assert().success();
    let mut child = scene.std_sh("exec pivot --from - / < wait");
    if nix::unistd::geteuid().is_root() {
        child.uid(USER).gid(USER);
    }
    let mut child = child.stderr(std::process::Stdio::null()).spawn().unwrap();
    let writer = fs::OpenOptions::new().write(true).open(scene.path("wait")).unwrap();
    let exe = format!("/proc/{}/exe", child.id());
    eventually("the tool runs from memory", || {
        fs::read_link(&exe).is_ok_and(|name| name.display().to_string().starts_with("/memfd:pivot"))
    });
    let held = fs::File::open(&exe).unwrap();
    drop(writer);
    child.wait().unwrap();
    let again =
        fs::OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", held.as_raw_fd())).unwrap();
    let error = again.write_at(b"#!/bin/evil", 0).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
}
