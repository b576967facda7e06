//! Making nodes as an archive describes them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use common::{During as _, Error, Result, trace};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::libc;
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, futimens, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, linkat, symlinkat};
use xattr::FileExt as _;

use crate::archive::entry::{Device, Entry, Kind, Time};
use crate::archive::reader::Reader;
use crate::directory::Directory;
use crate::unpack::Options;
use crate::{directory, node, remove, tree};

/// Makes nodes.
pub struct Maker<'a> {
    options: &'a Options,
}

impl<'a> Maker<'a> {
    /// Makes them by these options.
    pub fn new(options: &'a Options) -> Self {
        Self { options }
    }

    /// Makes the directory `name`, or opens it if it is there; whether it took the place of a whiteout.
    pub fn directory(&self, parent: &Directory, name: &OsStr) -> Result<(Directory, bool)> {
        let mut replaces_whiteout = false;
        match mkdirat(parent, name, Mode::S_IRWXU) {
            Err(Errno::EEXIST) => {
                if let Some(stat) = parent.stat(name)?
                    && node::is_directory(&stat)
                {
                    let directory = parent.child(name)?;
                    forget_attributes(&directory)?;
                    return Ok((directory, false));
                }
                replaces_whiteout = tree::is_whiteout(parent, name)?;
                remove::remove(parent, name)?;
                mkdirat(parent, name, Mode::S_IRWXU)
            }
            result => result,
        }
        .during("make the directory", parent.path_of(name))?;
        Ok((parent.child(name)?, replaces_whiteout))
    }

    /// Makes what is neither a directory nor a hard link; a file's content comes from `reader`.
    pub fn node(&self, parent: &Directory, name: &OsStr, entry: &Entry, reader: &mut Reader) -> Result<()> {
        let path = parent.path_of(name);
        let mode = Mode::from_bits_truncate(entry.mode & 0o777);
        let mknod = |kind: SFlag, device: Device| {
            anew(parent, name, || {
                mknodat(parent, name, kind, mode, libc::makedev(device.major, device.minor))
            })
        };
        match &entry.kind {
            Kind::File(size) => return self.file(parent, name, entry, *size, reader),
            Kind::Symlink(target) => {
                let target = OsStr::from_bytes(target);
                anew(parent, name, || symlinkat(target, parent, name)).during("make the link", &path)?;
            }
            Kind::Fifo => {
                mknod(SFlag::S_IFIFO, Device { major: 0, minor: 0 }).during("make the pipe", &path)?;
            }
            Kind::CharacterDevice(device) if self.made(mknod(SFlag::S_IFCHR, *device), &path)? => {}
            Kind::BlockDevice(device) if self.made(mknod(SFlag::S_IFBLK, *device), &path)? => {}
            _ => return Ok(()),
        }
        self.describe_unopened(parent, name, entry)
    }

    /// Whether a device was made; false: it was to be left out.
    fn made(&self, result: nix::Result<()>, path: &Path) -> Result<bool> {
        match result {
            Err(Errno::EPERM) if self.options.skip_devices => {
                trace::warn(format_args!("{}: a device, left out", path.display()));
                Ok(false)
            }
            Err(Errno::EPERM) => Err(Error::new("make the device", path, Errno::EPERM)
                .hint("only root of the machine itself makes devices; --skip-devices leaves them out")),
            result => result.map(|()| true).during("make the device", path),
        }
    }

    fn file(
        &self,
        parent: &Directory,
        name: &OsStr,
        entry: &Entry,
        size: u64,
        reader: &mut Reader,
    ) -> Result<()> {
        let path = parent.path_of(name);
        // Never opens what is there already.
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // No umask takes from the mode, no default ACL adds to it, and nobody else gets there yet.
        let mode = Mode::from_bits_truncate(entry.mode & 0o777);
        let file = File::from(
            anew(parent, name, || openat(parent, name, flags, mode)).during("make the file", &path)?,
        );
        reader.content(&file, size, &path)?;
        let has_mode = entry.mode & 0o7000 == 0;
        self.describe_file(&file, entry, has_mode, &path)
    }

    /// Makes `name` another name of what is at `source_name` in `source`.
    pub fn hard_link(
        &self,
        source: &Directory,
        source_name: &OsStr,
        parent: &Directory,
        name: &OsStr,
    ) -> Result<()> {
        // Without AT_SYMLINK_FOLLOW: a link to a link is one.
        anew(parent, name, || linkat(source, source_name, parent, name, AtFlags::empty()))
            .during("make the hard link", parent.path_of(name))
    }

    /// Gives an open directory what its entry says.
    pub fn describe(&self, directory: &Directory, entry: &Entry) -> Result<()> {
        self.describe_file(directory.file(), entry, false, directory.path())
    }

    /// Gives `to` the owner and mode of `from`.
    pub fn copy_owner_and_mode(&self, from: &Directory, to: &Directory) -> Result<()> {
        let stat = from.own_stat()?;
        fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
            .during("set its owner", to.path())?;
        self.set_mode(to, stat.st_mode & 0o7777)
    }

    /// Sets a directory's mode.
    pub fn set_mode(&self, directory: &Directory, mode: u32) -> Result<()> {
        fchmod(directory, Mode::from_bits_truncate(mode)).during("set its mode", directory.path())
    }

    fn describe_file(&self, file: &File, entry: &Entry, has_mode: bool, path: &Path) -> Result<()> {
        // In this order: a new owner takes set-user-ID bits and capabilities away, and all of it the time.
        if let Some((uid, gid)) = self.owner(entry, path)? {
            fchown(file, Some(uid), Some(gid)).map_err(|errno| owner_error(path, errno))?;
        }
        if !has_mode {
            fchmod(file, Mode::from_bits_truncate(entry.mode)).during("set its mode", path)?;
        }
        for (attribute, value) in &entry.attributes {
            let attribute = node::hidden_attribute(attribute);
            file.set_xattr(&attribute, value).map_err(|why| attribute_error(&attribute, path, why))?;
        }
        let time = time(entry.mtime);
        futimens(file, &time, &time).during("set its time", path)
    }

    /// The same for what cannot be opened without an effect: links, devices, pipes.
    fn describe_unopened(&self, parent: &Directory, name: &OsStr, entry: &Entry) -> Result<()> {
        let path = parent.path_of(name);
        if let Some((uid, gid)) = self.owner(entry, &path)? {
            fchownat(parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
                .map_err(|errno| owner_error(&path, errno))?;
        }
        let is_link = matches!(entry.kind, Kind::Symlink(_));
        if !is_link && entry.mode & 0o7000 != 0 {
            // We have just made it, where nobody else can: it is no link.
            let mode = Mode::from_bits_truncate(entry.mode);
            fchmodat(parent, name, mode, FchmodatFlags::FollowSymlink).during("set its mode", &path)?;
        }
        for (attribute, value) in &entry.attributes {
            let attribute = node::hidden_attribute(attribute);
            xattr::set(parent.procfs_path(name), &attribute, value)
                .map_err(|why| attribute_error(&attribute, &path, why))?;
        }
        let time = time(entry.mtime);
        utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink).during("set its time", &path)
    }

    /// The owner on the disk; `None`: ours.
    fn owner(&self, entry: &Entry, path: &Path) -> Result<Option<(Uid, Gid)>> {
        if !self.options.same_owner {
            return Ok(None);
        }
        let (uid, gid) = self.options.idmaps.to_disk(entry.uid, entry.gid, path)?;
        Ok(Some((Uid::from_raw(uid), Gid::from_raw(gid))))
    }
}

/// Gives `to` all that an entry says of a directory, as `from` has it, but for the time.
pub fn copy_description(from: &Directory, to: &Directory) -> Result<()> {
    let stat = from.own_stat()?;
    let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchown(to, Some(owner.0), Some(owner.1)).map_err(|errno| owner_error(to.path(), errno))?;
    fchmod(to, Mode::from_bits_truncate(stat.st_mode & 0o7777)).during("set its mode", to.path())?;
    forget_attributes(to)?;
    for (attribute, value) in from.attributes()? {
        let attribute = node::hidden_attribute(&attribute);
        to.file().set_xattr(&attribute, &value).map_err(|why| attribute_error(&attribute, to.path(), why))?;
    }
    Ok(())
}

/// Makes something at `name`, where anything that is there already gives way.
fn anew<T>(parent: &Directory, name: &OsStr, make: impl Fn() -> nix::Result<T>) -> nix::Result<T> {
    match make() {
        Err(Errno::EEXIST) => {
            // What stands in the way of that says so when the second try fails.
            let _ = remove::remove(parent, name);
            make()
        }
        result => result,
    }
}

/// A directory that is described once more has the attributes of the last entry only.
pub fn forget_attributes(directory: &Directory) -> Result<()> {
    let names: Vec<OsString> = directory.attributes()?.into_keys().collect();
    for attribute in names {
        let attribute = node::hidden_attribute(&attribute);
        directory
            .file()
            .remove_xattr(&attribute)
            .map_err(|why| attribute_error(&attribute, directory.path(), why))?;
    }
    Ok(())
}

fn time(time: Time) -> TimeSpec {
    TimeSpec::new(time.seconds, time.nanoseconds.into())
}

fn owner_error(path: &Path, errno: Errno) -> Error {
    let hint = match errno {
        Errno::EPERM => Some("only root gives files away; use a user namespace, --idmap or --no-same-owner"),
        Errno::EINVAL => {
            Some("this user namespace has no such id; map more ids, or use --idmap or --no-same-owner")
        }
        _ => None,
    };
    Error::new("set its owner", path, errno).or_hint(hint)
}

fn attribute_error(attribute: &OsStr, path: &Path, why: std::io::Error) -> Error {
    directory::attribute_error(&attribute.to_string_lossy(), path, why)
}
