//! Follows the log of definition versions in the ledger: reads it into the snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::error::RegistryError;
use super::log::LogReader;
use super::saver::Saver;
use super::snapshot::Snapshot;
use crate::decide::ids::Ids;
use crate::ledger::Ledger;

/// Reads the log of definition versions into the snapshot.
pub(super) struct Follower<L> {
    ledger: Arc<L>,
    ids: Ids,
    snapshot: Arc<Snapshot>,
    saver: Arc<Saver>,
    /// Counts the calls of [`Follower::refresh`].
    calls: AtomicU64,
    position: Mutex<Position>,
}

/// How far the log was read.
struct Position {
    log: LogReader,
    /// A reading that began after this call has ended. It serves every call up to this one.
    calls_served: u64,
}

impl<L: Ledger> Follower<L> {
    /// Starts at the beginning of the log. Nothing is read yet.
    pub(super) fn new(ledger: Arc<L>, ids: Ids, snapshot: Arc<Snapshot>, saver: Arc<Saver>) -> Self {
        let position = Position { log: LogReader::new(ids.registry()), calls_served: 0 };
        Self { ledger, ids, snapshot, saver, calls: AtomicU64::new(0), position: Mutex::new(position) }
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
            self.saver.version_read();
        };
        position.log.read_on(&*self.ledger, take).await?;
        position.calls_served = calls_served;
        Ok(())
    }

    /// Brings the snapshot up to date with the log, and the file with the snapshot.
    pub(super) async fn refresh_and_save(&self) -> Result<(), RegistryError> {
        self.refresh().await?;
        self.saver.save().await;
        Ok(())
    }
}
