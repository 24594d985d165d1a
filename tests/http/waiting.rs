//! Waiting over HTTP: the fields, the time-out, and callers that hang up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use ledger_limiter::ledger::LedgerError;
use ledger_limiter::limit::LeaseId;

use super::*;
use crate::ledger_wrapper::{CallHook, LedgerWrapper};

fn waiting_reserve(lease: LeaseId, key: &str, max_wait_ms: u64) -> Value {
    let mut body = reserve_body(&lease.to_string(), key, 1);
    body["max_wait_ms"] = json!(max_wait_ms);
    body
}

/// A service whose slots are both taken, and the lease that holds them.
async fn full_service() -> (Arc<Service>, LeaseId) {
    let service = Service::new().await;
    let holder = lease();
    service.post("/v1/reserve", &reserve_body(&holder.to_string(), "slots", 2)).await.assert_granted();
    (Arc::new(service), holder)
}

async fn until_waiting(service: &Service, requests: usize) {
    let counts = service.api.engine.limiter().waiting_counts();
    let holds = || async { counts.callers() == requests && counts.queued() >= requests as u64 };
    eventually("the requests wait", Duration::from_secs(10), holds).await;
}

#[tokio::test]
async fn a_reserve_waits_for_longer_than_the_request_timeout() {
    let (service, holder) = full_service().await;
    let asked = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.post("/v1/reserve", &waiting_reserve(lease(), "slots", 60_000)).await }
    });
    until_waiting(&service, 1).await;
    // The request timeout is 1 s.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(!asked.is_finished());
    let usage = json!({ "available": 0, "reserved": 2, "debt": 0, "waiting": 1 });
    assert_eq!(service.limit("slots").await["usage"], usage);
    let metrics = service.send(Method::GET, "/metrics", Body::empty()).await.body;
    assert!(metrics.contains("ratelimiterd_waiting_requests 1"), "{metrics}");
    service.post("/v1/complete", &json!({ "lease_id": holder.to_string() })).await;
    asked.await.expect("no panic").assert_granted();
    let metrics = service.send(Method::GET, "/metrics", Body::empty()).await.body;
    assert!(metrics.contains("ratelimiterd_waits_granted_total 1"), "{metrics}");
}

#[tokio::test]
async fn a_wait_ends_with_the_ordinary_denial() {
    let (service, _) = full_service().await;
    let body = waiting_reserve(lease(), "slots", 150);
    service.post("/v1/reserve", &body).await.denied_ms("slots");
    service.post("/v1/reserve", &body).await.denied_ms("slots");
}

#[tokio::test]
async fn who_hangs_up_leaves_the_queue_and_takes_nothing() {
    let (service, holder) = full_service().await;
    let asked = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.post("/v1/reserve", &waiting_reserve(lease(), "slots", 60_000)).await }
    });
    until_waiting(&service, 1).await;
    // A server drops the future of a handler together with its connection.
    asked.abort();
    until_waiting(&service, 0).await;
    service.post("/v1/complete", &json!({ "lease_id": holder.to_string() })).await;
    let usage = json!({ "available": 2, "reserved": 0, "debt": 0 });
    assert_eq!(service.limit("slots").await["usage"], usage);
}

#[tokio::test]
async fn a_reserve_that_hangs_up_before_the_service_is_ready_is_not_sent() {
    let service = Service::not_ready().await;
    service.api.engine.admin().put(&concurrency("slots", 5, 60)).await.expect("it is put");
    let body = waiting_reserve(lease(), "slots", 1_000).to_string();
    assert!(service.call(Method::POST, "/v1/reserve", body).now_or_never().is_none());
    service.api.readiness.set_bootstrapped();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(service.limit("slots").await["usage"]["reserved"], json!(0));
}

#[tokio::test]
async fn a_batch_waits_for_its_slowest_item() {
    let (service, holder) = full_service().await;
    let asked = tokio::spawn({
        let service = Arc::clone(&service);
        let requests = json!({ "requests": [
            waiting_reserve(lease(), "slots", 60_000), fresh_reserve("rpm", 1),
            waiting_reserve(lease(), "slots", 100),
        ] });
        async move { service.post("/v1/reserve/batch", &requests).await }
    });
    until_waiting(&service, 2).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    service.post("/v1/complete", &json!({ "lease_id": holder.to_string() })).await;
    let answer = asked.await.expect("no panic");
    let allowed: Vec<_> = (0..3).map(|index| answer.body["results"][index]["allowed"].clone()).collect();
    assert_eq!(allowed, [json!(true), json!(true), json!(false)], "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn the_items_of_a_batch_wait_at_the_same_time() {
    let (service, _) = full_service().await;
    // One that only takes, and one that also asks whether anything of another limit is free.
    let mut beside_a_peek = waiting_reserve(lease(), "slots", 2_000);
    let peek = json!({ "key": "rpm", "amount": 0 });
    beside_a_peek["requirements"].as_array_mut().expect("requirements").push(peek);
    let requests = json!({ "requests": [waiting_reserve(lease(), "slots", 2_000), beside_a_peek] });
    let started = tokio::time::Instant::now();
    let answer = service.post("/v1/reserve/batch", &requests).await;
    let waited = started.elapsed();
    for index in 0..2 {
        let item = answer.body["results"][index].clone();
        Answer::ok(item).denied_ms("slots");
    }
    assert!((2_000..2_100).contains(&waited.as_millis()), "{waited:?}");
}

#[tokio::test]
async fn a_batch_that_hangs_up_reserves_what_does_not_wait() {
    let not_ready = Service::not_ready().await;
    let requests =
        json!({ "requests": [waiting_reserve(lease(), "slots", 60_000), fresh_reserve("rpm", 1)] });
    for limit in [concurrency("slots", 5, 60), concurrency("rpm", 5, 60)] {
        not_ready.api.engine.admin().put(&limit).await.expect("it is put");
    }
    let asked = not_ready.call(Method::POST, "/v1/reserve/batch", requests.to_string());
    assert!(asked.now_or_never().is_none());
    not_ready.api.readiness.set_bootstrapped();
    let is_reserved = || async { not_ready.limit("rpm").await["usage"]["reserved"] == json!(1) };
    eventually("the item that does not wait is carried out", Duration::from_secs(10), is_reserved).await;
    assert_eq!(not_ready.limit("slots").await["usage"]["reserved"], json!(0), "the one that waits is not");
}

/// A ledger that gives no answers while it is silent.
#[derive(Default)]
struct Silent(AtomicBool);

impl CallHook for Silent {
    async fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, LedgerError>> + Send,
    ) -> Result<T, LedgerError> {
        match self.0.load(Ordering::SeqCst) {
            true => std::future::pending().await,
            false => call.await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_hangs_up_tells_nothing_about_the_ledger() {
    let backend = MemoryBackend::new();
    let ledger = Arc::new(LedgerWrapper { inner: backend.connect(), hook: Silent::default() });
    let service = Arc::new(Service::over(Arc::clone(&ledger), backend, Gate::open(), true).await);
    service
        .put(&json!({ "key": "slots", "kind": "concurrency", "capacity": 2, "timeout_seconds": 60 }))
        .await;
    ledger.hook.0.store(true, Ordering::SeqCst);
    let circuit_is_open = async || {
        let metrics = service.send(Method::GET, "/metrics", Body::empty()).await.body;
        metrics.lines().any(|line| line == "ratelimiterd_circuit_open 1")
    };
    for _ in 0..3 {
        service.reserve("slots", 1).await;
    }
    assert!(circuit_is_open().await);
    let probe = tokio::spawn({
        let service = Arc::clone(&service);
        let requests = json!({ "requests": [waiting_reserve(lease(), "slots", 60_000)] });
        async move { service.post("/v1/reserve/batch", &requests).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    probe.abort();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(circuit_is_open().await, "nobody has answered");
}

#[tokio::test]
async fn fields_out_of_range_are_refused() {
    let service = Service::new().await;
    for (field, value, message) in [
        ("max_wait_ms", json!(60_001), "max_wait_ms must be between 0 and 60000"),
        ("priority", json!(10), "priority must be between 0 and 9"),
        ("max_wait_ms", json!("1"), "max_wait_ms"),
    ] {
        let mut body = fresh_reserve("slots", 1);
        body[field] = value;
        service.post("/v1/reserve", &body).await.assert_invalid(message);
    }
    let mut body = fresh_reserve("slots", 1);
    (body["max_wait_ms"], body["priority"]) = (json!(60_000), json!(0));
    service.post("/v1/reserve", &body).await.assert_granted();
}

#[tokio::test]
async fn a_definition_says_how_callers_wait() {
    let service = Service::new().await;
    let queue = json!({ "order": "newest_first", "max_waiting": 1 });
    let limit = json!({ "key": "jobs:{user}", "kind": "concurrency", "capacity": 1, "timeout_seconds": 60, "queue": queue });
    assert_eq!(service.put(&limit).await.status, StatusCode::OK);
    service.reserve("jobs:ann", 1).await.assert_granted();
    assert_eq!(service.limit("jobs:ann").await["definition"]["queue"], queue, "a template hands it on");
    let asked = tokio::spawn({
        let (router, api, backend) =
            (service.router.clone(), Arc::clone(&service.api), service.backend.clone());
        let same = Service { router, api, backend, token: None };
        async move { same.post("/v1/reserve", &waiting_reserve(lease(), "jobs:ann", 60_000)).await }
    });
    until_waiting(&service, 1).await;
    service.post("/v1/reserve", &waiting_reserve(lease(), "jobs:ann", 60_000)).await.denied_ms("jobs:ann");
    asked.abort();
    let limit = json!({ "key": "x", "kind": "concurrency", "capacity": 1, "timeout_seconds": 60,
        "queue": { "order": "random" } });
    service.put(&limit).await.assert_invalid("queue");
}
