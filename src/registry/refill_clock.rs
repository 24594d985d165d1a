//! What this process knows of a limit's refill clock.
//!
//! The callers of a limit read it with each reserve, so the moments up to which nothing has to be done are kept ready.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, MutexGuard};

use crate::decide::clock_value::ClockValue;
use crate::decide::pacing;
use crate::decide::schedule::Schedule;

/// A moment at which no reserve ever looks: this limit has no interval to start.
const NEVER: u64 = u64::MAX;

/// The known value of a limit's refill clock. In the ledger the clock has this value or a later one.
#[derive(Debug)]
pub(crate) struct RefillClock {
    refilled_to: AtomicU64,
    phase: AtomicU64,
    /// Up to this moment nothing is due by the known value, in the ledger's nanoseconds.
    up_to_date_until_ns: AtomicU64,
    /// From this moment a reserve looks whether the bucket is full, in the ledger's nanoseconds.
    looks_at_ns: AtomicU64,
    latest_date_to_act_ms: AtomicU64,
    /// The ledger had the known value at this moment or later, in its nanoseconds.
    read_at_ns: AtomicU64,
    refilling: Mutex<()>,
}

impl RefillClock {
    /// The clock of a schedule: its value is not known.
    pub(super) fn new(schedule: &Schedule) -> Self {
        let looks_at_ns = if schedule.rate().is_some() { 0 } else { NEVER };
        let unknown = ClockValue::default();
        Self {
            refilled_to: AtomicU64::new(unknown.refilled_to),
            phase: AtomicU64::new(unknown.phase),
            up_to_date_until_ns: AtomicU64::new(schedule.up_to_date_until_ns(unknown)),
            looks_at_ns: AtomicU64::new(looks_at_ns),
            latest_date_to_act_ms: AtomicU64::new(0),
            read_at_ns: AtomicU64::new(0),
            refilling: Mutex::new(()),
        }
    }

    /// The clock of the schedule that follows: its value is not known.
    pub(super) fn of_next(&self, schedule: &Schedule) -> Self {
        let latest_date_to_act_ms = AtomicU64::new(self.latest_date_to_act_ms());
        Self { latest_date_to_act_ms, ..Self::new(schedule) }
    }

    /// The known value; 0 if none is known.
    pub(crate) fn value(&self) -> ClockValue {
        // In this order: whoever sees how far the clock has advanced sees the phase that it has there.
        let refilled_to = self.refilled_to.load(Ordering::Acquire);
        ClockValue { refilled_to, phase: self.phase.load(Ordering::Acquire) }
    }

    /// Whether a value is known. A clock that never advanced has the value 0 and is read again, which costs little.
    pub(crate) fn is_known(&self) -> bool {
        self.refilled_to.load(Ordering::Acquire) != 0
    }

    /// The known value was read in a look-up that began at this moment, in the ledger's nanoseconds.
    pub(super) fn note_read(&self, at_ns: u64) {
        self.read_at_ns.fetch_max(at_ns, Ordering::AcqRel);
    }

    /// Whether a look-up that began at this moment or later has read the value.
    pub(super) fn is_read_since(&self, at_ns: u64) -> bool {
        self.read_at_ns.load(Ordering::Acquire) >= at_ns
    }

    /// Takes a value read from the ledger or written to it; an earlier one is ignored.
    pub(super) fn advance_to(&self, value: ClockValue, schedule: &Schedule) {
        self.phase.fetch_max(value.phase, Ordering::AcqRel);
        self.refilled_to.fetch_max(value.refilled_to, Ordering::AcqRel);
        self.up_to_date_until_ns.fetch_max(schedule.up_to_date_until_ns(value), Ordering::AcqRel);
    }

    /// The last moment, in the ledger's nanoseconds, at which the known value shows that no refill is due.
    pub(super) fn up_to_date_until_ns(&self) -> u64 {
        self.up_to_date_until_ns.load(Ordering::Acquire)
    }

    /// Whether a reserve at `now_ns` has to look whether the bucket is full.
    pub(super) fn has_to_look(&self, now_ns: u64) -> bool {
        now_ns >= self.looks_at_ns.load(Ordering::Acquire)
    }

    /// A reserve has looked: the next one looks from this moment on, in the ledger's nanoseconds.
    pub(super) fn look_from(&self, at_ns: u64) {
        self.looks_at_ns.store(at_ns, Ordering::Release);
    }

    /// Somebody has taken from the bucket: it is not full before refills have added that much.
    pub(super) fn note_taken(&self, units: u64, schedule: &Schedule) {
        let up_to_date_until_ns = self.up_to_date_until_ns();
        // A bucket in use is known to be not full before its next refill, at least.
        if self.looks_at_ns.load(Ordering::Acquire) > up_to_date_until_ns {
            return;
        }
        if let Some(full_at_ns) =
            pacing::full_at_ns(schedule, self.value(), units.into(), up_to_date_until_ns)
        {
            self.looks_at_ns.fetch_max(full_at_ns, Ordering::AcqRel);
        }
    }

    /// The bucket may be full, because somebody gave something back or its capacity has changed.
    pub(super) fn look_now(&self) {
        if self.looks_at_ns.load(Ordering::Acquire) != NEVER {
            self.looks_at_ns.store(0, Ordering::Release);
        }
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
