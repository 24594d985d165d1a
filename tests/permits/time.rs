//! The times at which waiters are served.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::world::*;

/// The longest hint of a denial: the time to the next step of a schedule, plus the jitter.
const HINT_MAX: Duration = Duration::from_millis(10_050);

pub async fn a_waiter_is_served_when_its_permits_are_free(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    sleep(Duration::from_millis(1_234)).await;
    let taken = Instant::now();
    let lease = world.take(5).await;
    let retry_after = world.fail(5).await.retry_after().expect("it has a retry-after");
    let waiter = world.wait(5).await;
    let free_at = match kind.freed_by {
        FreedBy::Release => {
            sleep(Duration::from_millis(777)).await;
            lease.release().await.expect("it is released");
            Instant::now()
        }
        FreedBy::ManualRefill => {
            sleep(Duration::from_millis(777)).await;
            world.replenish().await;
            Instant::now()
        }
        FreedBy::Time(_) => Instant::now() + retry_after,
    };
    let (lease, at) = waiter.end().await;
    assert!(lease.expect("an answer").is_acquired());
    let late = at.max(free_at) - at.min(free_at);
    assert!(late <= Duration::from_millis(2), "{late:?}, {:?} after it was taken", at - taken);
}

pub async fn room_freed_through_another_limiter_is_found(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let lease = take(&world.limiter(KEY, NO_QUEUE), 5).await;
    let waiter = world.wait(5).await;
    sleep(Duration::from_millis(100)).await;
    lease.cancel().await.expect("it is released");
    let before = Instant::now();
    let (lease, at) = waiter.end().await;
    assert!(lease.expect("an answer").is_acquired());
    assert!(at - before <= HINT_MAX, "{:?}", at - before);
}

pub async fn a_long_wait_makes_few_attempts(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    let _others = take(&world.limiter(KEY, NO_QUEUE), 5).await;
    let before = world.ledger.chains();
    let waiter = world.wait(5).await;
    sleep(Duration::from_secs(9)).await;
    drop(waiter);
    let attempts = world.ledger.chains() - before;
    assert!(attempts <= 20, "{attempts}");
}

pub async fn a_clock_that_is_turned_back_frees_nothing(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    sleep(Duration::from_secs(60)).await;
    let lease = world.take(3).await;
    for seconds in [1, 20] {
        world.ledger.turn_back(Duration::from_secs(seconds));
        assert_eq!(world.available().await, 2);
        let _failed = world.fail(3).await;
    }
    let waiter = world.wait(5).await;
    sleep(Duration::from_millis(1)).await;
    assert!(waiter.is_waiting());
    assert_eq!(world.available().await, 2);
    lease.cancel().await.expect("it is released");
    let _five = waiter.acquired().await;
    assert_eq!(world.available().await, 0, "nothing was freed twice");
}

pub async fn permits_are_freed_after_the_clock_was_turned_back(kind: &'static KindFixture) {
    let world = World::new(kind, 5, oldest_first(5)).await;
    sleep(Duration::from_secs(60)).await;
    let lease = world.take(5).await;
    world.ledger.turn_back(Duration::from_secs(20));
    let waiter = world.wait(5).await;
    drop(lease);
    world.replenish().await;
    let _five = waiter.acquired().await;
    assert_eq!(world.available().await, 0);
}

pub async fn only_manual_buckets_are_replenished(kind: &'static KindFixture) {
    let world = World::new(kind, 5, NO_QUEUE).await;
    let is_manual = kind.freed_by == FreedBy::ManualRefill;
    let _lease = world.take(5).await;
    for _ in 0..2 {
        assert_eq!(world.limiter.replenish().await.expect("an answer"), is_manual);
        assert_eq!(world.available().await, if is_manual { 5 } else { 0 }, "never above the capacity");
    }
}
