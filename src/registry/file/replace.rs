//! Replaces the content of the registry file. A crash at any moment leaves the old content or the new one.
//!
//! | the file | a write | after a crash |
//! | --- | --- | --- |
//! | any | writes `NAME.tmp` beside it, and renames that over the file | the next start removes `NAME.tmp` |
//! | a mount point, which the kernel does not let a rename replace | renames `NAME.tmp` to `NAME.journal`, overwrites the file, removes the journal | the next start reads the journal, and overwrites the file with it |
//!
//! The journal is always whole, so its content counts as long as it exists.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::content::decode;
use super::{FileError, folder_of, is_read_only, read_if_exists};
use crate::limit::LimitState;
use crate::telemetry::with_sources;

/// The symbolic links that are followed one after the other; as many as Linux follows.
const LINKS_MAX: usize = 40;

/// A file that can be replaced. Its path is not a symbolic link.
#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    /// Replaces the second path by the first. Tests put another function here.
    pub(super) rename: fn(&Path, &Path) -> io::Result<()>,
}

impl Target {
    /// The file at `path`, or the one that the symbolic link there leads to, even if that file does not exist yet.
    pub(super) fn resolve(path: &Path) -> Result<Self, FileError> {
        let mut resolved = path.to_owned();
        for _ in 0..LINKS_MAX {
            match fs::read_link(&resolved) {
                Ok(link) => resolved = folder_of(&resolved).join(link),
                // It is not a link, or does not exist.
                Err(_) => return Ok(Self { path: resolved, rename: |from, to| fs::rename(from, to) }),
            }
        }
        let source = io::Error::other("too many symbolic links");
        Err(FileError::Io { path: path.to_owned(), doing: "following its links", source })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file beside this one whose name has this ending.
    pub(super) fn beside(&self, ending: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(ending);
        PathBuf::from(name)
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.beside(".journal")
    }

    fn temporary(&self) -> PathBuf {
        self.beside(".tmp")
    }

    /// The limits in the file; `None` if it is missing.
    pub(super) fn read(&self) -> Result<Option<Vec<LimitState>>, FileError> {
        for path in [self.journal(), self.path.clone()] {
            if let Some(bytes) = read_if_exists(&path)? {
                return decode(&path, &bytes).map(Some);
            }
        }
        Ok(None)
    }

    /// Removes the temporary file of a write that a crash interrupted, and finishes the write of a journal.
    pub(super) fn recover(&self) -> Result<(), FileError> {
        let temporary = self.temporary();
        match remove_if_exists(&temporary) {
            // The kernel refuses before it looks for the file. On such a file system no write could begin, so there
            // is no temporary file.
            Err(error) if is_read_only(&error) => {}
            Err(source) => return Err(FileError::Io { path: temporary, doing: "removing", source }),
            Ok(()) => {}
        }
        let Some(bytes) = read_if_exists(&self.journal())? else { return Ok(()) };
        // Reading reports a damaged journal.
        if decode(&self.path, &bytes).is_err() {
            return Ok(());
        }
        match self.replace(&bytes) {
            Ok(()) => tracing::info!(
                file = %self.path.display(),
                "finished a write of the registry file that was interrupted"
            ),
            Err(error) => tracing::warn!(
                error = with_sources(&error),
                "an interrupted write of the registry file cannot be finished; its journal is used"
            ),
        }
        Ok(())
    }

    /// Replaces the content. After an error the old content counts, unless the folder could not be synced: then either may.
    pub(super) fn replace(&self, content: &[u8]) -> Result<(), FileError> {
        let temporary = self.temporary();
        self.replace_by(&temporary, content).map_err(|source| {
            // A half-written temporary file is useless. A failure to remove it does not change the answer.
            fs::remove_file(&temporary).ok();
            FileError::Io { path: self.path.clone(), doing: "writing", source }
        })
    }

    fn replace_by(&self, temporary: &Path, content: &[u8]) -> io::Result<()> {
        write_synced(temporary, content).map_err(|error| self.explain(error))?;
        match (self.rename)(temporary, &self.path) {
            Ok(()) => {
                // A journal can be left from an earlier write, when the file was a mount point.
                remove_if_exists(&self.journal())?;
                sync_folder(&self.path)
            }
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => self.overwrite(temporary, content),
            Err(error) => Err(error),
        }
    }

    /// Overwrites a file that cannot be replaced. Whatever can fail for lack of rights or space fails before the journal exists.
    fn overwrite(&self, temporary: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(&self.path)?;
        reserve_space(&mut file, content.len() as u64)?;
        fs::rename(temporary, self.journal())?;
        let journal_synced = sync_folder(&self.path);
        match (write_from_start(&mut file, content), journal_synced) {
            (Ok(()), _) => remove_if_exists(&self.journal()),
            (Err(error), Ok(())) => {
                tracing::warn!(
                    error = with_sources(&error),
                    journal = %self.journal().display(),
                    "the registry file could not be overwritten; the journal beside it holds the definitions until the next write"
                );
                Ok(())
            }
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// Says what to do about a folder that cannot be written.
    pub(super) fn explain(&self, error: io::Error) -> io::Error {
        if !is_read_only(&error) {
            return error;
        }
        let folder = folder_of(&self.path).display();
        let message = format!(
            "the folder {folder} cannot be written, and a write needs a second file there ({error}); make the folder writable, and mount the folder instead of the file"
        );
        io::Error::new(error.kind(), message)
    }
}

/// Appends spaces, which JSON ignores, until the file is at least this long. So a full disk fails the write while the
/// old content is whole.
fn reserve_space(file: &mut File, bytes: u64) -> io::Result<()> {
    let length = file.seek(SeekFrom::End(0))?;
    if length < bytes {
        io::copy(&mut io::Read::take(io::repeat(b' '), bytes - length), file)?;
        file.sync_all()?;
    }
    Ok(())
}

fn write_from_start(file: &mut File, content: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(content)?;
    file.set_len(content.len() as u64)?;
    file.sync_all()
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn remove_if_exists(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}
