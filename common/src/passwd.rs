//! Users and groups by name, from the /etc/passwd and /etc/group of a root that we do not trust.
//!
//! We read the files ourselves: a name-service library would be loaded from that root and
//! run with our privileges (CVE-2019-14271). The files may be anything: links stay inside the
//! root, only regular files are opened, and their size is limited (CVE-2024-9676).

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};

use crate::error::{During as _, Error, Result};
use crate::root::Root;

/// An entry of /etc/passwd (passwd(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: Vec<u8>,
    /// User id.
    pub uid: u32,
    /// Id of the primary group.
    pub gid: u32,
    /// Home directory.
    pub home: PathBuf,
}

/// An entry of /etc/group (group(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Vec<u8>,
    /// Group id.
    pub gid: u32,
    members: Vec<Vec<u8>>,
}

/// Both files of a root.
#[derive(Debug, Default)]
pub struct Accounts {
    users: Vec<User>,
    groups: Vec<Group>,
}

/// Larger files than any that a person or a distribution writes are an attack.
const LIMIT: u64 = 8 << 20;

impl Accounts {
    /// Reads the files of `root`; a file that is missing holds nobody.
    pub fn of(root: &Root) -> Result<Self> {
        Ok(Self {
            users: lines(&read(root, "/etc/passwd")?).filter_map(user).collect(),
            groups: lines(&read(root, "/etc/group")?).filter_map(group).collect(),
        })
    }

    /// The first user with this name.
    #[must_use]
    pub fn user_named(&self, name: &OsStr) -> Option<&User> {
        self.users.iter().find(|user| user.name == name.as_bytes())
    }

    /// The first user with this id.
    #[must_use]
    pub fn user_with_id(&self, uid: u32) -> Option<&User> {
        self.users.iter().find(|user| user.uid == uid)
    }

    /// The id of the first group with this name.
    #[must_use]
    pub fn group_named(&self, name: &OsStr) -> Option<u32> {
        self.groups.iter().find(|group| group.name == name.as_bytes()).map(|group| group.gid)
    }

    /// The ids of the groups that list `user` as a member.
    #[must_use]
    pub fn groups_of(&self, user: &User) -> Vec<u32> {
        let listed = self.groups.iter().filter(|group| group.members.contains(&user.name));
        listed.map(|group| group.gid).collect()
    }
}

fn read(root: &Root, inside: &str) -> Result<Vec<u8>> {
    const STEP: &str = "read the accounts";
    let (path, name) = (Path::new(inside), root.name(Path::new(inside)));
    // First without opening it for real: that alone sets off some devices.
    match root.resolve(path, OFlag::O_PATH) {
        Ok(fd) => must_be_a_file(&fd, &name)?,
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::new()),
        Err(errno) => return Err(Error::new(STEP, name, errno)),
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = File::from(root.resolve(path, flags).during(STEP, &name)?);
    must_be_a_file(&file, &name)?;
    let mut text = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut text).during(STEP, &name)?;
    if text.len() as u64 > LIMIT {
        return Err(Error::new(STEP, name, "it is larger than 8 MiB").hint("give numbers in place of names"));
    }
    Ok(text)
}

fn must_be_a_file(fd: &impl std::os::fd::AsFd, name: &Path) -> Result<()> {
    let mode = fstat(fd).during("read the accounts", name)?.st_mode;
    if SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) == SFlag::S_IFREG {
        return Ok(());
    }
    Err(Error::new("read the accounts", name, "it is not a regular file"))
}

fn lines(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    text.split(|&byte| byte == b'\n').map(|line| line.split(|&byte| byte == b':').collect())
}

fn user(fields: Vec<&[u8]>) -> Option<User> {
    let [name, _password, uid, gid, _gecos, home, ..] = fields[..] else { return None };
    Some(User { name: named(name)?, uid: id(uid)?, gid: id(gid)?, home: OsStr::from_bytes(home).into() })
}

fn group(fields: Vec<&[u8]>) -> Option<Group> {
    let [name, _password, gid, members, ..] = fields[..] else { return None };
    let members =
        members.split(|&byte| byte == b',').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    Some(Group { name: named(name)?, gid: id(gid)?, members })
}

fn named(name: &[u8]) -> Option<Vec<u8>> {
    (!name.is_empty()).then(|| name.to_vec())
}

/// A decimal id. Not 2^32-1, which system calls take for "leave as it is".
#[must_use]
pub fn id(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = digits.then(|| std::str::from_utf8(text).ok()?.parse::<u32>().ok())??;
    (number != u32::MAX).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn root_with(passwd: &str, group: &str) -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("etc")).unwrap();
        fs::write(directory.path().join("etc/passwd"), passwd).unwrap();
        fs::write(directory.path().join("etc/group"), group).unwrap();
        let root = Root::open(directory.path()).unwrap();
        (directory, root)
    }

    #[test]
    fn users_and_their_groups_are_found() {
        let passwd = "# comment\nroot:x:0:0::/root:/bin/sh\nann:x:7:8:Ann:/home/ann:/bin/sh\nbad:x:a:1::/:\n";
        let (_directory, root) = root_with(passwd, "ann:x:8:\nwheel:x:10:bob,ann\nempty:x:11:\n");
        let accounts = Accounts::of(&root).unwrap();
        let ann = accounts.user_named(OsStr::new("ann")).unwrap();
        assert_eq!((ann.uid, ann.gid, ann.home.to_str()), (7, 8, Some("/home/ann")));
        assert_eq!(accounts.groups_of(ann), [10]);
        assert_eq!(accounts.user_with_id(0).unwrap().name, b"root");
        assert_eq!(accounts.user_named(OsStr::new("bad")), None);
        assert_eq!(accounts.group_named(OsStr::new("wheel")), Some(10));
    }

    #[test]
    fn an_id_is_digits_below_the_largest() {
        assert_eq!(id(b"0"), Some(0));
        for text in ["", "-1", "+1", "4294967295", "4294967296", "1x"] {
            assert_eq!(id(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn without_the_files_there_is_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let accounts = Accounts::of(&Root::open(directory.path()).unwrap()).unwrap();
        assert_eq!(accounts.user_with_id(0), None);
    }

    #[test]
    fn what_is_no_plain_small_file_is_refused() {
        let (directory, root) = root_with("", "");
        let passwd = directory.path().join("etc/passwd");
        fs::remove_file(&passwd).unwrap();
        nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Accounts::of(&root).unwrap_err().to_string().ends_with("it is not a regular file"));
        fs::remove_file(&passwd).unwrap();
        // A link out of the root stays inside, where there is no such file.
        symlink("/dev/zero", &passwd).unwrap();
        assert!(Accounts::of(&root).unwrap().users.is_empty());
        fs::remove_file(&passwd).unwrap();
        File::create(&passwd).unwrap().set_len(1 << 30).unwrap();
        assert!(Accounts::of(&root).unwrap_err().to_string().ends_with("it is larger than 8 MiB"));
    }
}
