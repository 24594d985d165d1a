//! The differences between kinds: how many permits are freed, and when.

use std::time::Duration;

use ledger_limiter::client::permits::{PermitError, Permits};
use ledger_limiter::limit::Definition;
use tokio::time::{Instant, advance, sleep, sleep_until};

use super::world::*;
use super::{CONCURRENCY, MANUAL_BUCKET, ROLLING, SLIDING_WINDOW, TOKEN_BUCKET};
use crate::fixtures::{fixed_window, template, token_bucket};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A world whose limiter uses this limit.
async fn world_with_limit(definition: Definition, queue_permits_max: u64) -> World {
    let world = World::new(&ROLLING, 1, NO_QUEUE).await;
    world.home.admin().put(&definition).await.expect("the ledger answers");
    let limiter = world.limiter(definition.key.as_str(), oldest_first(queue_permits_max));
    World { limiter, ..world }
}

/// Of five permits, takes two at 0 s, two at 3 s and one at 6 s, and then waits for four. Returns the time at which the
/// four are acquired.
async fn time_of_acquiring_four_of_five(kind: &'static KindFixture) -> Duration {
    let start = Instant::now();
    let world = World::new(kind, 5, oldest_first(5)).await;
    for (permits, second) in [(2, 0), (2, 3), (1, 6)] {
        sleep_until(start + Duration::from_secs(second)).await;
        drop(world.take(permits).await);
    }
    run_tasks().await;
    let (lease, at) = world.wait(4).await.end().await;
    assert!(lease.expect("an answer").is_acquired());
    at - start
}

#[tokio::test(start_paused = true)]
async fn a_rolling_limit_serves_when_enough_leases_have_expired() {
    let after = time_of_acquiring_four_of_five(&ROLLING).await;
    assert!(after >= ms(13_000) && after <= ms(13_002), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_sliding_window_serves_when_enough_segments_have_left_it() {
    // The permits taken at 3 s belong to the segment that began at 2 s.
    let after = time_of_acquiring_four_of_five(&SLIDING_WINDOW).await;
    assert!(after >= ms(12_000) && after <= ms(12_001), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_bucket_serves_at_the_refill_that_adds_enough_permits() {
    let start = Instant::now();
    let world = world_with_limit(token_bucket("bucket", 10, 3, 1_000), 10).await;
    let _all = world.take(10).await;
    advance(ms(400)).await;
    for (permits, retry_ms) in [(1, 600), (3, 600), (4, 1_600), (10, 3_600)] {
        let retry_after = world.fail(permits).await.retry_after().expect("it has a retry-after");
        assert_eq!(retry_after, ms(retry_ms), "for {permits}");
    }
    let (lease, at) = world.wait(7).await.end().await;
    assert!(lease.expect("an answer").is_acquired());
    assert!(at - start >= ms(3_000) && at - start <= ms(3_001), "{:?}", at - start);
    assert_eq!(world.available().await, 2);
}

#[tokio::test(start_paused = true)]
async fn the_retry_after_of_a_bucket_counts_the_waiters() {
    let world = world_with_limit(token_bucket("bucket", 10, 3, 1_000), 10).await;
    let _all = world.take(10).await;
    let _waiter = world.wait(5).await;
    let retry_after = world.fail(2).await.retry_after().expect("it has a retry-after");
    assert_eq!(retry_after, ms(3_000), "the refills must add five permits for the waiter and two more");
}

#[tokio::test(start_paused = true)]
async fn a_bucket_is_idle_since_the_refill_that_filled_it() {
    let world = world_with_limit(token_bucket("bucket", 10, 3, 1_000), 0).await;
    let idle = async || world.limiter.idle_duration().await.expect("an answer");
    drop(world.take(10).await);
    advance(ms(3_999)).await;
    assert_eq!(idle().await, None);
    advance(ms(2_001)).await;
    assert_eq!(idle().await, Some(ms(2_000)), "four refills filled it");
    for _ in 0..3 {
        drop(world.take(1).await);
    }
    advance(ms(5_000)).await;
    assert_eq!(idle().await, Some(ms(4_000)), "one refill freed all three");
    let cancelled = world.take(9).await;
    drop(world.take(1).await);
    cancelled.cancel().await.expect("it is released");
    advance(ms(1_500)).await;
    assert!(idle().await.is_some_and(|idle| idle <= ms(1_500)), "{:?}", idle().await);
}

#[tokio::test(start_paused = true)]
async fn a_window_serves_at_its_boundary() {
    let start = Instant::now();
    let world = world_with_limit(fixed_window("window", 5, 10, 3), 20).await;
    // The first window ends at 3 s.
    let _all = world.take(5).await;
    assert_eq!(world.fail(5).await.retry_after(), Some(ms(3_000)));
    let waiters = [world.wait(5).await, world.wait(5).await];
    for (waiter, boundary_ms) in waiters.into_iter().zip([3_000, 13_000]) {
        let (lease, at) = waiter.end().await;
        assert!(lease.expect("an answer").is_acquired());
        let after = at - start;
        assert!(after >= ms(boundary_ms) && after <= ms(boundary_ms + 1), "{after:?}");
    }
    advance(ms(8_000)).await;
    assert_eq!(world.limiter.idle_duration().await.expect("an answer"), None);
    sleep_until(start + ms(25_000)).await;
    assert_eq!(world.limiter.idle_duration().await.expect("an answer"), Some(ms(2_000)));
}

#[tokio::test(start_paused = true)]
async fn a_manual_refill_serves_at_once() {
    let world = World::new(&MANUAL_BUCKET, 5, oldest_first(5)).await;
    let _all = world.take(5).await;
    let waiter = world.wait(5).await;
    advance(ms(1)).await;
    assert!(world.limiter.replenish().await.expect("an answer"));
    run_tasks().await;
    let _five = waiter.acquired_at_once().await;
    advance(ms(2)).await;
    assert!(world.limiter.replenish().await.expect("an answer"));
    advance(ms(3)).await;
    assert_eq!(world.limiter.idle_duration().await.expect("an answer"), Some(ms(3)));
}

#[tokio::test(start_paused = true)]
async fn a_crashed_holder_of_slots_delays_waiters_by_at_most_the_timeout() {
    let start = Instant::now();
    let world = World::new(&CONCURRENCY, 5, oldest_first(5)).await;
    std::mem::forget(world.take(5).await);
    let retry_after = world.fail(1).await.retry_after().expect("it has a retry-after");
    assert!(retry_after < Duration::from_secs(3), "the hint does not wait for the timeout: {retry_after:?}");
    let (lease, at) = world.wait(5).await.end().await;
    assert!(lease.expect("an answer").is_acquired());
    let late = (at - start) - Duration::from_secs(3_600);
    assert!(late <= ms(2_050), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_whose_capacity_is_being_lowered_grants_nothing() {
    let world = World::new(&CONCURRENCY, 5, oldest_first(5)).await;
    let lease = world.take(4).await;
    world.put(KEY, 3).await;
    assert_eq!(world.available().await, 1);
    let failed = world.fail(1).await;
    assert_eq!(failed.retry_after(), Some(Duration::from_secs(10)));
    let (zero, one) = (world.wait(0).await, world.wait(1).await);
    sleep(Duration::from_secs(30)).await;
    assert!(zero.is_waiting() && one.is_waiting());
    lease.release().await.expect("it is released");
    let (_zero, _one) = (zero.acquired().await, one.acquired().await);
    assert_eq!(world.available().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_template_creates_the_limit() {
    let world = World::new(&TOKEN_BUCKET, 1, NO_QUEUE).await;
    let bucket = token_bucket("tenant:{tenant}:tpm", 10, 10, 1_000);
    world.home.admin().put(&template(bucket, 2)).await.expect("the ledger answers");
    let acme = world.limiter("tenant:acme:tpm", oldest_first(20));
    assert_eq!(available(&acme).await, 10, "the first acquire creates it, with all permits free");
    assert!(acme.idle_duration().await.expect("an answer").is_some());
    let _zero = take(&acme, 0).await;
    let error = acme.acquire(11).await.expect_err("it is above the capacity");
    assert!(matches!(error, PermitError::ExceedsCapacity { capacity: 10, .. }), "{error:?}");
    let _all = take(&acme, 10).await;
    let _served_at_the_refill = Waiter::start(&acme, 10).await.acquired().await;
    let _zorg = take(&world.limiter("tenant:zorg:tpm", NO_QUEUE), 1).await;
    let error = world
        .limiter("tenant:third:tpm", NO_QUEUE)
        .acquire(1)
        .await
        .expect_err("the template creates at most two");
    assert!(matches!(error, PermitError::TooManyInstances { .. }), "{error:?}");
    let error = world.limiter("other", NO_QUEUE).acquire(1).await.expect_err("the limit is not defined");
    assert_eq!(error.to_string(), "there is no limit other");
}
