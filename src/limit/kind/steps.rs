//! The moments at which a schedule refills.

/// Steps of equal length in time: the refill intervals of a bucket, the windows of a fixed window, the segments of a sliding
/// window.
///
/// Steps are numbered from the anchor. Each begins at a whole tick: if a span does not divide into whole ticks, at the next
/// one. So the spans stay exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Steps {
    /// The start of step 0, in nanoseconds since the Unix epoch.
    pub(crate) anchor_ns: u64,
    /// The length of `per_span` steps, in milliseconds.
    pub(crate) span_ms: u64,
    /// The number of steps in a span: from 1 to the number of its ticks.
    pub(crate) per_span: u32,
    /// The moments at which steps may begin.
    pub(crate) tick: Tick,
}

/// The moments at which steps may begin, and the unit in which the refill clock counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tick {
    /// Whole milliseconds since the Unix epoch.
    Millisecond,
    /// Nanoseconds, for steps shorter than a millisecond.
    Nanosecond,
}

impl Tick {
    /// The nanoseconds of a tick.
    pub(crate) const fn ns(self) -> u64 {
        match self {
            Self::Millisecond => 1_000_000,
            Self::Nanosecond => 1,
        }
    }

    /// The tick that contains a moment, counted from the Unix epoch.
    pub(crate) fn at(self, unix_ns: u64) -> u64 {
        unix_ns / self.ns()
    }

    /// The start of a tick, in nanoseconds since the Unix epoch.
    pub(crate) fn starts_at_ns(self, tick: u64) -> u64 {
        tick.saturating_mul(self.ns())
    }
}

impl Steps {
    /// The step that contains a moment, in nanoseconds since the Unix epoch; step 0 for moments before the anchor.
    pub(crate) fn at(self, unix_ns: u64) -> u64 {
        let tick_began_ns = self.tick.starts_at_ns(self.tick.at(unix_ns));
        let since_ns = u128::from(tick_began_ns.saturating_sub(self.anchor_ns));
        narrow(since_ns * u128::from(self.per_span) / self.span_ns())
    }

    /// The start of a step, in nanoseconds since the Unix epoch.
    pub(crate) fn starts_at_ns(self, step: u64) -> u64 {
        narrow(self.start_of(step))
    }

    /// The start of a step, in milliseconds since the Unix epoch, rounded up.
    pub(crate) fn starts_at_ms(self, step: u64) -> u64 {
        narrow(self.start_of(step).div_ceil(Tick::Millisecond.ns().into()))
    }

    /// In nanoseconds since the Unix epoch.
    fn start_of(self, step: u64) -> u128 {
        let after_ns = (u128::from(step) * self.span_ns()).div_ceil(u128::from(self.per_span.max(1)));
        (u128::from(self.anchor_ns) + after_ns).next_multiple_of(self.tick.ns().into())
    }

    fn span_ns(self) -> u128 {
        u128::from(self.span_ms.max(1)) * u128::from(Tick::Millisecond.ns())
    }
}

fn narrow(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NS_PER_MS: u64 = Tick::Millisecond.ns();

    proptest! {
        #[test]
        fn a_step_contains_the_moments_between_its_start_and_the_next(
            anchor_ns in 0..2_000_000_000_000_000_000_u64,
            span_ms in 60..100_000_000_000_u64,
            per_span in 1..=60_u32,
            after_ms in 0..4_000_000_000_000_u64,
            tick in prop_oneof![Just(Tick::Millisecond), Just(Tick::Nanosecond)],
        ) {
            let steps = Steps { anchor_ns, span_ms, per_span, tick };
            let moment = anchor_ns + after_ms * NS_PER_MS;
            let step = steps.at(moment);
            let began = step == 0 || steps.starts_at_ns(step) <= moment;
            prop_assert!(began && moment < steps.starts_at_ns(step + 1));
            prop_assert_eq!(steps.at(steps.starts_at_ns(step)), step);
            let spans = step / u64::from(per_span);
            let exact = anchor_ns + spans * span_ms * NS_PER_MS;
            let whole_tick = exact.next_multiple_of(tick.ns());
            prop_assert_eq!(steps.starts_at_ns(spans * u64::from(per_span)), whole_tick, "spans are exact");
        }
    }
}
