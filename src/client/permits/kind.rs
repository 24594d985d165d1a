//! How granted permits become free, and when, by the kind of the limit. Pure: the ledger's time is passed in.

use std::time::Duration;

use crate::client::LimitStatus;
use crate::client::shared::Releases;
use crate::limit::{Definition, Kind, Status, Steps, TokenBucket};
use crate::registry::Entry;
use crate::time::NS_PER_MS;

/// What a limiter knows of its limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownLimit {
    pub(super) kind: Kind,
    pub(super) capacity: u64,
    /// Whether the limit grants anything. It does not while its capacity is being lowered.
    pub(super) is_active: bool,
    /// The times of its refills, if it has a schedule that is known here.
    steps: Option<Steps>,
    /// When a calendar window ends, in milliseconds since the Unix epoch.
    window_ends_ms: Option<u64>,
}

/// What frees granted permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FreedBy {
    /// The release of their lease: concurrency limits.
    Release,
    /// Time, for each lease by itself: rolling limits and sliding windows.
    Expiry,
    /// A schedule, for all leases together: buckets and fixed windows.
    Refill,
    /// A manual refill: buckets and windows that do not refill themselves.
    ManualRefill,
}

/// The permits that a bucket lacks because this limiter granted them.
#[derive(Debug, Default)]
pub(super) struct BucketDeficit {
    permits: u128,
    /// The step of the last grant, by the schedule of the bucket.
    step: u64,
    /// The bucket at the last grant, and the moment from which its steps counted.
    counted: Option<(TokenBucket, u64)>,
}

impl KnownLimit {
    pub(super) fn of(entry: &Entry) -> Self {
        let (limit, definition) = (&entry.limit, &entry.limit.state.definition);
        Self {
            kind: definition.kind,
            capacity: definition.capacity.get(),
            is_active: limit.state.status == Status::Active,
            steps: limit.schedule.as_deref().and_then(|schedule| schedule.steps(entry.clock_value())),
            window_ends_ms: limit.window_ends_ms(),
        }
    }

    /// A limit of a service, which does not tell when a schedule began.
    pub(super) fn of_definition(definition: &Definition, status: LimitStatus) -> Self {
        Self {
            kind: definition.kind,
            capacity: definition.capacity.get(),
            is_active: status == LimitStatus::Active,
            steps: None,
            window_ends_ms: None,
        }
    }

    /// How long after a refill time makes the next one; `None` if time makes none.
    pub(super) fn refill_period(self) -> Option<Duration> {
        match self.kind {
            Kind::FixedWindow(window) if window.auto_replenish() => {
                Some(Duration::from_millis(window.window_ms()))
            }
            Kind::Calendar(window) => Some(Duration::from_secs(window.longest_seconds())),
            Kind::SlidingWindow(window) if window.auto_replenish() => {
                Some(Duration::from_millis(window.window_ms()) / window.segments())
            }
            Kind::TokenBucket(bucket) if bucket.auto_replenish() => {
                let refill = bucket.refill();
                Some(Duration::from_millis(refill.interval_ms()) / refill.per_interval().get())
            }
            Kind::Rolling(_)
            | Kind::Concurrency(_)
            | Kind::TokenBucket(_)
            | Kind::FixedWindow(_)
            | Kind::SlidingWindow(_) => None,
        }
    }
}

impl FreedBy {
    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Concurrency(_) => Self::Release,
            Kind::TokenBucket(bucket) if !bucket.auto_replenish() => Self::ManualRefill,
            Kind::FixedWindow(window) if !window.auto_replenish() => Self::ManualRefill,
            Kind::SlidingWindow(window) if !window.auto_replenish() => Self::ManualRefill,
            Kind::Rolling(_) | Kind::SlidingWindow(_) => Self::Expiry,
            Kind::TokenBucket(_) | Kind::FixedWindow(_) | Kind::Calendar(_) => Self::Refill,
        }
    }

    /// The completes that may have released permits of such a limit.
    pub(super) fn count_releases(self, releases: Releases) -> u64 {
        match self {
            Self::Release => releases.completes,
            Self::Expiry | Self::Refill | Self::ManualRefill => releases.completes_with_amounts,
        }
    }
}

/// How long after `now_ns` the permits of a new lease are free again without a release, if no other caller takes any.
///
/// The lease was granted at `granted_unix_ms`. Both times are the ledger's. `None` if only a manual refill frees them.
pub(super) fn freed_in(
    limit: KnownLimit,
    permits: u64,
    granted_unix_ms: u64,
    deficit: &mut BucketDeficit,
    now_ns: u64,
) -> Option<Duration> {
    // The time of the grant is rounded down to a millisecond, hence one more.
    let after_seconds = |seconds: u32| granted_unix_ms + 1 + u64::from(seconds) * 1_000;
    let steps = limit.steps;
    let granted_ns = granted_unix_ms.saturating_mul(NS_PER_MS);
    let after_steps = |count| steps.map(|steps| steps.starts_at_ms(steps.at(granted_ns) + count));
    let freed_at_ms = match limit.kind {
        Kind::Rolling(rolling) => Some(after_seconds(rolling.window_seconds())),
        Kind::Concurrency(slots) => Some(after_seconds(slots.timeout_seconds())),
        Kind::FixedWindow(_) => after_steps(1),
        Kind::Calendar(_) => limit.window_ends_ms,
        Kind::SlidingWindow(window) => after_steps(window.segments().into()),
        Kind::TokenBucket(bucket) => steps.map(|steps| {
            let full_in = deficit.add(permits, steps, steps.at(granted_ns), bucket);
            steps.starts_at_ms(steps.at(granted_ns).saturating_add(full_in))
        }),
    };
    freed_at_ms.map(|freed_at_ms| until(freed_at_ms, now_ns))
}

/// How long after `now_ns` the schedule of a limit has refilled this many permits, whoever took them.
///
/// `None` if the limit has no such schedule.
pub(super) fn refilled_in(limit: KnownLimit, permits: u128, now_ns: u64) -> Option<Duration> {
    if let Kind::Calendar(_) = limit.kind {
        return limit.window_ends_ms.map(|ends_ms| until(ends_ms, now_ns));
    }
    let steps = limit.steps?;
    let count = match limit.kind {
        Kind::FixedWindow(_) => 1,
        Kind::TokenBucket(bucket) => refills(permits, bucket),
        Kind::Rolling(_) | Kind::Concurrency(_) | Kind::SlidingWindow(_) | Kind::Calendar(_) => return None,
    };
    let step = steps.at(now_ns).saturating_add(count);
    Some(until(steps.starts_at_ms(step), now_ns))
}

impl BucketDeficit {
    /// Adds permits that are taken in a step. Returns how many steps later the bucket is full again.
    fn add(&mut self, permits: u64, steps: Steps, step: u64, bucket: TokenBucket) -> u64 {
        let counted = self.counted.replace((bucket, steps.anchor_ns));
        // The interval began again, so the bucket was full. With a new rate, the steps begin again although it was not.
        if counted.is_some_and(|(before, anchor_ns)| before == bucket && anchor_ns < steps.anchor_ns) {
            self.permits = 0;
        }
        let refills = u128::from(step.saturating_sub(self.step));
        let refilled = refills.saturating_mul(bucket.refill().amount().into());
        self.permits = self.permits.saturating_sub(refilled).saturating_add(permits.into());
        self.step = step;
        self::refills(self.permits, bucket)
    }

    /// Subtracts permits that are released before they are refilled.
    pub(super) fn release(&mut self, permits: u128) {
        self.permits = self.permits.saturating_sub(permits);
    }
}

/// How many refills it takes for this many permits, at least one.
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
            panic!("the fields are those of a bucket");
        };
        bucket
    }

    fn add(deficit: &mut BucketDeficit, permits: u64, step: u64, refill_amount: u64) -> u64 {
        let bucket = bucket(refill_amount);
        deficit.add(permits, bucket.refill().steps(0), step, bucket)
    }

    #[test]
    fn a_bucket_is_full_when_all_that_was_taken_is_refilled() {
        let mut deficit = BucketDeficit::default();
        // The permits taken, the step, and how many steps later the bucket is full.
        for (permits, step, full_in) in [(3, 5, 1), (3, 5, 1), (5, 5, 2), (1, 6, 1), (20, 7, 2), (1, 100, 1)]
        {
            assert_eq!(add(&mut deficit, permits, step, 10), full_in, "{permits} in {step}");
        }
        deficit.release(1);
        assert_eq!(add(&mut deficit, 10, 100, 10), 1);
        assert_eq!(add(&mut deficit, 1, 0, 5), 3, "a new rate refills nothing");
        let later = Steps { anchor_ns: 1, ..bucket(5).refill().steps(0) };
        assert_eq!(deficit.add(5, later, 0, bucket(5)), 1, "the interval of a full bucket began again");
    }
}
