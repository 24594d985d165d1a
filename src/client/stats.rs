use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;

use super::{LimitKey, Requirements};

/// As many keys as are counted; of more, those not used lately begin anew.
const KEYS_MAX: usize = 16_384;

/// How a limit stands, and what its callers here got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyStats {
    /// What can be reserved now, by anybody.
    pub available: u128,
    /// What is reserved, by anybody.
    pub reserved: u128,
    /// How many callers of this limiter wait to come back after a denial.
    pub queued: u64,
    /// How many leases of it were granted to this limiter.
    pub granted: u64,
    /// How many attempts of this limiter it denied.
    pub denied: u64,
}

/// What was granted and denied here, by key.
pub(super) struct Stats {
    by_key: Cache<LimitKey, Arc<Counters>>,
}

#[derive(Default)]
pub(super) struct Counters {
    queued: AtomicU64,
    granted: AtomicU64,
    denied: AtomicU64,
}

/// A caller who waits; counted until it is dropped.
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

    /// Counts from zero again; who waits still waits.
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
