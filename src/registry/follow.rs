use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::Registry;
use super::file::{FileError, RegistryFile};
use crate::decide::ids::Ids;
use crate::decide::record::Assembler;
use crate::ledger::{AccountQuery, Ledger, LedgerError, Order, Side, TransferCode};
use crate::telemetry::with_sources;

/// How much of the log is read at once; a ledger's answer holds no more than 8,189.
const PAGE_TRANSFERS: u32 = 8_000;

/// Reads the log of definitions out of the ledger into the registry, and writes the file.
pub struct Follower<L> {
    ledger: Arc<L>,
    ids: Ids,
    registry: Arc<Registry>,
    file: Option<RegistryFile>,
    /// Counts the calls of [`Follower::refresh`].
    calls: AtomicU64,
    log: Mutex<Log>,
    /// Counts the versions that were learned.
    learned: AtomicU64,
    /// How many of them the file holds.
    saved: Mutex<u64>,
}

/// How far the log was read.
#[derive(Default)]
struct Log {
    read_to_ns: u64,
    assembler: Assembler,
    /// Every call up to this one is answered by a reading that began after it.
    calls_covered: u64,
}

/// Why the registry could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The log could not be read.
    #[error("the definitions could not be read from the ledger")]
    Ledger(#[from] LedgerError),
    /// The file could not be written.
    #[error("the registry file could not be written")]
    File(#[from] FileError),
}

impl<L: Ledger> Follower<L> {
    /// Follows the log from its beginning. Nothing is read yet.
    pub fn new(ledger: Arc<L>, ids: Ids, registry: Arc<Registry>, file: Option<RegistryFile>) -> Self {
        Self {
            ledger,
            ids,
            registry,
            file,
            calls: AtomicU64::new(0),
            log: Mutex::default(),
            learned: AtomicU64::new(0),
            saved: Mutex::default(),
        }
    }

    /// The registry that this keeps up to date.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Brings the registry up to everything that was in the log when this was called. Calls that come together share
    /// one reading.
    pub async fn refresh(&self) -> Result<(), RefreshError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let mut log = self.log.lock().await;
        if log.calls_covered >= call {
            return Ok(());
        }
        let covers = self.calls.load(Ordering::SeqCst);
        self.read_log(&mut log).await?;
        log.calls_covered = covers;
        Ok(())
    }

    /// Brings the registry up to date, and the file up to the registry.
    pub async fn refresh_and_save(&self) -> Result<(), RefreshError> {
        self.refresh().await?;
        self.save().await
    }

    async fn read_log(&self, log: &mut Log) -> Result<(), RefreshError> {
        loop {
            let query = AccountQuery {
                account: self.ids.registry(),
                side: Side::Debit,
                code: TransferCode::Definition,
                after_ns: log.read_to_ns,
                order: Order::OldestFirst,
                count_max: PAGE_TRANSFERS,
            };
            let page = self.ledger.account_transfers(query).await?;
            for recorded in &page {
                log.read_to_ns = recorded.timestamp_ns;
                match log.assembler.push(recorded) {
                    Ok(None) => {}
                    Ok(Some(version)) => {
                        self.registry.learn(self.ids, version);
                        self.learned.fetch_add(1, Ordering::SeqCst);
                    }
                    // Written by a newer program, say: what is known of that limit stays, and the others go on.
                    Err(error) => {
                        tracing::error!(
                            error = with_sources(&error),
                            "a definition in the ledger is unreadable"
                        );
                    }
                }
            }
            // A ledger may answer with less than was asked for.
            if page.is_empty() {
                return Ok(());
            }
        }
    }

    /// Writes what was learned since the file was written.
    pub async fn save(&self) -> Result<(), RefreshError> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut saved = self.saved.lock().await;
        let learned = self.learned.load(Ordering::SeqCst);
        if *saved >= learned {
            return Ok(());
        }
        let registry = Arc::clone(&self.registry);
        match file.write(move || registry.states()).await {
            Ok(()) => *saved = learned,
            Err(error) if file.is_copy() => {
                tracing::warn!(error = with_sources(&error), "the copy of the registry is behind");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
