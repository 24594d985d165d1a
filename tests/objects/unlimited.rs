//! A bucket without a limit: Go's `rate.Inf`.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::client::{BucketObject, ErrorKind, InProcess, Rate};
use tokio::time::Instant;

use super::world::{KEY, World};

#[tokio::test(start_paused = true)]
async fn without_a_limit_everything_is_granted_at_once() {
    let limits = Arc::new(InProcess::without_limits().await.expect("it starts"));
    let bucket = BucketObject::new(limits, KEY).expect("a valid key").unlimited();
    let started = Instant::now();
    for tokens in [0, 1, 1_000_000, u64::MAX] {
        assert!(bucket.allow_n(tokens).await.expect("an answer"));
        assert!(bucket.wait(tokens).await.expect("an answer"));
        assert!(bucket.wait_max(tokens, Duration::ZERO).await.expect("an answer"));
        let reservation = bucket.reserve(tokens).await.expect("an answer");
        assert_eq!((reservation.ok(), reservation.delay()), (true, Duration::ZERO), "{tokens}");
        assert!(!reservation.cancel().await.expect("an answer"), "there is nothing to release");
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    let state = bucket.state().await.expect("an answer");
    assert_eq!((state.limit, state.tokens), (f64::INFINITY, i64::MAX));
}

/// The bucket is not used, so a burst of 0 does not matter either.
#[tokio::test(start_paused = true)]
async fn without_a_limit_nothing_is_taken_from_the_bucket() {
    let world = World::new(Rate::per_second(10).burst(0).limit(KEY)).await;
    let unlimited = world.bucket.clone().unlimited();
    assert!(unlimited.allow().await.expect("an answer"));
    assert!(unlimited.wait(5).await.expect("an answer"));
    assert_eq!(unlimited.release(1).await.expect("an answer"), i64::MAX.unsigned_abs());
    assert!(!world.bucket.allow().await.expect("an answer"));
    assert_eq!(world.bucket.state().await.expect("an answer").tokens, 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_there_is_no_rate_to_set() {
    let world = World::new(Rate::per_second(10).burst(3).limit(KEY)).await;
    let unlimited = world.bucket.clone().unlimited();
    let refused = unlimited.set_limit(1.0).await.expect_err("it would change the bucket of others");
    assert_eq!(refused.kind(), ErrorKind::InvalidRequest);
    assert_eq!(world.bucket.state().await.expect("an answer").limit, 10.0);
}
