//! The answers of a service whose definitions are not read yet. The outcome of each request is unknown.

use std::sync::atomic::{AtomicBool, Ordering};

use ledger_limiter::ledger::LedgerError;

use super::*;
use crate::ledger_wrapper::{CallHook, LedgerWrapper};

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_answers_503_with_a_retry_after() {
    let complete = json!({ "lease_id": LEASE });
    let extend = json!({ "lease_id": LEASE, "extend_id": LEASE, "key": "rpm", "amount": 1 });
    let limit = json!({ "key": "rpm", "kind": "rolling", "capacity": 3, "window_seconds": 60 });
    let reserve = reserve_body(LEASE, "rpm", 1);
    let no_answer = json!({
        "error": "backend_error", "message": "the ledger did not answer in time; the outcome is unknown",
    });
    let not_ready = json!({ "error": "not_ready", "message": "the definitions have not been read yet" });
    for (method, path, body, expected) in [
        (Method::POST, "/v1/reserve", &reserve, unknown_reserve()),
        (Method::POST, "/v1/extend", &extend, unknown_reserve()),
        (Method::POST, "/v1/complete", &complete, unknown_complete()),
        (
            Method::POST,
            "/v1/reserve/batch",
            &json!({ "requests": [reserve] }),
            json!({ "results": [unknown_reserve()] }),
        ),
        (
            Method::POST,
            "/v1/complete/batch",
            &json!({ "requests": [complete] }),
            json!({ "results": [unknown_complete()] }),
        ),
        (Method::PUT, "/v1/admin/limits", &limit, no_answer.clone()),
        (Method::GET, "/v1/objects/rpm/state", &Value::Null, no_answer),
        (Method::GET, "/readyz", &Value::Null, not_ready),
    ] {
        let service = Service::not_ready().await;
        let answer = service.send(method, path, body.to_string()).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.headers["retry-after"], "1", "{path}");
        let body: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(body, expected, "{path}");
    }
    assert_eq!(Service::not_ready().await.get("/healthz").await, Answer::ok(json!({ "ok": true })));
}

/// A ledger that answers look-ups before its first session for transfers is connected.
#[derive(Default)]
struct Connecting(AtomicBool);

impl CallHook for Connecting {
    async fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, LedgerError>> + Send,
    ) -> Result<T, LedgerError> {
        call.await
    }

    fn can_send_chains(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_send_transfers_yet_is_not_ready() {
    let backend = MemoryBackend::new();
    let ledger = Arc::new(LedgerWrapper { inner: backend.connect(), hook: Connecting::default() });
    let service = Service::over(Arc::clone(&ledger), backend, Gate::open(), true).await;
    let message = "the ledger answers look-ups, but no session that sends transfers is connected yet";
    let not_ready = json!({ "error": "not_ready", "message": message });
    let answer = service.get("/readyz").await;
    assert_eq!((answer.status, answer.body), (StatusCode::SERVICE_UNAVAILABLE, not_ready));
    ledger.hook.0.store(true, Ordering::Relaxed);
    assert_eq!(service.get("/readyz").await, Answer::ok(json!({ "ok": true })));
}

#[tokio::test(start_paused = true)]
async fn requests_are_refused_at_once_after_three_time_outs_in_a_row() {
    let service = Service::not_ready().await;
    let waits = async || {
        let started = tokio::time::Instant::now();
        let answer = service.post("/v1/reserve", &fresh_reserve("rpm", 1)).await;
        assert_eq!((answer.status, answer.body), (StatusCode::SERVICE_UNAVAILABLE, unknown_reserve()));
        started.elapsed().as_millis()
    };
    for call in 1..=3 {
        assert!((1_000..1_010).contains(&waits().await), "call {call} waits for its time-out");
    }
    assert!(waits().await >= 1_000, "the first probe");
    assert_eq!((waits().await, waits().await), (0, 0));
    let items = json!({ "requests": [fresh_reserve("rpm", 1), fresh_reserve("rpm", 1 << 63)] });
    let batch = service.send(Method::POST, "/v1/reserve/batch", items.to_string()).await;
    assert_eq!((batch.status, batch.headers["retry-after"].as_bytes()), (StatusCode::OK, b"1".as_slice()));
    let malformed = json!({ "requests": [fresh_reserve("rpm", 1 << 63)] });
    assert_eq!(service.post("/v1/reserve/batch", &malformed).await.status, StatusCode::OK);
    assert_eq!(waits().await, 0, "a batch that asks nothing of the ledger tells nothing of it");
    let metrics = service.send(Method::GET, "/metrics", Body::empty()).await.body;
    for line in ["ratelimiterd_circuit_open 1", "ratelimiterd_refused_early_total 4"] {
        assert!(metrics.lines().any(|actual| actual == line), "{line}:\n{metrics}");
    }

    service.api.readiness.set_bootstrapped();
    tokio::time::advance(Duration::from_millis(500)).await;
    let answer = service.post("/v1/reserve", &fresh_reserve("rpm", 1)).await;
    assert_eq!(answer.status, StatusCode::OK, "the probe is answered");
    assert_eq!(service.post("/v1/reserve", &fresh_reserve("rpm", 1)).await.status, StatusCode::OK);
    let metrics = service.send(Method::GET, "/metrics", Body::empty()).await.body;
    assert!(metrics.contains("ratelimiterd_circuit_open 0"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn the_metrics_count_unknown_outcomes() {
    let service = Service::not_ready().await;
    service.reserve("rpm", 1).await;
    let items = json!({ "requests": [fresh_reserve("rpm", 1), fresh_reserve("rpm", 1)] });
    service.post("/v1/reserve/batch", &items).await;
    service.post("/v1/complete", &json!({ "lease_id": LEASE })).await;
    let metrics = service.send(Method::GET, "/metrics", Body::empty()).await.body;
    for line in [
        "ratelimiterd_reserves_total{outcome=\"unknown\"} 3",
        "ratelimiterd_completes_total{outcome=\"unknown\"} 1",
    ] {
        assert!(metrics.lines().any(|actual| actual == line), "{line}:\n{metrics}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_with_a_malformed_item_and_an_unknown_outcome_is_answered_with_200_and_a_retry_after() {
    let service = Service::not_ready().await;
    let malformed_reserve =
        failed_reserve("invalid_request: requirements[0].amount must be at most 9223372036854775807");
    let malformed_complete = json!({ "ok": false, "error": "invalid_request: missing field `lease_id`" });
    for (path, items, expected) in [
        (
            "/v1/reserve/batch",
            json!([fresh_reserve("rpm", 1), fresh_reserve("rpm", 1 << 63)]),
            json!([unknown_reserve(), malformed_reserve]),
        ),
        (
            "/v1/complete/batch",
            json!([{ "lease_id": LEASE }, {}]),
            json!([unknown_complete(), malformed_complete]),
        ),
    ] {
        let answer = service.send(Method::POST, path, json!({ "requests": items }).to_string()).await;
        assert_eq!(answer.headers["retry-after"], "1", "{path}");
        assert_eq!(answer.read(), Answer::ok(json!({ "results": expected })), "{path}");
    }
}

#[tokio::test]
async fn a_batch_whose_outcomes_are_known_has_no_retry_after() {
    let service = Service::new().await;
    let items = json!({ "requests": [fresh_reserve("rpm", 1), fresh_reserve("rpm", 1 << 63)] });
    let answer = service.send(Method::POST, "/v1/reserve/batch", items.to_string()).await;
    assert_eq!((answer.status, answer.headers.get("retry-after")), (StatusCode::OK, None));
}

/// An item of a batch of reserves whose outcome is unknown.
fn unknown_reserve() -> Value {
    let mut item = failed_reserve("backend_error");
    item["retry_after_ms"] = json!(1_000);
    item
}

/// An item of a batch of completes whose outcome is unknown.
fn unknown_complete() -> Value {
    json!({ "ok": false, "error": "backend_error", "retry_after_ms": 1_000 })
}
