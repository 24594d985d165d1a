//! The registry file of a running service, which no other service uses.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::FileError;
use super::content::encode;
use super::lock::FileLock;
use super::replace::Target;
use crate::limit::LimitState;
use crate::telemetry::with_sources;

/// A registry file that this service alone uses, until the last clone is dropped.
#[derive(Debug, Clone)]
pub struct LockedFile {
    target: Arc<Target>,
    _lock: Arc<FileLock>,
    is_copy: bool,
    /// The hash of the content that the file has, if it is known. Its lock lets one write happen at a time.
    content_hash: Arc<Mutex<Option<u64>>>,
}

impl LockedFile {
    pub(super) fn new(target: Target, lock: FileLock, is_copy: bool) -> Self {
        Self { target: Arc::new(target), _lock: Arc::new(lock), is_copy, content_hash: Arc::default() }
    }

    /// Whether the definitions last elsewhere.
    pub fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// Reads the file. A missing file is an empty registry. So is a damaged copy: it is set aside under another name.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is damaged and not a copy.
    pub fn read(&self) -> Result<Vec<LimitState>, FileError> {
        let states = match self.target.read() {
            Err(FileError::Damaged { path, place, message }) if self.is_copy => {
                let is_set_aside =
                    self.set_aside(&path, &FileError::Damaged { path: path.clone(), place, message });
                // If the journal was damaged, the file itself is read next.
                return if is_set_aside && path != self.target.path() { self.read() } else { Ok(Vec::new()) };
            }
            states => states?.unwrap_or_default(),
        };
        let mut sorted = states.clone();
        sorted.sort_unstable_by(|a, b| a.definition.key.cmp(&b.definition.key));
        *self.lock_content() = encode(&sorted).ok().map(|text| hash(&text));
        Ok(states)
    }

    /// Replaces the content, unless the file holds it already: a crash at any moment leaves the old content or the new. If the
    /// future is dropped, the write goes on. Writes happen one at a time, and each calls `states` when its turn comes.
    ///
    /// # Errors
    ///
    /// The file system refuses. The old content stays.
    pub async fn write(
        &self,
        states: impl FnOnce() -> Vec<LimitState> + Send + 'static,
    ) -> Result<(), FileError> {
        let this = self.clone();
        let write = tokio::task::spawn_blocking(move || {
            let mut content_hash = this.lock_content();
            let text = encode(&states()).map_err(|error| this.failed("encoding", error.into()))?;
            let hash = hash(&text);
            if *content_hash == Some(hash) {
                return Ok(());
            }
            *content_hash = None;
            this.target.replace(text.as_bytes())?;
            *content_hash = Some(hash);
            Ok(())
        });
        write.await.unwrap_or_else(|error| Err(self.failed("writing", io::Error::other(error))))
    }

    /// The error of a write that would drop limits of the file that are not in the ledger yet.
    pub(in crate::registry) fn not_read_yet(&self) -> FileError {
        self.failed("writing", io::Error::other("its limits are not in the ledger yet; try again"))
    }

    fn lock_content(&self) -> MutexGuard<'_, Option<u64>> {
        self.content_hash.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a damaged copy another name. False if that fails: then the next write replaces it.
    fn set_aside(&self, path: &Path, damage: &FileError) -> bool {
        let seconds = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".damaged-{seconds}"));
        let renamed = match (self.target.rename)(path, Path::new(&aside)) {
            // A mount point keeps its name.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => fs::copy(path, &aside).map(drop),
            renamed => renamed,
        };
        match &renamed {
            Ok(()) => tracing::error!(
                error = with_sources(damage),
                set_aside = %Path::new(&aside).display(),
                "the copy of the definitions is damaged; it was set aside and is written again from the ledger, which gets no limits from it"
            ),
            Err(error) => tracing::error!(
                error = with_sources(damage),
                failure = with_sources(error),
                "the copy of the definitions is damaged and could not be set aside; the next change replaces it"
            ),
        }
        renamed.is_ok()
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> FileError {
        FileError::Io { path: self.target.path().to_owned(), doing, source }
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
