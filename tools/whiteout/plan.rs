//! What is to be done, as checked plain data.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use common::{Error, Result};

use crate::cli::{Cli, Operation, Printed, Shifted, Written};
use crate::format::{self, Format};
use crate::idmap::IdMaps;
use crate::report::Style;
use crate::{pack, unpack};

/// One operation with all that it needs.
#[derive(Debug)]
pub enum Plan {
    /// Make whiteouts.
    Create { places: Vec<Place>, format: Format },
    /// Make directories opaque.
    Opaque { directories: Vec<PathBuf>, format: Format },
    /// Take marks away.
    Remove { places: Vec<Place> },
    /// Print the marks of a layer.
    List { directory: PathBuf, style: Style },
    /// Turn the marks of a layer into another format.
    Convert { directory: PathBuf, to: Format },
    /// Print the changes of a layer.
    Diff { upper: PathBuf, lowers: Vec<PathBuf>, style: Style },
    /// Write a layer as an archive.
    Pack { upper: PathBuf, options: pack::Options },
    /// Make a layer of an archive.
    Unpack { place: Place, options: unpack::Options },
    /// Carry an archive out on a root filesystem.
    Apply { root: PathBuf, options: unpack::Options },
}

/// A name in a directory; whether something is there does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub directory: PathBuf,
    /// The name in it: neither `.` nor `..`, and without a slash.
    pub name: OsString,
    /// The place as it was typed, for messages.
    pub path: PathBuf,
}

impl Plan {
    /// Checks what was typed.
    pub fn from_cli(cli: Cli) -> Result<Self> {
        let Cli { operation } = cli;
        Ok(match operation {
            Operation::Create { written, path } => {
                let format = format_of(written)?;
                let places = places(&path)?;
                places.iter().try_for_each(|place| check_name(place, format))?;
                Self::Create { places, format }
            }
            Operation::Opaque { written, dir } => {
                Self::Opaque { directories: dir, format: format_of(written)? }
            }
            Operation::Remove { path } => Self::Remove { places: places(&path)? },
            Operation::List { printed, dir } => Self::List { directory: dir, style: style_of(&printed) },
            Operation::Convert { to, dir } => Self::Convert { directory: dir, to },
            Operation::Diff { upper, lower, printed } => {
                Self::Diff { upper, lowers: lower, style: style_of(&printed) }
            }
            Operation::Pack { clamp_mtime, shifted, upper } => Self::Pack {
                upper,
                options: pack::Options {
                    clamp_mtime: clamp_mtime.map_or_else(source_date_epoch, |seconds| Ok(Some(seconds)))?,
                    idmaps: idmaps_of(shifted)?,
                },
            },
            Operation::Unpack { written, apply, shifted, no_same_owner, skip_devices, dir } => {
                let options = unpack::Options {
                    format: format_of(written)?,
                    idmaps: idmaps_of(shifted)?,
                    same_owner: !no_same_owner,
                    skip_devices,
                };
                if apply {
                    Self::Apply { root: dir, options }
                } else {
                    Self::Unpack { place: Place::of(&dir)?, options }
                }
            }
        })
    }
}

fn format_of(written: Written) -> Result<Format> {
    let Written { format } = written;
    format.map_or_else(Format::of_host, Ok)
}

fn idmaps_of(shifted: Shifted) -> Result<IdMaps> {
    let Shifted { idmap } = shifted;
    IdMaps::new(idmap)
}

/// The time that reproducible builds set for all that they make.
fn source_date_epoch() -> Result<Option<i64>> {
    let name = "SOURCE_DATE_EPOCH";
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    match value.to_str().and_then(|value| value.parse().ok()) {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(Error::new("read the environment", name, "not a number of seconds")),
    }
}

fn style_of(printed: &Printed) -> Style {
    match printed {
        Printed { json: true, .. } => Style::Json,
        Printed { null: true, .. } => Style::Nul,
        Printed { .. } => Style::Text,
    }
}

fn places(paths: &[PathBuf]) -> Result<Vec<Place>> {
    paths.iter().map(|path| Place::of(path)).collect()
}

/// A name that the format cannot hide.
fn check_name(place: &Place, format: Format) -> Result<()> {
    match format::why_not_in_oci(&place.name).filter(|_| format == Format::Oci) {
        Some(why) => Err(Error::new("make a whiteout", &place.path, why)
            .hint("give the name that is to be hidden, without .wh.")),
        None => Ok(()),
    }
}

impl Place {
    /// The place that `path` names.
    fn of(path: &Path) -> Result<Self> {
        match path.components().next_back() {
            Some(Component::Normal(name)) => Ok(Self {
                directory: match path.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                    _ => PathBuf::from("."),
                },
                name: name.to_owned(),
                path: path.to_owned(),
            }),
            _ => Err(Error::new("read a path", path, "it does not end in a name")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_directory_and_a_name() {
        for (path, directory, name) in
            [("a/b", "a", "b"), ("b", ".", "b"), ("/b", "/", "b"), ("a/b/", "a", "b"), ("../b", "..", "b")]
        {
            let place = Place::of(Path::new(path)).unwrap();
            assert_eq!(
                (place.directory.to_str(), place.name.to_str()),
                (Some(directory), Some(name)),
                "{path}"
            );
        }
    }

    #[test]
    fn a_path_without_a_name_is_refused() {
        for path in ["", "/", ".", "..", "a/.."] {
            assert!(Place::of(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn oci_marks_cannot_hide_oci_marks() {
        let place = Place::of(Path::new("d/.wh.x")).unwrap();
        assert!(check_name(&place, Format::Oci).is_err());
        assert!(check_name(&place, Format::Overlay).is_ok());
        let place = Place::of(Path::new(&"n".repeat(252))).unwrap();
        assert!(check_name(&place, Format::Oci).is_err());
    }
}
