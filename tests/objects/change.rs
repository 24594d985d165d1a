//! Rates and bursts that are set while tokens are taken.

use std::time::Duration;

use ledger_limiter::client::{Limit, Rate};

use super::world::Answer::{At, Left, No, Yes};
use super::world::Call::{Allow, Reserve, SetBurst, SetLimit, Tokens};
use super::world::{KEY, World, run};

#[tokio::test(start_paused = true)]
async fn a_new_rate_refills_what_is_owed() {
    let steps = [
        (0, Reserve(2), At(0)),
        (0, Reserve(2), At(4)),
        (2, SetLimit(10.0), Yes),
        (2, Tokens, Left(-1)),
        (2, Reserve(1), At(4)),
    ];
    run(Rate::per_second(5).burst(2).limit(KEY), &steps).await;
}

/// Go adds no tokens when the burst is raised; here the added part of a burst is available at once, as for every limit.
#[tokio::test(start_paused = true)]
async fn the_added_part_of_a_burst_is_available_at_once() {
    let steps = [
        (0, Reserve(2), At(0)),
        (0, Reserve(2), At(4)),
        (2, Tokens, Left(-1)),
        (2, SetBurst(4), Yes),
        (2, Tokens, Left(1)),
        (2, Reserve(4), At(8)),
    ];
    run(Rate::per_second(5).burst(2).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn a_lower_burst_keeps_no_more_tokens_than_it_holds() {
    let steps = [(0, Allow(1), Yes), (0, SetBurst(1), Yes), (0, Tokens, Left(1)), (10, Tokens, Left(1))];
    run(Rate::per_second(5).burst(4).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_time_does_not_refill_gets_a_rate() {
    let limit = Limit::token_bucket(KEY, 1).refill(1, Duration::from_secs(1)).refilled_by_hand();
    let steps = [
        (0, Allow(1), Yes),
        (0, Allow(1), No),
        (0, SetLimit(10.0), Yes),
        (0, Reserve(1), At(1)),
        (2, Allow(1), Yes),
        (2, Allow(1), No),
    ];
    run(limit, &steps).await;
}

#[tokio::test(start_paused = true)]
async fn rate_and_burst_are_read_as_they_were_set() {
    let world = World::new(Rate::every(Duration::from_millis(250)).burst(3).limit(KEY)).await;
    for (limit, burst) in [(4.0, 3), (0.1, 1), (1_000_000.0, 40), (1.0 / 3_600.0, 7)] {
        world.bucket.set_rate(limit, burst).await.expect("it is set");
        let state = world.bucket.state().await.expect("an answer");
        assert_eq!((state.limit, state.burst), (limit, burst));
    }
}
