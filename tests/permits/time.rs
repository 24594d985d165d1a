//! When those who wait are served.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::world::*;

/// The longest hint of a denial: the next step of a schedule.
const HINT_MAX: Duration = Duration::from_millis(10_050);

pub async fn who_waits_is_served_the_moment_it_comes_back(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    sleep(Duration::from_millis(1_234)).await;
    let taken = Instant::now();
    let lease = world.take(5).await;
    let retry_after = world.fail(5).await.retry_after().expect("waiting helps");
    let waiter = world.wait(5).await;
    let back = match kind.comes_back {
        Refill::OnRelease => {
            sleep(Duration::from_millis(777)).await;
            lease.release().await.expect("it is given back");
            Instant::now()
        }
        Refill::ByHand => {
            sleep(Duration::from_millis(777)).await;
            world.replenish().await;
            Instant::now()
        }
        Refill::After(_) => Instant::now() + retry_after,
    };
    let (lease, at) = waiter.end().await;
    assert!(lease.expect("an answer").is_acquired());
    let late = at.max(back) - at.min(back);
    assert!(late <= Duration::from_millis(2), "{late:?}, {:?} after it was taken", at - taken);
}

pub async fn room_that_others_make_is_found(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let lease = take(&world.limiter(KEY, NO_QUEUE), 5).await;
    let waiter = world.wait(5).await;
    sleep(Duration::from_millis(100)).await;
    lease.cancel().await.expect("it is given back");
    let before = Instant::now();
    let (lease, at) = waiter.end().await;
    assert!(lease.expect("an answer").is_acquired());
    assert!(at - before <= HINT_MAX, "{:?}", at - before);
}

pub async fn who_waits_for_long_does_not_hammer_the_ledger(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let _others = take(&world.limiter(KEY, NO_QUEUE), 5).await;
    let before = world.ledger.chains();
    let waiter = world.wait(5).await;
    sleep(Duration::from_secs(9)).await;
    drop(waiter);
    let attempts = world.ledger.chains() - before;
    assert!(attempts <= 20, "{attempts}");
}

pub async fn a_clock_that_goes_back_adds_nothing(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    sleep(Duration::from_secs(60)).await;
    let lease = world.take(3).await;
    for back in [1, 20] {
        world.ledger.go_back(Duration::from_secs(back));
        assert_eq!(world.available().await, 2);
        let _failed = world.fail(3).await;
    }
    let waiter = world.wait(5).await;
    sleep(Duration::from_millis(1)).await;
    assert!(waiter.is_waiting());
    assert_eq!(world.available().await, 2);
    lease.cancel().await.expect("it is given back");
    let _five = waiter.acquired().await;
    assert_eq!(world.available().await, 0, "nothing came back twice");
}

pub async fn a_clock_that_went_back_goes_on(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    sleep(Duration::from_secs(60)).await;
    let lease = world.take(5).await;
    world.ledger.go_back(Duration::from_secs(20));
    let waiter = world.wait(5).await;
    drop(lease);
    world.replenish().await;
    let _five = waiter.acquired().await;
    assert_eq!(world.available().await, 0);
}

pub async fn only_what_is_put_back_by_hand_is_replenished(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let is_by_hand = kind.comes_back == Refill::ByHand;
    let _lease = world.take(5).await;
    for _ in 0..2 {
        assert_eq!(world.limiter.replenish().await.expect("an answer"), is_by_hand);
        assert_eq!(world.available().await, if is_by_hand { 5 } else { 0 }, "never more than there is");
    }
}
