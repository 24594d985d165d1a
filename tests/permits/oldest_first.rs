//! Queues that serve the oldest waiter first.

use std::time::Duration;

use ledger_limiter::client::permits::{FailureReason, Permits};
use tokio::time::Instant;

use super::world::*;

pub async fn a_caller_without_room_waits_and_is_served(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let lease = world.take(5).await;
    let waiter = world.wait(3).await;
    assert!(waiter.is_waiting());
    assert_eq!(world.counts().await, Counts { queued: 3, granted: 1, failed: 0 });
    world.free(lease).await;
    assert_eq!(waiter.acquired_at_once().await.permits(), 3);
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 2, failed: 0 });
}

pub async fn a_caller_with_room_does_not_wait(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let before = Instant::now();
    let lease = world.limiter.acquire(5).await.expect("an answer");
    assert!(lease.is_acquired());
    assert_eq!(Instant::now(), before);
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 1, failed: 0 });
}

pub async fn a_caller_without_a_queue_does_not_wait(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let _lease = world.take(5).await;
    let before = Instant::now();
    let failed = world.limiter.acquire(1).await.expect("an answer");
    assert_eq!(Instant::now(), before);
    assert_eq!(failed.failure(), Some(FailureReason::QueueFull));
    assert!(failed.retry_after().is_some_and(|span| span > Duration::ZERO));
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 1, failed: 1 });
}

pub async fn the_queue_is_bounded_in_permits(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let _lease = world.take(5).await;
    let waiters = [world.wait(3).await, world.wait(2).await];
    let late = world.wait(1).await;
    assert_eq!(late.failed().await, FailureReason::QueueFull);
    assert!(waiters.iter().all(Waiter::is_waiting), "no waiter is evicted");
    assert_eq!(world.counts().await, Counts { queued: 5, granted: 1, failed: 1 });
}

pub async fn more_permits_than_the_queue_holds_fail_at_once(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(3)).await;
    let _lease = world.take(5).await;
    assert_eq!(world.wait(4).await.failed().await, FailureReason::QueueFull);
    let waiter = world.wait(3).await;
    assert!(waiter.is_waiting());
}

pub async fn a_full_queue_has_a_retry_after(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(2)).await;
    let _lease = world.take(5).await;
    let _waiter = world.wait(2).await;
    let failed = world.limiter.acquire(1).await.expect("an answer");
    assert!(failed.retry_after().is_some_and(|span| span > Duration::ZERO));
}

pub async fn the_oldest_waiter_is_served_first(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(15)).await;
    let mut lease = world.take(5).await;
    let mut waiters = Vec::new();
    for _ in 0..3 {
        waiters.push(world.wait(5).await);
    }
    while !waiters.is_empty() {
        world.free(lease).await;
        lease = waiters.remove(0).acquired_at_once().await;
        assert!(waiters.iter().all(Waiter::is_waiting));
    }
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 4, failed: 0 });
}

pub async fn waiters_that_fit_together_are_served_together(kind: &'static KindFixture) {
    let world = World::new(kind, 10, oldest_first(20)).await;
    let lease = world.take(10).await;
    let waiters = [world.wait(4).await, world.wait(5).await, world.wait(1).await, world.wait(1).await];
    world.free(lease).await;
    let [first, second, third, fourth] = waiters;
    let _leases =
        [first.acquired_at_once().await, second.acquired_at_once().await, third.acquired_at_once().await];
    assert!(fourth.is_waiting());
    assert_eq!(world.counts().await, Counts { queued: 1, granted: 4, failed: 0 });
}

pub async fn new_callers_do_not_bypass_the_queue(kind: &'static KindFixture) {
    let world = World::new(kind, 10, oldest_first(20)).await;
    let lease = world.take(7).await;
    let large = world.wait(5).await;
    let failed = world.fail(1).await;
    assert_eq!(failed.failure(), Some(FailureReason::NoRoom));
    assert!(failed.retry_after().is_some_and(|span| span > Duration::ZERO));
    let small = world.wait(1).await;
    assert!(
        large.is_waiting() && small.is_waiting(),
        "three permits are free, and the first waiter wants five"
    );
    assert_eq!(world.available().await, 3);
    assert_eq!(world.counts().await, Counts { queued: 6, granted: 1, failed: 1 });
    world.free(lease).await;
    let (_large, _small) = (large.acquired_at_once().await, small.acquired_at_once().await);
}

pub async fn without_a_large_first_waiter_the_others_are_served(kind: &'static KindFixture) {
    let world = World::new(kind, 10, oldest_first(20)).await;
    let _lease = world.take(7).await;
    let large = world.wait(8).await;
    let (small, medium) = (world.wait(1).await, world.wait(2).await);
    large.cancel().await;
    let (_small, _medium) = (small.acquired_at_once().await, medium.acquired_at_once().await);
    assert_eq!(world.available().await, 0);
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 3, failed: 0 });
}

pub async fn freed_permits_go_to_the_waiters(kind: &'static KindFixture) {
    let world = World::new(kind, 10, oldest_first(20)).await;
    let lease = world.take(10).await;
    let waiter = world.wait(10).await;
    world.free(lease).await;
    let _failed = world.fail(1).await;
    let _all = waiter.acquired_at_once().await;
}

pub async fn new_callers_take_free_permits_when_the_queue_is_empty(kind: &'static KindFixture) {
    let world = World::new(kind, 10, oldest_first(20)).await;
    let lease = world.take(10).await;
    let waiter = world.wait(4).await;
    world.free(lease).await;
    let _four = waiter.acquired_at_once().await;
    let _six = world.take(6).await;
    assert!(world.wait(1).await.is_waiting(), "it begins a new queue");
}

pub async fn a_served_waiter_frees_its_room_in_the_queue(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let mut lease = world.take(5).await;
    for _ in 0..3 {
        let waiter = world.wait(5).await;
        assert_eq!(world.wait(1).await.failed().await, FailureReason::QueueFull);
        world.free(lease).await;
        lease = waiter.acquired_at_once().await;
    }
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 4, failed: 3 });
}

pub async fn a_waiter_above_a_lowered_capacity_gets_an_error(kind: &'static KindFixture) {
    let world = World::new(kind, 10, oldest_first(20)).await;
    let lease = world.take(4).await;
    let waiters = [world.wait(8).await, world.wait(6).await];
    world.put(KEY, 6).await;
    world.free(lease).await;
    let [large, small] = waiters;
    large.end().await.0.expect_err("it is above the new capacity");
    let _six = small.acquired().await;
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 2, failed: 0 });
}

pub async fn only_the_first_waiter_asks_the_ledger(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(100)).await;
    let _lease = world.take(5).await;
    let _first = world.wait(5).await;
    let before = world.ledger.chains();
    let waiters: Vec<Waiter> = vec![world.wait(1).await, world.wait(2).await, world.wait(3).await];
    assert_eq!(world.ledger.chains(), before, "the others wait for the first");
    assert!(waiters.iter().all(Waiter::is_waiting));
}
