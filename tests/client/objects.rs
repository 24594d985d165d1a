//! Buckets as objects, over HTTP and in process.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::client::{
    BucketObject, CallError, ErrorKind, Http, HttpOptions, InProcess, ObjectTransport, RepeatPolicy,
};

use super::faulty_server::{FAULTS, FaultyServer};
use crate::fixtures::*;

const REQUEST_TIMEOUT: Duration = Duration::from_millis(200);
/// One token per minute, as a rate per second. No refill happens while a test runs.
const SLOW: f64 = 1.0 / 60.0;

fn http(server: &FaultyServer) -> Arc<Http> {
    let options = HttpOptions::default().request_timeout(REQUEST_TIMEOUT);
    Arc::new(Http::with_options(&server.url, options).expect("a valid URL"))
}

fn object<T: ObjectTransport>(transport: &Arc<T>, name: &str) -> BucketObject<T> {
    let policy = RepeatPolicy::default().first_pause(Duration::from_millis(5));
    BucketObject::with_policy(Arc::clone(transport), name, policy).expect("a valid key")
}

/// The kind and the message of a refusal.
fn refusal<R>(result: Result<R, CallError>) -> (ErrorKind, String) {
    match result {
        Err(CallError::Refused { kind, message }) => (kind, message),
        Err(error) => panic!("not a refusal: {error:?}"),
        Ok(_) => panic!("not a refusal but a success"),
    }
}

/// Checks the bucket objects of a limiter with a rolling limit `rpm`.
async fn check_bucket_objects<T: ObjectTransport>(transport: Arc<T>) {
    let bucket = object(&transport, "tenant:a/b%3Ac%25:tpm");
    bucket.set_rate(SLOW, 5).await.expect("it is created");
    assert!(bucket.try_reserve(3).await.expect("an answer"));
    assert!(!bucket.try_reserve(3).await.expect("an answer"));
    assert_eq!(bucket.available_permits().await.expect("an answer"), 2);

    let immediate = bucket.reserve(2).await.expect("an answer");
    assert!(immediate.ok() && immediate.delay().is_zero(), "{immediate:?}");
    let ahead = bucket.reserve(2).await.expect("an answer");
    assert!(ahead.ok() && ahead.delay() > Duration::from_secs(60), "{ahead:?}");
    assert_eq!((ahead.details().tokens, ahead.details().limit), (2, SLOW));
    assert!(!bucket.try_reserve(1).await.expect("an answer"));
    let state = bucket.state().await.expect("an answer");
    assert_eq!((state.limit, state.burst, state.tokens), (SLOW, 5, -2));
    assert_eq!(state.last_event, ahead.details().date_to_act);
    assert_eq!(ahead.details().date_to_act, Some(ahead.details().creation_date + ahead.delay()));
    assert!(ahead.cancel().await.expect("an answer"));
    assert!(ahead.cancel().await.expect("an answer"), "a repeated cancel has the same answer");
    assert!(!immediate.cancel().await.expect("an answer"), "its date to act has passed");
    let (minute, two_minutes) = (Duration::from_secs(60), Duration::from_secs(120));
    let too_long = bucket.reserve_within(2, minute).await.expect("an answer");
    assert!(!too_long.ok() && too_long.details().too_long_wait > Some(minute), "{too_long:?}");
    let in_time = bucket.reserve_within(2, two_minutes).await.expect("an answer");
    assert!(in_time.ok() && in_time.delay() <= two_minutes, "{in_time:?}");
    assert!(in_time.cancel().await.expect("an answer"));
    let too_much = bucket.reserve(6).await.expect("an answer");
    assert!(!too_much.ok());
    assert_eq!((too_much.delay(), too_much.details().date_to_act), (Duration::ZERO, None));
    assert_eq!(bucket.release(100).await.expect("an answer"), 5);
    bucket.set_rate(10.0, 6).await.expect("it is changed");
    assert_eq!(bucket.state().await.expect("an answer").limit, 10.0);

    let expected = |kind, message: &str| (kind, message.to_owned());
    let invalid = |message| expected(ErrorKind::InvalidRequest, message);
    assert_eq!(refusal(bucket.try_reserve(0).await), invalid("tokens must be at least 1"));
    assert_eq!(refusal(bucket.set_rate(0.0, 1).await), invalid("limit must be a number above 0"));
    assert_eq!(refusal(bucket.set_rate(1.0, 0).await), invalid("burst must be at least 1"));
    let unknown_key = expected(ErrorKind::UnknownKey, "there is no limit nowhere");
    assert_eq!(refusal(object(&transport, "nowhere").state().await), unknown_key);
    let rpm = object(&transport, "rpm");
    let message = "limit rpm is of kind rolling; objects are of kind token_bucket";
    let not_a_bucket = expected(ErrorKind::NotABucket, message);
    assert_eq!(refusal(rpm.reserve(1).await), not_a_bucket);
    assert_eq!(refusal(rpm.available_permits().await), not_a_bucket);
    let message = "rpm is of kind rolling, which cannot be changed to token_bucket";
    assert_eq!(refusal(rpm.set_rate(1.0, 1).await), expected(ErrorKind::KindChange, message));
}

#[tokio::test]
async fn bucket_objects_work_in_process() {
    let limits = InProcess::with_limits([rolling("rpm", 5, 60)]).await.expect("the limit is valid");
    check_bucket_objects(Arc::new(limits)).await;
}

#[tokio::test]
async fn bucket_objects_work_over_http() {
    let server = FaultyServer::start(3 * REQUEST_TIMEOUT).await;
    check_bucket_objects(http(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_an_object_takes_effect_once_with_any_fault() {
    for fault in FAULTS {
        let server = FaultyServer::start(3 * REQUEST_TIMEOUT).await;
        let bucket = object(&http(&server), "tpm");
        let inject_fault = || server.set_faults([Some(fault)]);
        inject_fault();
        bucket.set_rate(SLOW, 5).await.expect("it is created");
        inject_fault();
        assert!(bucket.try_reserve(4).await.expect("an answer"), "{fault:?}");
        inject_fault();
        let ahead = bucket.reserve(4).await.expect("an answer");
        assert_eq!(bucket.state().await.expect("an answer").tokens, -3, "{fault:?}: taken once");
        inject_fault();
        assert!(ahead.cancel().await.expect("an answer"), "{fault:?}");
        assert_eq!(bucket.state().await.expect("an answer").tokens, 1, "{fault:?}: released once");
        inject_fault();
        assert_eq!(bucket.release(2).await.expect("an answer"), 3, "{fault:?}: added once");
    }
}
