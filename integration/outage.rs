//! The service before TigerBeetle starts, while it is down, and after it has restarted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::fixtures::{eventually, lease};
use crate::support::server::{Process, Server, free_port};
use crate::support::service::Service;

/// The longest time that a request may take beyond `server.request_timeout_ms`, on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

async fn define(service: &Service, key: &str, capacity: u64) {
    let limit = json!({ "key": key, "kind": "concurrency", "capacity": capacity, "timeout_seconds": 60 });
    let (status, body) = service.put("/v1/admin/limits", &limit).await;
    assert_eq!((status, &body["ok"]), (StatusCode::OK, &json!(true)), "{body}");
}

fn reserve_one(key: &str, lease_id: &str) -> Value {
    json!({ "lease_id": lease_id, "requirements": [{ "key": key, "amount": 1 }] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_starts_before_tigerbeetle_becomes_ready() {
    let mut server = Process::format().await;
    let service = Service::start(&server.address()).await;
    assert_eq!(service.get("/healthz").await.0, StatusCode::OK);
    let (status, body) = service.get("/readyz").await;
    assert_eq!((status, &body["error"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("not_ready")), "{body}");

    let started = Instant::now();
    let lease_id = lease().to_string();
    let (status, body) = service.post("/v1/reserve", &reserve_one("slots", &lease_id)).await;
    assert!(started.elapsed() < service.request_timeout() + SLACK, "{:?}", started.elapsed());
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("backend_error")),
        "{body}"
    );
    assert_eq!(body["allowed"], json!(false));

    server.run().await;
    // Without a restart.
    service.ready().await;
    define(&service, "slots", 3).await;
    let (status, body) = service.post("/v1/reserve", &reserve_one("slots", &lease().to_string())).await;
    assert_eq!((status, &body["allowed"]), (StatusCode::OK, &json!(true)), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_gets_no_reply_names_the_likely_setting() {
    let server = Server::start().await;
    let nobody = format!("[::1]:{}", free_port());
    let address = server.address();
    for (arguments, name) in [
        (["--tigerbeetle-addresses", &address, "--tigerbeetle-cluster-id", "5"], "tigerbeetle.cluster_id"),
        (["--tigerbeetle-addresses", &nobody, "--tigerbeetle-cluster-id", "0"], "tigerbeetle.addresses"),
    ] {
        let service = Service::start_with(&arguments, &json!([])).await;
        let is_named = || async {
            let (status, body) = service.get("/readyz").await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
            body["message"].as_str().expect("a message").contains(name)
        };
        eventually("the answer names the setting", Duration::from_secs(30), is_named).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_slot_is_lost_when_tigerbeetle_restarts_under_load() {
    let mut server = Server::start().await;
    let service = Arc::new(Service::start(&server.address()).await);
    service.ready().await;
    define(&service, "slots", 20).await;

    let stop = Arc::new(AtomicBool::new(false));
    let unknown = Arc::new(AtomicUsize::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..30 {
        callers.spawn(call_until(Arc::clone(&service), Arc::clone(&stop), Arc::clone(&unknown)));
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.stop().await;
        let not_ready = || async { service.get("/readyz").await.0 == StatusCode::SERVICE_UNAVAILABLE };
        eventually("the service reports that it is not ready", Duration::from_secs(10), not_ready).await;
        server.start_again().await;
        service.ready().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::SeqCst);
    let granted: usize = callers.join_all().await.into_iter().sum();
    assert!(granted > 30, "calls were granted between the outages: {granted}");
    assert!(unknown.load(Ordering::SeqCst) > 0, "some outcomes were unknown");

    let (_, body) = service.get("/v1/admin/limits/slots").await;
    let usage = json!({ "available": 20, "reserved": 0, "debt": 0 });
    assert_eq!(body["limit"]["usage"], usage, "every slot was released although outcomes were unknown");
}

/// Reserves and completes until `stop` is set, as a caller should: it repeats a request with an unknown outcome under
/// the same lease. Returns the number of grants.
async fn call_until(service: Arc<Service>, stop: Arc<AtomicBool>, unknown: Arc<AtomicUsize>) -> usize {
    let mut granted = 0;
    while !stop.load(Ordering::SeqCst) {
        let lease_id = lease().to_string();
        let answer = until_known(&service, "/v1/reserve", &reserve_one("slots", &lease_id), &unknown).await;
        if answer["allowed"] == json!(true) {
            granted += 1;
            let complete = json!({ "lease_id": lease_id, "actuals": [] });
            let answer = until_known(&service, "/v1/complete", &complete, &unknown).await;
            assert_eq!(answer["ok"], json!(true), "{answer}");
        } else {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    granted
}

/// Repeats a request until its outcome is known.
async fn until_known(service: &Service, path: &str, body: &Value, unknown: &AtomicUsize) -> Value {
    loop {
        let started = Instant::now();
        let (status, answer) = service.post(path, body).await;
        assert!(started.elapsed() < service.request_timeout() + SLACK, "{path} took {:?}", started.elapsed());
        match status {
            StatusCode::OK => return answer,
            StatusCode::SERVICE_UNAVAILABLE => {
                assert_eq!(answer["error"], json!("backend_error"));
                unknown.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            other => panic!("{path} answered {other}: {answer}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_is_granted_while_tigerbeetle_is_down_and_counted_once() {
    let mut server = Server::start().await;
    let service = Service::start(&server.address()).await;
    service.ready().await;
    let limit = json!({
        "key": "tokens", "kind": "rolling", "capacity": 1_000, "window_seconds": 3_600,
        "on_unavailable": "allow", "emergency": { "capacity_share": 0.05, "seconds": 60 },
    });
    let (status, body) = service.put("/v1/admin/limits", &limit).await;
    assert_eq!(status, StatusCode::OK, "{body}");

    server.stop().await;
    let mut granted = 0;
    for _ in 0..8 {
        let lease_id = lease().to_string();
        let reserve = json!({ "lease_id": lease_id, "requirements": [{ "key": "tokens", "amount": 10 }] });
        let (status, body) = service.post("/v1/reserve", &reserve).await;
        if status != StatusCode::OK {
            continue;
        }
        assert_eq!((&body["allowed"], &body["emergency"]), (&json!(true), &json!(true)), "{body}");
        granted += 1;
        let complete = json!({ "lease_id": lease_id, "actuals": [{ "key": "tokens", "actual_amount": 3 }] });
        let (status, body) = service.post("/v1/complete", &complete).await;
        assert_eq!((status, &body["ok"]), (StatusCode::OK, &json!(true)), "{body}");
    }
    assert_eq!(granted, 5, "a twentieth of the capacity");

    server.start_again().await;
    service.ready().await;
    // The calls that timed out may reach the ledger now. Then their lease is an ordinary one.
    let counted = || async {
        let (_, body) = service.get("/v1/admin/limits/tokens").await;
        let usage = &body["limit"]["usage"];
        let (reserved, debt) = (usage["reserved"].as_u64(), usage["debt"].as_u64());
        let used = reserved.zip(debt).map(|(reserved, debt)| reserved + debt);
        assert!(used.is_none_or(|used| used <= 50), "counted twice: {body}");
        used == Some(15)
    };
    eventually("the usage of each lease is counted", Duration::from_secs(30), counted).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(counted().await, "and stays so");
}
