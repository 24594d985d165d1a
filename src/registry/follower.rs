//! Follows the log of definition versions in the ledger: reads it into the snapshot, and writes the registry file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::error::RegistryError;
use super::file::RegistryFile;
use super::log::LogReader;
use super::snapshot::Snapshot;
use crate::decide::ids::Ids;
use crate::ledger::Ledger;
use crate::telemetry::with_sources;

/// Reads the log of definition versions into the snapshot, and writes the registry file.
pub(super) struct Follower<L> {
    ledger: Arc<L>,
    ids: Ids,
    snapshot: Arc<Snapshot>,
    file: Option<RegistryFile>,
    /// Counts the calls of [`Follower::refresh`].
    calls: AtomicU64,
    position: Mutex<Position>,
    /// Counts the versions that were read.
    versions_read: AtomicU64,
    /// The value of `versions_read` that the file holds.
    versions_saved: Mutex<u64>,
}

/// How far the log was read.
struct Position {
    log: LogReader,
    /// A reading that began after this call has ended. It serves every call up to this one.
    calls_served: u64,
}

impl<L: Ledger> Follower<L> {
    /// Starts at the beginning of the log. Nothing is read yet.
    pub(super) fn new(ledger: Arc<L>, ids: Ids, snapshot: Arc<Snapshot>, file: Option<RegistryFile>) -> Self {
        Self {
            ledger,
            ids,
            snapshot,
            file,
            calls: AtomicU64::new(0),
            position: Mutex::new(Position { log: LogReader::new(ids.registry()), calls_served: 0 }),
            versions_read: AtomicU64::new(0),
            versions_saved: Mutex::default(),
        }
    }

    /// Reads every version that was in the log when this was called. Concurrent calls share one reading.
    pub(super) async fn refresh(&self) -> Result<(), RegistryError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let mut position = self.position.lock().await;
        if position.calls_served >= call {
            return Ok(());
        }
        let calls_served = self.calls.load(Ordering::SeqCst);
        let take = |version| {
            self.snapshot.apply(self.ids, version);
            self.versions_read.fetch_add(1, Ordering::SeqCst);
        };
        position.log.read_on(&*self.ledger, take).await?;
        position.calls_served = calls_served;
        Ok(())
    }

    /// Brings the snapshot up to date with the log, and the file with the snapshot.
    pub(super) async fn refresh_and_save(&self) -> Result<(), RegistryError> {
        self.refresh().await?;
        self.save().await
    }

    /// Writes the file, if versions were read since it was last written.
    pub(super) async fn save(&self) -> Result<(), RegistryError> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut versions_saved = self.versions_saved.lock().await;
        let versions_read = self.versions_read.load(Ordering::SeqCst);
        if *versions_saved >= versions_read {
            return Ok(());
        }
        let snapshot = Arc::clone(&self.snapshot);
        match file.write(move || snapshot.states()).await {
            Ok(()) => *versions_saved = versions_read,
            Err(error) if file.is_copy() => {
                tracing::warn!(
                    error = with_sources(&error),
                    "the copy of the definitions in the registry file could not be updated; it is tried again after the next change"
                );
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
