//! Calls for 0 permits, which ask whether any permit is free.

use std::time::Duration;

use ledger_limiter::client::permits::{FailureReason, Permits};

use super::world::*;

pub async fn zero_permits_are_acquired_when_any_permit_is_free(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let _lease = world.take(4).await;
    let attempted = world.take(0).await;
    let acquired = world.limiter.acquire(0).await.expect("an answer");
    assert!(acquired.is_acquired());
    assert_eq!(attempted.permits(), 0);
    assert_eq!(acquired.permits(), 0);
    assert_eq!(world.available().await, 1, "it takes nothing");
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 3, failed: 0 });
    drop(attempted);
    acquired.release().await.expect("it is released");
    run_tasks().await;
    assert_eq!(world.available().await, 1, "it frees nothing");
}

pub async fn an_attempt_for_zero_permits_fails_when_all_are_taken(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(5).await;
    let failed = world.fail(0).await;
    assert_eq!(failed.failure(), Some(FailureReason::NoRoom));
    assert!(failed.retry_after().is_some_and(|span| span > Duration::ZERO));
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 1, failed: 1 });
    world.free(lease).await;
    let _zero = world.take(0).await;
}

pub async fn a_waiter_for_zero_permits_waits_until_any_permit_is_free(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(10)).await;
    let lease = world.take(5).await;
    let waiter = world.wait(0).await;
    assert!(waiter.is_waiting());
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 1, failed: 0 }, "its 0 permits are queued");
    world.free(lease).await;
    assert_eq!(waiter.acquired_at_once().await.permits(), 0);
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 2, failed: 0 });
    assert_eq!(world.available().await, 5);
}

pub async fn a_waiter_for_zero_permits_needs_no_room_in_the_queue(kind: &'static KindFixture) {
    for options in BOTH_ORDERS {
        for queued in [0, 3] {
            let world = World::new(kind, 5, options(queued)).await;
            let lease = world.take(5).await;
            let first = if queued > 0 { Some(world.wait(queued).await) } else { None };
            let waiter = world.wait(0).await;
            assert!(waiter.is_waiting() && first.as_ref().is_none_or(Waiter::is_waiting));
            world.free(lease).await;
            let _zero = waiter.acquired().await;
        }
    }
}

pub async fn waiters_for_zero_permits_are_served_together(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(0)).await;
    let lease = world.take(5).await;
    let waiters = [world.wait(0).await, world.wait(0).await, world.wait(0).await];
    world.free(lease).await;
    for waiter in waiters {
        let _zero = waiter.acquired_at_once().await;
    }
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 4, failed: 0 });
}

pub async fn a_waiter_for_zero_permits_delays_no_other_waiter(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(10)).await;
    let lease = world.take(5).await;
    let zero = world.wait(0).await;
    let all = world.wait(5).await;
    world.free(lease).await;
    let _zero = zero.acquired_at_once().await;
    let _all = all.acquired_at_once().await;
}

pub async fn zero_permits_bypass_the_queue(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(10)).await;
    let _lease = world.take(3).await;
    let large = world.wait(4).await;
    let _attempted = world.take(0).await;
    let _acquired = world.wait(0).await.acquired_at_once().await;
    assert!(large.is_waiting());
    assert_eq!(world.counts().await, Counts { queued: 4, granted: 3, failed: 0 });
}

pub async fn a_waiter_for_zero_permits_keeps_its_position(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(10)).await;
    let lease = world.take(5).await;
    let (all, zero) = (world.wait(5).await, world.wait(0).await);
    world.free(lease).await;
    let lease = all.acquired_at_once().await;
    assert!(zero.is_waiting(), "the waiter before it took all permits");
    world.free(lease).await;
    let _zero = zero.acquired_at_once().await;
}

pub async fn a_cancelled_waiter_for_zero_permits_is_not_counted(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(5).await;
    world.wait(0).await.cancel().await;
    world.free(lease).await;
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 1, failed: 0 });
}
