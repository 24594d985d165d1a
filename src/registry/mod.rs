//! The definitions: a snapshot to read without a lock, kept up to date from the ledger's log, and a copy in a file.

pub mod file;
mod follow;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::DefaultHashBuilder;

pub use follow::{Follower, RefreshError};

use crate::decide::Limit;
use crate::decide::ids::Ids;
use crate::decide::record::Version;
use crate::limit::{LimitKey, LimitState, Status};

/// The newest version of every limit, deleted ones included.
#[derive(Default)]
pub struct Registry {
    limits: papaya::HashMap<LimitKey, Arc<Entry>, DefaultHashBuilder>,
    decreasing: Mutex<BTreeSet<LimitKey>>,
}

/// A limit, and how often in a row it denied.
#[derive(Debug)]
pub struct Entry {
    /// The limit.
    pub limit: Limit,
    denials_in_a_row: AtomicU32,
}

impl Registry {
    /// The newest version of a limit that was ever defined, even if it was deleted since.
    pub fn get(&self, key: &LimitKey) -> Option<Arc<Entry>> {
        self.limits.pin().get(key).cloned()
    }

    /// The same for several limits, each in its place.
    pub fn get_all<'a, B: FromIterator<Option<Arc<Entry>>>>(
        &self,
        keys: impl Iterator<Item = &'a LimitKey>,
    ) -> B {
        let limits = self.limits.pin();
        keys.map(|key| limits.get(key).cloned()).collect()
    }

    /// Every limit that is not deleted, sorted by key.
    pub fn list(&self) -> Vec<Arc<Entry>> {
        let limits = self.limits.pin();
        let mut list: Vec<_> =
            limits.values().filter(|entry| entry.limit.state.status != Status::Deleted).cloned().collect();
        list.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        list
    }

    /// The state of every limit that is not deleted, sorted by key.
    pub fn states(&self) -> Vec<LimitState> {
        self.list().iter().map(|entry| entry.limit.state.clone()).collect()
    }

    /// The limits whose decrease waits to be applied.
    pub fn decreasing(&self) -> Vec<LimitKey> {
        self.decreasing.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Takes a version in, unless a newer one is known.
    fn learn(&self, ids: Ids, version: Version) {
        let key = version.state.definition.key.clone();
        let limits = self.limits.pin();
        let known = limits.get(&key);
        if known.is_some_and(|entry| entry.limit.version >= version.number) {
            return;
        }
        let (account, debt_account) = known
            .map_or_else(|| (ids.limit(&key), ids.debt(&key)), |e| (e.limit.account, e.limit.debt_account));
        {
            let mut decreasing = self.decreasing.lock().unwrap_or_else(PoisonError::into_inner);
            match version.state.status {
                Status::Decreasing { .. } => decreasing.insert(key.clone()),
                Status::Active | Status::Deleted => decreasing.remove(&key),
            };
        }
        let limit = Limit { version: version.number, state: version.state, account, debt_account };
        limits.insert(key, Arc::new(Entry { limit, denials_in_a_row: AtomicU32::new(0) }));
    }
}

impl Entry {
    /// The limit's name.
    pub fn key(&self) -> &LimitKey {
        &self.limit.state.definition.key
    }

    /// Counts a denial; answers how many came before it in a row.
    pub fn denied(&self) -> u32 {
        self.denials_in_a_row.fetch_add(1, Ordering::Relaxed)
    }

    /// How many denials there were in a row.
    pub fn denials_in_a_row(&self) -> u32 {
        self.denials_in_a_row.load(Ordering::Relaxed)
    }

    /// Ends a row of denials.
    pub fn granted(&self) {
        // Reading first keeps the line shared among the cores that grant.
        if self.denials_in_a_row() != 0 {
            self.denials_in_a_row.store(0, Ordering::Relaxed);
        }
    }
}
