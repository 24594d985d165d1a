//! The kinds that a schedule refills, for all callers together. What callers spend is kept in *spent accounts* until a refill
//! moves it back to the limit; the schedule says when, how much, and out of which account.

use super::{CalendarWindow, FixedWindow, SlidingWindow, Steps, Tick, TokenBucket};

/// A kind with a refill schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScheduledKind {
    /// A refill at each interval.
    TokenBucket(TokenBucket),
    /// Everything at each boundary.
    FixedWindow(FixedWindow),
    /// What a segment spent, when the segment leaves the window.
    SlidingWindow(SlidingWindow),
    /// Everything at each boundary of a calendar.
    Calendar(CalendarWindow),
}

/// What is refilled between two steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refill {
    /// At most this amount of what was spent.
    UpTo(u64),
    /// Everything that the spent accounts at these indexes hold.
    Accounts(Vec<usize>),
}

impl ScheduledKind {
    /// The steps of the schedule, for a limit that has had it since `since_ns`. `None` if it is refilled on request only, and for
    /// calendar windows, which have no equal length.
    pub(crate) fn steps(self, since_ns: u64) -> Option<Steps> {
        match self {
            Self::TokenBucket(bucket) => bucket.steps(since_ns),
            Self::FixedWindow(window) => window.steps(),
            Self::SlidingWindow(window) => window.steps(),
            Self::Calendar(_) => None,
        }
    }

    /// How long a step of a window lasts at least, in milliseconds, if its steps end on request. `None` for another kind, and
    /// if time ends them.
    pub(crate) fn step_by_hand_ms(self) -> Option<u64> {
        match self {
            Self::FixedWindow(window) => (!window.auto_replenish()).then(|| window.window_ms()),
            Self::SlidingWindow(window) => (!window.auto_replenish()).then(|| window.segment_ms()),
            Self::TokenBucket(_) | Self::Calendar(_) => None,
        }
    }

    /// The unit of the refill clock.
    pub(crate) fn tick(self) -> Tick {
        self.steps(0).map_or(Tick::Millisecond, |steps| steps.tick)
    }

    /// The number of spent accounts. A window has one for each step that it covers, and one more: a reservation that arrives
    /// late for a step that has ended then shares an account with nothing that must be kept longer.
    pub(crate) fn spent_accounts(self) -> usize {
        match self {
            Self::TokenBucket(_) => 1,
            Self::FixedWindow(_) | Self::Calendar(_) => 2,
            Self::SlidingWindow(window) => window.segments() as usize + 1,
        }
    }

    /// The index of the spent account for reservations made in `step`.
    pub(crate) fn spent_account_index(self, step: u64) -> usize {
        (step % self.spent_accounts() as u64) as usize
    }

    /// What is refilled when time advances from one step to a later one.
    pub(crate) fn refill_between(self, from_step: u64, to_step: u64) -> Refill {
        match self {
            Self::TokenBucket(bucket) => Refill::UpTo(bucket.refilled(to_step.saturating_sub(from_step))),
            Self::FixedWindow(_) | Self::Calendar(_) => self.all_but_latest(1, from_step, to_step),
            Self::SlidingWindow(window) => self.all_but_latest(window.segments(), from_step, to_step),
        }
    }

    /// Every spent account but those of the latest `kept` steps. A step after `from_step` has spent nothing yet, so its
    /// account holds what an older step spent and is refilled too.
    fn all_but_latest(self, kept: u32, from_step: u64, to_step: u64) -> Refill {
        let first_kept = (to_step + 1).saturating_sub(kept.into());
        let kept: Vec<usize> = (first_kept..=from_step).map(|step| self.spent_account_index(step)).collect();
        Refill::Accounts((0..self.spent_accounts()).filter(|index| !kept.contains(index)).collect())
    }

    /// When everything spent at `now_ms`, in `step`, has been refilled, in milliseconds since the Unix epoch, if at most
    /// `spent_max` is spent then in total. After that moment nothing of it can be released. `None` for a window that is
    /// refilled by hand.
    pub(crate) fn refilled_at_ms(self, now_ms: u64, step: u64, spent_max: u64) -> Option<u64> {
        Some(match self {
            Self::TokenBucket(bucket) => bucket.refilled_at_ms(now_ms, spent_max),
            Self::FixedWindow(window) => window.steps()?.starts_at_ms(step + 1),
            Self::SlidingWindow(window) => window.steps()?.starts_at_ms(step + u64::from(window.segments())),
            Self::Calendar(window) => window.ends_after_ms(Tick::Millisecond.starts_at_ns(now_ms)),
        })
    }

    /// Whether reservations may borrow what a later refill will add.
    pub(crate) fn lends(self) -> bool {
        match self {
            Self::TokenBucket(_) => true,
            Self::FixedWindow(_) | Self::SlidingWindow(_) | Self::Calendar(_) => false,
        }
    }

    /// Whether each step refills everything, so that a denied caller never waits for a second step.
    pub(crate) fn each_step_refills_all(self) -> bool {
        match self {
            Self::FixedWindow(_) | Self::Calendar(_) => true,
            Self::TokenBucket(_) | Self::SlidingWindow(_) => false,
        }
    }
}
