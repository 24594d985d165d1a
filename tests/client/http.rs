//! The transport over HTTP, against a server that drops, delays, duplicates and truncates answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use ledger_limiter::client::{
    Acquired, AttemptResult, CallError, Denial, ErrorKind, Extended, Http, HttpOptions, Limiter,
    RepeatPolicy, Transport, Usage,
};
use rand::seq::IndexedRandom;

use super::faulty_server::{FAULTS, Fault, FaultyServer, SCHEMES, Scheme};
use super::{is_granted, wants};
use crate::fixtures::*;

const REQUEST_TIMEOUT: Duration = Duration::from_millis(200);

async fn server() -> Arc<FaultyServer> {
    server_by(Scheme::Http).await
}

async fn server_by(scheme: Scheme) -> Arc<FaultyServer> {
    FaultyServer::start_by(scheme, 3 * REQUEST_TIMEOUT).await
}

fn http(server: &FaultyServer) -> Http {
    let options = HttpOptions::default().request_timeout(REQUEST_TIMEOUT);
    #[cfg(feature = "client-tls")]
    let options = match &server.tls {
        None => options,
        Some(tls) => options.tls(ledger_limiter::client::TlsOptions::default().ca_file(tls.ca_file())),
    };
    Http::with_options(&server.url, options).expect("a valid URL")
}

fn limiter(server: &FaultyServer) -> Limiter<Http> {
    let policy = RepeatPolicy::default().first_pause(Duration::from_millis(5));
    Limiter::with_policy(http(server), policy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_takes_effect_once_with_any_fault() {
    for (scheme, fault) in SCHEMES.iter().flat_map(|&scheme| FAULTS.map(|fault| (scheme, fault))) {
        let server = server_by(scheme).await;
        let limiter = limiter(&server);
        server.set_faults([Some(fault), None, Some(fault)]);
        let lease = limiter.acquire(&wants(&[("rpm", 3), ("slots", 1)])).await.expect("there is room");
        assert_eq!(server.replica.usage("rpm").await.reserved, 3, "{scheme:?} {fault:?}: reserved once");
        server.set_faults([Some(fault)]);
        assert_eq!(lease.extend("rpm", 4).await.expect("an answer"), Extended::Granted);
        assert_eq!(server.replica.usage("rpm").await.reserved, 7, "{scheme:?} {fault:?}: extended once");
        server.set_faults([Some(fault)]);
        lease.complete([("rpm", 2)]).await.expect("it is settled");
        assert_eq!(server.replica.usage("rpm").await.reserved, 2, "{scheme:?} {fault:?}: settled once");
        assert_eq!(server.replica.usage("slots").await.reserved, 0, "{scheme:?} {fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_are_counted_exactly_with_random_faults() {
    for &scheme in SCHEMES {
        assert_many_callers_are_counted(&*server_by(scheme).await).await;
    }
}

async fn assert_many_callers_are_counted(server: &FaultyServer) {
    let limiter = limiter(server);
    let faults: Vec<Option<Fault>> = {
        let mut rng = rand::rng();
        let odds: Vec<Option<Fault>> = FAULTS.map(Some).into_iter().chain([None; 9]).collect();
        (0..150).filter_map(|_| odds.choose(&mut rng).copied()).collect()
    };
    server.set_faults(faults.clone());
    let call = |number: u64| {
        let limiter = limiter.clone();
        async move {
            let lease = limiter.acquire(&wants(&[("rpm", 5), ("slots", 1)])).await.expect("there is room");
            // Every fourth caller drops its lease without a complete.
            if number.is_multiple_of(4) {
                drop(lease);
            } else {
                lease.complete([("rpm", 2)]).await.expect("settled");
            }
        }
    };
    join_all((0..80).map(call)).await;
    limiter.shutdown().await;
    let rpm = server.replica.usage("rpm").await.reserved;
    assert_eq!(rpm, 20 * 5 + 60 * 2, "{} {faults:?}", server.url);
    assert_eq!(server.replica.usage("slots").await.reserved, 0, "{} {faults:?}", server.url);
}

#[tokio::test]
async fn sequential_calls_share_a_connection() {
    for &scheme in SCHEMES {
        let server = server_by(scheme).await;
        let limiter = limiter(&server);
        for _ in 0..10 {
            let lease = limiter.acquire(&wants(&[("rpm", 1)])).await.expect("there is room");
            lease.complete([("rpm", 1)]).await.expect("it is settled");
        }
        assert_eq!(server.connections.load(Ordering::SeqCst), 1, "{scheme:?}");
    }
}

#[tokio::test]
async fn the_transport_repeats_no_call() {
    for (scheme, fault) in SCHEMES.iter().flat_map(|&scheme| FAULTS.map(|fault| (scheme, fault))) {
        let server = server_by(scheme).await;
        let http = http(&server);
        // A call without a fault leaves a connection open, on which a hidden repetition would be tempting.
        http.reserve(&reserve(lease(), &[("rpm", 1)])).await.expect("an answer");
        server.set_faults([Some(fault)]);
        let result = http.reserve(&reserve(lease(), &[("rpm", 1)])).await;
        match fault {
            Fault::Duplicate => assert!(result.is_ok(), "{result:?}"),
            Fault::DropRequest | Fault::DropAnswer | Fault::Delay | Fault::Truncate | Fault::Unavailable => {
                let error = result.expect_err("no answer");
                assert!(error.is_unknown(), "{scheme:?} {fault:?}");
                assert_eq!(error.is_timeout(), fault == Fault::Delay, "{scheme:?} {fault:?}");
                assert_eq!(error.is_unavailable(), fault != Fault::Delay, "{scheme:?} {fault:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_call_without_a_server_has_an_unknown_outcome() {
    let http = Http::new("http://127.0.0.1:1").expect("a valid URL");
    let error = http.reserve(&reserve(lease(), &[("rpm", 1)])).await.expect_err("no server listens");
    assert!(error.is_unknown() && error.is_unavailable(), "{error:?}");
}

#[tokio::test]
async fn each_answer_of_the_server_becomes_its_result() {
    let server = server().await;
    let http = http(&server);
    let id = lease();
    let granted = http.reserve(&reserve(id, &[("rpm", 1)])).await.expect("an answer");
    assert!(is_granted(&granted));
    assert_eq!(http.reserve(&reserve(id, &[("rpm", 1)])).await.expect("an answer"), granted);
    let conflict = http.reserve(&reserve(id, &[("rpm", 2)])).await.expect("an answer");
    assert_eq!(conflict, AttemptResult::LeaseConflict);
    let refused = http.complete(&complete(id, &[("slots", 1)])).await.expect_err("a key outside the lease");
    let CallError::Refused { kind, message } = refused else { panic!("{refused:?}") };
    assert_eq!((kind, message.as_str()), (ErrorKind::InvalidRequest, "actuals[0].key is not in the lease"));
    let refused =
        http.extend(&extend(id, extend_id(), "slots", 1)).await.expect_err("a key outside the lease");
    let CallError::Refused { kind, message } = refused else { panic!("{refused:?}") };
    assert_eq!((kind, message.as_str()), (ErrorKind::InvalidRequest, "key is not in the lease"));
    let extension = extend_id();
    let extended = http.extend(&extend(id, extension, "rpm", 1)).await.expect("an answer");
    assert!(is_granted(&extended));
    let conflict = http.extend(&extend(id, extension, "rpm", 2)).await.expect("an answer");
    assert_eq!(conflict, AttemptResult::LeaseConflict);
    http.complete(&complete(id, &[("rpm", 1)])).await.expect("it is settled");
    let settled = http.extend(&extend(id, extend_id(), "rpm", 1)).await.expect("an answer");
    assert_eq!(settled, AttemptResult::LeaseSettled);
    let settled = http.reserve(&reserve(id, &[("rpm", 1)])).await.expect("an answer");
    assert_eq!(settled, AttemptResult::LeaseSettled);
    let usage = http.usage(&key("rpm")).await.expect("an answer").expect("the limit is there");
    assert_eq!(usage, Usage { available: 999, reserved: 1, debt: 0 });
    assert_eq!(http.usage(&key("no/such:key")).await.expect("an answer"), None);
    server.replica.put(rolling("user:user%3Aann", 7, 60)).await;
    let usage = http.usage(&key("user:user%3Aann")).await.expect("an answer").expect("the limit is there");
    assert_eq!(usage, Usage { available: 7, reserved: 0, debt: 0 });
    assert_eq!(http.usage(&key("user:user:ann")).await.expect("an answer"), None);
    let limiter = limiter(&server);
    let Acquired::Denied(denial) = limiter.try_acquire(&wants(&[("rpm", 1_001)])).await.expect("an answer")
    else {
        panic!("it exceeds the capacity");
    };
    assert_eq!(denial, Denial::ExceedsCapacity { key: key("rpm") });
}

#[tokio::test]
async fn a_batch_keeps_its_order_and_repeats_only_unknown_outcomes() {
    let server = server().await;
    let limiter = limiter(&server);
    let many: Vec<_> = (0..300)
        .map(|number| reserve(lease(), &[(if number % 3 == 0 { "nowhere" } else { "rpm" }, 1)]))
        .collect();
    server.set_faults([Some(Fault::DropAnswer), Some(Fault::Truncate)]);
    let outcomes = limiter.calls().reserve_batch(&many).await;
    for (number, outcome) in outcomes.iter().enumerate() {
        let outcome = outcome.as_ref().expect("an answer");
        assert_eq!(is_granted(outcome), number % 3 != 0, "{number}: {outcome:?}");
    }
    assert_eq!(server.replica.usage("rpm").await.reserved, 200);
    let mut completes: Vec<_> = many.iter().map(|reserve| complete(reserve.lease, &[("rpm", 0)])).collect();
    completes.push(complete(many[1].lease, &[]));
    let mut settled = limiter.calls().complete_batch(&completes).await;
    assert!(settled.pop().expect("an answer for each").is_ok());
    assert!(settled.iter().all(Result::is_ok), "{settled:?}");
    assert_eq!(server.replica.usage("rpm").await.reserved, 0);
}
