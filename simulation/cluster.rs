//! The cluster: the memory ledger, on the time of the simulation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ledger_limiter::ledger::memory::{Clock, MemoryLedger};

/// 2026-01-01T00:00:00Z, at which every run begins.
pub(crate) const STARTED_UNIX_MS: u64 = 1_767_225_600_000;
/// Longer than any run: the audit reads every transfer.
const RETENTION: Duration = Duration::from_secs(366 * 86_400);

pub(crate) type Memory = MemoryLedger<Arc<ClusterClock>>;

/// The clock of the cluster.
#[derive(Debug, Default)]
pub(crate) struct ClusterClock {
    now_ms: AtomicU64,
}

impl Clock for ClusterClock {
    fn now_ns(&self) -> u64 {
        (STARTED_UNIX_MS + self.now_ms.load(Ordering::SeqCst)) * 1_000_000
    }
}

/// The ledger behind the network.
pub(crate) struct Cluster {
    pub(crate) ledger: Arc<Memory>,
    clock: Arc<ClusterClock>,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(ClusterClock::default());
        let ledger = Arc::new(MemoryLedger::new(Arc::clone(&clock), RETENTION));
        Self { ledger, clock }
    }

    pub(crate) fn set_clock(&self, now_ms: u64) {
        self.clock.now_ms.store(now_ms, Ordering::SeqCst);
    }
}
