//! The statistics and the idle duration of a limiter.

use std::time::Duration;

use ledger_limiter::client::permits::{PermitStatistics, Permits};
use tokio::time::advance;

use super::world::*;

pub async fn statistics_are_a_snapshot(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let first = world.limiter.statistics().await.expect("an answer");
    let _lease = world.take(5).await;
    let _waiter = world.wait(2).await;
    let _failed = world.fail(1).await;
    let second = world.limiter.statistics().await.expect("an answer");
    assert_eq!(first, PermitStatistics { available: 5, queued_permits: 0, granted: 0, failed: 0 });
    assert_eq!(second, PermitStatistics { available: 0, queued_permits: 2, granted: 1, failed: 1 });
}

pub async fn every_lease_is_counted_once(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(3)).await;
    let first = world.take(5).await;
    let _failed = world.fail(1).await;
    let waiter = world.wait(3).await;
    let _full = world.limiter.acquire(1).await.expect("an answer");
    assert_eq!(world.counts().await, Counts { queued: 3, granted: 1, failed: 2 });
    world.free(first).await;
    let second = waiter.acquired_at_once().await;
    let _zero = world.take(0).await;
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 3, failed: 2 });
    second.cancel().await.expect("it is released");
    assert_eq!(world.counts().await, Counts { queued: 0, granted: 3, failed: 2 });
}

pub async fn clones_share_their_counters(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(3)).await;
    let clone = world.limiter.clone();
    let _lease = take(&clone, 5).await;
    let _waiter = Waiter::start(&clone, 3).await;
    assert_eq!(world.counts().await, Counts { queued: 3, granted: 1, failed: 0 });
    let _failed = world.fail(1).await;
    assert_eq!(clone.statistics().await.expect("an answer").failed, 1);
}

async fn idle(world: &World) -> Option<Duration> {
    world.limiter.idle_duration().await.expect("an answer")
}

pub async fn a_fresh_limiter_is_idle_since_it_was_created(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    assert_eq!(idle(&world).await, Some(Duration::ZERO));
    advance(Duration::from_millis(1_500)).await;
    assert_eq!(idle(&world).await, Some(Duration::from_millis(1_500)));
}

pub async fn a_limiter_is_not_idle_while_permits_are_taken(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(1).await;
    assert_eq!(idle(&world).await, None);
    advance(Duration::from_millis(1_500)).await;
    assert_eq!(idle(&world).await, None);
    world.free(lease).await;
    assert!(idle(&world).await.is_some());
}

pub async fn a_limiter_is_idle_since_the_last_permit_was_freed(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    advance(Duration::from_secs(1)).await;
    let (first, second) = (world.take(1).await, world.take(4).await);
    advance(Duration::from_secs(1)).await;
    drop(first);
    world.free(second).await;
    let idle_then = idle(&world).await.expect("all permits are free");
    match kind.freed_by {
        FreedBy::Release | FreedBy::ManualRefill => assert_eq!(idle_then, Duration::ZERO),
        // The span began with the grants, a second before the leases were dropped.
        FreedBy::Time(_) => assert!(idle_then <= Duration::from_secs(3), "{idle_then:?}"),
    }
    advance(Duration::from_secs(3)).await;
    assert_eq!(idle(&world).await, Some(idle_then + Duration::from_secs(3)));
}

pub async fn a_cancelled_lease_leaves_the_limiter_idle(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = world.take(5).await;
    advance(Duration::from_secs(1)).await;
    lease.cancel().await.expect("it is released");
    advance(Duration::from_secs(2)).await;
    assert_eq!(idle(&world).await, Some(Duration::from_secs(2)));
}

pub async fn zero_permits_leave_the_limiter_idle(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    advance(Duration::from_secs(1)).await;
    let _zero = world.take(0).await;
    assert_eq!(idle(&world).await, Some(Duration::from_secs(1)));
}

pub async fn a_limiter_is_not_idle_while_others_hold_permits(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let lease = take(&world.limiter(KEY, NO_QUEUE), 1).await;
    assert_eq!(idle(&world).await, None);
    advance(Duration::from_secs(1)).await;
    assert_eq!(idle(&world).await, None);
    lease.cancel().await.expect("it is released");
    advance(Duration::from_secs(2)).await;
    assert_eq!(
        idle(&world).await,
        Some(Duration::from_secs(2)),
        "idle since the last read that found permits taken"
    );
}
