//! The HTTP API over the memory ledger: statuses, bodies, and the answers to bad input.

mod access;
mod audit;
mod batch;
mod browsers;
mod carried_out;
mod check;
mod complete;
mod conformance;
mod denials;
mod emergency;
mod extend;
mod json;
mod jwt;
mod key_patterns;
mod kinds;
mod limits;
mod memory;
mod metrics;
mod objects;
mod renew;
mod replicas;
mod report;
mod reserve;
mod reserve_options;
mod resets;
mod routes;
mod templates;
pub mod tokens;
mod ui;
mod unavailable;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use ledger_limiter::ledger::Ledger;
use ledger_limiter::ledger::memory::{ManualClock, MemoryLedger};
use ledger_limiter::server::Metrics;
use ledger_limiter::server::api::{self, Api, Audience, Gate};
use ledger_limiter::server::config::AnswersSettings;
use ledger_limiter::telemetry::MetricsRegistry;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::fixtures::*;
use crate::memory::MemoryBackend;

/// The start of the tests' clock, in milliseconds since the Unix epoch.
const START_MS: u64 = 1_767_225_600_000;
/// A valid lease id of the tests that never grant it.
const LEASE: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

/// The API with a rolling limit `rpm` of 3 per minute and a concurrency limit `slots` of 2.
struct Service<L = MemoryLedger<Arc<ManualClock>>> {
    router: Router,
    api: Arc<Api<L>>,
    backend: MemoryBackend,
    /// What each request carries as its token.
    token: Option<String>,
}

/// A JSON answer.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    status: StatusCode,
    body: Value,
}

/// An answer of any content type.
struct RawAnswer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Service {
    async fn new() -> Self {
        let service = Self::without_limits(true).await;
        let rpm = json!({ "key": "rpm", "kind": "rolling", "capacity": 3, "window_seconds": 60 });
        let slots = json!({ "key": "slots", "kind": "concurrency", "capacity": 2, "timeout_seconds": 60 });
        for limit in [rpm, slots] {
            assert_eq!(service.put(&limit).await, Answer::ok(json!({ "ok": true, "status": "active" })));
        }
        service
    }

    /// A service whose definitions are not read yet.
    async fn not_ready() -> Self {
        Self::without_limits(false).await
    }

    async fn without_limits(is_ready: bool) -> Self {
        Self::behind(Gate::open(), is_ready).await
    }

    /// A service without limits.
    async fn behind(gate: Gate, is_ready: bool) -> Self {
        let backend = MemoryBackend::new();
        Self::over(backend.connect(), backend, gate, is_ready).await
    }
}

impl<L: Ledger> Service<L> {
    /// A service without limits over a ledger that is, or is around, that of the backend.
    async fn over(ledger: Arc<L>, backend: MemoryBackend, gate: Gate, is_ready: bool) -> Self {
        let replica = Replica::start(ledger, backend.ids(), 0).await;
        let api = Api {
            request_timeout: Duration::from_secs(1),
            batch_requests_max: 4,
            ..Api::new(Arc::clone(&replica.engine), gate, Metrics::new(MetricsRegistry::default()))
        };
        if is_ready {
            api.readiness.set_bootstrapped();
        }
        let api = Arc::new(api);
        Self { router: api::router(Arc::clone(&api), Audience::Everybody), api, backend, token: None }
    }

    /// A service over the same ledger that tells what these settings say. It is open.
    fn that_answers(&self, answers: AnswersSettings) -> Self {
        let (engine, metrics) = (Arc::clone(&self.api.engine), Metrics::new(MetricsRegistry::default()));
        let api = Arc::new(Api { answers, ..Api::new(engine, Gate::open(), metrics) });
        api.readiness.set_bootstrapped();
        let router = api::router(Arc::clone(&api), Audience::Everybody);
        Self { router, api, backend: self.backend.clone(), token: None }
    }

    /// The same service, called with this token.
    fn called_with(&self, token: impl Into<String>) -> Self {
        let (router, api, backend) = (self.router.clone(), Arc::clone(&self.api), self.backend.clone());
        Self { router, api, backend, token: Some(token.into()) }
    }

    async fn send(&self, method: Method, path: &str, body: impl Into<Body>) -> RawAnswer {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        self.send_request(request.body(body.into()).expect("a request")).await
    }

    async fn send_request(&self, mut request: Request<Body>) -> RawAnswer {
        if let Some(token) = &self.token {
            let token = HeaderValue::try_from(format!("Bearer {token}")).expect("a header");
            request.headers_mut().insert("authorization", token);
        }
        let (method, path) = (request.method().clone(), request.uri().to_string());
        request.headers_mut().entry("host").or_insert(HeaderValue::from_static("localhost"));
        let response = self.router.clone().oneshot(request).await.expect("the router answers");
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("a body");
        let body = String::from_utf8(bytes.into()).expect("text");
        let answer = RawAnswer { status: head.status, headers: head.headers, body };
        conformance::check(&method, &path, &answer);
        answer
    }

    async fn call(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        self.send(method, path, body).await.read()
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, body.to_string()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, Body::empty()).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, Body::empty()).await
    }

    /// Creates or changes a limit.
    async fn put(&self, limit: &Value) -> Answer {
        self.call(Method::PUT, "/v1/admin/limits", limit.to_string()).await
    }

    /// Reserves `amount` of `key` under a fresh lease.
    async fn reserve(&self, key: &str, amount: u64) -> Answer {
        self.post("/v1/reserve", &fresh_reserve(key, amount)).await
    }

    /// The field `limit` of `GET /v1/admin/limits/{key}`.
    async fn limit(&self, key: &str) -> Value {
        let answer = self.get(&format!("/v1/admin/limits/{key}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.body["limit"].clone()
    }

    /// The keys of `GET /v1/admin/limits`, in its order.
    async fn listed_keys(&self) -> Vec<String> {
        let answer = self.get("/v1/admin/limits").await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let limits = answer.body["limits"].as_array().expect("limits");
        limits.iter().map(|limit| limit["definition"]["key"].as_str().expect("a key").to_owned()).collect()
    }
}

impl RawAnswer {
    #[track_caller]
    fn read(self) -> Answer {
        assert_eq!(self.headers["content-type"], "application/json", "{}", self.body);
        Answer { status: self.status, body: serde_json::from_str(&self.body).expect("every answer is JSON") }
    }
}

impl Answer {
    fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, body }
    }

    /// Checks that this is a failure with the given status and name.
    #[track_caller]
    fn assert_error(&self, status: StatusCode, name: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.body["error"], json!(name), "{self:?}");
    }

    /// Checks for a 400 `invalid_request` whose message begins with `message`.
    #[track_caller]
    fn assert_invalid(&self, message: &str) {
        assert!(!message.is_empty(), "every message begins with an empty text");
        self.assert_error(StatusCode::BAD_REQUEST, "invalid_request");
        let actual = self.body["message"].as_str().expect("a message");
        assert!(actual.starts_with(message), "expected {message:?}, got {actual:?}");
    }

    /// Checks that `key` has no room, and returns the hint in milliseconds.
    #[track_caller]
    fn denied_ms(&self, key: &str) -> u64 {
        let hint_ms = self.body["retry_after_ms"].as_u64().expect("a hint");
        assert!(hint_ms > 0, "{self:?}");
        let source = self.body["retry_after_source"].as_str().expect("a source");
        assert!(["exact", "estimate"].contains(&source), "{self:?}");
        assert_eq!(*self, hinted_denial(key, hint_ms, source, ""));
        hint_ms
    }

    #[track_caller]
    fn assert_granted(&self) {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        assert_eq!(self.body["allowed"], json!(true), "{self:?}");
    }
}

fn reserve_body(lease: &str, key: &str, amount: u64) -> Value {
    json!({ "lease_id": lease, "job_id": "job-1", "requirements": [{ "key": key, "amount": amount }] })
}

fn fresh_reserve(key: &str, amount: u64) -> Value {
    reserve_body(&lease().to_string(), key, amount)
}

/// The answer to a reserve that `key` denies for good.
fn denial(key: &str, error: &str) -> Answer {
    Answer::ok(json!({
        "allowed": false, "retry_after_ms": 0, "reserved_at_unix_ms": 0, "error": error,
        "limiting_key": key,
    }))
}

/// The answer to a reserve that `key` denies, against which a wait helps.
fn hinted_denial(key: &str, retry_after_ms: u64, source: &str, error: &str) -> Answer {
    Answer::ok(json!({
        "allowed": false, "retry_after_ms": retry_after_ms, "retry_after_source": source,
        "reserved_at_unix_ms": 0, "error": error, "limiting_key": key,
    }))
}

/// The body of the answer to a reserve that no limit denies and that is not granted.
fn failed_reserve(error: &str) -> Value {
    json!({ "allowed": false, "retry_after_ms": 0, "reserved_at_unix_ms": 0, "error": error })
}
