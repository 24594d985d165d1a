/// Steps of equal length on a line of time: the ticks of a bucket, the windows of a limit, the segments of a window.
///
/// Steps are numbered from the anchor on. Where a span does not divide into whole milliseconds, its steps begin at the
/// next whole one, so that the spans themselves stay exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// Where step 0 begins, in milliseconds since the Unix epoch.
    pub anchor_ms: u64,
    /// How long `per_span` steps are.
    pub span_ms: u64,
    /// How many steps make a span, 1 or more and no more than it has milliseconds.
    pub per_span: u32,
}

impl Steps {
    /// The step of a moment; before the anchor it is step 0.
    pub fn at(self, unix_ms: u64) -> u64 {
        let since_ms = u128::from(unix_ms.saturating_sub(self.anchor_ms));
        narrow(since_ms * u128::from(self.per_span) / u128::from(self.span_ms.max(1)))
    }

    /// When a step begins, in milliseconds since the Unix epoch.
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
        fn every_moment_lies_in_its_step(
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
