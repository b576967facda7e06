//! Which namespaces to enter, by the target's pidfd and by file.

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use common::namespace::{self, NamespaceFile, NamespaceKind};
use common::process::Process;
use common::{During as _, Error, Result, sys};
use nix::sys::stat::fstat;

/// The namespaces to enter.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Those of the target.
    pub kinds: Vec<NamespaceKind>,
    /// Those that are named by a file.
    pub files: Vec<NamespaceFile>,
}

impl Chosen {
    /// Each kind of `asked` is `None` where not given, `Some(None)` for the target's, `Some(Some(FILE))`.
    /// With `all`, those that are not given are the target's. A namespace that the caller is in already is left out.
    pub(crate) fn new(
        target: &Process,
        asked: &[(NamespaceKind, Option<Option<PathBuf>>)],
        all: bool,
        user_parent: bool,
    ) -> Result<Self> {
        let is_asked = |kind: &NamespaceKind| all || asked.contains(&(*kind, Some(None)));
        let kinds = namespace::differing(target)?.into_iter().filter(is_asked).collect();
        let files = asked.iter().filter_map(|(kind, given)| Some((*kind, given.as_ref()?.as_ref()?)));
        let files = files.map(|(kind, path)| NamespaceFile::open(kind, path)).collect::<Result<_>>()?;
        let mut chosen = Self { kinds, files };
        if user_parent {
            chosen.replace_user_by_its_parent(target)?;
        }
        Ok(chosen)
    }

    /// The parent is the owner: of the user namespace where one is to be entered, else of another that is.
    fn replace_user_by_its_parent(&mut self, target: &Process) -> Result<()> {
        // Kinds begin with the user namespace (NamespaceKind::ALL), and so does what was asked for.
        let of_target = match self.kinds.first() {
            Some(kind) => Some(NamespaceFile::open(*kind, &kind.file_of(target.pid()))?),
            None => None,
        };
        let is_user = |file: &NamespaceFile| file.kind == NamespaceKind::User;
        let named = self.files.iter().position(is_user).map(|index| self.files.remove(index));
        let Some(child) = named.as_ref().or(of_target.as_ref()).or(self.files.first()) else {
            return Err(Error::usage("--user-parent: no namespace is entered that it could be the owner of"));
        };
        let owner = sys::namespace::owner(child.fd.as_fd());
        let fd = owner.during("find the parent user namespace", &child.path)?;
        target.still_running()?;
        let id = fstat(&fd).during("look at the parent user namespace", &child.path)?.st_ino;
        let path = child.path.join("(parent)");
        self.kinds.retain(|kind| *kind != NamespaceKind::User);
        if id != NamespaceKind::User.id_of("self")? {
            self.files.push(NamespaceFile { kind: NamespaceKind::User, path, fd });
        }
        Ok(())
    }
}
