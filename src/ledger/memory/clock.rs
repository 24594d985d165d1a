//! The clock of the memory ledger: the machine's, or one that tests move.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::saturating_nanos;

/// A clock that never runs backward.
pub trait Clock: Send + Sync + 'static {
    /// Nanoseconds since the Unix epoch.
    fn now_ns(&self) -> u64;
}

/// The machine's clock. It reads the wall clock once and adds monotonic time to it, so that a step of the wall clock moves
/// no expiry.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    started_unix_ns: u64,
}

impl SystemClock {
    /// Reads the wall clock.
    pub fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_unix_ns: saturating_nanos(since_epoch) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_ns(&self) -> u64 {
        self.started_unix_ns.saturating_add(saturating_nanos(self.started.elapsed()))
    }
}

/// A clock for tests: it moves only when [`ManualClock::advance`] is called.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Starts at 2026-01-01T00:00:00Z.
    pub fn new() -> Self {
        Self(AtomicU64::new(1_767_225_600_000_000_000))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(saturating_nanos(by), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now_ns(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Shares one clock among several owners.
impl<C: Clock> Clock for std::sync::Arc<C> {
    fn now_ns(&self) -> u64 {
        C::now_ns(self)
    }
}
