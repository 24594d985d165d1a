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

/// The retention while more than an eighth of the transfers is stored, so that memory shrinks soon after a flood.
const BUSY_RETENTION: Duration = Duration::from_secs(30);

impl Default for MemoryBounds {
    /// Ten minutes, 4,000,000 transfers (half a gigabyte), 100,000 denied leases.
    fn default() -> Self {
        Self { retention: Duration::from_secs(600), transfers_max: 4_000_000, denied_leases_max: 100_000 }
    }
}

impl MemoryBounds {
    /// Sets how long a lease is known after its end. It is 30 seconds at most while more than an eighth of
    /// [`MemoryBounds::transfers_max`] is stored.
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

    /// The retention while more than an eighth of the transfers is stored.
    pub(super) fn busy_retention(&self) -> Duration {
        self.retention.min(BUSY_RETENTION)
    }
}
