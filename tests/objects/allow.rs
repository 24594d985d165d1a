//! Tokens that are available now.

use std::time::Duration;

use ledger_limiter::client::{ErrorKind, Limit, Rate};
use tokio::task::JoinSet;
use tokio::time::advance;

use super::world::Answer::{Left, No, Yes};
use super::world::Call::{Allow, Release, Tokens};
use super::world::{KEY, World, run};

#[tokio::test(start_paused = true)]
async fn a_burst_of_one_lets_one_caller_pass_in_each_interval() {
    let steps = [
        (0, Tokens, Left(1)),
        (0, Allow(1), Yes),
        (0, Tokens, Left(0)),
        (0, Allow(1), No),
        (0, Allow(1), No),
        (1, Tokens, Left(1)),
        (1, Allow(1), Yes),
        (1, Allow(1), No),
        (1, Allow(1), No),
        (2, Allow(2), No),
        (2, Allow(1), Yes),
        (2, Allow(1), No),
    ];
    run(Rate::per_second(10).burst(1).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_call_between_two_refills_starts_the_interval() {
    // Two tokens a second, so an interval has five tenths.
    let steps = [
        (3, Tokens, Left(2)),
        (3, Allow(2), Yes),
        (7, Allow(1), No),
        (8, Allow(1), Yes),
        (13, Tokens, Left(1)),
        (17, Tokens, Left(1)),
        // Full since 18.
        (21, Allow(1), Yes),
        (25, Allow(2), No),
        (26, Allow(2), Yes),
        (30, Allow(1), No),
        (31, Allow(1), Yes),
    ];
    run(Rate::per_second(2).burst(2).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn tokens_are_refilled_one_by_one_up_to_the_burst() {
    let steps = [
        (0, Allow(2), Yes),
        (0, Allow(2), No),
        (0, Allow(1), Yes),
        (0, Allow(1), No),
        (1, Allow(4), No),
        (2, Tokens, Left(2)),
        (2, Allow(1), Yes),
        (3, Allow(1), Yes),
        (4, Tokens, Left(2)),
        (4, Allow(1), Yes),
        (4, Allow(1), Yes),
        (4, Allow(1), No),
        (4, Allow(1), No),
        (9, Tokens, Left(3)),
        (9, Allow(3), Yes),
        (9, Allow(1), No),
    ];
    run(Rate::per_second(10).burst(3).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn a_long_pause_leaves_no_more_than_the_burst() {
    let steps = [
        (0, Allow(5), Yes),
        (0, Allow(1), No),
        (20, Allow(5), Yes),
        (20, Allow(1), No),
        (22, Allow(1), Yes),
        (22, Allow(1), No),
    ];
    run(Rate::per_second(5).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn several_tokens_are_taken_all_or_none() {
    let steps = [
        (0, Allow(2), Yes),
        (0, Allow(2), Yes),
        (0, Allow(2), No),
        (2, Tokens, Left(0)),
        // One of the two is refilled after a quarter of a second, the other after half a second.
        (4, Tokens, Left(1)),
        (4, Allow(2), No),
        (4, Tokens, Left(1)),
        (5, Allow(2), Yes),
        (5, Allow(1), No),
        (30, Allow(4), Yes),
    ];
    run(Rate::per_second(4).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn more_than_the_burst_is_never_allowed_and_takes_nothing() {
    let steps = [(0, Allow(15), No), (0, Allow(6), No), (30, Allow(15), No), (30, Allow(5), Yes)];
    run(Rate::per_second(5).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_left_is_told_after_each_call() {
    let steps = [
        (0, Allow(1), Yes),
        (0, Tokens, Left(4)),
        (0, Allow(3), Yes),
        (0, Tokens, Left(1)),
        (0, Tokens, Left(1)),
        (0, Allow(1), Yes),
        (0, Tokens, Left(0)),
        (0, Allow(1), No),
        (1_200, Tokens, Left(5)),
        (1_200, Allow(1), Yes),
        (1_200, Tokens, Left(4)),
    ];
    run(Rate::per_minute(5).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn as_many_as_are_left_can_be_taken() {
    let world = World::new(Rate::per_second(10).limit(KEY)).await;
    let take_some = async || {
        let left = world.bucket.available_permits().await.expect("an answer");
        left > 0 && world.bucket.allow_n(left).await.expect("an answer")
    };
    assert!(world.bucket.allow_n(7).await.expect("an answer"));
    assert!(take_some().await, "three of ten");
    assert!(!take_some().await);
    advance(Duration::from_millis(500)).await;
    assert_eq!(world.bucket.available_permits().await.expect("an answer"), 5);
    assert!(take_some().await);
}

#[tokio::test(start_paused = true)]
async fn a_release_of_the_burst_resets_the_bucket() {
    let steps = [
        (0, Allow(2), Yes),
        (0, Allow(1), No),
        (0, Release(2), Left(2)),
        (0, Allow(2), Yes),
        (0, Allow(1), No),
    ];
    run(Rate::per_second(2).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn callers_at_the_same_time_get_the_burst_and_no_more() {
    let world = World::new(Rate::per_second(1).burst(5).limit(KEY)).await;
    let mut callers = JoinSet::new();
    for _ in 0..15 {
        let bucket = world.bucket.clone();
        callers.spawn(async move { bucket.allow().await.expect("an answer") });
    }
    let allowed = callers.join_all().await.into_iter().filter(|&allowed| allowed).count();
    assert_eq!(allowed, 5);
}

#[tokio::test(start_paused = true)]
async fn many_calls_over_a_long_time_get_burst_and_rate() {
    let world = World::new(Rate::per_second(100).limit(KEY)).await;
    let mut allowed = 0;
    for _ in 0..2_500 {
        allowed += u64::from(world.bucket.allow().await.expect("an answer"));
        advance(Duration::from_millis(2)).await;
    }
    // 5 s, and the whole burst in the first moment. The last call is 2 ms before the last refill.
    assert_eq!(allowed, 100 + 499);
}

#[tokio::test(start_paused = true)]
async fn very_slow_and_very_fast_rates_allow_the_burst_once() {
    for (rate, burst) in [
        (Rate::per_second(1.0 / 1.3).burst(1), 1),
        (Rate::every(Duration::from_secs(366 * 86_400)), 1),
        (Rate::per_second(1_000_000_001), 1_000_000_001),
    ] {
        run(rate.limit(KEY), &[(0, Allow(burst), Yes), (0, Allow(1), No)]).await;
    }
}

#[test]
fn rates_that_no_bucket_has_are_errors() {
    for (rate, expected) in [
        (Rate::per_second(-1), "the rate must be a number above 0"),
        (Rate::per_second(f64::INFINITY), "the rate must be a number above 0"),
        (Rate::every(Duration::ZERO), "the rate must be a number above 0"),
        (Rate::per_second(1e-10), "the rate must be at least 1 in 366 days"),
        (Rate::every(Duration::MAX), "the rate must be at least 1 in 366 days"),
        (Rate::per_second(f64::MAX), "the rate must be at most 9223372036854775807 in a millisecond"),
    ] {
        let error = rate.limit(KEY).define().expect_err("no bucket has it");
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::InvalidRequest, expected),
            "{rate:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_time_does_not_refill_allows_its_burst_once() {
    let limit = Limit::token_bucket(KEY, 1).refill(1, Duration::from_secs(1)).refilled_by_hand();
    run(limit, &[(0, Allow(1), Yes), (0, Allow(1), No), (6_000, Allow(1), No)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_turned_back_refills_nothing_twice() {
    let mut world = World::new(Rate::per_second(10).burst(3).limit(KEY)).await;
    world.run(&[(1, Allow(1), Yes)]).await;
    world.clock.turn_back(Duration::from_millis(100));
    world
        .run(&[
            (1, Allow(1), Yes),
            (1, Allow(1), Yes),
            (1, Allow(1), No),
            // The ledger's clock shows the time of the first call again.
            (2, Allow(1), No),
            (3, Allow(1), Yes),
            (3, Allow(1), No),
        ])
        .await;
}
