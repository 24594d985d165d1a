//! How much the memory ledger keeps.

use std::time::Duration;

/// How much a memory ledger keeps of what callers make it store. A transfer takes about 130 bytes with what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryBounds {
    /// How long a lease is known after its end.
    pub retention: Duration,
    /// The most transfers. A reservation has one for each limit, a complete about as many again. At the bound, the leases
    /// that ended first are forgotten; if all are running, new ones are refused as
    /// [`LedgerError::Overloaded`](crate::ledger::LedgerError::Overloaded).
    pub transfers_max: usize,
    /// The most denied leases. At the bound, the one that was denied first is forgotten.
    pub denied_leases_max: usize,
}

/// The retention while a flood is forgotten, so that memory shrinks soon behind it.
const SHORT_RETENTION: Duration = Duration::from_secs(30);
/// A flood begins to be forgotten when this share of the transfers is stored: 1 in 4.
const FLOOD_SHARE: usize = 4;
/// It is forgotten when no more than this share is stored: 1 in 64. What is left then takes little memory.
const FORGOTTEN_SHARE: usize = 64;

impl Default for MemoryBounds {
    /// Ten minutes, 4,000,000 transfers (half a gigabyte), 100,000 denied leases.
    fn default() -> Self {
        Self { retention: Duration::from_secs(600), transfers_max: 4_000_000, denied_leases_max: 100_000 }
    }
}

impl MemoryBounds {
    /// Sets how long a lease is known after its end. It is 30 seconds at most from when a quarter of
    /// [`MemoryBounds::transfers_max`] is stored until only a sixty-fourth is.
    #[must_use]
    pub fn with_retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// Sets the most transfers.
    #[must_use]
    pub fn with_transfers_max(self, transfers_max: usize) -> Self {
        Self { transfers_max, ..self }
    }

    /// Sets the most denied leases.
    #[must_use]
    pub fn with_denied_leases_max(self, denied_leases_max: usize) -> Self {
        Self { denied_leases_max, ..self }
    }

    /// The retention while a flood is forgotten.
    pub(super) fn short_retention(&self) -> Duration {
        self.retention.min(SHORT_RETENTION)
    }

    /// Whether a flood is forgotten, with so many transfers stored, if it was forgotten so far or not.
    pub(super) fn forgets_flood(&self, transfers: usize, so_far: bool) -> bool {
        let share = if so_far { FORGOTTEN_SHARE } else { FLOOD_SHARE };
        transfers > self.transfers_max / share
    }
}
