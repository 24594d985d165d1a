//! Queues that serve the newest waiter first.

use std::time::Duration;

use ledger_limiter::client::permits::FailureReason;

use super::world::*;

pub async fn the_newest_waiter_is_served_first(kind: &'static KindFixture) {
    let world = World::new(kind, 5, newest_first(15)).await;
    let mut lease = world.take(5).await;
    let mut waiters = Vec::new();
    for _ in 0..3 {
        waiters.push(world.wait(5).await);
    }
    while let Some(newest) = waiters.pop() {
        world.free(lease).await;
        lease = newest.acquired_at_once().await;
        assert!(waiters.iter().all(Waiter::is_waiting));
    }
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 4, failed: 0 });
}

pub async fn new_callers_take_free_permits(kind: &'static KindFixture) {
    let world = World::new(kind, 10, newest_first(20)).await;
    let _lease = world.take(7).await;
    let large = world.wait(5).await;
    let _attempted = world.take(1).await;
    let _acquired = world.wait(2).await.acquired_at_once().await;
    assert!(large.is_waiting());
    assert_eq!(world.available().await, 0);
    assert_eq!(world.counts().await, Counts { queued: 5, granted: 3, failed: 0 });
}

pub async fn a_large_newest_waiter_holds_up_older_ones(kind: &'static KindFixture) {
    let world = World::new(kind, 10, newest_first(20)).await;
    let lease = world.take(8).await;
    let small = world.wait(3).await;
    let large = world.wait(9).await;
    world.free(lease).await;
    let lease = large.acquired_at_once().await;
    assert!(small.is_waiting(), "one permit is free, and it wants three");
    world.free(lease).await;
    let _three = small.acquired_at_once().await;
}

pub async fn without_a_large_newest_waiter_older_ones_are_served(kind: &'static KindFixture) {
    let world = World::new(kind, 10, newest_first(20)).await;
    let lease = world.take(10).await;
    let small = world.wait(3).await;
    let large = world.wait(9).await;
    large.cancel().await;
    world.free(lease).await;
    let _three = small.acquired_at_once().await;
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 2, failed: 0 });
}

pub async fn a_full_queue_evicts_its_oldest_waiter(kind: &'static KindFixture) {
    let world = World::new(kind, 5, newest_first(5)).await;
    let lease = world.take(5).await;
    let (oldest, newer) = (world.wait(3).await, world.wait(2).await);
    let newest = world.wait(3).await;
    let (failed, _) = oldest.end().await;
    let failed = failed.expect("an answer");
    assert_eq!(failed.failure(), Some(FailureReason::Evicted));
    assert!(failed.retry_after().is_some_and(|span| span > Duration::ZERO));
    assert!(newer.is_waiting() && newest.is_waiting());
    assert_eq!(world.counts().await, Counts { queued: 5, granted: 1, failed: 1 });
    world.free(lease).await;
    let (_newest, _newer) = (newest.acquired_at_once().await, newer.acquired_at_once().await);
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 3, failed: 1 });
}

pub async fn only_as_many_waiters_as_needed_are_evicted(kind: &'static KindFixture) {
    let world = World::new(kind, 5, newest_first(5)).await;
    let _lease = world.take(5).await;
    let old = [world.wait(2).await, world.wait(2).await];
    let kept = world.wait(1).await;
    let newest = world.wait(3).await;
    for waiter in old {
        assert_eq!(waiter.failed().await, FailureReason::Evicted);
    }
    assert!(kept.is_waiting() && newest.is_waiting());
    assert_eq!(world.counts().await, Counts { queued: 4, granted: 1, failed: 2 });
}

pub async fn more_permits_than_the_queue_holds_fail_and_evict_no_waiter(kind: &'static KindFixture) {
    let world = World::new(kind, 10, newest_first(5)).await;
    let _lease = world.take(10).await;
    let waiters = [world.wait(3).await, world.wait(2).await];
    assert_eq!(world.wait(6).await.failed().await, FailureReason::QueueFull);
    assert!(waiters.iter().all(Waiter::is_waiting));
    assert_eq!(world.counts().await, Counts { queued: 5, granted: 1, failed: 1 });
}

pub async fn a_waiter_that_fills_the_queue_evicts_all_others(kind: &'static KindFixture) {
    let world = World::new(kind, 10, newest_first(5)).await;
    let lease = world.take(10).await;
    let waiters = [world.wait(3).await, world.wait(2).await, world.wait(0).await];
    let newest = world.wait(5).await;
    let [first, second, zero] = waiters;
    assert_eq!(first.failed().await, FailureReason::Evicted);
    assert_eq!(second.failed().await, FailureReason::Evicted);
    assert!(zero.is_waiting(), "it occupies no room in the queue");
    world.free(lease).await;
    let (_newest, _zero) = (newest.acquired_at_once().await, zero.acquired_at_once().await);
}

pub async fn a_caller_without_a_queue_does_not_wait(kind: &'static KindFixture) {
    let world = World::new(kind, 5, newest_first(0)).await;
    let _lease = world.take(5).await;
    assert_eq!(world.wait(1).await.failed().await, FailureReason::QueueFull);
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 1, failed: 1 });
}

pub async fn waiters_that_fit_together_are_served_together(kind: &'static KindFixture) {
    let world = World::new(kind, 10, newest_first(20)).await;
    let lease = world.take(10).await;
    let [first, second, third] = [world.wait(1).await, world.wait(4).await, world.wait(6).await];
    world.free(lease).await;
    let _leases = [third.acquired_at_once().await, second.acquired_at_once().await];
    assert!(first.is_waiting());
    assert_eq!(world.counts().await, Counts { queued: 1, granted: 3, failed: 0 });
}
