//! What this process knows of a limit's refill clock.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, MutexGuard};

/// The known value of a limit's refill clock. In the ledger the clock has this value or a later one.
#[derive(Debug, Default)]
pub(crate) struct RefillClock {
    known: AtomicU64,
    latest_date_to_act_ms: AtomicU64,
    refilling: Mutex<()>,
}

impl RefillClock {
    /// The known value, in ticks since the Unix epoch; 0 if none is known.
    pub(crate) fn known(&self) -> u64 {
        self.known.load(Ordering::Acquire)
    }

    /// Whether a value is known. A clock that never advanced has the value 0 and is read again, which costs little.
    pub(crate) fn is_known(&self) -> bool {
        self.known() != 0
    }

    /// The clock of the schedule that follows: its value is not known.
    pub(super) fn to_be_read(&self) -> Self {
        let latest_date_to_act_ms = AtomicU64::new(self.latest_date_to_act_ms());
        Self { latest_date_to_act_ms, ..Self::default() }
    }

    /// Takes a value read from the ledger or written to it; an earlier one is ignored.
    pub(crate) fn advance_to(&self, known: u64) {
        self.known.fetch_max(known, Ordering::AcqRel);
    }

    /// Records the date to act of a reservation on the bucket, in milliseconds since the Unix epoch.
    pub(crate) fn record_date_to_act(&self, at_ms: u64) {
        self.latest_date_to_act_ms.fetch_max(at_ms, Ordering::Relaxed);
    }

    /// The latest recorded date to act, in milliseconds since the Unix epoch; 0 if there is none.
    pub(crate) fn latest_date_to_act_ms(&self) -> u64 {
        self.latest_date_to_act_ms.load(Ordering::Relaxed)
    }

    /// Waits for the right to refill the limit: a process makes one refill of a limit at a time.
    pub(crate) async fn lock(&self) -> MutexGuard<'_, ()> {
        self.refilling.lock().await
    }
}
