//! The lock of the registry file: advisory and exclusive. The kernel releases it when its process ends.
//!
//! It is on `NAME.lock` beside the file, because a write replaces the file itself. It is on the file, too: two containers that
//! mount one file have a folder each around it, and a mounted file is never replaced.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

// The lock of the standard library has the same shape. It takes Rust 1.89.
use fs4::{FileExt, TryLockError};

use super::replace::Target;
use super::{FileError, LockError, is_read_only};

/// Holds the locks until it is dropped.
#[derive(Debug)]
pub(super) struct FileLock {
    _beside: Option<File>,
    _itself: Option<File>,
}

impl FileLock {
    /// Takes the locks. A file that this process may not write needs no lock: other services may share it as their seed.
    pub(super) fn take(target: &Target) -> Result<Self, LockError> {
        let beside = lock(target, &target.beside(".lock"), OpenOptions::new().write(true).create(true))?;
        let itself = lock(target, target.path(), OpenOptions::new().write(true))?;
        if beside.is_none() {
            tracing::warn!(
                file = %target.path().display(),
                "the folder of the registry file cannot be written, so changes of limits cannot be saved"
            );
        }
        Ok(Self { _beside: beside, _itself: itself })
    }
}

/// Locks the file at `path`. `None` if it cannot be written, or is missing and not to be created.
fn lock(target: &Target, path: &Path, options: &OpenOptions) -> Result<Option<File>, LockError> {
    let failed = |doing, source| LockError::File(FileError::Io { path: path.to_owned(), doing, source });
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if path == target.path() && error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if is_read_only(&error) => return Ok(None),
        Err(error) => return Err(failed("opening", error)),
    };
    match FileExt::try_lock(&file) {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(LockError::InUse { path: target.path().to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed("locking", error)),
    }
}
