//! Errors have the same kinds over HTTP and in process.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::client::{
    AcquireError, Acquired, BucketObject, CallError, ErrorKind, Http, InProcess, Limiter, ObjectTransport,
    Requirements, Transport,
};

use super::faulty_server::FaultyServer;
use super::wants;
use crate::fixtures::*;

fn kind<R>(result: Result<R, CallError>) -> ErrorKind {
    result.err().expect("an error").kind()
}

/// Checks the kinds of the errors of a limiter with a rolling limit `rpm` of 1,000 in an hour, and a concurrency limit
/// `slots`.
async fn check_error_kinds<T: Transport + ObjectTransport>(transport: T) {
    let transport = Arc::new(transport);
    let limiter = Limiter::new(Arc::clone(&transport));

    // Requirements that can never be granted.
    for (want, expected) in
        [(("rpm", 1_001), ErrorKind::ExceedsCapacity), (("nowhere", 1), ErrorKind::UnknownKey)]
    {
        let error = limiter.acquire(&wants(&[want])).await.expect_err("it can never be granted");
        assert_eq!(error.kind(), expected);
        assert_eq!(error.is_unknown_key(), expected == ErrorKind::UnknownKey);
        assert!(matches!(error, AcquireError::Never(_)));
        let Acquired::Denied(denial) = limiter.try_acquire(&wants(&[want])).await.expect("an answer") else {
            panic!("it can never be granted");
        };
        assert_eq!(denial.kind(), expected);
    }

    // Malformed keys in every call that takes a key.
    assert_eq!(kind(limiter.available("no key").await), ErrorKind::InvalidRequest);
    assert_eq!(kind(limiter.stats("no key".to_owned()).await), ErrorKind::InvalidRequest);
    assert_eq!(
        kind(BucketObject::new(Arc::clone(&transport), "no key").map(drop)),
        ErrorKind::InvalidRequest
    );
    assert_eq!(
        Requirements::new([("no key", 1)]).expect_err("it is malformed").kind(),
        ErrorKind::InvalidRequest
    );

    // Keys that the lease does not hold.
    let lease = limiter.acquire(&wants(&[("rpm", 1)])).await.expect("there is room");
    let error = lease.extend("slots", 1).await.expect_err("the lease does not hold it");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    let error = lease.extend("no key", 1).await.expect_err("the lease does not hold it");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    let command = complete(lease.id(), &[("slots", 1)]);
    assert_eq!(kind(transport.complete(&command).await), ErrorKind::InvalidRequest);
    transport.complete(&complete(lease.id(), &[])).await.expect("it is settled");
    let error = lease.extend("rpm", 1).await.expect_err("the lease is settled");
    assert_eq!(error.kind(), ErrorKind::LeaseSettled);
    assert!(error.is_conflict());
    let error = lease.complete([("no key", 1)]).await.expect_err("the lease does not hold it");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);

    // Objects.
    let object = |name| BucketObject::new(Arc::clone(&transport), key(name)).expect("a good key");
    assert_eq!(kind(object("nowhere").try_reserve(1).await), ErrorKind::UnknownKey);
    assert_eq!(kind(object("rpm").try_reserve(1).await), ErrorKind::NotABucket);
    assert_eq!(kind(object("rpm").set_rate(1.0, 1).await), ErrorKind::KindChange);
    let bucket = object("bucket");
    assert_eq!(kind(bucket.set_rate(f64::NAN, 1).await), ErrorKind::InvalidRequest);
    bucket.set_rate(1.0, 5).await.expect("it is created");
    assert_eq!(kind(bucket.try_reserve(0).await), ErrorKind::InvalidRequest);
    let reservation = bucket.reserve(2).await.expect("an answer");
    let repeated = transport.reserve_ahead(bucket.key(), amount(2), reservation.lease(), None).await;
    repeated.expect("the same answer");
    let other_amount = transport.reserve_ahead(bucket.key(), amount(1), reservation.lease(), None).await;
    assert_eq!(kind(other_amount), ErrorKind::LeaseConflict);
    transport.complete(&complete(reservation.lease(), &[])).await.expect("it is settled");
    let settled = transport.reserve_ahead(bucket.key(), amount(2), reservation.lease(), None).await;
    assert_eq!(kind(settled), ErrorKind::LeaseSettled);

    limiter.close();
    assert_eq!(kind(limiter.try_acquire(&wants(&[("rpm", 1)])).await), ErrorKind::Closed);
}

#[tokio::test]
async fn errors_have_kinds_in_process() {
    let limits = [rolling("rpm", 1_000, 3_600), concurrency("slots", 100, 3_600)];
    check_error_kinds(InProcess::with_limits(limits).await.expect("the limits are valid")).await;
}

#[tokio::test]
async fn errors_have_kinds_over_http() {
    let server = FaultyServer::start(Duration::ZERO).await;
    check_error_kinds(Http::new(&server.url).expect("a valid URL")).await;
}
