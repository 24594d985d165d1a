//! The registry file: a JSON array of limits, rewritten whole. In memory mode it is the only lasting store of definitions. Beside
//! TigerBeetle it is a copy, and the seed of an empty ledger.
//!
//! | file | what it is |
//! | --- | --- |
//! | `lock.rs` | keeps a second service away from the file |
//! | `content.rs` | the JSON, and what is wrong with it |
//! | `replace.rs` | replaces the content so that a crash leaves the old one or the new one |
//! | `locked.rs` | the file of a running service: read, written, set aside |

pub(crate) mod content;
mod lock;
mod locked;
mod replace;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::limit::LimitState;
use lock::FileLock;
pub use locked::LockedFile;
use replace::Target;

/// The file that holds the definitions, to be read, or to be locked by a service that writes it.
#[derive(Debug, Clone)]
pub struct RegistryFile {
    path: PathBuf,
    is_copy: bool,
}

/// Why the registry file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// An operation of the file system failed.
    #[error("{path}: {doing} failed")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operation, such as `reading`.
        doing: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The content is not a registry.
    #[error("{path} is damaged at {place}: {message}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The entry and field, or line and column.
        place: String,
        /// What is wrong there.
        message: String,
    },
}

/// Why a service cannot have the registry file for itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another service uses the file.
    #[error(
        "{path} is in use by another service; stop that service, or set registry.path to a file of this service alone"
    )]
    InUse {
        /// The registry file, its symbolic links followed.
        path: PathBuf,
    },
    /// The file, or the lock file beside it, cannot be opened or recovered.
    #[error(transparent)]
    File(#[from] FileError),
}

impl RegistryFile {
    /// A file at `path`. `is_copy` says that the definitions last elsewhere: then a change succeeds although its write fails.
    pub fn new(path: PathBuf, is_copy: bool) -> Self {
        Self { path, is_copy }
    }

    /// Reads the file. A missing file is an empty registry.
    ///
    /// # Errors
    ///
    /// The file is damaged, or cannot be read.
    pub fn read(&self) -> Result<Vec<LimitState>, FileError> {
        Target::resolve(&self.path)?.read().map(Option::unwrap_or_default)
    }

    /// Reads the file, which must exist.
    ///
    /// # Errors
    ///
    /// The file is missing, is damaged, or cannot be read.
    pub fn read_existing(&self) -> Result<Vec<LimitState>, FileError> {
        let missing = || FileError::Io {
            path: self.path.clone(),
            doing: "reading",
            source: io::ErrorKind::NotFound.into(),
        };
        Target::resolve(&self.path)?.read()?.ok_or_else(missing)
    }

    /// Takes the file for this service until the last clone of the result is dropped, and finishes or removes what a crash while
    /// writing left behind.
    ///
    /// # Errors
    ///
    /// Another service has the file, or the file system refuses.
    pub fn lock(&self) -> Result<LockedFile, LockError> {
        let target = Target::resolve(&self.path)?;
        let lock = FileLock::take(&target)?;
        target.recover()?;
        Ok(LockedFile::new(target, lock, self.is_copy))
    }
}

/// Whether a file was not opened because this process may not write it.
fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// The folder of a file.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads a file if there is one.
fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Io { path: path.to_owned(), doing: "reading", source }),
    }
}
