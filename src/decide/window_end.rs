//! The end of a calendar window's present window, as the ledger has it.
//!
//! The definition version that starts the schedule fixes the end of its first window. Each refill fixes the next one: it
//! advances the window's clock, an account, to the end of the window that begins. So programs with different time zone data
//! agree on every end (`docs/calendar.md`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The end of the present window, in milliseconds since the Unix epoch. Its copies share what is known.
#[derive(Debug, Clone)]
pub(super) struct WindowEnd {
    first_ms: u64,
    known_ms: Arc<AtomicU64>,
}

impl WindowEnd {
    /// Of a schedule whose first window ends then.
    pub(super) fn new(first_ms: u64) -> Self {
        Self { first_ms, known_ms: Arc::new(AtomicU64::new(first_ms)) }
    }

    /// The end that the clock shows with this value: that of the first window, until the clock has been advanced.
    pub(super) fn by_clock(&self, clock: u64) -> u64 {
        clock.max(self.first_ms)
    }

    /// The latest end that is known here.
    pub(super) fn known_ms(&self) -> u64 {
        self.known_ms.load(Ordering::Acquire)
    }

    /// Takes the value of the clock.
    pub(super) fn read(&self, clock: u64) {
        self.known_ms.fetch_max(clock, Ordering::AcqRel);
    }
}

/// Two schedules are the same whatever is known of their present windows.
impl PartialEq for WindowEnd {
    fn eq(&self, other: &Self) -> bool {
        self.first_ms == other.first_ms
    }
}

impl Eq for WindowEnd {}
