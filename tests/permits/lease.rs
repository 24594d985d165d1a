//! What becomes of the permits of a lease.

use std::time::Duration;

use ledger_limiter::client::permits::Permits;
use tokio::time::{Instant, advance};

use super::world::*;

/// What is free once a lease of three of five is over.
fn free_after_release(kind: &Fixture) -> u128 {
    match kind.comes_back {
        Refill::OnRelease => 5,
        Refill::After(_) | Refill::ByHand => 2,
    }
}

pub async fn a_dropped_lease_gives_back_what_its_kind_does(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    drop(world.take(3).await);
    settle().await;
    assert_eq!(world.available().await, free_after_release(kind));
}

pub async fn a_released_lease_gives_back_what_its_kind_does(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    world.take(3).await.release().await.expect("it is given back");
    assert_eq!(world.available().await, free_after_release(kind));
    settle().await;
    assert_eq!(world.available().await, free_after_release(kind), "once");
}

pub async fn a_cancelled_lease_gives_back_everything(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(3).await;
    lease.cancel().await.expect("it is given back");
    assert_eq!(world.available().await, 5);
    assert_eq!(world.counts().await, (0, 1, 0), "it was acquired all the same");
}

pub async fn leases_are_told_apart(kind: &'static Fixture) {
    let world = World::new(kind, 6, NO_QUEUE).await;
    let [first, second, third] = [world.take(1).await, world.take(2).await, world.take(3).await];
    second.cancel().await.expect("it is given back");
    assert_eq!(world.available().await, 2);
    third.cancel().await.expect("it is given back");
    assert_eq!(world.available().await, 5);
    first.cancel().await.expect("it is given back");
    assert_eq!(world.available().await, 6);
}

pub async fn a_failed_lease_has_nothing_to_give_back(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let _lease = world.take(5).await;
    world.fail(1).await.release().await.expect("nothing to do");
    world.fail(1).await.cancel().await.expect("nothing to do");
    drop(world.fail(1).await);
    settle().await;
    assert_eq!(world.available().await, 0);
}

pub async fn an_acquired_lease_says_so(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(3).await;
    assert!(lease.is_acquired());
    assert_eq!((lease.permits(), lease.failure(), lease.retry_after()), (3, None, None));
}

pub async fn a_cancelled_lease_serves_who_waits_at_once(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let lease = world.take(5).await;
    let waiter = world.wait(5).await;
    advance(Duration::from_millis(1)).await;
    lease.cancel().await.expect("it is given back");
    settle().await;
    let _five = waiter.acquired_at_once().await;
}

pub async fn a_dropped_lease_serves_who_waits_as_its_kind_does(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let before = Instant::now();
    let lease = world.take(5).await;
    let waiter = world.wait(5).await;
    drop(lease);
    settle().await;
    assert_eq!(waiter.is_waiting(), kind.comes_back != Refill::OnRelease);
    world.replenish().await;
    let (lease, at) = waiter.end().await;
    assert!(lease.expect("an answer").is_acquired());
    match kind.comes_back {
        Refill::OnRelease | Refill::ByHand => assert_eq!(at, before),
        Refill::After(span) => {
            assert!(at > before && at <= before + span + Duration::from_millis(2), "{:?}", at - before);
        }
    }
}

pub async fn a_lease_outlives_the_handles_of_its_limiter(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let other = world.limiter(KEY, NO_QUEUE);
    let lease = take(&other, 3).await;
    drop(other);
    assert_eq!(world.available().await, 2);
    lease.cancel().await.expect("it is given back");
    assert_eq!(world.available().await, 5);
}

pub async fn a_lease_may_be_dropped_on_any_thread(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(3).await;
    std::thread::spawn(move || drop(lease)).join().expect("no panic");
    settle().await;
    assert_eq!(world.available().await, free_after_release(kind));
}

pub async fn what_nobody_gives_back_comes_back_by_itself(kind: &'static Fixture) {
    let Some(span) = kind.by_itself else { return };
    let world = World::new(kind, 5, oldest_first(5)).await;
    std::mem::forget(world.take(5).await);
    let waiter = world.wait(5).await;
    let before = Instant::now();
    let (lease, at) = waiter.end().await;
    assert!(lease.expect("an answer").is_acquired());
    assert!(at > before && at <= before + span + Duration::from_secs(3), "{:?}", at - before);
}

pub async fn a_ledger_that_was_away_is_told_when_it_is_back(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(3).await;
    world.ledger.set_down(true);
    let cancelling = tokio::spawn(lease.cancel());
    advance(Duration::from_millis(500)).await;
    world.ledger.set_down(false);
    cancelling.await.expect("no panic").expect("it is given back");
    assert_eq!(world.available().await, 5);
    world.limiter.statistics().await.expect("an answer");
}
