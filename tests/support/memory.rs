//! The memory ledger on a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::decide::ids::Ids;
use ledger_limiter::ledger::memory::{ManualClock, MemoryBounds, MemoryLedger};

use crate::fixtures::Backend;

/// How long the ledger of the tests keeps a finished lease.
pub const RETENTION: Duration = Duration::from_secs(600);

#[derive(Clone)]
pub struct MemoryBackend {
    pub clock: Arc<ManualClock>,
    pub ledger: Arc<MemoryLedger<Arc<ManualClock>>>,
}

impl MemoryBackend {
    pub fn new() -> Self {
        Self::with_retention(RETENTION)
    }

    /// A ledger that keeps every lease, so that an audit finds it.
    pub fn keeping_all() -> Self {
        Self::with_retention(Duration::from_secs(10 * 366 * 86_400))
    }

    /// A ledger that keeps finished leases for this time.
    pub fn with_retention(retention: Duration) -> Self {
        Self::with_bounds(MemoryBounds::default().with_retention(retention))
    }

    pub fn with_bounds(bounds: MemoryBounds) -> Self {
        let clock = Arc::new(ManualClock::new());
        let ledger = Arc::new(MemoryLedger::with_bounds(Arc::clone(&clock), bounds));
        Self { clock, ledger }
    }
}

impl Backend for MemoryBackend {
    type Ledger = MemoryLedger<Arc<ManualClock>>;

    fn connect(&self) -> Arc<Self::Ledger> {
        Arc::clone(&self.ledger)
    }

    fn ids(&self) -> Ids {
        Ids::new(1)
    }

    async fn pass(&self, time: Duration) {
        // Timestamps run ahead of a clock that stands still, because no two transfers have the same nanosecond.
        self.clock.advance(time + Duration::from_millis(1));
    }
}
