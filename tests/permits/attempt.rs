//! Attempts to acquire permits, which never wait.

use std::time::Duration;

use ledger_limiter::client::permits::{FailureReason, PermitError, Permits};
use tokio::time::{Instant, advance};

use super::world::*;
use crate::fixtures::key;

pub async fn a_fresh_limiter_has_its_whole_capacity_free(kind: &'static KindFixture) {
    let world = World::new(kind, 10, NO_QUEUE).await;
    assert_eq!(world.available().await, 10);
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 0, failed: 0 });
}

pub async fn permits_are_acquired_up_to_the_capacity(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let mut leases = Vec::new();
    for taken in 1..=5 {
        leases.push(world.take(1).await);
        assert_eq!(world.available().await, 5 - taken);
    }
    let _failed = world.fail(1).await;
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 5, failed: 1 });
}

pub async fn the_whole_capacity_can_be_acquired_at_once(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let _lease = world.take(5).await;
    assert_eq!(world.available().await, 0);
    let _failed = world.fail(1).await;
}

pub async fn a_failed_attempt_has_a_reason_and_a_retry_after(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let _lease = world.take(5).await;
    let failed = world.fail(2).await;
    assert_eq!(failed.failure(), Some(FailureReason::NoRoom));
    assert!(failed.retry_after().is_some_and(|span| span > Duration::ZERO));
    assert_eq!(failed.permits(), 0);
}

pub async fn a_failed_attempt_takes_nothing(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let _lease = world.take(3).await;
    drop(world.fail(3).await);
    run_tasks().await;
    assert_eq!(world.available().await, 2);
    let _rest = world.take(2).await;
}

pub async fn more_than_the_capacity_is_an_error(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(100)).await;
    for permits in [6, 100, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        let attempted = world.limiter.attempt_acquire(permits).await.expect_err("it is above the capacity");
        let acquired = world.limiter.acquire(permits).await.expect_err("it is above the capacity");
        for error in [attempted, acquired] {
            let PermitError::ExceedsCapacity { key, permits: wanted, capacity } = error else {
                panic!("{error:?}");
            };
            assert_eq!(key.as_str(), KEY);
            assert_eq!(wanted, permits);
            assert_eq!(capacity, 5);
        }
    }
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 0, failed: 0 }, "an error is not counted");
    assert_eq!(world.available().await, 5);
}

pub async fn more_than_the_capacity_is_an_error_behind_a_queue_too(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(100)).await;
    let _lease = world.take(5).await;
    let waiter = world.wait(5).await;
    let error = world.limiter.acquire(6).await.expect_err("it is above the capacity");
    assert!(matches!(error, PermitError::ExceedsCapacity { .. }), "{error:?}");
    assert!(waiter.is_waiting());
    assert_eq!(world.counts().await, Counts { queued: 5, granted: 1, failed: 0 });
}

pub async fn an_unknown_limit_is_an_error_until_it_is_defined(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let limiter = world.limiter("later", NO_QUEUE);
    for permits in [0, 1] {
        let errors = [
            limiter.attempt_acquire(permits).await.expect_err("it is not defined"),
            limiter.acquire(permits).await.expect_err("it is not defined"),
            limiter.statistics().await.expect_err("it is not defined"),
            limiter.idle_duration().await.expect_err("it is not defined"),
        ];
        for error in errors {
            assert!(matches!(error, PermitError::UnknownLimit { .. }), "{error:?}");
        }
    }
    world.put("later", 3).await;
    let _lease = take(&limiter, 3).await;
}

pub async fn a_deleted_limit_is_unknown(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    world.home.admin().delete(&key(KEY)).await.expect("the ledger answers");
    let error = world.limiter.attempt_acquire(1).await.expect_err("it was deleted");
    assert!(matches!(error, PermitError::UnknownLimit { .. }), "{error:?}");
}

pub async fn a_raised_capacity_counts_at_once(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let _lease = world.take(5).await;
    world.limiter.attempt_acquire(8).await.expect_err("it is above the capacity");
    world.put(KEY, 8).await;
    assert_eq!(world.available().await, 3);
    let _more = world.take(3).await;
    let _failed = world.fail(8).await;
}

pub async fn freed_permits_are_acquired_again(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    for _ in 0..3 {
        let lease = world.take(5).await;
        let _failed = world.fail(1).await;
        world.free(lease).await;
        assert_eq!(world.available().await, 5);
    }
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 3, failed: 3 });
}

pub async fn there_is_room_after_retry_after(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(5).await;
    advance(Duration::from_millis(1_234)).await;
    let retry_after = world.fail(5).await.retry_after().expect("it has a retry-after");
    match kind.freed_by {
        // The hint is an estimate.
        FreedBy::Release | FreedBy::ManualRefill => {
            assert!(retry_after <= Duration::from_millis(250), "{retry_after:?}");
        }
        FreedBy::Time(span) => {
            drop(lease);
            let before = Instant::now();
            advance(retry_after - Duration::from_millis(2)).await;
            let _failed = world.fail(5).await;
            tokio::time::sleep_until(before + retry_after).await;
            let _lease = world.take(5).await;
            assert!(retry_after <= span, "no longer than the span of the limit");
        }
    }
}

pub async fn permits_taken_through_another_limiter_are_taken(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let other = world.limiter(KEY, NO_QUEUE);
    let lease = take(&other, 3).await;
    assert_eq!(world.available().await, 2);
    let _failed = world.fail(3).await;
    assert_eq!(
        world.counts().await,
        Counts { queued: 0, granted: 0, failed: 1 },
        "each counts its own leases"
    );
    world.free(lease).await;
    let _lease = world.take(5).await;
}

pub async fn concurrent_attempts_never_exceed_the_capacity(kind: &'static KindFixture) {
    let world = World::new(kind, 7, NO_QUEUE).await;
    let mut waiters = Vec::new();
    for _ in 0..20 {
        let limiter = world.limiter.clone();
        waiters.push(tokio::spawn(async move { limiter.attempt_acquire(1).await.expect("an answer") }));
    }
    let mut leases = Vec::new();
    for waiter in waiters {
        leases.push(waiter.await.expect("no panic"));
    }
    assert_eq!(leases.iter().filter(|lease| lease.is_acquired()).count(), 7);
    assert_eq!(world.available().await, 0);
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 7, failed: 13 });
}

pub async fn a_ledger_that_is_down_is_an_error(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    world.ledger.set_down(true);
    let error = world.limiter.attempt_acquire(1).await.expect_err("the ledger is down");
    assert!(matches!(error, PermitError::Call(_)), "{error:?}");
    world.ledger.set_down(false);
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 0, failed: 0 }, "an error is not counted");
    world.limiter.shutdown().await;
    assert_eq!(world.available_to_new_limiter().await, 5, "nothing stays taken");
}
