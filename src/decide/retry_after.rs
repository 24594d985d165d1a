//! Retry-after: the hint of a denial. The write path reads nothing, so the hint is a heuristic: it grows with the number of
//! denials in a row, up to a cap.

use crate::limit::Kind;

/// How hints grow with denials in a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The first hint, in milliseconds.
    pub base_ms: u64,
    /// The longest hint without jitter, in milliseconds.
    pub max_ms: u64,
    /// Each further denial multiplies the hint by this factor, 1 or more.
    pub factor: f64,
    /// At most this much is added at random, in milliseconds, so that callers do not retry all at once.
    pub jitter_ms: u64,
}

/// The hints for every kind of denial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// For concurrency limits; the limit's timeout caps it too.
    pub concurrency: Backoff,
    /// For rolling limits; the first hint is at least `window_share` of the window.
    pub rolling: Backoff,
    /// The first hint of a rolling limit is at least this share of its window.
    pub window_share: f64,
    /// The hint for limits whose capacity is being lowered, in milliseconds.
    pub decreasing_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            concurrency: Backoff { base_ms: 50, max_ms: 2_000, factor: 2.0, jitter_ms: 25 },
            rolling: Backoff { base_ms: 100, max_ms: 5_000, factor: 1.5, jitter_ms: 50 },
            window_share: 0.1,
            decreasing_ms: 10_000,
        }
    }
}

impl RetryPolicy {
    /// The hint for a limit without room, in milliseconds, at least 1.
    ///
    /// - `streak`: the denials in a row before this one.
    /// - `step_in_ms`: the time until the next refill of a limit with a schedule, if known. The hint is never earlier.
    /// - `random`: a random number from 0 to 1, for the jitter.
    pub(crate) fn no_room_ms(&self, kind: Kind, streak: u32, step_in_ms: Option<u64>, random: f64) -> u64 {
        if let (Some(scheduled), Some(step_in_ms)) = (kind.scheduled(), step_in_ms) {
            let streak = if scheduled.each_step_refills_all() { 0 } else { streak };
            return self.rolling.at_step_ms(step_in_ms, streak, random).max(1);
        }
        match kind {
            Kind::Rolling(rolling) => {
                let share_ms = f64::from(rolling.window_seconds()) * 1_000.0 * self.window_share;
                self.rolling.hint_ms(share_ms, streak, random).max(1)
            }
            // Refilled by hand: the next refill has no known time.
            Kind::TokenBucket(_) | Kind::FixedWindow(_) | Kind::SlidingWindow(_) | Kind::Calendar(_) => {
                self.rolling.hint_ms(0.0, streak, random).max(1)
            }
            Kind::Concurrency(concurrency) => {
                let cap_ms = u64::from(concurrency.timeout_seconds()) * 1_000;
                self.concurrency.hint_ms(0.0, streak, random).min(cap_ms).max(1)
            }
        }
    }

    /// The hint for a limit that is known to have room in `wait_ms`, in milliseconds: that time, capped at the longest hint.
    pub(crate) fn room_known_ms(&self, kind: Kind, wait_ms: u64) -> u64 {
        let max_ms = match kind {
            Kind::Concurrency(_) => self.concurrency.max_ms,
            Kind::Rolling(_)
            | Kind::TokenBucket(_)
            | Kind::FixedWindow(_)
            | Kind::SlidingWindow(_)
            | Kind::Calendar(_) => self.rolling.max_ms,
        };
        wait_ms.min(max_ms).max(1)
    }
}

impl Backoff {
    /// A hint that starts at the time of the next refill. The cap never makes it earlier.
    fn at_step_ms(&self, step_in_ms: u64, streak: u32, random: f64) -> u64 {
        let grown = Self { base_ms: 0, max_ms: self.max_ms.max(step_in_ms), ..*self };
        grown.hint_ms(step_in_ms as f64, streak, random)
    }

    fn hint_ms(&self, base_at_least_ms: f64, streak: u32, random: f64) -> u64 {
        let base_ms = (self.base_ms as f64).max(base_at_least_ms);
        let exponent = i32::try_from(streak).unwrap_or(i32::MAX);
        let grown_ms = (base_ms * self.factor.powi(exponent)).min(self.max_ms as f64);
        (grown_ms + self.jitter_ms as f64 * random).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{KindFields, KindName};

    #[test]
    fn hints_grow_with_the_streak_up_to_the_cap() {
        let slots = Kind::new(KindName::Concurrency, 0, 300).expect("valid");
        let hints: Vec<u64> =
            [0, 1, 2, 5, 6, u32::MAX].map(|n| RetryPolicy::default().no_room_ms(slots, n, None, 0.0)).into();
        assert_eq!(hints, [50, 100, 200, 1_600, 2_000, 2_000]);
        assert_eq!(RetryPolicy::default().no_room_ms(slots, 0, None, 1.0), 75);
    }

    #[test]
    fn a_timeout_caps_the_hint() {
        let slots = Kind::new(KindName::Concurrency, 0, 1).expect("valid");
        assert_eq!(RetryPolicy::default().no_room_ms(slots, 9, None, 1.0), 1_000);
    }

    #[test]
    fn the_first_hint_is_at_least_a_tenth_of_the_window() {
        let rolling = |seconds| Kind::new(KindName::Rolling, seconds, 0).expect("valid");
        assert_eq!(RetryPolicy::default().no_room_ms(rolling(1), 0, None, 0.0), 100);
        assert_eq!(RetryPolicy::default().no_room_ms(rolling(10), 0, None, 0.0), 1_000);
        assert_eq!(RetryPolicy::default().no_room_ms(rolling(10), 1, None, 0.0), 1_500);
        assert_eq!(RetryPolicy::default().no_room_ms(rolling(86_400), 0, None, 1.0), 5_050);
    }

    #[test]
    fn no_hint_is_earlier_than_the_next_refill() {
        let fields = KindFields { window_seconds: 86_400, ..KindFields::default() };
        let day = Kind::from_fields(KindName::FixedWindow, &fields).expect("valid");
        let hint = |streak| RetryPolicy::default().no_room_ms(day, streak, Some(3_600_000), 0.0);
        assert_eq!([hint(0), hint(7)], [3_600_000, 3_600_000], "the next refill refills everything");
        let fields = KindFields { refill_amount: 1, refill_interval_ms: 200, ..KindFields::default() };
        let bucket = Kind::from_fields(KindName::TokenBucket, &fields).expect("valid");
        let hints = [0, 1, 30].map(|n| RetryPolicy::default().no_room_ms(bucket, n, Some(200), 0.0));
        assert_eq!(hints, [200, 300, 5_000], "the amount may need more than one refill");
    }
}
