//! The registry: the definitions of all limits, read from the ledger's log and changed through it.
//!
//! | file | what it is |
//! | --- | --- |
//! | `snapshot.rs`, `entry.rs` | the newest known version of each limit, read without a lock |
//! | `templates.rs` | the templates among them |
//! | `log.rs` | reads a log of definition versions |
//! | `follower.rs` | keeps the snapshot up to date with the ledger's log |
//! | `file/`, `saver.rs` | the registry file: the truth in memory mode, a copy beside TigerBeetle; when it is written |
//! | `definition_store.rs` | creates definition versions, and reads a limit's history |
//! | `instances.rs`, `new_instance.rs` | find the instances of templates; make them with their first reservation |
//! | `idle_instances.rs` | retires idle instances |
//! | `instance_log.rs` | the log of instances, for a list of them |
//! | `refiller.rs`, `refill_clock.rs` | makes the refills that are due |
//! | `refills_by_hand.rs` | makes refills on request |
//! | `replicas.rs` | the replicas that announce themselves in the ledger |
//! | `admin.rs`, `decreases.rs`, `usage.rs`, `filter.rs`, `bootstrap.rs` | the operators' side: changes, decreases, lists with usage, start |
//!
//! A change never writes the snapshot. It creates a version in the ledger; the snapshot changes when the version is read back.

mod admin;
mod bootstrap;
mod decreases;
mod definition_store;
mod entry;
mod error;
pub mod file;
mod filter;
mod follower;
mod idle_instances;
mod instance_log;
mod instances;
mod key_locks;
mod log;
mod new_instance;
mod refill_clock;
mod refiller;
mod refills_by_hand;
mod replicas;
mod saver;
mod snapshot;
mod templates;
mod usage;

use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};

pub use admin::{Admin, AdminError};
pub(crate) use entry::Entry;
pub use error::RegistryError;
pub use filter::{KeyRange, LimitFilter};
pub(crate) use instances::InstanceLookup;
pub(crate) use new_instance::{MakingOutcome, NewInstance};
pub(crate) use refill_clock::RefillClock;
pub(crate) use refiller::{CaughtUp, RefillObserver, Refiller};
pub use replicas::{ReplicaInfo, Replicas};
pub use saver::SaveCounts;
pub(crate) use snapshot::{Snapshot, Waiters};
pub use usage::{LimitPage, LimitUsage};

use crate::decide::Limit;
use crate::decide::ids::Ids;
use crate::ledger::Ledger;
use crate::limit::{Definition, LimitKey};
use definition_store::DefinitionStore;
use file::LockedFile;
use follower::Follower;
use instance_log::InstanceLog;
use key_locks::KeyLocks;
use log::LogReader;
use saver::Saver;

/// The limits looked up or created at once: as many as fit into the smallest request that TigerBeetle can be set to.
const LIMITS_PAGE: usize = 100;
/// The accounts created at once.
const ACCOUNTS_PAGE: usize = 200;
/// How often a change is tried while other replicas change the same limit first.
const ATTEMPTS_MAX: usize = 64;

/// The definitions known to this process, and what keeps them up to date. A process has one for each ledger.
pub struct Registry<L> {
    ledger: Arc<L>,
    ids: Ids,
    snapshot: Arc<Snapshot>,
    follower: Follower<L>,
    saver: Arc<Saver>,
    instance_log: InstanceLog<L>,
    /// Where the search for instances that no process remembers goes on in the log.
    idle_search: Mutex<LogReader>,
    store: DefinitionStore<L>,
    refiller: Refiller<L>,
    key_locks: KeyLocks,
    /// One caller at a time makes the first reservation of a key. Its holder may wait for one of `key_locks`, not the other
    /// way round.
    first_use_locks: KeyLocks,
}

impl<L: Ledger> Registry<L> {
    /// An empty registry. Nothing is read yet.
    pub fn new(ledger: Arc<L>, ids: Ids, file: Option<LockedFile>) -> Self {
        let snapshot = Arc::new(Snapshot::default());
        let saver = Arc::new(Saver::new(Arc::clone(&snapshot), file));
        let follower = Follower::new(Arc::clone(&ledger), ids, Arc::clone(&snapshot), Arc::clone(&saver));
        let instance_log = InstanceLog::new(Arc::clone(&ledger), ids);
        let store = DefinitionStore::new(Arc::clone(&ledger), ids);
        let refiller = Refiller::new(Arc::clone(&ledger), ids);
        Self {
            ledger,
            ids,
            snapshot,
            follower,
            saver,
            instance_log,
            idle_search: Mutex::new(LogReader::new(ids.instances())),
            store,
            refiller,
            key_locks: KeyLocks::new(),
            first_use_locks: KeyLocks::new(),
        }
    }

    /// The newest known version of each limit.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The definition of a limit as this process knows it; `None` if it knows none, or if the limit was deleted.
    pub fn definition(&self, key: &LimitKey) -> Option<Definition> {
        let entry = self.snapshot.get(key)?;
        let state = &entry.limit.state;
        (!state.status.is_gone()).then(|| state.definition.clone())
    }

    /// How often the registry file was written; never, without one.
    pub fn save_counts(&self) -> Arc<SaveCounts> {
        self.saver.counts()
    }

    /// Makes the refills that are due.
    pub(crate) fn refiller(&self) -> &Refiller<L> {
        &self.refiller
    }

    /// Tells `observer` of every refill from now on.
    pub(crate) fn observe_refills(&self, observer: Arc<dyn RefillObserver>) {
        self.refiller.observe(observer);
    }

    /// Tells `waiters` of every new version that is read from now on, and shows them in the usage.
    pub(crate) fn set_waiters(&self, waiters: Arc<dyn Waiters>) {
        self.snapshot.set_waiters(waiters);
    }

    /// Reads every version that was in the log when this was called.
    pub async fn refresh(&self) -> Result<(), RegistryError> {
        self.follower.refresh().await
    }

    /// Reads every version that was in the log when this was called, and brings the registry file up to date.
    pub async fn refresh_and_save(&self) -> Result<(), RegistryError> {
        self.follower.refresh_and_save().await
    }

    /// How many limits the snapshot holds, deleted ones included.
    pub fn known_limits(&self) -> usize {
        self.snapshot.len()
    }

    /// The newest version of a limit that this process knows, even if it is deleted.
    pub fn limit(&self, key: &LimitKey) -> Option<Limit> {
        self.snapshot.get(key).map(|entry| entry.limit.clone())
    }

    /// The template that would make the limit of a key, if this process knows no such limit.
    pub fn template_without_limit(&self, key: &LimitKey) -> Option<LimitKey> {
        if self.snapshot.get(key).is_some() {
            return None;
        }
        self.snapshot.template_of(key).map(|template| template.key().clone())
    }

    /// The limits with a waiting decrease.
    pub fn decreasing(&self) -> Vec<LimitKey> {
        self.snapshot.decreasing()
    }

    /// Forgets a limit that may be stale, if it is an instance: the log that this process follows does not hold its versions.
    pub(crate) fn forget_instance(&self, entry: &Arc<Entry>) {
        if entry.is_instance() {
            self.snapshot.forget(entry);
        }
    }

    /// Waits for the turn to make the first reservation of a key.
    pub(crate) async fn first_use(&self, key: &LimitKey) -> MutexGuard<'_, ()> {
        self.first_use_locks.lock(key).await
    }

    /// Makes the refills that are due now, by the schedule that `entry` knows. False if a new version has replaced it.
    async fn catch_up(&self, entry: &Entry) -> Result<bool, RegistryError> {
        let caught_up = self.refiller.catch_up(&[entry], self.ledger.now_ns()).await?;
        Ok(caught_up != CaughtUp::ScheduleReplaced)
    }
}
