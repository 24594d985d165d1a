//! Compares a bucket with a limiter of the crate `governor`: both answer the same calls on one clock, and agree on each.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, FakeRelativeClock};
use governor::{Quota, RateLimiter};
use ledger_limiter::limit::{BucketRate, RateChange};
use proptest::prelude::*;

use super::{ExactBackend, block_on, replica};
use crate::fixtures::*;

/// Rates whose refill is a single token: tokens per second, and the moments at which both limiters look, in nanoseconds. The
/// steps of a bucket begin at whole milliseconds, unless they are shorter than that.
const RATES: [(f64, u64); 12] = [
    (0.1, 1_000_000),
    (0.5, 1_000_000),
    (1.0, 1_000_000),
    (3.0, 1_000_000),
    (7.0, 1_000_000),
    (10.0, 1_000_000),
    (33.0, 1_000_000),
    (100.0, 1_000_000),
    (997.0, 1_000_000),
    (2_500.0, 1),
    (40_000.0, 1),
    (1_000_000.0, 1),
];

#[derive(Debug, Clone)]
enum Action {
    Take {
        tokens: u32,
    },
    /// Time passes, by this share of the interval of a token.
    Pass {
        intervals: f64,
    },
    /// Time passes to the moment at which governor grants the last call that it denied, or a tick before or after it.
    PassToHint {
        off_ticks: i64,
    },
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        6 => (1..=6_u32).prop_map(|tokens| Action::Take { tokens }),
        6 => Just(Action::Take { tokens: 1 }),
        4 => (0.0..1.5).prop_map(|intervals| Action::Pass { intervals }),
        1 => (0.0..12.0).prop_map(|intervals| Action::Pass { intervals }),
        4 => (-1..=1_i64).prop_map(|off_ticks| Action::PassToHint { off_ticks }),
    ];
    proptest::collection::vec(action, 1..120)
}

/// Calls for more than the burst are left out where steps are rounded up to a tick: such a call refills the bucket and begins no
/// interval, so a call in the same tick counts from the step, a part of a tick early (`docs/pacing.md`).
async fn compare(per_second: f64, tick_ns: u64, burst: u32, actions: &[Action]) {
    let backend = ExactBackend::new();
    let replica = replica(&backend, []).await;
    let rate = BucketRate::per_second(per_second).expect("a rate");
    let change = RateChange::both(rate, capacity(burst.into()));
    replica.admin().set_rate(&key("bucket"), change).await.expect("the ledger answers");
    let interval = Duration::from_nanos((1e9 / per_second) as u64);
    let quota = Quota::with_period(interval).expect("an interval");
    let quota = quota.allow_burst(NonZeroU32::new(burst).expect("above 0"));
    let clock = FakeRelativeClock::default();
    let reference = RateLimiter::direct_with_clock(quota, clock.clone());
    let mut hint_ns = 0_u64;
    let have_steps_whole_ticks = interval.as_nanos().is_multiple_of(tick_ns.into());
    for (index, action) in actions.iter().enumerate() {
        let pass_ns = match *action {
            Action::Take { tokens } if tokens > burst && !have_steps_whole_ticks => 0,
            Action::Take { tokens } => {
                let expected = reference.check_n(NonZeroU32::new(tokens).expect("above 0"));
                // More tokens than the burst are never granted, here as there.
                if let Ok(Err(not_until)) = &expected {
                    hint_ns = not_until.wait_time_from(clock.now()).as_nanos() as u64;
                }
                let is_granted = is_granted(&replica.take(&[("bucket", tokens.into())]).await);
                assert_eq!(is_granted, matches!(expected, Ok(Ok(()))), "action {index} of {actions:?}");
                0
            }
            Action::Pass { intervals } => (interval.as_nanos() as f64 * intervals) as u64,
            Action::PassToHint { off_ticks } => {
                let whole_ticks = std::mem::take(&mut hint_ns).div_ceil(tick_ns);
                whole_ticks.saturating_add_signed(off_ticks) * tick_ns
            }
        };
        let pass = Duration::from_nanos(pass_ns / tick_ns * tick_ns);
        clock.advance(pass);
        backend.pass(pass).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_bucket_grants_as_governor_does(
        (per_second, tick_ns) in prop::sample::select(RATES.to_vec()),
        burst in 1..6_u32,
        actions in actions(),
    ) {
        block_on(compare(per_second, tick_ns, burst, &actions));
    }
}
