//! Follows the log of definition versions in the ledger: reads it into the snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::error::RegistryError;
use super::saver::Saver;
use super::snapshot::Snapshot;
use crate::decide::definition_codec::Assembler;
use crate::decide::ids::Ids;
use crate::ledger::{AccountQuery, Ledger, Order, Side, TransferCode};
use crate::telemetry::with_sources;

/// The transfers read at once; a ledger's answer holds no more than 8,189.
const PAGE_TRANSFERS: u32 = 8_000;

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
#[derive(Default)]
struct Position {
    read_to_ns: u64,
    assembler: Assembler,
    /// A reading that began after this call has ended. It serves every call up to this one.
    calls_served: u64,
}

impl<L: Ledger> Follower<L> {
    /// Starts at the beginning of the log. Nothing is read yet.
    pub(super) fn new(ledger: Arc<L>, ids: Ids, snapshot: Arc<Snapshot>, saver: Arc<Saver>) -> Self {
        Self { ledger, ids, snapshot, saver, calls: AtomicU64::new(0), position: Mutex::default() }
    }

    /// Reads every version that was in the log when this was called. Concurrent calls share one reading.
    pub(super) async fn refresh(&self) -> Result<(), RegistryError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let mut position = self.position.lock().await;
        if position.calls_served >= call {
            return Ok(());
        }
        let calls_served = self.calls.load(Ordering::SeqCst);
        self.read_log(&mut position).await?;
        position.calls_served = calls_served;
        Ok(())
    }

    /// Brings the snapshot up to date with the log, and the file with the snapshot.
    pub(super) async fn refresh_and_save(&self) -> Result<(), RegistryError> {
        self.refresh().await?;
        self.saver.save().await;
        Ok(())
    }

    async fn read_log(&self, position: &mut Position) -> Result<(), RegistryError> {
        loop {
            let query = AccountQuery {
                account: self.ids.registry(),
                side: Side::Debit,
                code: TransferCode::Definition,
                after_ns: position.read_to_ns,
                order: Order::OldestFirst,
                count_max: PAGE_TRANSFERS,
            };
            let page = self.ledger.account_transfers(query).await?;
            for recorded in &page {
                position.read_to_ns = recorded.timestamp_ns;
                match position.assembler.push(recorded) {
                    Ok(None) => {}
                    Ok(Some(version)) => {
                        self.snapshot.apply(self.ids, version);
                        self.saver.version_read();
                    }
                    // A newer program may have written it: the limit keeps its last readable version, and the others go on.
                    Err(error) => {
                        tracing::error!(
                            error = with_sources(&error),
                            "a definition in the ledger cannot be read and is skipped; is this program older than the one that wrote it?"
                        );
                    }
                }
            }
            // A ledger may answer with fewer transfers than were asked for, so only an empty page is the end.
            if page.is_empty() {
                return Ok(());
            }
        }
    }
}
