//! Absolute paths without links, at the price of few system calls: realpath(3) makes one for
//! each part of a path, and hundreds of layers mostly lie in one directory.

use std::io;
use std::path::{Path, PathBuf};

/// The directory that was resolved last.
#[derive(Debug, Default)]
pub struct RealPaths {
    directory: PathBuf,
    real: PathBuf,
}

impl RealPaths {
    /// The real path of `path`, whose last part is known to be no link.
    pub fn of(&mut self, path: &Path) -> io::Result<PathBuf> {
        // Without a name at its end, `path` is a root or ends in "..".
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return path.canonicalize();
        };
        if self.directory != directory || self.real.as_os_str().is_empty() {
            self.real = directory.canonicalize()?;
            self.directory = directory.to_owned();
        }
        Ok(self.real.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_on_the_way_are_resolved() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap();
        std::fs::create_dir_all(place.join("a/x")).unwrap();
        std::fs::create_dir_all(place.join("b/x")).unwrap();
        symlink("a", place.join("link")).unwrap();
        let mut paths = RealPaths::default();
        for (path, real) in [("link/x", "a/x"), ("link/x", "a/x"), ("b/x", "b/x"), ("a/x/..", "a")] {
            assert_eq!(paths.of(&place.join(path)).unwrap(), place.join(real));
        }
        assert_eq!(paths.of(Path::new("/")).unwrap(), Path::new("/"));
        assert!(paths.of(&place.join("none/x")).is_err());
    }
}
