//! What the callers of one limiter got of each limit.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;

use super::{LimitKey, Requirements};

/// The most keys with counters. Beyond that, the keys used least lately lose theirs and start at 0 again.
const KEYS_MAX: usize = 16_384;

/// The use of a limit by all callers, and what the callers of this limiter got of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyStats {
    /// What can be reserved now, by any caller.
    pub available: u128,
    /// What is reserved now, by all callers.
    pub reserved: u128,
    /// The callers of this limiter that wait after a denial.
    pub queued: u64,
    /// The leases granted to this limiter.
    pub granted: u64,
    /// The attempts of this limiter that the limit denied.
    pub denied: u64,
}

/// The counters of all keys.
pub(super) struct Stats {
    by_key: Cache<LimitKey, Arc<Counters>>,
}

#[derive(Default)]
pub(super) struct Counters {
    queued: AtomicU64,
    granted: AtomicU64,
    denied: AtomicU64,
}

/// A waiter, counted until it is dropped.
pub(super) struct Queued(Vec<Arc<Counters>>);

impl Default for Stats {
    fn default() -> Self {
        Self { by_key: Cache::new(KEYS_MAX) }
    }
}

impl Stats {
    pub(super) fn granted(&self, wants: &Requirements) {
        for requirement in wants.list() {
            self.of(&requirement.key).granted.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn denied(&self, key: &LimitKey) {
        self.of(key).denied.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn queue(&self, wants: &Requirements) -> Queued {
        let counters: Vec<_> = wants.list().iter().map(|requirement| self.of(&requirement.key)).collect();
        for counters in &counters {
            counters.queued.fetch_add(1, Ordering::Relaxed);
        }
        Queued(counters)
    }

    /// Queued, granted, denied.
    pub(super) fn read(&self, key: &LimitKey) -> [u64; 3] {
        let counters = self.of(key);
        [&counters.queued, &counters.granted, &counters.denied].map(|counter| counter.load(Ordering::Relaxed))
    }

    /// Sets granted and denied to 0. Waiters still wait, so `queued` stays.
    pub(super) fn reset(&self) {
        for (_, counters) in self.by_key.iter() {
            counters.granted.store(0, Ordering::Relaxed);
            counters.denied.store(0, Ordering::Relaxed);
        }
    }

    fn of(&self, key: &LimitKey) -> Arc<Counters> {
        let fresh = || Ok::<_, Infallible>(Arc::default());
        let Ok(counters) = self.by_key.get_or_insert_with(key, fresh);
        counters
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        for counters in &self.0 {
            counters.queued.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
