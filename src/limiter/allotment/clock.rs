//! The clocks that tell whether an allotment serves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::time::saturating_nanos;

/// Three clocks at one moment, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Now {
    /// The replica's monotonic clock, since the start of the process.
    pub(super) own_ns: u64,
    /// The machine's wall clock. It moves on while the machine is suspended; the monotonic clock does not.
    pub(super) wall_ns: u64,
    /// The ledger's time as last heard, never ahead of the ledger.
    pub(super) ledger_ns: u64,
}

/// Reads the replica's own clocks.
#[derive(Debug)]
pub(super) struct OwnClock {
    started: Instant,
    /// Wall-clock milliseconds that have passed for certain.
    passed_unix_ms: AtomicU64,
}

impl OwnClock {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), passed_unix_ms: AtomicU64::new(0) }
    }

    /// Reads the ledger's time first, so that a thread that is held up between the readings sees it early.
    pub(super) fn now(&self, ledger_ns: u64) -> Now {
        let own_ns = saturating_nanos(self.started.elapsed());
        Now { own_ns, wall_ns: wall_ns(), ledger_ns }
    }

    /// Whether a time is more than a minute ahead of the wall clock.
    pub(super) fn is_far_ahead(&self, unix_ms: u64) -> bool {
        const FAR_MS: u64 = 60_000;
        if unix_ms <= self.passed_unix_ms.load(Ordering::Relaxed).saturating_add(FAR_MS) {
            return false;
        }
        let now_ms = wall_unix_ms();
        self.passed_unix_ms.fetch_max(now_ms, Ordering::Relaxed);
        unix_ms > now_ms.saturating_add(FAR_MS)
    }
}

/// The wall clock, in nanoseconds since the Unix epoch.
fn wall_ns() -> u64 {
    saturating_nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The wall clock, in milliseconds since the Unix epoch.
pub(super) fn wall_unix_ms() -> u64 {
    crate::time::unix_ms(wall_ns())
}
