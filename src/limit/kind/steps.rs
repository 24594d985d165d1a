//! The moments at which a schedule refills.

/// Steps of equal length in time: the refill intervals of a bucket, the windows of a fixed window, the segments of a sliding
/// window.
///
/// Steps are numbered from the anchor. If a span does not divide into whole milliseconds, each step begins at the next whole
/// millisecond, so that the spans stay exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// The start of step 0, in milliseconds since the Unix epoch.
    pub anchor_ms: u64,
    /// The length of `per_span` steps, in milliseconds.
    pub span_ms: u64,
    /// The number of steps in a span: from 1 to the number of its milliseconds.
    pub per_span: u32,
}

impl Steps {
    /// The step that contains a moment; step 0 for moments before the anchor.
    pub fn at(self, unix_ms: u64) -> u64 {
        let since_ms = u128::from(unix_ms.saturating_sub(self.anchor_ms));
        narrow(since_ms * u128::from(self.per_span) / u128::from(self.span_ms.max(1)))
    }

    /// The start of a step, in milliseconds since the Unix epoch.
    pub fn starts_at_ms(self, step: u64) -> u64 {
        let after_ms =
            (u128::from(step) * u128::from(self.span_ms)).div_ceil(u128::from(self.per_span.max(1)));
        self.anchor_ms.saturating_add(narrow(after_ms))
    }
}

fn narrow(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_step_contains_the_moments_between_its_start_and_the_next(
            anchor_ms in 0..2_000_000_000_000_u64,
            span_ms in 60..100_000_000_000_u64,
            per_span in 1..=60_u32,
            after_ms in 0..4_000_000_000_000_u64,
        ) {
            let steps = Steps { anchor_ms, span_ms, per_span };
            let moment = anchor_ms + after_ms;
            let step = steps.at(moment);
            prop_assert!(steps.starts_at_ms(step) <= moment && moment < steps.starts_at_ms(step + 1));
            prop_assert_eq!(steps.at(steps.starts_at_ms(step)), step);
            let spans = step / u64::from(per_span);
            let exact = anchor_ms + spans * span_ms;
            prop_assert_eq!(steps.starts_at_ms(spans * u64::from(per_span)), exact, "spans are exact");
        }
    }
}
