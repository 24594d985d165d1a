//! The cluster's time, without a request for it.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::time::saturating_nanos;

/// The cluster's time: the newest timestamp of a reply, carried on by this machine's monotonic clock.
///
/// A reply arrives after the moment that its timestamp names, so this clock runs behind the cluster's. Only the drift
/// of the two clocks since that reply can bring it ahead; remaining times are rounded up to whole seconds, which is
/// far more. This machine's wall clock plays no part.
#[derive(Default)]
pub(super) struct LedgerClock(Mutex<Option<Reading>>);

/// A timestamp of the cluster and when it arrived.
#[derive(Clone, Copy)]
struct Reading {
    timestamp_ns: u64,
    arrived_at: Instant,
}

impl LedgerClock {
    /// Takes the timestamp of a reply that has just arrived. A timestamp older than the newest one is ignored.
    pub(super) fn observe(&self, timestamp_ns: u64) {
        let arrived_at = Instant::now();
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.is_none_or(|newest| newest.timestamp_ns < timestamp_ns) {
            *newest = Some(Reading { timestamp_ns, arrived_at });
        }
    }

    /// Nanoseconds since the Unix epoch; 0 before the first reply.
    pub(super) fn now_ns(&self) -> u64 {
        let newest = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        newest.map_or(0, |newest| {
            newest.timestamp_ns.saturating_add(saturating_nanos(newest.arrived_at.elapsed()))
        })
    }
}
