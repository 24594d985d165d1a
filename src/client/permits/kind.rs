//! All that depends on the kind of a limit.

use std::time::Duration;

use crate::client::shared::GivenBack;
use crate::decide::Limit;
use crate::decide::refill::Schedule;
use crate::limit::{Kind, Steps, TokenBucket};
use crate::time::NS_PER_MS;

/// What makes permits come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refill {
    /// Their lease, when it is over.
    OnRelease,
    /// Time, for each lease its own, whatever becomes of it.
    ByLease,
    /// Time, by a schedule for all who took them.
    BySchedule,
    /// Somebody's hand.
    ByHand,
}

/// What is missing in a bucket of what was taken here.
#[derive(Debug, Default)]
pub(super) struct Missing {
    permits: u128,
    step: u64,
}

impl Refill {
    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Concurrency(_) => Self::OnRelease,
            Kind::Rolling(_) | Kind::SlidingWindow(_) => Self::ByLease,
            Kind::TokenBucket(bucket) if !bucket.auto_replenish() => Self::ByHand,
            Kind::TokenBucket(_) | Kind::FixedWindow(_) => Self::BySchedule,
        }
    }

    /// How often something of it was given back.
    pub(super) fn times(self, given_back: GivenBack) -> u64 {
        match self {
            Self::OnRelease => given_back.places,
            Self::ByLease | Self::BySchedule | Self::ByHand => given_back.amounts,
        }
    }
}

/// How long after `now_ns` permits have come back by themselves that were granted in this millisecond, if nobody else
/// takes any. Times are the ledger's.
pub(super) fn comes_back_in(
    limit: &Limit,
    permits: u64,
    granted_unix_ms: u64,
    missing: &mut Missing,
    now_ns: u64,
) -> Option<Duration> {
    // By the end of the millisecond the grant was made.
    let after_seconds = |seconds: u32| granted_unix_ms + 1 + u64::from(seconds) * 1_000;
    let steps = steps(limit);
    let after_steps = |count| steps.map(|steps| steps.starts_at_ms(steps.at(granted_unix_ms) + count));
    let back_at_ms = match limit.state.definition.kind {
        Kind::Rolling(rolling) => Some(after_seconds(rolling.window_seconds())),
        Kind::Concurrency(slots) => Some(after_seconds(slots.timeout_seconds())),
        Kind::FixedWindow(_) => after_steps(1),
        Kind::SlidingWindow(window) => after_steps(window.segments().into()),
        Kind::TokenBucket(bucket) => steps.map(|steps| {
            let full_in = missing.take(permits, steps.at(granted_unix_ms), bucket);
            steps.starts_at_ms(steps.at(granted_unix_ms).saturating_add(full_in))
        }),
    };
    back_at_ms.map(|back_at_ms| until(back_at_ms, now_ns))
}

/// How long after `now_ns` the schedule of a limit has brought so many permits back, whoever took them. `None` if it has
/// none by which they do.
pub(super) fn scheduled_in(limit: &Limit, permits: u128, now_ns: u64) -> Option<Duration> {
    let steps = steps(limit)?;
    let count = match limit.state.definition.kind {
        Kind::FixedWindow(_) => 1,
        Kind::TokenBucket(bucket) => refills(permits, bucket),
        Kind::Rolling(_) | Kind::Concurrency(_) | Kind::SlidingWindow(_) => return None,
    };
    let step = steps.at(now_ns / NS_PER_MS).saturating_add(count);
    Some(until(steps.starts_at_ms(step), now_ns))
}

impl Missing {
    /// Permits are taken in a step; answers how many steps later the bucket is full again.
    fn take(&mut self, permits: u64, step: u64, bucket: TokenBucket) -> u64 {
        // A schedule that begins anew counts its steps anew.
        let refills = u128::from(step.saturating_sub(self.step));
        let refilled = refills.saturating_mul(bucket.refill().amount().into());
        self.permits = self.permits.saturating_sub(refilled).saturating_add(permits.into());
        self.step = step;
        self::refills(self.permits, bucket)
    }

    /// Permits are put back before they were refilled.
    pub(super) fn give_back(&mut self, permits: u128) {
        self.permits = self.permits.saturating_sub(permits);
    }
}

fn steps(limit: &Limit) -> Option<Steps> {
    limit.schedule.as_deref().and_then(Schedule::steps)
}

/// How many refills bring so many permits, at least one.
fn refills(permits: u128, bucket: TokenBucket) -> u64 {
    let refills = permits.div_ceil(bucket.refill().amount().into());
    u64::try_from(refills).unwrap_or(u64::MAX).max(1)
}

fn until(unix_ms: u64, now_ns: u64) -> Duration {
    Duration::from_nanos(unix_ms.saturating_mul(NS_PER_MS).saturating_sub(now_ns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{KindFields, KindName};

    fn bucket(refill_amount: u64) -> TokenBucket {
        let fields = KindFields { refill_amount, refill_interval_ms: 1_000, ..KindFields::default() };
        let Ok(Kind::TokenBucket(bucket)) = Kind::from_fields(KindName::TokenBucket, &fields) else {
            panic!("it is one");
        };
        bucket
    }

    #[test]
    fn a_bucket_is_full_when_all_that_was_taken_is_refilled() {
        let mut missing = Missing::default();
        // Taken, in which step, and how many steps later it is full.
        for (permits, step, full_in) in [(3, 5, 1), (3, 5, 1), (5, 5, 2), (1, 6, 1), (20, 7, 2), (1, 100, 1)]
        {
            assert_eq!(missing.take(permits, step, bucket(10)), full_in, "{permits} in {step}");
        }
        missing.give_back(1);
        assert_eq!(missing.take(10, 100, bucket(10)), 1);
        assert_eq!(missing.take(1, 0, bucket(10)), 2, "steps that begin anew bring nothing back");
    }
}
