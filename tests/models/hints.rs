//! Who was denied is told to come back when something has come back: denied at every moment before, let in at that one.

use std::time::Duration;

use ledger_limiter::limit::Definition;
use ledger_limiter::limiter::LimiterOptions;
use ledger_limiter::protocol::ReserveOutcome;
use proptest::prelude::*;

use super::limit::Limit;
use super::{Exactly, within};
use crate::fixtures::*;

/// The most that a hint is put off by chance.
const JITTER_MS: u64 = 50;

#[derive(Debug, Clone)]
struct Scene {
    definition: Definition,
    /// What one step brings back, when all was taken at once.
    amount: u64,
    /// How long the limit is idle before all of it is taken.
    idle_ms: u64,
    /// When it is asked for again: at these shares of the time until the step.
    looks: Vec<f64>,
    /// Whether denials need no ledger.
    denies_locally: bool,
}

fn scenes() -> impl Strategy<Value = Scene> {
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
    let looks = proptest::collection::vec(0.0..1.0, 0..6);
    (limits, 0..300_000_u64, looks, any::<bool>()).prop_map(
        |((definition, amount), idle_ms, looks, denies_locally)| Scene {
            definition,
            amount,
            idle_ms,
            looks,
            denies_locally,
        },
    )
}

async fn play(scene: Scene) {
    let backend = Exactly::new();
    let deny_alone_max = if scene.denies_locally { Duration::from_secs(3_600) } else { Duration::ZERO };
    let options = LimiterOptions { deny_alone_max, ..LimiterOptions::default() };
    let replica = Replica::start_with(backend.connect(), backend.ids(), options).await;
    replica.put(scene.definition.clone()).await;
    let mut model = Limit::new(scene.definition.clone(), backend.now_ms());
    let capacity = scene.definition.capacity.get();
    backend.pass(Duration::from_millis(scene.idle_ms)).await;
    assert!(is_granted(&replica.take(&[("limit", capacity)]).await), "it was full");
    model.pass_to(backend.now_ms());
    let returns_ms = model.take((0, 0), 0, capacity, backend.now_ms()).over_ms;
    let mut step_ms = model.next_step_ms(backend.now_ms()).expect("it has steps");
    // Of a sliding window nothing comes back before the segment leaves it.
    if scene.definition.kind.fields().segments > 0 {
        while step_ms < returns_ms {
            backend.pass_to(step_ms);
            step_ms = model.next_step_ms(backend.now_ms()).expect("it has steps");
        }
    }
    let first_hint_ms = denied(&replica, scene.amount).await;
    let until_ms = step_ms - backend.now_ms();
    assert!((until_ms..=until_ms + JITTER_MS).contains(&first_hint_ms), "{first_hint_ms} and not {until_ms}");
    let (began_ms, mut looks) = (backend.now_ms(), scene.looks);
    looks.sort_by(f64::total_cmp);
    let mut moments: Vec<u64> =
        looks.into_iter().map(|share| began_ms + (until_ms as f64 * share) as u64).collect();
    moments.push(step_ms - 1);
    for moment_ms in moments {
        backend.pass_to(moment_ms);
        let hint_ms = denied(&replica, scene.amount).await;
        // Without the ledger it is only known when to ask the ledger.
        assert!(scene.denies_locally || backend.now_ms() + hint_ms >= step_ms, "{hint_ms} is too early");
    }
    backend.pass(backend.until(step_ms).saturating_sub(Duration::from_nanos(1))).await;
    denied(&replica, scene.amount).await;
    backend.pass(Duration::from_nanos(1)).await;
    assert!(is_granted(&replica.take(&[("limit", scene.amount)]).await), "exactly at the step");
}

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
    fn nobody_is_let_in_before_the_step_and_everybody_at_it(scene in scenes()) {
        within(play(scene));
    }
}
