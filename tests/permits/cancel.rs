//! Giving up.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use ledger_limiter::client::permits::{FailureReason, PermitError, Permits};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::world::*;

pub async fn a_place_is_given_back(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let lease = world.take(5).await;
    let first = world.wait(5).await;
    assert_eq!(world.wait(5).await.failed().await, FailureReason::QueueFull);
    first.cancel().await;
    assert_eq!(world.counts().await, (0, 1, 1));
    let second = world.wait(5).await;
    assert!(second.is_waiting());
    world.come_back(lease).await;
    let _five = second.acquired_at_once().await;
}

pub async fn who_gives_up_is_not_counted(kind: &'static Fixture) {
    for options in BOTH_ORDERS {
        let world = World::new(kind, 5, options(20)).await;
        let lease = world.take(5).await;
        for permits in [5, 1, 3, 0] {
            world.wait(permits).await.cancel().await;
        }
        assert_eq!(world.counts().await, (0, 1, 0));
        world.come_back(lease).await;
        assert_eq!(world.available().await, 5);
        assert_eq!(world.counts().await, (0, 1, 0));
    }
}

pub async fn those_behind_are_served_in_its_place(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(20)).await;
    let lease = world.take(5).await;
    let [first, second, third] = [world.wait(5).await, world.wait(5).await, world.wait(5).await];
    second.cancel().await;
    world.come_back(lease).await;
    let lease = first.acquired_at_once().await;
    assert!(third.is_waiting());
    world.come_back(lease).await;
    let _five = third.acquired_at_once().await;
    assert_eq!(world.counts().await, (0, 3, 0));
}

pub async fn a_token_ends_the_waiting(kind: &'static Fixture) {
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
    assert_eq!(world.counts().await, (0, 1, 0));
}

pub async fn a_cancelled_token_takes_nothing_even_where_there_is_room(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let token = CancellationToken::new();
    token.cancel();
    for permits in [0, 5] {
        let acquired = world.limiter.acquire_unless_cancelled(permits, &token).await;
        assert!(matches!(acquired, Err(PermitError::Cancelled)), "{acquired:?}");
    }
    assert_eq!(world.available().await, 5);
    assert_eq!(world.counts().await, (0, 0, 0));
}

pub async fn a_token_that_is_not_cancelled_changes_nothing(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let token = CancellationToken::new();
    let lease = world.limiter.acquire_unless_cancelled(5, &token).await.expect("there is room");
    token.cancel();
    assert!(lease.is_acquired(), "too late");
    assert_eq!(world.available().await, 0);
}

pub async fn who_was_served_and_has_not_heard_of_it_gives_all_back(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(10)).await;
    let lease = world.take(5).await;
    let limiter = world.limiter.clone();
    {
        let mut unheard = pin!(limiter.acquire(5));
        poll_until_queued(&world, unheard.as_mut()).await;
        world.come_back(lease).await;
        assert_eq!(world.available().await, 0, "it was served");
    }
    settle().await;
    assert_eq!(world.available().await, 5);
    assert_eq!(world.counts().await, (0, 1, 0));
}

pub async fn what_was_not_heard_of_goes_to_the_next(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(10)).await;
    let lease = world.take(5).await;
    let limiter = world.limiter.clone();
    let next = {
        let mut unheard = pin!(limiter.acquire(5));
        poll_until_queued(&world, unheard.as_mut()).await;
        let next = world.wait(5).await;
        world.come_back(lease).await;
        assert!(next.is_waiting());
        next
    };
    let _five = next.acquired_at_once().await;
}

/// Gives up at every point that acquiring permits has, with room and without.
pub async fn nothing_stays_taken_wherever_one_gives_up(kind: &'static Fixture) {
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
                world.come_back(lease).await;
            }
            settle().await;
            assert_eq!(world.available().await, 5, "{taken} taken, given up after {polls} polls");
            assert_eq!(world.counts().await.0, 0);
            if polls > 60 {
                break;
            }
        }
    }
}

/// Gives up at every point of being served.
pub async fn nothing_stays_taken_of_who_gives_up_while_being_served(kind: &'static Fixture) {
    for yields in 0..30 {
        let world = World::new(kind, 5, oldest_first(10)).await;
        let lease = world.take(5).await;
        let waiter = world.wait(3).await;
        lease.cancel().await.expect("it is given back");
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        if !waiter.is_waiting() {
            return;
        }
        waiter.cancel().await;
        assert_eq!(world.available().await, 5, "given up after {yields} yields");
        assert_eq!(world.counts().await, (0, 1, 0));
    }
}

/// Polls until it waits in the queue. No other call is made meanwhile: it might wait for what this one has begun.
async fn poll_until_queued(world: &World, mut acquiring: Pin<&mut impl Future>) {
    for _ in 0..100 {
        assert!(!is_ready(acquiring.as_mut()).await, "there is no room");
        tokio::task::yield_now().await;
    }
    assert_ne!(world.counts().await.0, 0, "it waits");
}

async fn is_ready(mut future: Pin<&mut impl Future>) -> bool {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}
