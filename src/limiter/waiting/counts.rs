//! What became of the requests that were ready to wait.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What became of the requests that were ready to wait.
#[derive(Debug, Default)]
pub struct WaitingCounts {
    /// The leases and extends that are here.
    pub(super) leases: AtomicUsize,
    pub(super) callers: AtomicUsize,
    pub(super) queued: AtomicU64,
    pub(super) granted: AtomicU64,
    pub(super) left: AtomicU64,
}

impl WaitingCounts {
    /// The requests that wait now, and those whose first attempt is under way.
    pub fn callers(&self) -> usize {
        self.callers.load(Ordering::Relaxed)
    }

    /// The leases that had to wait.
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// Of these, the leases that were granted.
    pub fn granted(&self) -> u64 {
        self.granted.load(Ordering::Relaxed)
    }

    /// Of these, the leases whose callers all left.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }
}
