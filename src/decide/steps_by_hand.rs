//! The steps of a window that is refilled by hand: the windows of a fixed window, the segments of a sliding window.
//!
//! A request ends the present step, and not before its length has passed. The clock of the limit, an account, shows in its posted
//! credits until when the present step lasts at least, in milliseconds since the Unix epoch; in its posted debits, how many steps
//! have ended.
//!
//! A process that knows of a step knows until when no other process can end it. After that it reads the clock before it
//! reserves. So a reservation is kept on the spent account of the step in which it was planned.
//!
//! That account is used again one step after the reservation was refilled: after `spent_accounts` more steps, of which each
//! but the first has its whole length. Until then nothing else of it can be released by the reservation's complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::clock_value::ClockValue;
use crate::limit::ScheduledKind;

/// The steps of a window that is refilled by hand. Its copies share what is known of the present one.
#[derive(Debug, Clone)]
pub(super) struct StepsByHand {
    /// The shortest time that a step lasts, in milliseconds.
    length_ms: u64,
    /// How many steps after the present one its spent account is used again, at the earliest, less one.
    steps_kept: u64,
    /// Until when the first step lasts at least, in milliseconds since the Unix epoch.
    first_ends_ms: u64,
    known: Arc<Known>,
}

/// The present step, as far as this process knows the ledger.
#[derive(Debug, Default)]
struct Known {
    ends_ms: AtomicU64,
    step: AtomicU64,
}

impl StepsByHand {
    /// Of a schedule that takes effect then; `None` if time ends its steps, or it has none.
    pub(super) fn new(kind: ScheduledKind, since_ms: u64) -> Option<Self> {
        let length_ms = kind.step_by_hand_ms()?;
        let steps_kept = kind.spent_accounts() as u64 - 1;
        let first_ends_ms = since_ms.saturating_add(length_ms);
        Some(Self { length_ms, steps_kept, first_ends_ms, known: Arc::default() })
    }

    /// Until when the present step lasts at least, if the clock has this value.
    pub(super) fn ends_ms(&self, clock: ClockValue) -> u64 {
        clock.refilled_to.max(self.first_ends_ms)
    }

    /// The value of the clock after a request at `now_ms` has ended the present step; `None` if its length has not passed.
    pub(super) fn ended(&self, clock: ClockValue, now_ms: u64) -> Option<ClockValue> {
        let ended = ClockValue {
            refilled_to: now_ms.saturating_add(self.length_ms),
            phase: clock.phase.saturating_add(1),
        };
        (self.ends_ms(clock) <= now_ms).then_some(ended)
    }

    /// Takes the value of the clock.
    pub(super) fn read(&self, clock: ClockValue) {
        // In this order: whoever sees the end of a step sees its number, or that of a later one.
        self.known.step.fetch_max(clock.phase, Ordering::AcqRel);
        self.known.ends_ms.fetch_max(clock.refilled_to, Ordering::AcqRel);
    }

    /// The number of the present step, and until when what is spent at `now_ms` can be released, in milliseconds since the Unix
    /// epoch. The known step is the present one at that moment.
    pub(super) fn spent_at(&self, now_ms: u64) -> (u64, u64) {
        let ends_ms = self.known.ends_ms.load(Ordering::Acquire).max(self.first_ends_ms);
        let step = self.known.step.load(Ordering::Acquire);
        let kept_ms = self.length_ms.saturating_mul(self.steps_kept);
        (step, ends_ms.max(now_ms).saturating_add(kept_ms))
    }
}

/// Two schedules are the same whatever is known of their present steps.
impl PartialEq for StepsByHand {
    fn eq(&self, other: &Self) -> bool {
        let fixed = |steps: &Self| (steps.length_ms, steps.steps_kept, steps.first_ends_ms);
        fixed(self) == fixed(other)
    }
}

impl Eq for StepsByHand {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Kind, KindFields, KindName};

    fn steps(name: KindName, segments: u64) -> StepsByHand {
        let fields =
            KindFields { window_ms: 600, segments, auto_replenish: Some(false), ..KindFields::default() };
        let kind = Kind::from_fields(name, &fields).expect("valid").scheduled().expect("it has a schedule");
        StepsByHand::new(kind, 1_000).expect("it is refilled by hand")
    }

    #[test]
    fn a_step_ends_on_request_and_not_before_its_length_has_passed() {
        for (steps, length_ms) in
            [(steps(KindName::FixedWindow, 0), 600), (steps(KindName::SlidingWindow, 3), 200)]
        {
            let first = ClockValue::default();
            assert_eq!(steps.ended(first, 1_000 + length_ms - 1), None);
            let second = ClockValue { refilled_to: 5_000 + length_ms, phase: 1 };
            assert_eq!(steps.ended(first, 5_000), Some(second), "also long after");
            assert_eq!(steps.ended(second, 5_000 + length_ms - 1), None);
            let third = ClockValue { refilled_to: 5_000 + 2 * length_ms, phase: 2 };
            assert_eq!(steps.ended(second, 5_000 + length_ms), Some(third));
        }
    }

    #[test]
    fn a_reservation_can_be_released_until_its_account_may_be_used_again() {
        let fixed = steps(KindName::FixedWindow, 0);
        assert_eq!(fixed.spent_at(1_100), (0, 2_200), "the next window begins at 1,600 at the earliest");
        assert_eq!(fixed.spent_at(9_000), (0, 9_600), "the window is overdue");
        fixed.read(ClockValue { refilled_to: 9_700, phase: 1 });
        assert_eq!(fixed.spent_at(9_200), (1, 10_300));
        let sliding = steps(KindName::SlidingWindow, 3);
        assert_eq!(sliding.spent_at(1_100), (0, 1_800), "of four accounts, three are used before");
    }
}
