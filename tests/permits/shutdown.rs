//! The shutdown of a limiter.

use ledger_limiter::client::permits::{FailureReason, PermitError, Permits};

use super::world::*;

pub async fn shutdown_fails_all_waiters(kind: &'static KindFixture) {
    for options in BOTH_ORDERS {
        let world = World::new(kind, 5, options(10)).await;
        let _lease = world.take(5).await;
        let waiters = [world.wait(5).await, world.wait(1).await, world.wait(0).await];
        world.limiter.shutdown().await;
        for waiter in waiters {
            let lease = waiter.end().await.0.expect("a failed lease is no error");
            assert_eq!(lease.failure(), Some(FailureReason::ShutDown));
            assert_eq!(lease.retry_after(), None, "no later attempt can succeed");
        }
    }
}

pub async fn calls_after_shutdown_are_errors(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    world.limiter.close();
    let limiter = &world.limiter;
    let mut errors = vec![
        limiter.statistics().await.expect_err("it is shut down"),
        limiter.idle_duration().await.expect_err("it is shut down"),
        limiter.replenish().await.expect_err("it is shut down"),
    ];
    for permits in [0, 1, 6] {
        errors.push(limiter.attempt_acquire(permits).await.expect_err("it is shut down"));
        errors.push(limiter.clone().acquire(permits).await.expect_err("it is shut down"));
    }
    for error in errors {
        assert!(matches!(error, PermitError::ShutDown), "{error:?}");
    }
    assert_eq!(world.available_to_new_limiter().await, 5);
}

pub async fn leases_can_be_released_after_shutdown(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let (released, cancelled) = (world.take(2).await, world.take(3).await);
    world.limiter.shutdown().await;
    cancelled.cancel().await.expect("it is released");
    assert_eq!(world.available_to_new_limiter().await, 3);
    world.free(released).await;
    assert_eq!(world.available_to_new_limiter().await, 5);
}

pub async fn shutdown_waits_for_background_releases(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    for _ in 0..5 {
        drop(world.take(1).await);
    }
    world.limiter.shutdown().await;
    let expected = if kind.freed_by == FreedBy::Release { 5 } else { 0 };
    assert_eq!(world.available_to_new_limiter().await, expected);
}

pub async fn a_second_shutdown_is_harmless(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let _lease = world.take(5).await;
    let waiter = world.wait(5).await;
    world.limiter.shutdown().await;
    world.limiter.shutdown().await;
    assert_eq!(waiter.failed().await, FailureReason::ShutDown);
}

pub async fn one_limiter_does_not_shut_down_another(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    world.limiter(KEY, NO_QUEUE).shutdown().await;
    let _lease = world.take(5).await;
}

pub async fn shutdown_during_a_grant_leaves_nothing_taken(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(10)).await;
    let lease = world.take(5).await;
    let waiters = [world.wait(5).await, world.wait(5).await];
    let (_, ()) = tokio::join!(lease.cancel(), world.limiter.shutdown());
    let mut acquired = 0;
    for waiter in waiters {
        let lease = waiter.end().await.0;
        if let Ok(lease) = lease.map_err(|error| assert!(matches!(error, PermitError::ShutDown), "{error:?}"))
        {
            acquired += u128::from(lease.permits());
            std::mem::forget(lease);
        }
    }
    assert_eq!(world.available_to_new_limiter().await, 5 - acquired);
}
