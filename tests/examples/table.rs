//! What each example takes for granted, and what comes of it.

/// One example, found by its page and its first words.
pub struct Entry {
    pub page: &'static str,
    pub begins: &'static str,
    pub by: By,
    /// The script that makes what it assumes.
    pub before: &'static str,
    /// What is typed into the shell that it starts.
    pub input: &'static str,
    /// The script that looks at what it did, and takes away what it meant to stay.
    pub after: &'static str,
    /// What must be seen, and what must not (behind `!`).
    pub shows: &'static [&'static str],
}

/// Who runs it.
pub enum By {
    Root,
    User,
}

/// The most that an entry leaves out.
const PLAIN: Entry =
    Entry { page: "", begins: "", by: By::Root, before: "", input: "", after: "", shows: &[] };

/// A process `$PID` with a network of its own.
const A_PROCESS: &str = "mkfifo up; unshare-lite --net --lo -- sh -c 'echo >up; exec sleep 600' </dev/null >/dev/null 2>&1 & PID=$!; read -r _ <up";

/// A container with a record in demo.json.
const A_CONTAINER: &str = "unshare-lite --detach --mount --pid --uts --ipc --net --hostname demo |
    cgset --from - demo pids.max=20 | unionmount --from - --lower / --ephemeral /mnt |
    pivot --from - --mount-api /mnt > demo.json";

/// An image of two layers.
const LAYERS: &str = "mkdir -p layers/base/etc layers/app box/merged; echo base >layers/base/file; echo app >layers/app/file; echo old >layers/base/etc/resolv.conf";

pub const ENTRIES: &[Entry] = &[
    Entry {
        page: "cgset.1",
        begins: "cgset --rm demo memory.max=64M",
        before: "mkdir bin; PATH=$PWD/bin:$PATH
            printf '#!/bin/sh\\necho make $1; cgset demo --get memory.max pids.max cpu.max\\n' >bin/make; chmod +x bin/make",
        shows: &["make test\n", "memory.max=67108864\n", "pids.max=32\n", "cpu.max=50000 100000\n"],
        ..PLAIN
    },
    Entry {
        page: "cgset.1",
        begins: "cgset demo 'io.max=/dev/vda",
        // A /dev with a disk of this name, which is a loop device.
        before: "mkdir dev; mount -t tmpfs tmpfs dev; mknod dev/vda b 7 0; mknod -m 666 dev/null c 1 3; mount --move dev /dev",
        after: "cgset demo --get io.max; cgset demo --delete",
        shows: &["io.max=7:0 rbps=10485760 wbps=max riops=200 wiops=max\n"],
        ..PLAIN
    },
    Entry {
        page: "cgset.1",
        begins: "cgset demo --stat",
        before: "mkfifo up; cgset demo pids.max=20 -- sh -c 'echo >up; exec sleep 600' </dev/null >/dev/null 2>&1 & read -r _ <up",
        after: "cgset demo --get cgroup.freeze; cgset demo --thaw; cgset demo --kill --delete",
        shows: &["memory", "pids", "cgroup.freeze=1\n"],
        ..PLAIN
    },
    Entry {
        page: "cgset.1",
        begins: "cgset demo --device '/dev/null rw'",
        before: "printf '#!/bin/sh\\nhead -c 1 /dev/zero >/dev/null && echo zero; head -c 1 /dev/full || echo refused\\n' >untrusted; chmod +x untrusted",
        after: "cgset demo --delete",
        shows: &["zero\n", "'/dev/full' for reading: Operation not permitted\nrefused\n"],
        ..PLAIN
    },
    Entry { page: "cgset.1", begins: "cgset --from demo.json --kill", before: A_CONTAINER, ..PLAIN },
    Entry {
        page: "nsenter-lite.1",
        begins: "nsenter-lite --from demo.json --tty",
        before: A_CONTAINER,
        input: "tty; exit 0\n",
        after: "cgset --from demo.json --kill --delete",
        shows: &["/dev/pts/0\r\n"],
        ..PLAIN
    },
    Entry {
        page: "nsenter-lite.1",
        begins: "nsenter-lite --from demo.json -- /bin/sh",
        before: A_CONTAINER,
        input: "cat /proc/sys/kernel/hostname /proc/1/comm",
        after: "cgset --from demo.json --kill --delete",
        shows: &["demo\nunshare-lite\n"],
        ..PLAIN
    },
    Entry {
        page: "nsenter-lite.1",
        begins: "nsenter-lite -t \"$PID\" --net",
        before: A_PROCESS,
        after: "kill $PID",
        shows: &["<LOOPBACK,UP", "inet 127.0.0.1", "!eth0"],
        ..PLAIN
    },
    Entry {
        page: "nsenter-lite.1",
        begins: "nsenter-lite -t $$ --net=lonely",
        before: "unshare-lite --net=lonely --lo",
        after: "umount lonely",
        shows: &["<LOOPBACK,UP", "inet 127.0.0.1", "!eth0"],
        ..PLAIN
    },
    Entry {
        page: "nsenter-lite.1",
        begins: "nsenter-lite -t \"$PID\" --list",
        before: A_PROCESS,
        after: "stat -L -c '=%i' /proc/$PID/ns/net; kill $PID",
        shows: &["net"],
        ..PLAIN
    },
    Entry {
        page: "pivot.1",
        begins: "unshare-lite --mount --pid --uts --ipc --net -- \\\npivot --preset docker",
        before: "mkdir home/src; echo code >home/src/file",
        input: "pwd; cat file; (echo x >new) || :; echo $$; grep CapBnd /proc/self/status",
        after: "ls home/src",
        shows: &["/src\ncode\n", "can't create new: Read-only file system\n1\n", "CapBnd:\t00000000a80425fb\nfile\n"],
        ..PLAIN
    },
    Entry {
        page: "pivot.1",
        begins: "unshare-lite --map-root-user --mount --pid --uts --ipc --net -- \\\npivot --preset docker",
        by: By::User,
        input: "id -u; echo $$; grep CapBnd /proc/self/status; ls /",
        shows: &["0\n1\nCapBnd:\t00000000a80425fb\nbin\n", "proc\n"],
        ..PLAIN
    },
    Entry {
        page: "pivot.1",
        begins: "unshare-lite --mount -- pivot -v",
        shows: &["pivot: mount proc on ", "pivot_root", "exec /bin/true"],
        ..PLAIN
    },
    Entry {
        page: "unionmount.1",
        begins: "unshare-lite --mount --pid -- \\\nunionmount --lower / --ephemeral=64M",
        input: "echo $$; stat -f -c %T /; df -m / >/dev/null; echo x >/etc/cs-mark && cat /etc/cs-mark",
        after: "ls /etc",
        shows: &["1\noverlayfs\nx\n", "!cs-mark"],
        ..PLAIN
    },
    Entry {
        page: "unionmount.1",
        begins: "unionmount -l layers/base -l layers/app -u box/upper",
        before: LAYERS,
        after: "cat box/merged/file; echo kept >box/merged/new; umount box/merged; cat box/upper/new; ls layers/app layers/base",
        shows: &["app\nkept\n", "file\n", "!new"],
        ..PLAIN
    },
    Entry {
        page: "unionmount.1",
        begins: "mkdir -p box/init/etc",
        before: LAYERS,
        after: "echo changed >>box/merged/etc/resolv.conf; cat box/merged/etc/resolv.conf; unionmount --unmount box/merged
            echo in init: $(cat box/init/etc/resolv.conf); find box/upper -name resolv.conf",
        shows: &["nameserver 9.9.9.9\nchanged\nin init: nameserver 9.9.9.9 changed\n", "!box/upper/etc"],
        ..PLAIN
    },
    Entry {
        page: "unionmount.1",
        begins: "find layers -mindepth 1",
        before: "mkdir -p layers box/merged; (cd layers; mkdir $(seq 100 199); for n in *; do echo $n >$n/file; echo >$n/$n; done)",
        after: "ls box/merged",
        shows: &["layers/100", "layers/199", "!file"],
        ..PLAIN
    },
    Entry {
        page: "unshare-lite.1",
        begins: "unshare-lite -r --pid --mount-proc",
        by: By::User,
        input: "echo $$; cat /proc/sys/kernel/hostname; cd /proc; echo [0-9]*; id -u; cat /proc/net/dev",
        shows: &["1\ndemo\n1\n0\n", "!eth0"],
        ..PLAIN
    },
    Entry {
        page: "unshare-lite.1",
        begins: "unshare-lite --net=lonely --lo",
        shows: &["<LOOPBACK,UP", "!eth0"],
        ..PLAIN
    },
    Entry {
        page: "unshare-lite.1",
        begins: "unshare-lite --all --init",
        shows: &["1 ?", "unshare-lite", "ps\n", "!defunct", "!sleep 1\n"],
        ..PLAIN
    },
    Entry {
        page: "unshare-lite.1",
        begins: "unshare-lite --detach",
        shows: &["demo\n"],
        ..PLAIN
    },
    Entry { page: "whiteout.1", begins: "mkdir -p layer/etc", shows: &["D /etc/motd\n", "!A "], ..PLAIN },
    Entry {
        page: "whiteout.1",
        begins: "whiteout diff --upper upper --lower base app",
        before: "mkdir base app upper; echo 1 >base/old; echo old >app/changed; echo newer >upper/changed; echo >upper/new; whiteout create upper/old",
        shows: &["C /changed\nA /new\nD /old\n"],
        ..PLAIN
    },
    Entry {
        page: "whiteout.1",
        begins: "whiteout pack upper | gzip",
        before: "mkdir upper; echo data >upper/file; whiteout create upper/gone",
        after: "cat layer/file; stat -c '%n: %F' layer/gone; tar -tzf layer.tar.gz",
        shows: &["data\nlayer/gone: character special file\n", ".wh.gone\n"],
        ..PLAIN
    },
    Entry {
        page: "container-steps.7",
        begins: "unshare-lite --mount --pid --uts --ipc --net --hostname demo -- \\\ncgset demo",
        input: "echo $$; cat /proc/sys/kernel/hostname; stat -f -c %T /; grep -c demo /proc/self/cgroup",
        after: "cgset demo --get memory.max pids.max; cgset demo --delete",
        shows: &["1\ndemo\noverlayfs\n", "memory.max=67108864\npids.max=32\n"],
        ..PLAIN
    },
    Entry {
        page: "container-steps.7",
        begins: "unshare-lite --detach --mount --pid --uts --ipc --net --hostname demo |",
        input: "cat /proc/1/comm /proc/sys/kernel/hostname; stat -f -c %T /",
        shows: &["unshare-lite\ndemo\noverlayfs\n"],
        ..PLAIN
    },
];
