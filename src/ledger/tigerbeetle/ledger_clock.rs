use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use crate::time::saturating_nanos;

/// The cluster's time, as its replies tell it, carried on by the local monotonic clock.
///
/// A reply arrives after the moment that its timestamp names, so this is never ahead of the cluster but for the drift
/// of two clocks since the last reply; remaining times are rounded up to whole seconds, which is far more than that.
/// The local wall clock plays no part.
#[derive(Default)]
pub(super) struct LedgerClock(Mutex<Option<Heard>>);

#[derive(Clone, Copy)]
struct Heard {
    timestamp_ns: u64,
    at: Instant,
}

impl LedgerClock {
    /// Takes in the timestamp of a reply that has just arrived.
    pub(super) fn heard(&self, timestamp_ns: u64) {
        let at = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.timestamp_ns < timestamp_ns) {
            *last = Some(Heard { timestamp_ns, at });
        }
    }

    /// 0 before the first reply, which is never ahead either.
    pub(super) fn now_ns(&self) -> u64 {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.map_or(0, |last| last.timestamp_ns.saturating_add(saturating_nanos(last.at.elapsed())))
    }
}
