//! What is counted of allotments.

use std::sync::atomic::{AtomicU64, Ordering};

/// What this process did with allotments.
#[derive(Debug, Default)]
pub struct AllotmentCounts {
    taken: AtomicU64,
    settled: AtomicU64,
    expired: AtomicU64,
    served: AtomicU64,
    transfers: AtomicU64,
    held: AtomicU64,
    units: AtomicU64,
}

impl AllotmentCounts {
    /// The allotments that were taken.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// The steps that replaced allotments by what was needed of them.
    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::Relaxed)
    }

    /// The allotments that the ledger released.
    pub fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// The leases that were served without the ledger.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// The transfers of allotments that were sent.
    pub fn transfers(&self) -> u64 {
        self.transfers.load(Ordering::Relaxed)
    }

    /// The allotments that were held at the last look.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// The units in them.
    pub fn units(&self) -> u64 {
        self.units.load(Ordering::Relaxed)
    }

    pub(super) fn count_taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_settled(&self) {
        self.settled.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_expired(&self, allotments: usize) {
        self.expired.fetch_add(allotments as u64, Ordering::Relaxed);
    }

    pub(super) fn count_served(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_transfers(&self, transfers: usize) {
        self.transfers.fetch_add(transfers as u64, Ordering::Relaxed);
    }

    pub(super) fn set_held(&self, allotments: u64, units: u64) {
        self.held.store(allotments, Ordering::Relaxed);
        self.units.store(units, Ordering::Relaxed);
    }
}
