//! Permits of the limits of a service.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::client::permits::{
    ChainedLimiter, FailureReason, NoLimiter, PermitError, PermitLimiter, PermitOptions, Permits,
};
use ledger_limiter::client::{ErrorKind, Http};

use super::faulty_server::FaultyServer;
use crate::fixtures::*;

const DELAY: Duration = Duration::from_millis(1);

async fn server() -> Arc<FaultyServer> {
    FaultyServer::start(DELAY).await
}

fn permits(server: &FaultyServer, key: &str, queue_permits_max: u64) -> PermitLimiter<Http> {
    let home = Arc::new(Http::new(&server.url).expect("a valid URL"));
    let options = PermitOptions::default().queue_permits_max(queue_permits_max);
    PermitLimiter::new(home, key, options).expect("a valid key")
}

#[tokio::test]
async fn permits_of_a_service_are_acquired_and_released() {
    let server = server().await;
    let slots = permits(&server, "slots", 0);
    let lease = slots.attempt_acquire(70).await.expect("an answer");
    assert!(lease.is_acquired() && lease.timed_out_at().is_some());
    assert_eq!(slots.statistics().await.expect("an answer").available, 30);
    assert_eq!(slots.idle_duration().await.expect("an answer"), None);
    let failed = slots.attempt_acquire(31).await.expect("an answer");
    assert_eq!(failed.failure(), Some(FailureReason::NoRoom));
    assert!(failed.retry_after().is_some_and(|span| span > Duration::ZERO));
    let failed = slots.acquire(31).await.expect("an answer");
    assert_eq!(failed.failure(), Some(FailureReason::QueueFull));
    lease.release().await.expect("it is released");
    assert_eq!(slots.statistics().await.expect("an answer").available, 100);
    drop(slots.acquire(100).await.expect("an answer"));
    slots.shutdown().await;
    assert_eq!(server.replica.usage("slots").await.available, 100, "the shutdown waits for the release");
}

#[tokio::test]
async fn a_waiter_for_permits_of_a_service_is_served_by_a_release() {
    let server = server().await;
    let slots = permits(&server, "slots", 100);
    let all = slots.acquire(100).await.expect("an answer");
    let waiting = tokio::spawn({
        let slots = slots.clone();
        async move { slots.acquire(60).await.expect("an answer") }
    });
    while slots.statistics().await.expect("an answer").queued_permits == 0 {
        tokio::task::yield_now().await;
    }
    let zero = slots.attempt_acquire(0).await.expect("an answer");
    assert!(!zero.is_acquired(), "no permit is free");
    drop(all);
    let served = tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it is served");
    assert_eq!(served.expect("no panic").permits(), 60);
}

#[tokio::test]
async fn a_lease_of_a_service_is_renewed() {
    let server = server().await;
    let slots = permits(&server, "slots", 0);
    let mut lease = slots.acquire(60).await.expect("an answer");
    let before = lease.timed_out_at();
    assert!(lease.renew().await.expect("an answer"));
    assert!(lease.timed_out_at() > before);
    assert_eq!(server.replica.usage("slots").await.reserved, 60);
    lease.release().await.expect("it is released");
    assert_eq!(server.replica.usage("slots").await.reserved, 0);
}

#[tokio::test]
async fn a_service_says_what_cannot_be_acquired() {
    let server = server().await;
    let (slots, unknown) = (permits(&server, "slots", 5), permits(&server, "unknown", 5));
    // The error, and its kind.
    for (error, kind) in [
        (slots.acquire(101).await.expect_err("it is above the capacity"), ErrorKind::ExceedsCapacity),
        (unknown.attempt_acquire(1).await.expect_err("there is no such limit"), ErrorKind::UnknownKey),
        (unknown.statistics().await.expect_err("there is no such limit"), ErrorKind::UnknownKey),
    ] {
        assert_eq!(error.kind(), kind, "{error}");
    }
    slots.close();
    let error = slots.acquire(1).await.expect_err("it is closed");
    assert!(matches!(error, PermitError::ShutDown), "{error:?}");
}

#[tokio::test]
async fn a_raised_capacity_of_a_service_counts_at_once() {
    let server = server().await;
    let slots = permits(&server, "slots", 0);
    let error = slots.attempt_acquire(101).await.expect_err("it is above the capacity");
    assert!(matches!(error, PermitError::ExceedsCapacity { capacity: 100, .. }), "{error:?}");
    server.replica.put(concurrency("slots", 200, 3_600)).await;
    assert!(slots.attempt_acquire(101).await.expect("an answer").is_acquired());
}

#[tokio::test]
async fn a_bucket_of_a_service_is_refilled_by_hand() {
    let server = server().await;
    server.replica.put(manual_bucket("bucket", 5, 3)).await;
    server.replica.put(token_bucket("timed", 5, 5, 250)).await;
    let bucket = permits(&server, "bucket", 5);
    drop(bucket.acquire(5).await.expect("an answer"));
    assert!(bucket.replenish().await.expect("an answer"));
    assert_eq!(bucket.statistics().await.expect("an answer").available, 3);
    assert!(!bucket.is_auto_replenishing().await.expect("an answer"));
    let timed = permits(&server, "timed", 0);
    assert!(!timed.replenish().await.expect("an answer"));
    assert_eq!(timed.refill_period().await.expect("an answer"), Some(Duration::from_millis(250)));
}

#[tokio::test]
async fn a_service_and_this_process_share_a_chain() {
    let server = server().await;
    let chain = ChainedLimiter::new(NoLimiter::new(), []).then(permits(&server, "slots", 0));
    let lease = chain.attempt_acquire(100).await.expect("an answer");
    assert!(lease.is_acquired());
    assert!(!chain.attempt_acquire(1).await.expect("an answer").is_acquired());
    lease.release().await.expect("it is released");
    assert_eq!(server.replica.usage("slots").await.available, 100);
}
