//! Buckets as objects, over HTTP and in process.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::client::{
    BucketObject, CallError, ErrorKind, Http, HttpOptions, InProcess, ObjectTransport, Rate, RepeatPolicy,
};
use ledger_limiter::testing;
use tokio::time::Instant;

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
    // The interval began at the end of the first take's millisecond, and the wait counts from the start of this one.
    let (minute, two_minutes) = (Duration::from_secs(60), Duration::from_millis(120_001));
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
    assert_eq!(refusal(bucket.set_rate(-1.0, 1).await), invalid("limit must be a number above 0"));
    let unknown_key = expected(ErrorKind::UnknownKey, "there is no limit nowhere");
    assert_eq!(refusal(object(&transport, "nowhere").try_reserve(1).await), unknown_key);
    assert_eq!(refusal(object(&transport, "nowhere").set_limit(1.0).await), unknown_key);
    assert_eq!(object(&transport, "nowhere").state().await.expect("its default").tokens, 0);
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

#[tokio::test(start_paused = true)]
async fn a_caller_waits_for_its_tokens_as_in_go() {
    let limits = testing::limits([Rate::per_second(1).burst(2).limit("calls")]).await.expect("valid");
    let bucket = object(&Arc::new(limits), "calls");
    let answer = "an answer";
    assert!(bucket.allow().await.expect(answer) && bucket.allow_n(1).await.expect(answer));
    assert!(!bucket.allow().await.expect(answer));

    let started = Instant::now();
    assert!(bucket.wait(2).await.expect(answer));
    assert_eq!(started.elapsed().as_secs(), 2);
    assert!(!bucket.wait(3).await.expect(answer), "more than the burst");
    assert!(
        !bucket.wait_max(2, Duration::from_millis(1_500)).await.expect(answer),
        "it would take two seconds"
    );
    assert!(bucket.wait_max(1, Duration::from_millis(1_500)).await.expect(answer));
    assert_eq!(started.elapsed().as_secs(), 3);

    let given_up = tokio::time::timeout(Duration::from_millis(500), bucket.wait(2)).await;
    assert!(given_up.is_err());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(bucket.allow().await.expect(answer), "what a dropped wait took is released");
}

#[tokio::test(start_paused = true)]
async fn rate_and_burst_are_set_alone() {
    let limits = testing::limits([Rate::per_second(4).burst(2).limit("calls")]).await.expect("valid");
    let bucket = object(&Arc::new(limits), "calls");
    bucket.set_limit(0.5).await.expect("it is set");
    bucket.set_burst(9).await.expect("it is set");
    let state = bucket.state().await.expect("an answer");
    assert_eq!((state.limit, state.burst), (0.5, 9));
}
