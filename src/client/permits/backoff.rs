//! How long a denied waiter waits before its next attempt. Pure: the queue passes in the time and the
//! releases.

use std::time::Duration;

use tokio::time::Instant;

/// The pause between two attempts if the ledger denies permits that should be free by now.
const LATE_PAUSE: Duration = Duration::from_millis(10);
/// The most such attempts in a row.
const LATE_ATTEMPTS_MAX: u32 = 8;
/// The shortest backoff after a first denial.
const BACKOFF_MIN: Duration = Duration::from_millis(1);

/// An attempt that the ledger denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeniedAttempt {
    /// When the ledger denied it.
    pub(super) at: Instant,
    /// The releases of this limiter before the attempt.
    pub(super) releases_before: u64,
    /// When to ask again if the forecast knows nothing.
    pub(super) hint_at: Instant,
    /// When enough permits are free by the forecast, if it knows.
    pub(super) expected_at: Option<Instant>,
}

/// The time that a denied waiter waits before its next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backoff {
    denied: DeniedAttempt,
    late_attempts: u32,
    until: Instant,
}

impl DeniedAttempt {
    /// When room is expected; if that is unknown, the time of the hint.
    pub(super) fn room_at(&self) -> Instant {
        self.expected_at.unwrap_or(self.hint_at)
    }
}

impl Backoff {
    /// The backoff after a first denial.
    pub(super) fn new(denied: DeniedAttempt) -> Self {
        // A hint before the expected time counts: other limiters may release permits until then.
        let until = denied.expected_at.map_or(denied.hint_at, |at| at.min(denied.hint_at));
        Self { denied, late_attempts: 0, until: until.max(denied.at + BACKOFF_MIN) }
    }

    /// The backoff after a further denial.
    pub(super) fn again(self, denied: DeniedAttempt) -> Self {
        let was_expected = self.denied.expected_at.filter(|at| *at <= denied.at);
        if was_expected.is_none() || self.late_attempts >= LATE_ATTEMPTS_MAX {
            return Self::new(denied);
        }
        // The ledger expires or refills a little late, or another caller was faster.
        let denied = DeniedAttempt { expected_at: was_expected, ..denied };
        let until = denied.hint_at.min(denied.at + LATE_PAUSE);
        Self { denied, late_attempts: self.late_attempts + 1, until }
    }

    /// Whether the next attempt may begin. `releases` counts the releases of this limiter until now: a new release
    /// ends the backoff.
    pub(super) fn is_over(&self, now: Instant, releases: u64) -> bool {
        self.until <= now || releases != self.denied.releases_before
    }

    /// When the backoff ends, if no permits are released before.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// When room is expected; if that is unknown, the time of the hint.
    pub(super) fn room_at(&self) -> Instant {
        self.denied.room_at()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An attempt denied at this millisecond, with its hint and its expected time.
    fn denied(start: Instant, at_ms: u64, hint_ms: u64, expected_ms: Option<u64>) -> DeniedAttempt {
        let moment = |ms| start + Duration::from_millis(ms);
        DeniedAttempt {
            at: moment(at_ms),
            releases_before: 7,
            hint_at: moment(hint_ms),
            expected_at: expected_ms.map(moment),
        }
    }

    fn until_ms(start: Instant, backoff: &Backoff) -> u128 {
        (backoff.until() - start).as_millis()
    }

    #[test]
    fn a_first_backoff_ends_at_the_expected_time_or_the_hint_whichever_is_earlier() {
        let start = Instant::now();
        let cases = [(500, None, 500), (500, Some(300), 300), (500, Some(900), 500), (500, Some(0), 101)];
        for (hint_ms, expected_ms, ends_ms) in cases {
            let backoff = Backoff::new(denied(start, 100, hint_ms, expected_ms));
            assert_eq!(until_ms(start, &backoff), ends_ms, "{hint_ms} {expected_ms:?}");
            let end = start + Duration::from_millis(ends_ms as u64);
            assert!(!backoff.is_over(end - Duration::from_micros(1), 7) && backoff.is_over(end, 7));
            assert!(backoff.is_over(start, 8), "a release ends it");
        }
    }

    #[test]
    fn late_room_is_asked_for_every_10_ms_up_to_8_times() {
        let start = Instant::now();
        let mut backoff = Backoff::new(denied(start, 0, 5_000, Some(1_000)));
        let mut ends_ms = Vec::new();
        for _ in 0..10 {
            let at_ms = until_ms(start, &backoff) as u64;
            ends_ms.push(at_ms);
            backoff = backoff.again(denied(start, at_ms, at_ms + 5_000, None));
        }
        let late = [1_000, 1_010, 1_020, 1_030, 1_040, 1_050, 1_060, 1_070, 1_080];
        assert_eq!(ends_ms[..9], late);
        assert_eq!(ends_ms[9], 1_080 + 5_000, "then the hint counts");
    }

    #[test]
    fn before_the_expected_time_only_hints_count() {
        let start = Instant::now();
        let backoff = Backoff::new(denied(start, 0, 100, Some(1_000)));
        assert_eq!(until_ms(start, &backoff), 100);
        let backoff = backoff.again(denied(start, 100, 250, Some(1_000)));
        assert_eq!(until_ms(start, &backoff), 250);
        assert_eq!((backoff.room_at() - start).as_millis(), 1_000);
    }
}
