//! The hint of a denial is the time to the step that makes room: a caller is denied at every moment before it, and granted
//! at it.

use std::time::Duration;

use ledger_limiter::limit::Definition;
use ledger_limiter::limiter::LimiterOptions;
use ledger_limiter::protocol::ReserveOutcome;
use proptest::prelude::*;

use super::limit::{LegId, Limit};
use super::{ExactBackend, block_on};
use crate::fixtures::*;

/// The most that is added to a hint at random.
const JITTER_MS: u64 = 50;

#[derive(Debug, Clone)]
struct Case {
    definition: Definition,
    /// What one step refills after the whole capacity was reserved at once.
    amount: u64,
    /// How long the limit is idle before its whole capacity is reserved.
    idle_ms: u64,
    /// When callers try again: at these shares of the time until the step.
    tries: Vec<f64>,
    /// Whether the denial cache is on.
    cache_is_on: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let capacity = 1..1_000_u64;
    let limits = prop_oneof![
        (capacity.clone(), 1..1_000_u64, 1..200_000_u64).prop_map(|(capacity, refill, interval_ms)| {
            (token_bucket("limit", capacity, refill, interval_ms), refill.min(capacity))
        }),
        (capacity.clone(), 1..100_000_u64, 0.0..1.0).prop_map(|(capacity, window, align)| {
            (fixed_window("limit", capacity, window, (window as f64 * align) as u64), capacity)
        }),
        (capacity, 1..100_000_u64, 1..=60_u64).prop_map(|(capacity, window, segments)| {
            (sliding_window("limit", capacity, window, segments), capacity)
        }),
    ];
    let tries = proptest::collection::vec(0.0..1.0, 0..6);
    (limits, 0..300_000_u64, tries, any::<bool>()).prop_map(
        |((definition, amount), idle_ms, tries, cache_is_on)| Case {
            definition,
            amount,
            idle_ms,
            tries,
            cache_is_on,
        },
    )
}

async fn check(case: Case) {
    let backend = ExactBackend::new();
    let deny_alone_max = if case.cache_is_on { Duration::from_secs(3_600) } else { Duration::ZERO };
    let options = LimiterOptions { deny_alone_max, ..LimiterOptions::default() };
    let replica = Replica::start_with(backend.connect(), backend.ids(), options).await;
    replica.put(case.definition.clone()).await;
    let mut model = Limit::new(case.definition.clone(), backend.now_ms());
    let capacity = case.definition.capacity.get();
    backend.pass(Duration::from_millis(case.idle_ms)).await;
    assert!(is_granted(&replica.take(&[("limit", capacity)]).await), "nothing was reserved");
    model.pass_to(backend.now_ms());
    model.look(backend.now_ns());
    let refilled_ms = model.reserve(LegId { lease: 0, leg: 0 }, 0, capacity, backend.now_ms()).ends_ms;
    let mut step_ms = model.next_step_ms(backend.now_ms()).expect("the schedule has steps");
    // A sliding window refills the amount only when its segment leaves the window.
    if case.definition.kind.fields().segments > 0 {
        while step_ms < refilled_ms {
            backend.pass_to(step_ms);
            step_ms = model.next_step_ms(backend.now_ms()).expect("the schedule has steps");
        }
    }
    let first_hint_ms = denied(&replica, case.amount).await;
    let until_ms = step_ms - backend.now_ms();
    assert!((until_ms..=until_ms + JITTER_MS).contains(&first_hint_ms), "{first_hint_ms} and not {until_ms}");
    let (began_ms, mut tries) = (backend.now_ms(), case.tries);
    tries.sort_by(f64::total_cmp);
    let mut moments: Vec<u64> =
        tries.into_iter().map(|share| began_ms + (until_ms as f64 * share) as u64).collect();
    moments.push(step_ms - 1);
    for moment_ms in moments {
        backend.pass_to(moment_ms);
        let hint_ms = denied(&replica, case.amount).await;
        // The cache may know only when to ask the ledger again.
        assert!(case.cache_is_on || backend.now_ms() + hint_ms >= step_ms, "{hint_ms} is too early");
    }
    backend.pass(backend.until(step_ms).saturating_sub(Duration::from_nanos(1))).await;
    denied(&replica, case.amount).await;
    backend.pass(Duration::from_nanos(1)).await;
    assert!(is_granted(&replica.take(&[("limit", case.amount)]).await), "exactly at the step");
}

/// Asserts a denial. Returns its hint.
async fn denied<L: ledger_limiter::ledger::Ledger>(replica: &Replica<L>, amount: u64) -> u64 {
    let outcome = replica.take(&[("limit", amount)]).await;
    let ReserveOutcome::NoRoom { retry_after_ms, .. } = outcome else {
        panic!("before the step: {outcome:?}");
    };
    retry_after_ms
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn callers_are_denied_before_the_step_and_granted_at_it(case in cases()) {
        block_on(check(case));
    }
}
