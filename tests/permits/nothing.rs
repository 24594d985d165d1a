//! No permits at all: whether any are free.

use std::time::Duration;

use ledger_limiter::client::permits::{FailureReason, Permits};

use super::world::*;

pub async fn nothing_is_acquired_when_anything_is_free(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let _lease = world.take(4).await;
    let attempted = world.take(0).await;
    let acquired = world.limiter.acquire(0).await.expect("an answer");
    assert!(acquired.is_acquired());
    assert_eq!((attempted.permits(), acquired.permits()), (0, 0));
    assert_eq!(world.available().await, 1, "it takes nothing");
    assert_eq!(world.counts().await, (0, 3, 0));
    drop(attempted);
    acquired.release().await.expect("there is nothing to give back");
    settle().await;
    assert_eq!(world.available().await, 1, "and gives nothing back");
}

pub async fn an_attempt_for_nothing_fails_when_all_is_taken(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(5).await;
    let failed = world.fail(0).await;
    assert_eq!(failed.failure(), Some(FailureReason::NoRoom));
    assert!(failed.retry_after().is_some_and(|span| span > Duration::ZERO));
    assert_eq!(world.counts().await, (0, 1, 1));
    world.come_back(lease).await;
    let _nothing = world.take(0).await;
}

pub async fn who_wants_nothing_waits_until_anything_is_free(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(10)).await;
    let lease = world.take(5).await;
    let waiter = world.wait(0).await;
    assert!(waiter.is_waiting());
    assert_eq!(world.counts().await, (0, 1, 0), "it is waited for, with no permits");
    world.come_back(lease).await;
    assert_eq!(waiter.acquired_at_once().await.permits(), 0);
    assert_eq!(world.counts().await, (0, 2, 0));
    assert_eq!(world.available().await, 5);
}

pub async fn who_wants_nothing_needs_no_place(kind: &'static Fixture) {
    for options in BOTH_ORDERS {
        for places in [0, 3] {
            let world = World::new(kind, 5, options(places)).await;
            let lease = world.take(5).await;
            let first = if places > 0 { Some(world.wait(places).await) } else { None };
            let waiter = world.wait(0).await;
            assert!(waiter.is_waiting() && first.as_ref().is_none_or(Waiter::is_waiting));
            world.come_back(lease).await;
            let _nothing = waiter.acquired().await;
        }
    }
}

pub async fn those_who_want_nothing_are_served_together(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(0)).await;
    let lease = world.take(5).await;
    let waiters = [world.wait(0).await, world.wait(0).await, world.wait(0).await];
    world.come_back(lease).await;
    for waiter in waiters {
        let _nothing = waiter.acquired_at_once().await;
    }
    assert_eq!(world.counts().await, (0, 4, 0));
}

pub async fn those_who_want_nothing_hold_nobody_up(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(10)).await;
    let lease = world.take(5).await;
    let waiter = world.wait(0).await;
    let behind = world.wait(5).await;
    world.come_back(lease).await;
    let _nothing = waiter.acquired_at_once().await;
    let _all = behind.acquired_at_once().await;
}

pub async fn nothing_is_acquired_past_a_queue(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(10)).await;
    let _lease = world.take(3).await;
    let large = world.wait(4).await;
    let _attempted = world.take(0).await;
    let _acquired = world.wait(0).await.acquired_at_once().await;
    assert!(large.is_waiting());
    assert_eq!(world.counts().await, (4, 3, 0));
}

pub async fn who_wants_nothing_keeps_its_turn(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(10)).await;
    let lease = world.take(5).await;
    let (all, nothing) = (world.wait(5).await, world.wait(0).await);
    world.come_back(lease).await;
    let lease = all.acquired_at_once().await;
    assert!(nothing.is_waiting(), "who was before it took all");
    world.come_back(lease).await;
    let _nothing = nothing.acquired_at_once().await;
}

pub async fn a_cancelled_wait_for_nothing_leaves_no_trace(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(5).await;
    world.wait(0).await.cancel().await;
    world.come_back(lease).await;
    assert_eq!(world.counts().await, (0, 1, 0));
}
