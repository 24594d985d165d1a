//! The lease cache: the leases that this process granted lately. It spares a complete one look-up. The ledger decides in any
//! case; without the cache every answer is the same.

use std::num::NonZeroUsize;

use quick_cache::sync::Cache;

use crate::decide::lease::Lease;
use crate::limit::LeaseId;

/// The leases that this process granted lately.
pub(super) struct LeaseCache(Option<Cache<LeaseId, Lease>>);

impl LeaseCache {
    /// Remembers up to this many leases; 0 switches the cache off.
    pub(super) fn new(leases_max: usize) -> Self {
        Self(NonZeroUsize::new(leases_max).map(|max| Cache::new(max.get())))
    }

    /// Whether the cache remembers anything at all.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn insert(&self, lease: Lease) {
        if let Some(cache) = &self.0 {
            cache.insert(lease.id, lease);
        }
    }

    /// A lease, which stays in the cache.
    pub(super) fn get(&self, id: LeaseId) -> Option<Lease> {
        self.0.as_ref()?.get(&id)
    }

    /// Removes a lease and returns it.
    pub(super) fn take(&self, id: LeaseId) -> Option<Lease> {
        self.0.as_ref()?.remove(&id).map(|(_, lease)| lease)
    }
}
