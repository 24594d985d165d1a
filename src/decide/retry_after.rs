//! When a denied caller should come back. The write path reads nothing, so this is a rule of thumb: it grows with the
//! number of denials in a row and is capped.

use crate::limit::Kind;

/// The growth of the hints of one kind of limit, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The first hint.
    pub base_ms: u64,
    /// The longest hint, without its jitter.
    pub max_ms: u64,
    /// What each further denial multiplies it by, 1 or more.
    pub factor: f64,
    /// At most this much is added by chance, so that callers do not come back all at once.
    pub jitter_ms: u64,
}

/// The hints of every kind of denial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// For concurrency limits; the limit's timeout caps it too.
    pub concurrency: Backoff,
    /// For rolling limits; the first hint is at least `window_share` of the window.
    pub rolling: Backoff,
    /// The share of a rolling window that a first hint is at least.
    pub window_share: f64,
    /// For limits whose capacity is being lowered.
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
    /// The hint for a limit without room, in milliseconds, at least 1. `streak` counts the denials in a row before
    /// this one; `chance` is drawn from 0 to 1.
    pub fn no_room_ms(&self, kind: Kind, streak: u32, chance: f64) -> u64 {
        match kind {
            Kind::Rolling(rolling) => {
                let share_ms = f64::from(rolling.window_seconds()) * 1_000.0 * self.window_share;
                self.rolling.hint_ms(share_ms, streak, chance).max(1)
            }
            Kind::Concurrency(concurrency) => {
                let cap_ms = u64::from(concurrency.timeout_seconds()) * 1_000;
                self.concurrency.hint_ms(0.0, streak, chance).min(cap_ms).max(1)
            }
        }
    }

    /// The hint for a limit that is known to have room in `wait_ms`: then, and no later than the longest hint.
    pub fn room_known_ms(&self, kind: Kind, wait_ms: u64) -> u64 {
        let max_ms = match kind {
            Kind::Rolling(_) => self.rolling.max_ms,
            Kind::Concurrency(_) => self.concurrency.max_ms,
        };
        wait_ms.min(max_ms).max(1)
    }
}

impl Backoff {
    fn hint_ms(&self, base_at_least_ms: f64, streak: u32, chance: f64) -> u64 {
        let base_ms = (self.base_ms as f64).max(base_at_least_ms);
        let exponent = i32::try_from(streak).unwrap_or(i32::MAX);
        let grown_ms = (base_ms * self.factor.powi(exponent)).min(self.max_ms as f64);
        (grown_ms + self.jitter_ms as f64 * chance).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::KindName;

    #[test]
    fn hints_grow_with_the_streak_up_to_the_cap() {
        let slots = Kind::new(KindName::Concurrency, 0, 300).expect("valid");
        let hints: Vec<u64> =
            [0, 1, 2, 5, 6, u32::MAX].map(|n| RetryPolicy::default().no_room_ms(slots, n, 0.0)).into();
        assert_eq!(hints, [50, 100, 200, 1_600, 2_000, 2_000]);
        assert_eq!(RetryPolicy::default().no_room_ms(slots, 0, 1.0), 75);
    }

    #[test]
    fn a_timeout_caps_the_hint() {
        let slots = Kind::new(KindName::Concurrency, 0, 1).expect("valid");
        assert_eq!(RetryPolicy::default().no_room_ms(slots, 9, 1.0), 1_000);
    }

    #[test]
    fn a_window_sets_the_first_hint() {
        let rolling = |seconds| Kind::new(KindName::Rolling, seconds, 0).expect("valid");
        assert_eq!(RetryPolicy::default().no_room_ms(rolling(1), 0, 0.0), 100);
        assert_eq!(RetryPolicy::default().no_room_ms(rolling(10), 0, 0.0), 1_000);
        assert_eq!(RetryPolicy::default().no_room_ms(rolling(10), 1, 0.0), 1_500);
        assert_eq!(RetryPolicy::default().no_room_ms(rolling(86_400), 0, 1.0), 5_050);
    }
}
