//! Buckets as objects, over both transports.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::client::{
    BucketObject, CallError, Http, HttpOptions, InProcess, ObjectTransport, RepeatPolicy,
};

use super::faulty_server::{FAULTS, FaultyServer};
use crate::fixtures::*;

const REQUEST_TIMEOUT: Duration = Duration::from_millis(200);
/// One in a minute: none comes while a test runs.
const SLOW: f64 = 1.0 / 60.0;

fn http(server: &FaultyServer) -> Arc<Http> {
    let options = HttpOptions { request_timeout: REQUEST_TIMEOUT, ..HttpOptions::default() };
    Arc::new(Http::with_options(&server.url, options).expect("a good address"))
}

fn object<T: ObjectTransport>(transport: &Arc<T>, name: &str) -> BucketObject<T> {
    let first_pause = Duration::from_millis(5);
    let policy = RepeatPolicy { first_pause, ..RepeatPolicy::default() };
    BucketObject::with_policy(Arc::clone(transport), key(name), policy)
}

fn refusal<R>(result: Result<R, CallError>) -> String {
    match result {
        Err(CallError::Refused { message }) => message,
        Err(error) => panic!("it is refused, not {error:?}"),
        Ok(_) => panic!("it is refused"),
    }
}

/// What an object does over any transport to a limiter with a rolling limit `rpm`.
async fn an_object_over<T: ObjectTransport>(transport: Arc<T>) {
    let bucket = object(&transport, "tenant:a/b:tpm");
    bucket.set_rate(SLOW, 5).await.expect("it is made");
    assert!(bucket.try_reserve(3).await.expect("an answer"));
    assert!(!bucket.try_reserve(3).await.expect("an answer"));
    assert_eq!(bucket.available_permits().await.expect("an answer"), 2);

    let at_once = bucket.reserve(2).await.expect("an answer");
    assert!(at_once.ok() && at_once.delay().is_zero(), "{at_once:?}");
    let ahead = bucket.reserve(2).await.expect("an answer");
    assert!(ahead.ok() && ahead.delay() > Duration::from_secs(60), "{ahead:?}");
    assert_eq!((ahead.details().tokens, ahead.details().limit), (2, SLOW));
    assert!(!bucket.try_reserve(1).await.expect("an answer"));
    let state = bucket.state().await.expect("an answer");
    assert_eq!((state.limit, state.burst, state.tokens), (SLOW, 5, -2));
    assert_eq!(state.last_event, ahead.details().date_to_act);
    assert!(ahead.cancel().await.expect("an answer"));
    assert!(ahead.cancel().await.expect("an answer"), "it is given back still");
    assert!(!at_once.cancel().await.expect("an answer"));
    assert!(!bucket.reserve(6).await.expect("an answer").ok());
    assert_eq!(bucket.release(100).await.expect("an answer"), 5);
    bucket.set_rate(10.0, 6).await.expect("it is changed");
    assert_eq!(bucket.state().await.expect("an answer").limit, 10.0);

    assert_eq!(refusal(bucket.try_reserve(0).await), "tokens must be at least 1");
    assert_eq!(refusal(bucket.set_rate(0.0, 1).await), "limit must be a number above 0");
    assert_eq!(refusal(bucket.set_rate(1.0, 0).await), "burst must be at least 1");
    assert_eq!(refusal(object(&transport, "nowhere").state().await), "there is no limit nowhere");
    let rpm = object(&transport, "rpm");
    let no_bucket = "limit rpm is of kind rolling; objects are of kind token_bucket";
    assert_eq!(refusal(rpm.reserve(1).await), no_bucket);
    assert_eq!(refusal(rpm.available_permits().await), no_bucket);
    let kind_change = "rpm is of kind rolling, which cannot be changed to token_bucket";
    assert_eq!(refusal(rpm.set_rate(1.0, 1).await), kind_change);
}

#[tokio::test]
async fn an_object_in_process() {
    let limits = InProcess::with_limits(vec![rolling("rpm", 5, 60)]).await.expect("they are good");
    an_object_over(Arc::new(limits)).await;
}

#[tokio::test]
async fn an_object_over_http() {
    let server = FaultyServer::start(3 * REQUEST_TIMEOUT).await;
    an_object_over(http(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_carried_out_once_whatever_becomes_of_its_answers() {
    for fault in FAULTS {
        let server = FaultyServer::start(3 * REQUEST_TIMEOUT).await;
        let bucket = object(&http(&server), "tpm");
        let fails = || server.set_faults([Some(fault)]);
        fails();
        bucket.set_rate(SLOW, 5).await.expect("it is made");
        fails();
        assert!(bucket.try_reserve(4).await.expect("an answer"), "{fault:?}");
        fails();
        let ahead = bucket.reserve(4).await.expect("an answer");
        assert_eq!(bucket.state().await.expect("an answer").tokens, -3, "{fault:?}: taken once");
        fails();
        assert!(ahead.cancel().await.expect("an answer"), "{fault:?}");
        assert_eq!(bucket.state().await.expect("an answer").tokens, 1, "{fault:?}: given back once");
        fails();
        assert_eq!(bucket.release(2).await.expect("an answer"), 3, "{fault:?}: put back once");
    }
}
