//! An outage of the ledger, as this process sees it, and what was granted in it.

use std::time::Duration;

use hashbrown::HashMap;
use tokio::time::Instant;

use super::leg::WantedLeg;
use crate::limit::LimitKey;

/// How long no call may fail before an answer ends the outage. A ledger that answers now and then would otherwise begin a
/// new share with each answer.
const CALM: Duration = Duration::from_secs(60);

/// The outage that goes on, or the last one.
#[derive(Debug)]
pub(super) struct Outage {
    began_at: Instant,
    failed_at: Instant,
    /// Whether a call was answered since the last failure.
    answered: bool,
    /// What was granted of each limit, in units. Of a concurrency limit, the slots that are taken now.
    granted: HashMap<LimitKey, u64>,
}

impl Outage {
    pub(super) fn begin(now: Instant) -> Self {
        Self { began_at: now, failed_at: now, answered: false, granted: HashMap::new() }
    }

    /// Whether a call that fails now begins another outage.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.answered && now.duration_since(self.failed_at) >= CALM
    }

    /// A call got no answer.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failed_at = now;
        self.answered = false;
    }

    /// A call was answered.
    pub(super) fn answered(&mut self) {
        self.answered = true;
    }

    /// Takes the amounts of all legs, or none of them.
    pub(super) fn take(&mut self, wanted: &[WantedLeg], now: Instant) -> bool {
        let since = now.duration_since(self.began_at);
        let fits = |wanted: &WantedLeg| {
            let granted = self.granted.get(&wanted.leg.key).copied().unwrap_or(0);
            let free = wanted.units_max.saturating_sub(granted);
            since < Duration::from_secs(wanted.seconds.into()) && wanted.leg.amount.get() <= free
        };
        if !wanted.iter().all(fits) {
            return false;
        }
        for WantedLeg { leg, .. } in wanted {
            self.add(&leg.key, leg.amount.get());
        }
        true
    }

    /// Counts more units of a limit.
    pub(super) fn add(&mut self, key: &LimitKey, units: u64) {
        let granted = self.granted.entry(key.clone()).or_insert(0);
        *granted = granted.saturating_add(units);
    }

    /// Takes slots of a concurrency limit back.
    pub(super) fn give_back(&mut self, key: &LimitKey, slots: u64) {
        if let Some(granted) = self.granted.get_mut(key) {
            *granted = granted.saturating_sub(slots);
        }
    }
}
