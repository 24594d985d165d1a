//! Calls that are cancelled.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use ledger_limiter::client::permits::{FailureReason, PermitError, Permits};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::world::*;

pub async fn a_cancelled_waiter_frees_its_room_in_the_queue(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let lease = world.take(5).await;
    let first = world.wait(5).await;
    assert_eq!(world.wait(5).await.failed().await, FailureReason::QueueFull);
    first.cancel().await;
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 1, failed: 1 });
    let second = world.wait(5).await;
    assert!(second.is_waiting());
    world.free(lease).await;
    let _five = second.acquired_at_once().await;
}

pub async fn a_cancelled_waiter_is_not_counted(kind: &'static KindFixture) {
    for options in BOTH_ORDERS {
        let world = World::new(kind, 5, options(20)).await;
        let lease = world.take(5).await;
        for permits in [5, 1, 3, 0] {
            world.wait(permits).await.cancel().await;
        }
        assert_eq!(world.counts().await, Counts { queued: 0, granted: 1, failed: 0 });
        world.free(lease).await;
        assert_eq!(world.available().await, 5);
        assert_eq!(world.counts().await, Counts { queued: 0, granted: 1, failed: 0 });
    }
}

pub async fn waiters_behind_a_cancelled_one_are_served(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(20)).await;
    let lease = world.take(5).await;
    let [first, second, third] = [world.wait(5).await, world.wait(5).await, world.wait(5).await];
    second.cancel().await;
    world.free(lease).await;
    let lease = first.acquired_at_once().await;
    assert!(third.is_waiting());
    world.free(lease).await;
    let _five = third.acquired_at_once().await;
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 3, failed: 0 });
}

pub async fn a_token_cancels_a_waiter(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let _lease = world.take(5).await;
    let token = CancellationToken::new();
    let before = Instant::now();
    let cancelling = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        token.cancel();
    };
    let (acquired, ()) = tokio::join!(world.limiter.acquire_unless_cancelled(5, &token), cancelling);
    assert!(matches!(acquired, Err(PermitError::Cancelled)), "{acquired:?}");
    assert_eq!(before.elapsed().as_millis(), 20);
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 1, failed: 0 });
}

pub async fn a_cancelled_token_takes_nothing_even_with_room(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let token = CancellationToken::new();
    token.cancel();
    for permits in [0, 5] {
        let acquired = world.limiter.acquire_unless_cancelled(permits, &token).await;
        assert!(matches!(acquired, Err(PermitError::Cancelled)), "{acquired:?}");
    }
    assert_eq!(world.available().await, 5);
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 0, failed: 0 });
}

pub async fn a_token_that_is_not_cancelled_changes_nothing(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let token = CancellationToken::new();
    let lease = world.limiter.acquire_unless_cancelled(5, &token).await.expect("there is room");
    token.cancel();
    assert!(lease.is_acquired(), "a token cancelled after the grant changes nothing");
    assert_eq!(world.available().await, 0);
}

pub async fn a_waiter_cancelled_after_its_reply_frees_all_permits(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(10)).await;
    let lease = world.take(5).await;
    let limiter = world.limiter.clone();
    {
        let mut acquiring = pin!(limiter.acquire(5));
        poll_until_queued(&world, acquiring.as_mut()).await;
        world.free(lease).await;
        assert_eq!(world.available().await, 0, "it was served");
    }
    run_tasks().await;
    assert_eq!(world.available().await, 5);
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 1, failed: 0 });
}

pub async fn an_undelivered_lease_goes_to_the_next_waiter(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(10)).await;
    let lease = world.take(5).await;
    let limiter = world.limiter.clone();
    let next = {
        let mut acquiring = pin!(limiter.acquire(5));
        poll_until_queued(&world, acquiring.as_mut()).await;
        let next = world.wait(5).await;
        world.free(lease).await;
        assert!(next.is_waiting());
        next
    };
    let _five = next.acquired_at_once().await;
}

/// Cancels a call after every number of polls, with room and without.
pub async fn a_call_cancelled_at_any_poll_leaves_nothing_taken(kind: &'static KindFixture) {
    for taken in [0, 5] {
        for polls in 1.. {
            let world = World::new(kind, 5, oldest_first(10)).await;
            let lease = if taken > 0 { Some(world.take(taken).await) } else { None };
            let is_done = {
                let mut acquiring = pin!(world.limiter.acquire(3));
                let mut is_done = false;
                for _ in 0..polls {
                    is_done = is_done || is_ready(acquiring.as_mut()).await;
                    tokio::task::yield_now().await;
                }
                is_done
            };
            if is_done {
                break;
            }
            if let Some(lease) = lease {
                world.free(lease).await;
            }
            run_tasks().await;
            assert_eq!(world.available().await, 5, "{taken} taken, cancelled after {polls} polls");
            assert_eq!(world.counts().await.queued, 0);
            if polls > 60 {
                break;
            }
        }
    }
}

/// Cancels a waiter at every point while the worker serves it.
pub async fn a_waiter_cancelled_while_it_is_served_leaves_nothing_taken(kind: &'static KindFixture) {
    for yields in 0..30 {
        let world = World::new(kind, 5, oldest_first(10)).await;
        let lease = world.take(5).await;
        let waiter = world.wait(3).await;
        lease.cancel().await.expect("it is released");
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        if !waiter.is_waiting() {
            return;
        }
        waiter.cancel().await;
        assert_eq!(world.available().await, 5, "cancelled after {yields} yields");
        assert_eq!(world.counts().await, Counts { queued: 0, granted: 1, failed: 0 });
    }
}

/// Polls a call until it waits in the queue. Until then it makes no other call, because the other call might wait for
/// this one.
async fn poll_until_queued(world: &World, mut acquiring: Pin<&mut impl Future>) {
    for _ in 0..100 {
        assert!(!is_ready(acquiring.as_mut()).await, "there is no room");
        tokio::task::yield_now().await;
    }
    assert_ne!(world.counts().await.queued, 0, "the call waits");
}

async fn is_ready(mut future: Pin<&mut impl Future>) -> bool {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}
