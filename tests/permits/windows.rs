//! Windows below a second, and windows that are refilled by hand.

use std::time::Duration;

use ledger_limiter::client::permits::Permits;
use ledger_limiter::client::{Limit, Rate};
use ledger_limiter::limit::Definition;
use tokio::time::{Instant, advance};

use super::ROLLING;
use super::world::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A limiter of this limit.
async fn limiter_of(limit: Limit) -> (World, Limiter) {
    let world = World::new(&ROLLING, 1, NO_QUEUE).await;
    let definition: Definition = limit.define().expect("valid");
    world.home.admin().put(&definition).await.expect("the ledger answers");
    let limiter = world.limiter(definition.key.as_str(), oldest_first(20));
    (world, limiter)
}

async fn replenish(limiter: &Limiter) {
    assert!(limiter.replenish().await.expect("an answer"), "it is refilled by hand");
}

#[tokio::test(start_paused = true)]
async fn a_window_may_be_shorter_than_a_second() {
    let windows = [
        (Limit::fixed_window("fixed", 5).per(ms(500)), ms(500)),
        (Limit::sliding_window("sliding", 5).per(ms(500)).segments(5), ms(100)),
    ];
    for (limit, period) in windows {
        let (_world, limiter) = limiter_of(limit).await;
        assert_eq!(limiter.refill_period().await.expect("an answer"), Some(period));
        // The first window begins at a boundary.
        let start = Instant::now();
        let _first = [take(&limiter, 3).await, take(&limiter, 2).await];
        let failed = limiter.attempt_acquire(1).await.expect("an answer");
        assert!(failed.retry_after().is_some_and(|after| after <= ms(500)), "{failed:?}");
        let _second = Waiter::start(&limiter, 5).await.acquired().await;
        let waited = start.elapsed();
        assert!(waited >= ms(499) && waited <= ms(501), "all five at the end of the window: {waited:?}");
        advance(ms(500)).await;
        assert_eq!(available(&limiter).await, 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_by_hand_ends_when_it_is_replenished() {
    let limit = Limit::fixed_window("calls", 5).per(ms(500)).refilled_by_hand();
    let (_world, limiter) = limiter_of(limit).await;
    assert_eq!(limiter.refill_period().await.expect("an answer"), None);
    assert!(!limiter.is_auto_replenishing().await.expect("an answer"));
    let _all = take(&limiter, 5).await;
    let waiter = Waiter::start(&limiter, 5).await;
    advance(Duration::from_secs(60)).await;
    assert!(waiter.is_waiting());
    let before = Instant::now();
    replenish(&limiter).await;
    run_tasks().await;
    let _five = waiter.acquired().await;
    assert!(before.elapsed() <= ms(1), "{:?}", before.elapsed());
    assert_eq!(available(&limiter).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_replenish_before_the_window_has_passed_frees_nothing() {
    let limit = Limit::fixed_window("calls", 5).per(ms(500)).refilled_by_hand();
    let (_world, limiter) = limiter_of(limit).await;
    let _all = take(&limiter, 5).await;
    // How much time passes, and the permits that are free after a replenish.
    for (passes_ms, free) in [(0, 0), (499, 0), (1, 5), (0, 5), (499, 5)] {
        advance(ms(passes_ms)).await;
        replenish(&limiter).await;
        assert_eq!(available(&limiter).await, free);
    }
    let _all = take(&limiter, 5).await;
    for free in [5, 5] {
        advance(ms(500)).await;
        replenish(&limiter).await;
        assert_eq!(available(&limiter).await, free, "with all permits free, nothing changes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sliding_window_by_hand_frees_one_segment_with_each_replenish() {
    let limit = Limit::sliding_window("calls", 10).per(ms(2)).segments(2).refilled_by_hand();
    let (_world, limiter) = limiter_of(limit).await;
    let _first = take(&limiter, 6).await;
    // Long after, too, one call ends one segment.
    advance(Duration::from_secs(9)).await;
    replenish(&limiter).await;
    assert_eq!(available(&limiter).await, 4);
    let _second = take(&limiter, 3).await;
    for free in [7, 10, 10] {
        advance(ms(1)).await;
        replenish(&limiter).await;
        assert_eq!(available(&limiter).await, free);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_lease_of_a_window_by_hand_frees_its_permits_once() {
    let limit = Limit::fixed_window("calls", 5).per(ms(500)).refilled_by_hand();
    let (_world, limiter) = limiter_of(limit).await;
    take(&limiter, 3).await.cancel().await.expect("it is released");
    assert_eq!(available(&limiter).await, 5);
    let earlier = take(&limiter, 5).await;
    advance(ms(500)).await;
    replenish(&limiter).await;
    let _all = take(&limiter, 5).await;
    earlier.cancel().await.expect("an answer");
    assert_eq!(available(&limiter).await, 0, "the replenish freed them already");
}

#[tokio::test(start_paused = true)]
async fn only_limits_by_hand_are_replenished() {
    for limit in [
        Limit::fixed_window("calls", 5).per(ms(500)),
        Limit::sliding_window("calls", 5).per(ms(500)).segments(5),
        Rate::per_second(10).limit("calls"),
    ] {
        let (_world, limiter) = limiter_of(limit).await;
        assert!(!limiter.replenish().await.expect("an answer"));
        assert!(limiter.is_auto_replenishing().await.expect("an answer"));
    }
}
