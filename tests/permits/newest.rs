//! Queues whose newest are served first.

use std::time::Duration;

use ledger_limiter::client::permits::FailureReason;

use super::world::*;

pub async fn the_newest_is_served_first(kind: &'static Fixture) {
    let world = World::new(kind, 5, newest_first(15)).await;
    let mut lease = world.take(5).await;
    let mut waiters = Vec::new();
    for _ in 0..3 {
        waiters.push(world.wait(5).await);
    }
    while let Some(newest) = waiters.pop() {
        world.come_back(lease).await;
        lease = newest.acquired_at_once().await;
        assert!(waiters.iter().all(Waiter::is_waiting));
    }
    assert_eq!(world.counts().await, (0, 4, 0));
}

pub async fn newcomers_may_take_what_is_free(kind: &'static Fixture) {
    let world = World::new(kind, 10, newest_first(20)).await;
    let _lease = world.take(7).await;
    let large = world.wait(5).await;
    let _attempted = world.take(1).await;
    let _acquired = world.wait(2).await.acquired_at_once().await;
    assert!(large.is_waiting());
    assert_eq!(world.available().await, 0);
    assert_eq!(world.counts().await, (5, 3, 0));
}

pub async fn a_large_newest_holds_up_the_older(kind: &'static Fixture) {
    let world = World::new(kind, 10, newest_first(20)).await;
    let lease = world.take(8).await;
    let small = world.wait(3).await;
    let large = world.wait(9).await;
    world.come_back(lease).await;
    let lease = large.acquired_at_once().await;
    assert!(small.is_waiting(), "one is free, and it wants three");
    world.come_back(lease).await;
    let _three = small.acquired_at_once().await;
}

pub async fn without_the_large_newest_the_older_are_served(kind: &'static Fixture) {
    let world = World::new(kind, 10, newest_first(20)).await;
    let lease = world.take(10).await;
    let small = world.wait(3).await;
    let large = world.wait(9).await;
    large.cancel().await;
    world.come_back(lease).await;
    let _three = small.acquired_at_once().await;
    assert_eq!(world.counts().await, (0, 2, 0));
}

pub async fn a_full_queue_lets_its_oldest_go(kind: &'static Fixture) {
    let world = World::new(kind, 5, newest_first(5)).await;
    let lease = world.take(5).await;
    let (oldest, newer) = (world.wait(3).await, world.wait(2).await);
    let newest = world.wait(3).await;
    let (failed, _) = oldest.end().await;
    let failed = failed.expect("an answer");
    assert_eq!(failed.failure(), Some(FailureReason::Evicted));
    assert!(failed.retry_after().is_some_and(|span| span > Duration::ZERO));
    assert!(newer.is_waiting() && newest.is_waiting());
    assert_eq!(world.counts().await, (5, 1, 1));
    world.come_back(lease).await;
    let (_newest, _newer) = (newest.acquired_at_once().await, newer.acquired_at_once().await);
    assert_eq!(world.counts().await, (0, 3, 1));
}

pub async fn as_many_have_to_go_as_must(kind: &'static Fixture) {
    let world = World::new(kind, 5, newest_first(5)).await;
    let _lease = world.take(5).await;
    let old = [world.wait(2).await, world.wait(2).await];
    let kept = world.wait(1).await;
    let newest = world.wait(3).await;
    for waiter in old {
        assert_eq!(waiter.failed().await, FailureReason::Evicted);
    }
    assert!(kept.is_waiting() && newest.is_waiting());
    assert_eq!(world.counts().await, (4, 1, 2));
}

pub async fn more_than_the_queue_takes_fails_and_nobody_has_to_go(kind: &'static Fixture) {
    let world = World::new(kind, 10, newest_first(5)).await;
    let _lease = world.take(10).await;
    let waiters = [world.wait(3).await, world.wait(2).await];
    assert_eq!(world.wait(6).await.failed().await, FailureReason::QueueFull);
    assert!(waiters.iter().all(Waiter::is_waiting));
    assert_eq!(world.counts().await, (5, 1, 1));
}

pub async fn as_much_as_the_queue_takes_drives_all_out(kind: &'static Fixture) {
    let world = World::new(kind, 10, newest_first(5)).await;
    let lease = world.take(10).await;
    let waiters = [world.wait(3).await, world.wait(2).await, world.wait(0).await];
    let newest = world.wait(5).await;
    let [first, second, nothing] = waiters;
    assert_eq!(first.failed().await, FailureReason::Evicted);
    assert_eq!(second.failed().await, FailureReason::Evicted);
    assert!(nothing.is_waiting(), "that one has no permits to give up");
    world.come_back(lease).await;
    let (_newest, _nothing) = (newest.acquired_at_once().await, nothing.acquired_at_once().await);
}

pub async fn without_a_queue_nobody_waits(kind: &'static Fixture) {
    let world = World::new(kind, 5, newest_first(0)).await;
    let _lease = world.take(5).await;
    assert_eq!(world.wait(1).await.failed().await, FailureReason::QueueFull);
    assert_eq!(world.counts().await, (0, 1, 1));
}

pub async fn those_who_fit_together_are_served_together(kind: &'static Fixture) {
    let world = World::new(kind, 10, newest_first(20)).await;
    let lease = world.take(10).await;
    let [first, second, third] = [world.wait(1).await, world.wait(4).await, world.wait(6).await];
    world.come_back(lease).await;
    let _leases = [third.acquired_at_once().await, second.acquired_at_once().await];
    assert!(first.is_waiting());
    assert_eq!(world.counts().await, (1, 3, 0));
}
