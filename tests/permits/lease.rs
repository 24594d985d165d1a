//! The permits that a lease frees when it is dropped, released or cancelled.

use std::time::Duration;

use ledger_limiter::client::permits::Permits;
use tokio::time::{Instant, advance};

use super::world::*;

/// The permits of five that are free after a lease of three is released.
fn free_after_release(kind: &KindFixture) -> u128 {
    match kind.freed_by {
        FreedBy::Release => 5,
        FreedBy::Time(_) | FreedBy::ManualRefill => 2,
    }
}

pub async fn a_dropped_lease_frees_permits_by_its_kind(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    drop(world.take(3).await);
    run_tasks().await;
    assert_eq!(world.available().await, free_after_release(kind));
}

pub async fn a_released_lease_frees_permits_by_its_kind(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    world.take(3).await.release().await.expect("it is released");
    assert_eq!(world.available().await, free_after_release(kind));
    run_tasks().await;
    assert_eq!(world.available().await, free_after_release(kind), "it is released once");
}

pub async fn a_cancelled_lease_frees_all_permits(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(3).await;
    lease.cancel().await.expect("it is released");
    assert_eq!(world.available().await, 5);
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 1, failed: 0 }, "it counts as acquired");
}

pub async fn leases_are_released_one_by_one(kind: &'static KindFixture) {
    let world = World::new(kind, 6, NO_QUEUE).await;
    let [first, second, third] = [world.take(1).await, world.take(2).await, world.take(3).await];
    second.cancel().await.expect("it is released");
    assert_eq!(world.available().await, 2);
    third.cancel().await.expect("it is released");
    assert_eq!(world.available().await, 5);
    first.cancel().await.expect("it is released");
    assert_eq!(world.available().await, 6);
}

pub async fn a_failed_lease_releases_nothing(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let _lease = world.take(5).await;
    world.fail(1).await.release().await.expect("nothing to do");
    world.fail(1).await.cancel().await.expect("nothing to do");
    drop(world.fail(1).await);
    run_tasks().await;
    assert_eq!(world.available().await, 0);
}

pub async fn an_acquired_lease_has_permits_and_no_failure(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(3).await;
    assert!(lease.is_acquired());
    assert_eq!(lease.permits(), 3);
    assert_eq!(lease.failure(), None);
    assert_eq!(lease.retry_after(), None);
}

pub async fn a_cancelled_lease_serves_a_waiter_at_once(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let lease = world.take(5).await;
    let waiter = world.wait(5).await;
    advance(Duration::from_millis(1)).await;
    lease.cancel().await.expect("it is released");
    run_tasks().await;
    let _five = waiter.acquired_at_once().await;
}

pub async fn a_dropped_lease_serves_a_waiter_by_its_kind(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let before = Instant::now();
    let lease = world.take(5).await;
    let waiter = world.wait(5).await;
    drop(lease);
    run_tasks().await;
    assert_eq!(waiter.is_waiting(), kind.freed_by != FreedBy::Release);
    world.replenish().await;
    let (lease, at) = waiter.end().await;
    assert!(lease.expect("an answer").is_acquired());
    match kind.freed_by {
        FreedBy::Release | FreedBy::ManualRefill => assert_eq!(at, before),
        FreedBy::Time(span) => {
            assert!(at > before && at <= before + span + Duration::from_millis(2), "{:?}", at - before);
        }
    }
}

pub async fn a_lease_outlives_the_handles_of_its_limiter(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let other = world.limiter(KEY, NO_QUEUE);
    let lease = take(&other, 3).await;
    drop(other);
    assert_eq!(world.available().await, 2);
    lease.cancel().await.expect("it is released");
    assert_eq!(world.available().await, 5);
}

pub async fn a_lease_may_be_dropped_on_any_thread(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(3).await;
    std::thread::spawn(move || drop(lease)).join().expect("no panic");
    run_tasks().await;
    assert_eq!(world.available().await, free_after_release(kind));
}

pub async fn a_lease_that_is_never_released_frees_its_permits_in_time(kind: &'static KindFixture) {
    let Some(span) = kind.freed_without_release else { return };
    let world = World::new(kind, 5, oldest_first(5)).await;
    std::mem::forget(world.take(5).await);
    let waiter = world.wait(5).await;
    let before = Instant::now();
    let (lease, at) = waiter.end().await;
    assert!(lease.expect("an answer").is_acquired());
    assert!(at > before && at <= before + span + Duration::from_secs(3), "{:?}", at - before);
}

pub async fn a_release_waits_for_a_ledger_that_is_down(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(3).await;
    world.ledger.set_down(true);
    let cancelling = tokio::spawn(lease.cancel());
    advance(Duration::from_millis(500)).await;
    world.ledger.set_down(false);
    cancelling.await.expect("no panic").expect("it is released");
    assert_eq!(world.available().await, 5);
    world.limiter.statistics().await.expect("an answer");
}
