//! What is told of a limiter, and how long it has been idle.

use std::time::Duration;

use ledger_limiter::client::permits::{PermitStatistics, Permits};
use tokio::time::advance;

use super::world::*;

pub async fn statistics_are_a_snapshot(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let first = world.limiter.statistics().await.expect("an answer");
    let _lease = world.take(5).await;
    let _waiter = world.wait(2).await;
    let _failed = world.fail(1).await;
    let second = world.limiter.statistics().await.expect("an answer");
    assert_eq!(first, PermitStatistics { available: 5, queued_permits: 0, granted: 0, failed: 0 });
    assert_eq!(second, PermitStatistics { available: 0, queued_permits: 2, granted: 1, failed: 1 });
}

pub async fn every_lease_is_counted_once(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(3)).await;
    let first = world.take(5).await;
    let _failed = world.fail(1).await;
    let waiter = world.wait(3).await;
    let _full = world.limiter.acquire(1).await.expect("an answer");
    assert_eq!(world.counts().await, (3, 1, 2));
    world.come_back(first).await;
    let second = waiter.acquired_at_once().await;
    let _nothing = world.take(0).await;
    assert_eq!(world.counts().await, (0, 3, 2));
    second.cancel().await.expect("it is given back");
    assert_eq!(world.counts().await, (0, 3, 2));
}

pub async fn clones_are_one(kind: &'static Fixture) {
    let world = World::new(kind, 5, oldest_first(3)).await;
    let clone = world.limiter.clone();
    let _lease = take(&clone, 5).await;
    let _waiter = Waiter::begin(&clone, 3).await;
    assert_eq!(world.counts().await, (3, 1, 0));
    let _failed = world.fail(1).await;
    assert_eq!(clone.statistics().await.expect("an answer").failed, 1);
}

async fn idle(world: &World) -> Option<Duration> {
    world.limiter.idle_duration().await.expect("an answer")
}

pub async fn a_fresh_limiter_is_idle_since_it_was_made(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    assert_eq!(idle(&world).await, Some(Duration::ZERO));
    advance(Duration::from_millis(1_500)).await;
    assert_eq!(idle(&world).await, Some(Duration::from_millis(1_500)));
}

pub async fn it_is_not_idle_while_anything_is_taken(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(1).await;
    assert_eq!(idle(&world).await, None);
    advance(Duration::from_millis(1_500)).await;
    assert_eq!(idle(&world).await, None);
    world.come_back(lease).await;
    assert!(idle(&world).await.is_some());
}

pub async fn it_is_idle_since_the_last_came_back(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    advance(Duration::from_secs(1)).await;
    let (first, second) = (world.take(1).await, world.take(4).await);
    advance(Duration::from_secs(1)).await;
    drop(first);
    world.come_back(second).await;
    let idle_then = idle(&world).await.expect("all has come back");
    match kind.comes_back {
        Refill::OnRelease | Refill::ByHand => assert_eq!(idle_then, Duration::ZERO),
        // Both came back a second before the span was over that was waited for.
        Refill::After(_) => assert!(idle_then <= Duration::from_secs(3), "{idle_then:?}"),
    }
    advance(Duration::from_secs(3)).await;
    assert_eq!(idle(&world).await, Some(idle_then + Duration::from_secs(3)));
}

pub async fn who_gives_all_back_leaves_it_idle(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(5).await;
    advance(Duration::from_secs(1)).await;
    lease.cancel().await.expect("it is given back");
    advance(Duration::from_secs(2)).await;
    assert_eq!(idle(&world).await, Some(Duration::from_secs(2)));
}

pub async fn who_takes_nothing_leaves_it_idle(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    advance(Duration::from_secs(1)).await;
    let _nothing = world.take(0).await;
    assert_eq!(idle(&world).await, Some(Duration::from_secs(1)));
}

pub async fn it_is_not_idle_while_others_take(kind: &'static Fixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = take(&world.limiter(KEY, NO_QUEUE), 1).await;
    assert_eq!(idle(&world).await, None);
    advance(Duration::from_secs(1)).await;
    assert_eq!(idle(&world).await, None);
    lease.cancel().await.expect("it is given back");
    advance(Duration::from_secs(2)).await;
    assert_eq!(idle(&world).await, Some(Duration::from_secs(2)), "since it was last seen to be taken");
}
