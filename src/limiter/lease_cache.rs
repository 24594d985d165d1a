use std::num::NonZeroUsize;

use quick_cache::sync::Cache;

use crate::decide::lease::Lease;
use crate::limit::LeaseId;

/// The leases that this process granted lately: a shortcut that spares a complete one look-up. Whatever it says, the
/// ledger decides; with it switched off every answer is the same.
pub struct LeaseCache(Option<Cache<LeaseId, Lease>>);

impl LeaseCache {
    /// Remembers up to this many leases; 0 switches it off.
    pub fn new(leases_max: usize) -> Self {
        Self(NonZeroUsize::new(leases_max).map(|max| Cache::new(max.get())))
    }

    /// Whether it remembers anything at all.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn insert(&self, lease: Lease) {
        if let Some(cache) = &self.0 {
            cache.insert(lease.id, lease);
        }
    }

    pub(super) fn take(&self, id: LeaseId) -> Option<Lease> {
        self.0.as_ref()?.remove(&id).map(|(_, lease)| lease)
    }
}
