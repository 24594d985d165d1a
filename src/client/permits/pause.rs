use std::time::Duration;

use tokio::time::Instant;

/// How soon what should have come back is tried again if it had not.
const LATE_PAUSE: Duration = Duration::from_millis(10);
/// How often in a row.
const LATE_TRIES_MAX: u32 = 8;
/// Nobody asks again sooner.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// What is known once the ledger has denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Denied {
    /// When the ledger denied.
    pub(super) at: Instant,
    /// How often something was given back here before the ledger was asked.
    pub(super) given_back_before: u64,
    /// When to ask again if nothing is known.
    pub(super) hint_at: Instant,
    /// When enough comes back, as far as is known here.
    pub(super) expected_at: Option<Instant>,
}

/// How long one who was denied keeps from asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    denied: Denied,
    late_tries: u32,
    until: Instant,
}

impl Denied {
    /// When there is room again, as good as it is known.
    pub(super) fn room_at(&self) -> Instant {
        self.expected_at.unwrap_or(self.hint_at)
    }
}

impl Pause {
    /// After the first denial.
    pub(super) fn new(denied: Denied) -> Self {
        // Others may give back earlier than anybody here knows of.
        let until = denied.expected_at.map_or(denied.hint_at, |at| at.min(denied.hint_at));
        Self { denied, late_tries: 0, until: until.max(denied.at + PAUSE_MIN) }
    }

    /// After one more.
    pub(super) fn again(self, denied: Denied) -> Self {
        let was_expected = self.denied.expected_at.filter(|at| *at <= denied.at);
        if was_expected.is_none() || self.late_tries >= LATE_TRIES_MAX {
            return Self::new(denied);
        }
        // The ledger gives back a little late, or somebody else was quicker.
        let denied = Denied { expected_at: was_expected, ..denied };
        let until = denied.hint_at.min(denied.at + LATE_PAUSE);
        Self { denied, late_tries: self.late_tries + 1, until }
    }

    /// Whether to ask again now.
    pub(super) fn is_over(&self, now: Instant, given_back: u64) -> bool {
        self.until <= now || given_back != self.denied.given_back_before
    }

    /// When it is over, if nothing is given back before.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// When there is room again, as good as it is known.
    pub(super) fn room_at(&self) -> Instant {
        self.denied.room_at()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Denied at this millisecond, with its hint and what is expected.
    fn denied(start: Instant, at_ms: u64, hint_ms: u64, expected_ms: Option<u64>) -> Denied {
        let moment = |ms| start + Duration::from_millis(ms);
        Denied {
            at: moment(at_ms),
            given_back_before: 7,
            hint_at: moment(hint_ms),
            expected_at: expected_ms.map(moment),
        }
    }

    fn until_ms(start: Instant, pause: &Pause) -> u128 {
        (pause.until() - start).as_millis()
    }

    #[test]
    fn a_pause_ends_at_what_is_expected_or_at_the_hint_whichever_is_first() {
        let start = Instant::now();
        let cases = [(500, None, 500), (500, Some(300), 300), (500, Some(900), 500), (500, Some(0), 101)];
        for (hint_ms, expected_ms, ends_ms) in cases {
            let pause = Pause::new(denied(start, 100, hint_ms, expected_ms));
            assert_eq!(until_ms(start, &pause), ends_ms, "{hint_ms} {expected_ms:?}");
            let end = start + Duration::from_millis(ends_ms as u64);
            assert!(!pause.is_over(end - Duration::from_micros(1), 7) && pause.is_over(end, 7));
            assert!(pause.is_over(start, 8), "something was given back");
        }
    }

    #[test]
    fn what_is_late_is_tried_again_a_few_times() {
        let start = Instant::now();
        let mut pause = Pause::new(denied(start, 0, 5_000, Some(1_000)));
        let mut ends_ms = Vec::new();
        for _ in 0..10 {
            let at_ms = until_ms(start, &pause) as u64;
            ends_ms.push(at_ms);
            pause = pause.again(denied(start, at_ms, at_ms + 5_000, None));
        }
        let late = [1_000, 1_010, 1_020, 1_030, 1_040, 1_050, 1_060, 1_070, 1_080];
        assert_eq!(ends_ms[..9], late);
        assert_eq!(ends_ms[9], 1_080 + 5_000, "then the hint counts");
    }

    #[test]
    fn before_it_is_expected_only_hints_count() {
        let start = Instant::now();
        let pause = Pause::new(denied(start, 0, 100, Some(1_000)));
        assert_eq!(until_ms(start, &pause), 100);
        let pause = pause.again(denied(start, 100, 250, Some(1_000)));
        assert_eq!(until_ms(start, &pause), 250);
        assert_eq!((pause.room_at() - start).as_millis(), 1_000);
    }
}
