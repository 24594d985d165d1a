//! The audit log: one line for each change of a limit that somebody makes or tries. It says who, from where, what, and the
//! definition before and after. It goes to the log, or to a file of its own.

use std::fs::File;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::limit::json::DefinitionJson;
use crate::telemetry::Occurrences;

/// The target of audit lines in the log. Settings of `log.filter` name it.
const TARGET: &str = "ratelimiterd::audit";

static FAILED_WRITES: Occurrences = Occurrences::new();

/// Where audit lines go.
#[derive(Debug)]
pub struct AuditLog {
    /// `None` if they go to the log.
    file: Option<Mutex<File>>,
}

/// The audit file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the audit file {}", path.display())]
pub struct AuditError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The address of the client of a request. The connection adds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// One change of a limit.
#[derive(Debug, Serialize)]
pub(super) struct AuditEntry<'a> {
    pub(super) unix_ms: u64,
    /// The name of the token, certificate or JWT subject; empty if callers are not authenticated.
    pub(super) caller: &'a str,
    /// The address of the client; absent if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer: Option<IpAddr>,
    /// `put`, `delete`, `purge`, `reset`, `replenish` or `set_rate`.
    pub(super) action: &'static str,
    pub(super) key: &'a str,
    /// The definition before the change; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<DefinitionJson>,
    /// The definition after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<DefinitionJson>,
    /// `ok`, or the error's name.
    pub(super) outcome: &'a str,
}

impl AuditLog {
    /// Writes to the log.
    pub fn to_log() -> Self {
        Self { file: None }
    }

    /// Appends to a file, as JSON lines. An empty path means the log.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub fn to_path(path: &Path) -> Result<Self, AuditError> {
        if path.as_os_str().is_empty() {
            return Ok(Self::to_log());
        }
        let file = open_private(path).map_err(|source| AuditError { path: path.to_owned(), source })?;
        Ok(Self { file: Some(Mutex::new(file)) })
    }

    /// Writes one line. A change is made even if its line cannot be written; the log says so.
    pub(super) fn write(&self, entry: &AuditEntry<'_>) {
        let line = match serde_json::to_string(entry) {
            Ok(line) => line,
            Err(error) => return tracing::error!(%error, "an audit line cannot be encoded"),
        };
        let Some(file) = &self.file else {
            return tracing::info!(target: TARGET, "{line}");
        };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        // In one piece, so that lines of two services in one file do not mix.
        if let Err(error) = file.write_all(format!("{line}\n").as_bytes())
            && let Some(times) = FAILED_WRITES.count()
        {
            tracing::error!(times, %error, line, "an audit line could not be written to its file");
        }
    }
}

/// Opens a file for appending, which only its owner may read if it is new.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
