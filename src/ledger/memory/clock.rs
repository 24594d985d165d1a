//! The clock of the memory ledger: the machine's, or one that tests move.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::{NS_PER_SECOND, saturating_nanos};

/// How long a step of the wall clock may go unseen. Between two looks a reading reads one clock, not two.
const LOOKS_EVERY_NS: u64 = NS_PER_SECOND / 10;

/// A clock that never runs backward.
pub trait Clock: Send + Sync + 'static {
    /// Nanoseconds since the Unix epoch.
    fn now_ns(&self) -> u64;
}

/// The machine's clock: the wall clock, but never backward.
///
/// If the wall clock is set forward, this clock follows within a tenth of a second. If it is set back, this clock goes on from
/// where it was, ahead of the wall clock: reservations keep their time, and windows go on.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    following: FollowingClock,
}

/// A clock that follows a wall clock forward, and carries on by a monotonic clock.
#[derive(Debug, Default)]
struct FollowingClock {
    /// The most that the wall clock was seen ahead of the monotonic clock.
    ahead_ns: AtomicU64,
    /// The monotonic time of the next look at the wall clock.
    next_look_ns: AtomicU64,
}

/// The wall clock and the monotonic clock at one moment.
#[derive(Debug, Clone, Copy)]
struct Look {
    wall_ns: u64,
    monotonic_ns: u64,
}

impl FollowingClock {
    /// The time when the monotonic clock shows `monotonic_ns`. `look` reads both clocks.
    fn now_ns(&self, monotonic_ns: u64, look: impl FnOnce() -> Look) -> u64 {
        if monotonic_ns >= self.next_look_ns.load(Ordering::Relaxed) {
            let Look { wall_ns, monotonic_ns } = look();
            self.ahead_ns.fetch_max(wall_ns.saturating_sub(monotonic_ns), Ordering::Relaxed);
            self.next_look_ns.fetch_max(monotonic_ns.saturating_add(LOOKS_EVERY_NS), Ordering::Relaxed);
        }
        monotonic_ns.saturating_add(self.ahead_ns.load(Ordering::Relaxed))
    }
}

impl SystemClock {
    /// A clock that looks at the wall clock when it is first read.
    pub fn new() -> Self {
        Self { started: Instant::now(), following: FollowingClock::default() }
    }

    fn monotonic_ns(&self) -> u64 {
        saturating_nanos(self.started.elapsed())
    }

    fn look(&self) -> Look {
        // The wall clock first: a thread that is held up between the two sees the wall clock late, and never ahead.
        let wall_ns = saturating_nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        Look { wall_ns, monotonic_ns: self.monotonic_ns() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_ns(&self) -> u64 {
        self.following.now_ns(self.monotonic_ns(), || self.look())
    }
}

/// A clock for tests: it moves only when [`ManualClock::advance`] is called.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Starts at 2026-01-01T00:00:00Z.
    pub fn new() -> Self {
        Self(AtomicU64::new(1_767_225_600_000_000_000))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(saturating_nanos(by), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now_ns(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Shares one clock among several owners.
impl<C: Clock> Clock for std::sync::Arc<C> {
    fn now_ns(&self) -> u64 {
        C::now_ns(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HALF_AN_HOUR_NS: u64 = 1_800 * NS_PER_SECOND;
    const START_NS: u64 = 1_767_225_600 * NS_PER_SECOND;

    /// A machine whose clocks a test sets.
    struct Machine {
        wall_ns: u64,
        monotonic_ns: u64,
        clock: FollowingClock,
    }

    impl Machine {
        fn new() -> Self {
            let mut machine = Self { wall_ns: START_NS, monotonic_ns: 0, clock: FollowingClock::default() };
            assert_eq!(machine.pass(0), START_NS);
            machine
        }

        /// Lets time pass, and reads the clock.
        fn pass(&mut self, ns: u64) -> u64 {
            self.wall_ns += ns;
            self.monotonic_ns += ns;
            let &mut Self { wall_ns, monotonic_ns, .. } = self;
            self.clock.now_ns(monotonic_ns, || Look { wall_ns, monotonic_ns })
        }
    }

    #[test]
    fn a_wall_clock_that_is_set_forward_is_followed() {
        let mut machine = Machine::new();
        machine.wall_ns += HALF_AN_HOUR_NS;
        assert_eq!(machine.pass(LOOKS_EVERY_NS), START_NS + HALF_AN_HOUR_NS + LOOKS_EVERY_NS);
        assert_eq!(machine.pass(1), START_NS + HALF_AN_HOUR_NS + LOOKS_EVERY_NS + 1);
    }

    #[test]
    fn a_wall_clock_that_is_set_back_is_not_followed() {
        let mut machine = Machine::new();
        machine.wall_ns -= HALF_AN_HOUR_NS;
        assert_eq!(machine.pass(NS_PER_SECOND), START_NS + NS_PER_SECOND, "the clock goes on");
        machine.wall_ns += HALF_AN_HOUR_NS;
        assert_eq!(
            machine.pass(NS_PER_SECOND),
            START_NS + 2 * NS_PER_SECOND,
            "a correction of the error is none"
        );
    }

    #[test]
    fn the_machines_clock_shows_the_time() {
        let clock = SystemClock::new();
        let wall_ns = || saturating_nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let (before, now, after) = (wall_ns(), clock.now_ns(), wall_ns());
        assert!((before.saturating_sub(NS_PER_SECOND)..=after).contains(&now), "{before} {now} {after}");
    }

    proptest! {
        #[test]
        fn the_clock_never_runs_backward(steps in prop::collection::vec((0..2 * NS_PER_SECOND, -9..9_i64), 1..40)) {
            let (mut machine, mut previous) = (Machine::new(), START_NS);
            for (passes, set_by_seconds) in steps {
                machine.wall_ns = machine.wall_ns.saturating_add_signed(set_by_seconds * NS_PER_SECOND as i64);
                let now = machine.pass(passes);
                prop_assert!(now >= previous + passes, "{previous} + {passes} <= {now}");
                previous = now;
            }
            let caught_up = machine.pass(LOOKS_EVERY_NS);
            prop_assert!(caught_up >= machine.wall_ns, "never behind the wall clock for long");
        }
    }
}
