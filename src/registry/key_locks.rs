//! Locks by limit key, so that a process creates one version of a limit at a time.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Mutex, MutexGuard};

use crate::limit::LimitKey;

/// The number of locks. Keys that share one wait for each other.
const LOCKS: usize = 64;

/// A fixed set of locks; each key uses one of them. Reserves and admin changes take the same locks: a thousand callers of a new
/// key ask the ledger once, and none of them races an admin change in its own process.
pub(super) struct KeyLocks {
    locks: [Mutex<()>; LOCKS],
    hasher: RandomState,
}

impl KeyLocks {
    pub(super) fn new() -> Self {
        Self { locks: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }

    /// Waits for the lock of a key. A caller holds at most one lock at a time.
    pub(super) async fn lock(&self, key: &LimitKey) -> MutexGuard<'_, ()> {
        let [first, others @ ..] = &self.locks;
        let index = self.hasher.hash_one(key) as usize % LOCKS;
        index.checked_sub(1).and_then(|index| others.get(index)).unwrap_or(first).lock().await
    }
}
