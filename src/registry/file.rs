//! The registry file: a JSON array of limits, rewritten whole. In memory mode it is the only lasting store of definitions. Beside
//! TigerBeetle it is a copy, and the seed of an empty ledger.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::json;
use crate::limit::LimitState;
use crate::limit::json::LimitStateJson;

/// The file that holds the definitions.
#[derive(Debug, Clone)]
pub struct RegistryFile {
    path: PathBuf,
    is_copy: bool,
    writing: Arc<Mutex<()>>,
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

impl RegistryFile {
    /// A file at `path`. `is_copy` says that the definitions last elsewhere: then a change succeeds although its write fails.
    pub fn new(path: PathBuf, is_copy: bool) -> Self {
        Self { path, is_copy, writing: Arc::default() }
    }

    /// Whether the definitions last elsewhere.
    pub fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// Reads the file. A missing file is an empty registry. Removes the temporary file that a crash while writing left behind.
    pub fn read(&self) -> Result<Vec<LimitState>, FileError> {
        let temporary = self.temporary();
        match fs::remove_file(&temporary) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(FileError::Io { path: temporary, doing: "removing", source }),
        }
        match fs::exists(&self.path) {
            Ok(false) => Ok(Vec::new()),
            Ok(true) | Err(_) => self.read_existing(),
        }
    }

    /// Reads the file, which must exist, and changes nothing.
    pub fn read_existing(&self) -> Result<Vec<LimitState>, FileError> {
        let text = fs::read_to_string(&self.path).map_err(|source| self.io("reading", source))?;
        self.parse(&text)
    }

    fn parse(&self, text: &str) -> Result<Vec<LimitState>, FileError> {
        let damaged =
            |place: String, message: String| FileError::Damaged { path: self.path.clone(), place, message };
        let entries: Vec<LimitStateJson> = json::read(text.as_bytes()).map_err(|error| {
            let place = if error.path().is_empty() { "its top level" } else { error.path() };
            damaged(place.to_owned(), error.message())
        })?;
        let mut states: Vec<LimitState> = Vec::with_capacity(entries.len());
        let mut keys = std::collections::HashSet::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            let state = entry.into_state().map_err(|message| damaged(format!("[{index}]"), message))?;
            if !keys.insert(state.definition.key.clone()) {
                return Err(damaged(
                    format!("[{index}]"),
                    format!("key {} appears twice", state.definition.key),
                ));
            }
            states.push(state);
        }
        Ok(states)
    }

    /// Replaces the file: a crash at any moment leaves the old content or the new. If the future is dropped, the write goes on;
    /// writes happen one at a time, and each calls `states` when its turn comes.
    pub async fn write(
        &self,
        states: impl FnOnce() -> Vec<LimitState> + Send + 'static,
    ) -> Result<(), FileError> {
        let this = self.clone();
        let write = tokio::task::spawn_blocking(move || {
            let _one_at_a_time = this.writing.lock().unwrap_or_else(PoisonError::into_inner);
            this.write_blocking(&states())
        });
        write.await.unwrap_or_else(|error| Err(self.io("writing", io::Error::other(error))))
    }

    fn write_blocking(&self, states: &[LimitState]) -> Result<(), FileError> {
        let entries: Vec<LimitStateJson> = states.iter().map(LimitStateJson::from).collect();
        let mut text =
            serde_json::to_string_pretty(&entries).map_err(|error| self.io("encoding", error.into()))?;
        text.push('\n');
        let temporary = self.temporary();
        let written = write_synced(&temporary, &text).and_then(|()| fs::rename(&temporary, &self.path));
        if let Err(source) = written {
            // The half-written temporary file is useless. A failure to remove it does not change the answer.
            fs::remove_file(&temporary).ok();
            return Err(self.io("writing", source));
        }
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        sync_folder(folder.unwrap_or(Path::new(".")))
            .map_err(|source| self.io("syncing the folder of", source))
    }

    fn temporary(&self) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(".tmp");
        PathBuf::from(name)
    }

    fn io(&self, doing: &'static str, source: io::Error) -> FileError {
        FileError::Io { path: self.path.clone(), doing, source }
    }
}

fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
