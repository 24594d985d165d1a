//! The times of a limit's allotments.

use crate::decide::Limit;
use crate::limit::{AllotmentPeriod, Kind, Overage};
use crate::time::{NS_PER_MS, NS_PER_SECOND};

/// The part of the margin that does not depend on how long an allotment serves.
const MARGIN_MS: u64 = 50;
/// The rates of two clocks differ by less than one part in this many, beside [`MARGIN_MS`].
const MARGIN_PART: u64 = 1_000;
/// How much longer than its period an allotment serves at most.
const SERVES_BEHIND_PERIOD_MS: u64 = 100;

/// How a version of a limit hands out allotments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The version. An allotment serves leases of its own version only.
    pub(crate) version: u64,
    /// The period in nanoseconds.
    pub(crate) period_ns: u64,
    /// How long a unit is held, in seconds: the window, or the time-out of a slot.
    pub(crate) hold_seconds: u32,
    /// How long an allotment serves at most, in seconds.
    pub(crate) serve_seconds: u32,
    /// Whether a complete releases its units: those of a concurrency limit.
    pub(crate) are_slots: bool,
    /// What happens to overage that finds no room.
    pub(crate) overage: Overage,
}

/// How long an allotment serves at most, in seconds: 1 to 11.
pub(crate) fn serve_seconds(period: AllotmentPeriod) -> u32 {
    let seconds = (period.ms() + SERVES_BEHIND_PERIOD_MS).div_ceil(NS_PER_SECOND / NS_PER_MS);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

impl Terms {
    /// The terms of a limit; `None` if every reserve of it asks the ledger.
    pub(crate) fn of(limit: &Limit) -> Option<Self> {
        let definition = &limit.state.definition;
        let period = definition.allotment?;
        let (hold_seconds, are_slots) = match definition.kind {
            Kind::Rolling(rolling) => (rolling.window_seconds(), false),
            Kind::Concurrency(concurrency) => (concurrency.timeout_seconds(), true),
            Kind::TokenBucket(_) | Kind::FixedWindow(_) | Kind::SlidingWindow(_) | Kind::Calendar(_) => {
                return None;
            }
        };
        Some(Self {
            version: limit.version,
            period_ns: period.ms() * NS_PER_MS,
            hold_seconds,
            serve_seconds: serve_seconds(period),
            are_slots,
            overage: definition.overage,
        })
    }

    /// What the rates of two clocks may differ by while an allotment serves, in nanoseconds.
    fn margin_ns(self) -> u64 {
        MARGIN_MS * NS_PER_MS + self.serve_ns() / MARGIN_PART
    }

    fn serve_ns(self) -> u64 {
        u64::from(self.serve_seconds) * NS_PER_SECOND
    }

    fn hold_ns(self) -> u64 {
        u64::from(self.hold_seconds) * NS_PER_SECOND
    }

    /// How long an allotment serves by the clock of its replica, from the moment before it was sent, in nanoseconds.
    pub(crate) fn serves_for_ns(self) -> u64 {
        if self.are_slots { self.serves_at_most_ns() } else { self.period_ns }
    }

    /// How long it serves by any other clock, in nanoseconds.
    pub(crate) fn serves_at_most_ns(self) -> u64 {
        self.serve_ns().saturating_sub(self.margin_ns())
    }

    /// The time-out of the pending transfer of an allotment that serves, in seconds.
    pub(crate) fn timeout_seconds(self) -> u32 {
        self.serve_seconds.saturating_add(self.hold_seconds)
    }

    /// The ledger's time, in nanoseconds, at which a hold has ended that began `since_ns` after the allotment was handed to the
    /// ledger, by the replica's clock. `recorded_at_ns` is when the ledger made it, `now_ns` its time as last heard.
    ///
    /// It is never too early: the ledger's time at the beginning of the hold is at most the larger of the two sums, and the
    /// margin later.
    pub(crate) fn hold_ends_at_ns(self, recorded_at_ns: u64, since_ns: u64, now_ns: u64) -> u64 {
        let began_at_ns = recorded_at_ns.saturating_add(since_ns).max(now_ns);
        began_at_ns.saturating_add(self.margin_ns()).saturating_add(self.hold_ns())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(period_ms: u64, are_slots: bool) -> Terms {
        let serve_seconds = serve_seconds(AllotmentPeriod::new(period_ms).expect("valid"));
        let (period_ns, overage) = (period_ms * NS_PER_MS, Overage::Debt);
        Terms { version: 1, period_ns, hold_seconds: 60, serve_seconds, are_slots, overage }
    }

    #[test]
    fn every_unit_is_held_no_longer_than_its_allotment() {
        for period_ms in 100..=10_000 {
            for are_slots in [false, true] {
                let terms = terms(period_ms, are_slots);
                let recorded_at_ns = 1_000 * NS_PER_SECOND;
                let serves_until_ns = recorded_at_ns + terms.serves_at_most_ns();
                assert!(terms.serves_for_ns() >= terms.period_ns, "{terms:?} serves for its period");
                assert!(terms.serves_for_ns() <= terms.serves_at_most_ns(), "{terms:?}");
                let expires_at_ns = recorded_at_ns + u64::from(terms.timeout_seconds()) * NS_PER_SECOND;
                let last_end_ns =
                    terms.hold_ends_at_ns(recorded_at_ns, terms.serves_for_ns(), serves_until_ns);
                assert!(last_end_ns <= expires_at_ns, "{terms:?}");
            }
        }
    }
}
