//! Reservations that are not used.

use ledger_limiter::client::Rate;

use super::world::Answer::{At, Left, No, Yes};
use super::world::Call::{Cancel, Reserve, SetLimit, Tokens};
use super::world::{KEY, run};

#[tokio::test(start_paused = true)]
async fn cancelling_a_refused_reservation_releases_nothing() {
    let steps = [(0, Reserve(2), At(0)), (0, Reserve(3), No), (0, Cancel(1), No), (0, Reserve(2), At(2))];
    run(Rate::per_second(10).burst(2).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn cancelling_the_last_reservation_releases_its_tokens() {
    let steps = [
        (0, Reserve(2), At(0)),
        (0, Reserve(2), At(2)),
        (1, Cancel(1), Yes),
        (1, Cancel(1), Yes),
        (1, Tokens, Left(1)),
        (1, Reserve(2), At(2)),
    ];
    run(Rate::per_second(10).burst(2).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn cancelling_after_the_date_to_act_releases_nothing() {
    let steps = [
        (0, Reserve(2), At(0)),
        (0, Cancel(0), No),
        (0, Reserve(2), At(2)),
        (3, Cancel(1), No),
        (3, Reserve(2), At(4)),
    ];
    run(Rate::per_second(10).burst(2).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn tokens_that_a_later_reservation_borrowed_stay_taken() {
    let steps = [
        (0, Reserve(2), At(0)),
        (0, Reserve(1), At(1)),
        (0, Reserve(1), At(2)),
        (0, Cancel(1), Yes),
        (0, Tokens, Left(-2)),
        (0, Reserve(1), At(3)),
    ];
    run(Rate::per_second(10).burst(2).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn only_what_no_later_reservation_borrowed_is_released() {
    let steps = [
        (0, Reserve(2), At(0)),
        (0, Reserve(2), At(2)),
        (0, Reserve(1), At(3)),
        (1, Cancel(1), Yes),
        (1, Tokens, Left(-1)),
        (2, Reserve(2), At(4)),
    ];
    run(Rate::per_second(10).burst(2).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_later_reservation_holds_nothing_back() {
    let steps = [
        (0, Reserve(4), At(0)),
        (0, Reserve(3), At(3)),
        (0, Reserve(1), At(4)),
        (0, Reserve(1), At(5)),
        (1, Cancel(3), Yes),
        (1, Cancel(1), Yes),
        (1, Reserve(3), At(5)),
    ];
    run(Rate::per_second(10).burst(4).limit(KEY), &steps).await;
}

#[tokio::test(start_paused = true)]
async fn a_reservation_made_at_another_rate_is_cancelled_whole() {
    let steps = [
        (0, Reserve(2), At(0)),
        (0, Reserve(2), At(4)),
        (2, SetLimit(10.0), Yes),
        (2, Cancel(1), Yes),
        (2, Tokens, Left(1)),
        (2, Reserve(2), At(3)),
    ];
    run(Rate::per_second(5).burst(2).limit(KEY), &steps).await;
}
