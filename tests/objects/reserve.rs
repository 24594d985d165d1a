//! Tokens of later refills.

use std::time::Duration;

use ledger_limiter::client::{Limit, Rate};
use tokio::time::advance;

use super::world::Answer::{At, Left, No, Yes};
use super::world::Call::{Allow, Reserve, ReserveWithin, Tokens};
use super::world::{KEY, World, run};

#[tokio::test(start_paused = true)]
async fn a_reservation_acts_when_its_tokens_are_refilled() {
    let steps = [(0, Reserve(2), At(0)), (0, Reserve(2), At(2)), (3, Reserve(2), At(4))];
    run(Rate::per_second(10).burst(2).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn reserved_tokens_are_not_there_for_others() {
    let steps = [
        (0, Reserve(3), No),
        (0, Reserve(2), At(0)),
        (1, Allow(2), No),
        (1, Reserve(2), At(2)),
        (1, Tokens, Left(-1)),
        (1, Allow(1), No),
        (3, Allow(1), Yes),
    ];
    run(Rate::per_second(10).burst(2).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_would_wait_too_long_takes_nothing() {
    let steps = [
        (0, ReserveWithin(2, 1), At(0)),
        (0, ReserveWithin(1, 1), At(1)),
        (0, ReserveWithin(1, 1), No),
        (0, Tokens, Left(-1)),
        (0, Reserve(1), At(2)),
    ];
    run(Rate::per_second(10).burst(2).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_tells_how_long_it_would_have_waited() {
    let world = World::new(Rate::per_second(10).burst(2).limit(KEY)).await;
    assert!(world.bucket.reserve(2).await.expect("an answer").ok());
    let refused = world.bucket.reserve_within(2, Duration::from_millis(150)).await.expect("an answer");
    assert_eq!(refused.details().too_long_wait, Some(Duration::from_millis(200)));
    let never = world.bucket.reserve(3).await.expect("an answer");
    assert_eq!((never.ok(), never.details().too_long_wait, never.delay()), (false, None, Duration::ZERO));
    assert!(!never.cancel().await.expect("an answer"));
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_time_does_not_refill_lends_nothing() {
    let limit = Limit::token_bucket(KEY, 2).refill(1, Duration::from_secs(1)).refilled_by_hand();
    run(limit, &[(0, Reserve(2), At(0)), (0, Reserve(1), No)]).await;
}

#[tokio::test(start_paused = true)]
async fn tokens_are_there_when_a_refusal_says_and_not_before() {
    let ms = Duration::from_millis;
    for (rate, burst, tokens, wait) in [
        (Rate::per_second(10), 10, 1, ms(100)),
        (Rate::per_second(10), 10, 10, ms(1_000)),
        (Rate::per_second(10).burst(1), 1, 1, ms(100)),
        (Rate::per_second(3), 3, 2, ms(667)),
        (Rate::per_minute(7), 7, 7, ms(60_000)),
        (Rate::every(ms(90)).burst(2), 2, 2, ms(180)),
    ] {
        let bucket = World::new(rate.limit(KEY)).await.bucket;
        assert!(bucket.allow_n(burst).await.expect("an answer"));
        let refused = bucket.reserve_within(tokens, Duration::ZERO).await.expect("an answer");
        assert_eq!(refused.details().too_long_wait, Some(wait), "{rate:?}, {tokens} tokens");
        advance(wait - ms(1)).await;
        assert!(!bucket.allow_n(tokens).await.expect("an answer"), "{rate:?}, {tokens} tokens");
        advance(ms(1)).await;
        assert!(bucket.allow_n(tokens).await.expect("an answer"), "{rate:?}, {tokens} tokens");
    }
}
