use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the workers measure. Counters only grow, so two readings give a rate.
#[derive(Debug, Default)]
pub struct SubmitterStats {
    queued_transfers: AtomicU64,
    requests: AtomicU64,
    request_transfers: AtomicU64,
    request_transfers_max: AtomicU64,
    in_flight_us: AtomicU64,
    abandoned_messages: AtomicU64,
    lost_requests: AtomicU64,
}

impl SubmitterStats {
    /// How many transfers wait now.
    pub fn queued_transfers(&self) -> u64 {
        self.queued_transfers.load(Ordering::Relaxed)
    }

    /// How many requests were sent.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many transfers were in them.
    pub fn request_transfers(&self) -> u64 {
        self.request_transfers.load(Ordering::Relaxed)
    }

    /// How many transfers were in the largest of them.
    pub fn request_transfers_max(&self) -> u64 {
        self.request_transfers_max.load(Ordering::Relaxed)
    }

    /// How long requests were under way, all in all, in microseconds.
    pub fn in_flight_us(&self) -> u64 {
        self.in_flight_us.load(Ordering::Relaxed)
    }

    /// How many messages were not sent because nobody waited for them any more.
    pub fn abandoned_messages(&self) -> u64 {
        self.abandoned_messages.load(Ordering::Relaxed)
    }

    /// How many requests were lost with their session.
    pub fn lost_requests(&self) -> u64 {
        self.lost_requests.load(Ordering::Relaxed)
    }

    pub(super) fn queued(&self, transfers: usize) {
        self.queued_transfers.fetch_add(transfers as u64, Ordering::Relaxed);
    }

    pub(super) fn taken(&self, transfers: usize) {
        self.queued_transfers.fetch_sub(transfers as u64, Ordering::Relaxed);
    }

    pub(super) fn abandoned(&self) {
        self.abandoned_messages.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) {
        self.lost_requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, transfers: usize, in_flight: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.request_transfers.fetch_add(transfers as u64, Ordering::Relaxed);
        self.request_transfers_max.fetch_max(transfers as u64, Ordering::Relaxed);
        self.in_flight_us.fetch_add(crate::clock::saturating_nanos(in_flight) / 1_000, Ordering::Relaxed);
    }
}
