//! KEY=VALUE: what is written, and that it is enforced.

use std::fs;

use crate::common::{Need, Scene, needs, stderr, stdout};
use crate::{control, directory, is_v1};

const ROOT: &[Need] = &[Need::Root, Need::Cgroup];

#[test]
fn v2s_names_are_set_on_every_host() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    scene
        .tool("cgset")
        .args([scene.name(), "memory.max=64M", "pids.max=32", "cpu.max=0.5", "cpu.weight=200"])
        .assert()
        .success()
        .stderr("");
    assert_eq!(control(&scene, "memory", "memory.max", "memory.limit_in_bytes"), "67108864");
    assert_eq!(control(&scene, "pids", "pids.max", "pids.max"), "32");
    if is_v1("cpu") {
        assert_eq!(control(&scene, "cpu", "", "cpu.cfs_quota_us"), "50000");
        assert_eq!(control(&scene, "cpu", "", "cpu.cfs_period_us"), "100000");
        let shares: f64 = control(&scene, "cpu", "", "cpu.shares").parse().unwrap();
        let l = shares.log2();
        assert_eq!(10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil(), 200.0, "runc's formula");
    } else {
        assert_eq!(control(&scene, "cpu", "cpu.max", ""), "50000 100000");
        assert_eq!(control(&scene, "cpu", "cpu.weight", ""), "200");
    }
}

#[test]
fn soft_limits_and_bursts_are_set_on_every_host() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    scene
        .tool("cgset")
        .args([scene.name(), "memory.high=32M", "cpu.max=0.5", "cpu.max.burst=20000"])
        .assert()
        .success()
        .stderr("");
    assert_eq!(control(&scene, "memory", "memory.high", "memory.soft_limit_in_bytes"), "33554432");
    assert_eq!(control(&scene, "cpu", "cpu.max.burst", "cpu.cfs_burst_us"), "20000");
}

#[test]
fn a_limit_then_max_is_no_limit() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    for values in
        [["memory.max=64M", "pids.max=5", "cpu.max=1"], ["memory.max=max", "pids.max=max", "cpu.max=max"]]
    {
        scene.tool("cgset").arg(scene.name()).args(values).assert().success().stderr("");
    }
    let unlimited = if is_v1("memory") { "9223372036854771712" } else { "max" };
    assert_eq!(control(&scene, "memory", "memory.max", "memory.limit_in_bytes"), unlimited);
    assert_eq!(control(&scene, "pids", "pids.max", "pids.max"), "max");
    assert_eq!(
        control(&scene, "cpu", "cpu.max", "cpu.cfs_quota_us"),
        if is_v1("cpu") { "-1" } else { "max 100000" }
    );
}

#[test]
fn quota_and_period_change_together() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let inner = format!("{}/inner", scene.name());
    scene.tool("cgset").args([scene.name(), "cpu.max=0.5"]).assert().success();
    // Either file alone would ask for more than the parent has, one way or the other.
    for value in ["50000 100000", "5000 10000", "500000 1000000", "0.25"] {
        scene.tool("cgset").arg(&inner).arg(format!("cpu.max={value}")).assert().success().stderr("");
    }
    let file = if is_v1("cpu") { "cpu.cfs_quota_us" } else { "cpu.max" };
    let now = fs::read_to_string(directory(&scene, "cpu").join("inner").join(file)).unwrap();
    assert_eq!(now.split_whitespace().next(), Some("25000"));
    scene.tool("cgset").args([scene.name(), "--delete", "--recursive"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn memory_above_the_limit_kills_the_process() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let eater = "dd if=/dev/zero of=/dev/null bs=200M count=1";
    let args = |limit| ["--rm".to_owned(), scene.name().to_owned(), format!("memory.max={limit}")];
    scene
        .tool("cgset")
        .args(args("32M"))
        .args(["--", "sh", "-c", &format!("exec {eater}")])
        .assert()
        .code(137);
    scene
        .tool("cgset")
        .args(args("400M"))
        .args(["--", "sh", "-c", &format!("exec {eater}")])
        .assert()
        .code(0);
    scene.assert_nothing_left();
}

/// The CPU time, in microseconds, that a process gets in each of two groups which begin to spin together,
/// on one CPU, for three seconds.
fn race(scene: &Scene, one: &str, other: &str) -> [f64; 2] {
    let spin = "echo >$0; while ! test -e go; do sleep 0.1; done; while :; do :; done";
    let names = ["one", "other"].map(|name| format!("{}/{name}", scene.name()));
    // Whatever else this machine does meanwhile gets little.
    scene.tool("cgset").args([scene.name(), "cpu.weight=10000"]).assert().success();
    let mut racers: Vec<_> = names
        .iter()
        .zip([one, other])
        .map(|(name, setting)| {
            let ready = name.replace('/', "-");
            let script = format!("exec cgset {name} {setting} -- taskset 1 sh -c '{spin}' {ready}");
            scene.std_sh(&script).spawn().unwrap()
        })
        .collect();
    let used = || {
        names.clone().map(|name| {
            let run = scene.tool("cgset").args([&name, "--stat", "--json"]).assert().success();
            let stat: serde_json::Value = serde_json::from_str(&stdout(&run)).unwrap();
            stat["cpu"]["usage_usec"].as_f64().unwrap()
        })
    };
    let ready = || names.iter().all(|name| scene.path(&name.replace('/', "-")).exists());
    crate::common::eventually("both are in their groups", ready);
    let before = used();
    scene.file("go", "");
    std::thread::sleep(std::time::Duration::from_secs(3));
    scene.tool("cgset").args([scene.name(), "--freeze"]).assert().success();
    let after = used();
    scene.tool("cgset").args([scene.name(), "--kill", "--delete", "--recursive"]).assert().success();
    for racer in &mut racers {
        racer.wait().unwrap();
    }
    scene.assert_nothing_left();
    [after[0] - before[0], after[1] - before[1]]
}

#[test]
fn cpu_max_takes_a_spinning_process_its_share() {
    if !needs(ROOT) {
        return;
    }
    let [limited, free] = race(&Scene::new(), "cpu.max=0.1", "cpu.max=max");
    assert!(limited < 0.5 * free, "{limited} of {free} µs in the same run");
}

#[test]
fn cpu_weight_divides_one_cpu() {
    if !needs(ROOT) {
        return;
    }
    let [small, large] = race(&Scene::new(), "cpu.weight=50", "cpu.weight=500");
    assert!(large > 2.0 * small, "{large} and {small} µs for weights of ten to one");
}

#[test]
fn io_max_slows_a_disk_down() {
    use std::os::unix::fs::MetadataExt as _;
    if !needs(&[Need::Root, Need::Cgroup, Need::Disk]) {
        return;
    }
    let scene = Scene::new();
    let device = scene.path("").metadata().unwrap().dev();
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let limit = format!("io.max={major}:{minor} wbps=1M");
    let writer = "dd if=/dev/zero of=data bs=256k count=8 oflag=direct";
    let start = std::time::Instant::now();
    scene.tool("cgset").args([scene.name(), &limit, "--", "sh", "-c", writer]).assert().success();
    assert!(start.elapsed().as_secs_f64() > 1.0, "2 MiB at 1 MiB a second took {:?}", start.elapsed());
    let get = || stdout(&scene.tool("cgset").args([scene.name(), "--get", "io.max"]).assert().success());
    assert_eq!(get(), format!("io.max={major}:{minor} rbps=max wbps=1048576 riops=max wiops=max\n"));
    scene.tool("cgset").args([scene.name(), &limit.replace("1M", "max")]).assert().success();
    assert_eq!(get(), "io.max=\n");
}

#[test]
fn pids_max_stops_forks() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let bomb = "i=0; while [ $i -lt 20 ]; do sleep 30 & i=$((i+1)); done; echo all";
    scene
        .tool("cgset")
        .args(["--rm", scene.name(), "pids.max=40", "--", "sh", "-c", bomb])
        .assert()
        .stdout("all\n");
    let run = scene.tool("cgset").args(["--rm", scene.name(), "pids.max=5", "--", "sh", "-c", bomb]).assert();
    assert!(stderr(&run.stdout("")).contains("fork"));
    scene.assert_nothing_left();
}

#[test]
fn a_list_of_cpus_is_obeyed() {
    if !needs(&[Need::Root, Need::HierarchyV1("cpuset")]) {
        return;
    }
    let scene = Scene::new();
    let script = "grep Cpus_allowed_list /proc/self/status";
    scene
        .tool("cgset")
        .args(["--rm", scene.name(), "cpuset.cpus=0", "cpuset.mems=0", "--", "sh", "-c", script])
        .assert()
        .success()
        .stdout("Cpus_allowed_list:\t0\n");
}

#[test]
fn the_hosts_own_names_work_as_they_are() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let raw = if is_v1("memory") { "memory.limit_in_bytes=64M" } else { "cgroup.max.depth=3" };
    scene.tool("cgset").args([scene.name(), raw]).assert().success();
    if is_v1("memory") {
        assert_eq!(control(&scene, "memory", "", "memory.limit_in_bytes"), "67108864");
        scene.tool("cgset").args([scene.name(), "freezer.state=THAWED"]).assert().success();
        scene.tool("cgset").args([scene.name(), "memory.oom_control=1"]).assert().success();
        assert!(control(&scene, "memory", "", "memory.oom_control").starts_with("oom_kill_disable 1\n"));
    }
}

#[test]
fn a_v1_name_on_a_v2_host_is_told_its_v2_name() {
    if !needs(&[Need::Root, Need::CgroupV2]) {
        return;
    }
    let scene = Scene::new();
    let run = scene.tool("cgset").args([scene.name(), "memory.limit_in_bytes=64M"]).assert().code(125);
    assert!(
        stderr(&run).contains("no controller") || stderr(&run).contains("write memory.max"),
        "{}",
        stderr(&run)
    );
    scene.assert_nothing_left();
}

#[test]
fn what_v1_cannot_express_is_an_error() {
    if !needs(&[Need::Root, Need::CgroupV1]) {
        return;
    }
    let scene = Scene::new();
    for key in ["memory.oom.group=1", "memory.min=1M", "cpu.weight.nice=1"] {
        let run = scene.tool("cgset").args([scene.name(), key]).assert().code(125);
        assert!(stderr(&run).contains("cgroup v1 has nothing like it"), "{}", stderr(&run));
    }
    let run = scene.tool("cgset").args([scene.name(), "memory.swap.max=1M"]).assert().code(125);
    assert!(stderr(&run).contains("set memory.max too"), "{}", stderr(&run));
    let run = scene.tool("cgset").args([scene.name(), "memory.low=1M", "memory.high=2M"]).assert().code(125);
    assert!(stderr(&run).contains("one soft limit for both"), "{}", stderr(&run));
    let run = scene.tool("cgset").args([scene.name(), "cgroup.clone_children=1"]).assert().code(125);
    assert!(stderr(&run).contains("not to a controller"), "{}", stderr(&run));
    scene.assert_nothing_left();
}

#[test]
fn swap_on_v1_is_memory_and_swap_together() {
    if !needs(&[Need::Root, Need::CgroupV1]) {
        return;
    }
    let scene = Scene::new();
    let both = || control(&scene, "memory", "", "memory.memsw.limit_in_bytes");
    for (values, wanted) in [
        (&["memory.max=64M", "memory.swap.max=32M"][..], 96u64),
        (&["memory.max=128M"], 160),
        (&["memory.max=16M"], 48),
        (&["memory.swap.max=0"], 16),
        (&["memory.swap.max=1G", "memory.max=1G"], 2048),
        (&["memory.max=max", "memory.swap.max=max"], 0),
    ] {
        scene.tool("cgset").arg(scene.name()).args(values).assert().success().stderr("");
        let wanted = if wanted == 0 { "9223372036854771712".to_owned() } else { (wanted << 20).to_string() };
        assert_eq!(both(), wanted, "{values:?}");
    }
}

#[test]
fn v2_enables_controllers_only_as_far_as_needed() {
    if !needs(&[Need::Root, Need::CgroupV2]) {
        return;
    }
    let scene = Scene::new();
    let group = format!("{}/a/b", scene.name());
    scene.tool("cgset").args([&group, "pids.max=5"]).assert().success();
    let read = |file: &str| fs::read_to_string(directory(&scene, "pids").join(file)).unwrap();
    assert_eq!(read("a/cgroup.subtree_control").trim(), "pids");
    assert_eq!(read("a/b/cgroup.subtree_control").trim(), "");
    scene.tool("cgset").args([scene.name(), "--delete", "--recursive"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn pids_max_may_be_below_what_runs() {
    if !needs(ROOT) {
        return;
    }
    let scene = Scene::new();
    let script = "sleep 30 >&- 2>&- & sleep 30 >&- 2>&- & cgset $G pids.max=1 && (: &)";
    let run = scene.sh(&format!("cgset $G -- sh -c '{script}'")).env("G", scene.name()).assert().failure();
    assert!(stderr(&run).contains("fork"), "{}", stderr(&run));
    scene.tool("cgset").args([scene.name(), "--kill", "--delete"]).assert().success();
    scene.assert_nothing_left();
}

#[test]
fn an_out_of_memory_group_dies_as_a_whole() {
    if !needs(&[Need::Root, Need::CgroupV2]) {
        return;
    }
    let scene = Scene::new();
    let script = "sleep 600 & dd if=/dev/zero of=/dev/null bs=200M count=1; echo alive";
    let args = ["--rm", scene.name(), "memory.max=32M", "memory.oom.group=1", "--", "sh", "-c", script];
    scene.tool("cgset").args(args).assert().code(137).stdout("");
    scene.assert_nothing_left();
}

#[test]
fn an_empty_cpuset_is_the_parents() {
    if !needs(&[Need::Root, Need::HierarchyV1("cpuset")]) {
        return;
    }
    let scene = Scene::new();
    let all = || control(&scene, "cpuset", "", "cpuset.cpus");
    scene.tool("cgset").args([scene.name()]).assert().success();
    let parents = all();
    scene.tool("cgset").args([scene.name(), "cpuset.cpus=0"]).assert().success();
    assert_eq!(all(), "0");
    scene.tool("cgset").args([scene.name(), "cpuset.cpus="]).assert().success();
    assert_eq!(all(), parents);
    scene.tool("cgset").args([scene.name(), "cpuset.cpus=4000"]).assert().code(125);
}

/// Whether the top of the v2 tree lends hugetlb to its children: cgset leaves it on, but a
/// hybrid host's tree is not ours to change for good.
struct Hugetlb(Option<std::path::PathBuf>);

impl Hugetlb {
    fn remembered() -> Self {
        let tops = ::common::mountinfo::of_self()
            .unwrap()
            .into_iter()
            .filter(|mount| mount.fs_type == "cgroup2")
            .map(|mount| mount.mount_point);
        let file = tops.into_iter().next().map(|top| top.join("cgroup.subtree_control"));
        Self(file.filter(|file| !std::fs::read_to_string(file).unwrap().contains("hugetlb")))
    }
}

impl Drop for Hugetlb {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            // Busy where another test has begun to use it meanwhile, which only leaves it on.
            let _ = std::fs::write(file, "-hugetlb");
        }
    }
}

#[test]
fn hosts_with_huge_pages_limit_them() {
    if !needs(&[Need::Root, Need::Cgroup, Need::Hugetlb]) {
        return;
    }
    let scene = Scene::new();
    let _switch = Hugetlb::remembered();
    scene.tool("cgset").args([scene.name(), "hugetlb.2MB.max=5M"]).assert().success();
    let run = scene.tool("cgset").args([scene.name(), "--get", "hugetlb.2MB.max"]).assert().success();
    assert_eq!(stdout(&run), "hugetlb.2MB.max=4194304\n", "whole huge pages");
}
