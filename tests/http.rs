//! The HTTP surface over the memory ledger: statuses, bodies, and what bad input gets.

mod kinds;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use axum::{Router, response::Response};
use ledger_limiter::server::Metrics;
use ledger_limiter::server::api::{self, Api, BODY_BYTES_MAX, Readiness};
use ledger_limiter::telemetry::MetricsRegistry;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::fixtures::*;
use crate::memory::MemoryBackend;

/// A service with a rolling limit `rpm` of 3 per minute and a concurrency limit `slots` of 2.
pub struct Service {
    router: Router,
    pub backend: MemoryBackend,
}

impl Service {
    pub async fn new() -> Self {
        let backend = MemoryBackend::new();
        let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
        let api = Api {
            limiter: replica.limiter.clone(),
            admin: Arc::clone(&replica.admin),
            readiness: Readiness::new(Arc::clone(&replica.ledger), replica.ids.operator()),
            request_timeout: Duration::from_secs(1),
            batch_requests_max: 4,
            metrics: Metrics::new(MetricsRegistry::default()),
        };
        api.readiness.set_bootstrapped();
        replica.put(rolling("rpm", 3, 60)).await;
        replica.put(concurrency("slots", 2, 60)).await;
        Self { router: api::router(Arc::new(api)), backend }
    }

    pub async fn send(&self, method: Method, path: &str, body: impl Into<Body>) -> Response {
        let request = Request::builder().method(method).uri(path).body(body.into()).expect("a request");
        self.router.clone().oneshot(request).await.expect("the router answers")
    }

    pub async fn call(&self, method: Method, path: &str, body: impl Into<Body>) -> (StatusCode, Value) {
        let response = self.send(method, path, body).await;
        let status = response.status();
        assert_eq!(response.headers()["content-type"], "application/json", "{path}");
        let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        (status, serde_json::from_slice(&bytes).expect("every answer is JSON"))
    }

    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, body.to_string()).await
    }

    pub async fn put(&self, body: &Value) -> (StatusCode, Value) {
        self.call(Method::PUT, "/v1/admin/limits", body.to_string()).await
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, Body::empty()).await
    }
}

fn wants(lease: &str, key: &str, amount: u64) -> Value {
    json!({ "lease_id": lease, "job_id": "job-1", "requirements": [{ "key": key, "amount": amount }] })
}

fn fresh(key: &str, amount: u64) -> Value {
    wants(&lease().to_string(), key, amount)
}

#[tokio::test]
async fn a_reserve_answers_in_four_fields_and_names_the_limiting_key() {
    let service = Service::new().await;
    let id = lease().to_string();
    let (status, granted) = service.post("/v1/reserve", &wants(&id, "rpm", 2)).await;
    assert_eq!(status, StatusCode::OK);
    let at = granted["reserved_at_unix_ms"].as_u64().expect("a time");
    assert!(at >= 1_767_225_600_000);
    assert_eq!(
        granted,
        json!({ "allowed": true, "retry_after_ms": 0, "reserved_at_unix_ms": at, "error": "" })
    );

    let (status, denied) = service.post("/v1/reserve", &fresh("rpm", 2)).await;
    let hint = denied["retry_after_ms"].as_u64().expect("a hint");
    assert!((5_000..=5_050).contains(&hint), "a tenth of the window, capped: {hint}");
    let expected = json!({ "allowed": false, "retry_after_ms": hint, "reserved_at_unix_ms": 0, "error": "", "limiting_key": "rpm" });
    assert_eq!((status, denied), (StatusCode::OK, expected));

    for (body, error, key) in [
        (fresh("rpm", 4), "exceeds_capacity:rpm", "rpm"),
        (fresh("nope", 4), "unknown_limit_key:nope", "nope"),
    ] {
        let (status, answer) = service.post("/v1/reserve", &body).await;
        let expected = json!({ "allowed": false, "retry_after_ms": 0, "reserved_at_unix_ms": 0, "error": error, "limiting_key": key });
        assert_eq!((status, answer), (StatusCode::OK, expected));
    }

    let failed =
        |error| json!({ "allowed": false, "retry_after_ms": 0, "reserved_at_unix_ms": 0, "error": error });
    let conflict = service.post("/v1/reserve", &wants(&id, "rpm", 1)).await;
    assert_eq!(conflict, (StatusCode::CONFLICT, failed("lease_conflict")));
    let completed = service.post("/v1/complete", &json!({ "lease_id": id, "actuals": [] })).await;
    assert_eq!(completed, (StatusCode::OK, json!({ "ok": true, "error": "" })));
    let settled = service.post("/v1/reserve", &wants(&id, "rpm", 2)).await;
    assert_eq!(settled, (StatusCode::CONFLICT, failed("lease_settled")));
}

#[tokio::test]
async fn a_decreasing_limit_says_so() {
    let service = Service::new().await;
    service.post("/v1/reserve", &fresh("slots", 2)).await;
    let lower = json!({ "key": "slots", "kind": "concurrency", "capacity": 1, "timeout_seconds": 60 });
    assert_eq!(service.put(&lower).await, (StatusCode::OK, json!({ "ok": true, "status": "decreasing" })));
    let (status, denied) = service.post("/v1/reserve", &fresh("slots", 1)).await;
    let expected = json!({
        "allowed": false, "retry_after_ms": 10_000, "reserved_at_unix_ms": 0,
        "error": "limit_decreasing:slots", "limiting_key": "slots",
    });
    assert_eq!((status, denied), (StatusCode::OK, expected));
    let (_, info) = service.get("/v1/admin/limits/slots").await;
    let expected = json!({
        "definition": {
            "key": "slots", "kind": "concurrency", "capacity": 2, "window_seconds": 0, "timeout_seconds": 60,
            "unit": "", "description": "", "overage": "debt",
        },
        "status": "decreasing", "pending_decrease_to": 1,
        "usage": { "available": 0, "reserved": 2, "debt": 0 },
    });
    assert_eq!(info["limit"], expected);
}

#[tokio::test]
async fn hints_grow_and_a_grant_ends_the_row() {
    let service = Service::new().await;
    let id = lease().to_string();
    service.post("/v1/reserve", &wants(&id, "slots", 2)).await;
    let mut hints = Vec::new();
    for _ in 0..3 {
        let (_, denied) = service.post("/v1/reserve", &fresh("slots", 1)).await;
        hints.push(denied["retry_after_ms"].as_u64().expect("a hint"));
    }
    for (hint, base) in hints.iter().zip([50, 100, 200]) {
        assert!((base..=base + 25).contains(hint), "{hints:?}");
    }
    service.post("/v1/complete", &json!({ "lease_id": id })).await;
    service.post("/v1/reserve", &fresh("slots", 2)).await;
    let (_, denied) = service.post("/v1/reserve", &fresh("slots", 1)).await;
    assert!((50..=75).contains(&denied["retry_after_ms"].as_u64().expect("a hint")), "{denied}");
}

#[tokio::test]
async fn bad_input_names_the_field() {
    let service = Service::new().await;
    let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let many: Vec<Value> = (0..33).map(|n| json!({ "key": format!("k{n}"), "amount": 1 })).collect();
    let rows = [
        (json!({ "lease_id": id, "requirements": [] }), "requirements must be between 1 and 32 long, not 0"),
        (
            json!({ "lease_id": id, "requirements": many }),
            "requirements must be between 1 and 32 long, not 33",
        ),
        (
            json!({ "lease_id": id, "requirements": [{"key": "a", "amount": 1}, {"key": "b", "amount": 1}, {"key": "c", "amount": 0}] }),
            "requirements[2].amount must be at least 1",
        ),
        (wants(id, "rpm", 1 << 63), "requirements[0].amount must be at most 9223372036854775807"),
        (wants(id, "", 1), "requirements[0].key must not be empty"),
        (wants(id, "_x", 1), "requirements[0].key must begin with a letter or a digit, not '_'"),
        (wants("short", "rpm", 1), "lease_id must be a ULID"),
        (wants("00000000000000000000000000", "rpm", 1), "lease_id must not be zero"),
        (
            json!({ "lease_id": id, "requirements": [{"key": "a", "amount": 1}, {"key": "a", "amount": 1}] }),
            "requirements[1].key repeats a",
        ),
        (json!({ "lease_id": id, "requirements": [{"key": "a", "amount": -1}] }), "requirements[0].amount: "),
        (
            json!({ "lease_id": id, "requirements": [{"key": "a", "amount": 1.5}] }),
            "requirements[0].amount: ",
        ),
        (
            json!({ "lease_id": id, "requirements": [{"key": "a", "amount": 1, "x": 1}] }),
            "requirements[0].x: unknown field",
        ),
        (
            json!({ "lease_id": id, "requirements": [{"key": "a"}] }),
            "requirements[0]: missing field `amount`",
        ),
        (json!({ "lease_id": id, "requirements": {} }), "requirements: invalid type"),
        (
            json!({ "lease_id": id, "job_id": "j".repeat(129), "requirements": [{"key": "a", "amount": 1}] }),
            "job_id must be at most 128 bytes",
        ),
        (json!({ "requirements": [] }), "missing field `lease_id`"),
        (json!([]), ""),
        (json!("text"), ""),
    ];
    for (body, message) in rows {
        let (status, answer) = service.post("/v1/reserve", &body).await;
        assert_eq!(
            (status, &answer["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_request")),
            "{body}"
        );
        let told = answer["message"].as_str().expect("a message");
        assert!(told.starts_with(message), "{body}: {told}");
    }
    for body in ["", "{", "{}x", "\u{0}", "nul"] {
        let (status, answer) = service.call(Method::POST, "/v1/reserve", body).await;
        assert_eq!(
            (status, &answer["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_request")),
            "{body:?}"
        );
    }
    let (status, answer) = service.call(Method::POST, "/v1/complete", vec![0xff_u8, 0xfe]).await;
    assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")));
    let (_, info) = service.get("/v1/admin/limits/rpm").await;
    assert_eq!(info["limit"]["usage"]["reserved"], json!(0), "nothing of it left a trace");
}

#[tokio::test]
async fn bad_completes_name_the_field() {
    let service = Service::new().await;
    let id = lease().to_string();
    service.post("/v1/reserve", &wants(&id, "rpm", 1)).await;
    for (actuals, message) in [
        (json!([{ "key": "rpm", "actual_amount": 1_u64 << 63 }]), "actuals[0].actual_amount must be at most"),
        (
            json!([{ "key": "rpm", "actual_amount": 1 }, { "key": "rpm", "actual_amount": 1 }]),
            "actuals[1].key repeats rpm",
        ),
        (
            json!([{ "key": "rpm", "actual_amount": 1 }, { "key": "slots", "actual_amount": 1 }]),
            "actuals[1].key is not in the lease",
        ),
        (json!([{ "key": " ", "actual_amount": 1 }]), "actuals[0].key must begin with"),
    ] {
        let (status, answer) =
            service.post("/v1/complete", &json!({ "lease_id": id, "actuals": actuals })).await;
        assert_eq!(
            (status, &answer["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_request")),
            "{actuals}"
        );
        assert!(answer["message"].as_str().is_some_and(|told| told.starts_with(message)), "{answer}");
    }
    let unknown = json!({ "lease_id": lease().to_string(), "actuals": [] });
    assert_eq!(
        service.post("/v1/complete", &unknown).await,
        (StatusCode::OK, json!({ "ok": true, "error": "" }))
    );
}

#[tokio::test]
async fn one_bad_item_of_a_batch_spoils_only_itself() {
    let service = Service::new().await;
    let (status, answer) = service
        .post(
            "/v1/reserve/batch",
            &json!({ "requests": [fresh("rpm", 1), fresh("rpm", 0), 7, fresh("nope", 1)] }),
        )
        .await;
    assert_eq!(status, StatusCode::OK);
    let results = answer["results"].as_array().expect("results");
    assert_eq!(results.len(), 4);
    assert_eq!(results[0]["allowed"], json!(true));
    assert_eq!(results[1]["error"], json!("invalid_request: requirements[0].amount must be at least 1"));
    assert!(
        results[2]["error"].as_str().is_some_and(|error| error.starts_with("invalid_request: ")),
        "{answer}"
    );
    assert_eq!(results[3]["error"], json!("unknown_limit_key:nope"));

    let id = lease().to_string();
    service.post("/v1/reserve", &wants(&id, "slots", 1)).await;
    let completes =
        json!({ "requests": [{ "lease_id": id }, { "lease_id": "x" }, { "lease_id": lease().to_string() }] });
    let (status, answer) = service.post("/v1/complete/batch", &completes).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["results"][0], json!({ "ok": true, "error": "" }));
    assert_eq!(answer["results"][1]["ok"], json!(false));
    assert!(
        answer["results"][1]["error"]
            .as_str()
            .is_some_and(|error| error.starts_with("invalid_request: lease_id"))
    );
    assert_eq!(answer["results"][2]["ok"], json!(true));

    let five: Vec<Value> = (0..5).map(|_| fresh("rpm", 1)).collect();
    for body in [json!({}), json!({ "requests": [] }), json!({ "requests": five }), json!([fresh("rpm", 1)])]
    {
        for path in ["/v1/reserve/batch", "/v1/complete/batch"] {
            let (status, answer) = service.post(path, &body).await;
            assert_eq!(
                (status, &answer["error"]),
                (StatusCode::BAD_REQUEST, &json!("invalid_request")),
                "{body}"
            );
        }
    }
}

#[tokio::test]
async fn limits_are_made_shown_and_deleted() {
    let service = Service::new().await;
    let key = "tenant:a/b:llm+x@1=2";
    let limit =
        json!({ "key": key, "kind": "rolling", "capacity": 5, "window_seconds": 60, "unit": "tokens" });
    assert_eq!(service.put(&limit).await, (StatusCode::OK, json!({ "ok": true, "status": "active" })));
    let path = format!("/v1/admin/limits/{key}");
    let (status, info) = service.get(&path).await;
    assert_eq!((status, &info["limit"]["definition"]["unit"]), (StatusCode::OK, &json!("tokens")));
    let encoded = format!("/v1/admin/limits/{}", key.replace('/', "%2F").replace(':', "%3A"));
    assert_eq!(service.get(&encoded).await, (status, info), "a key may be percent-encoded");
    let (_, list) = service.get("/v1/admin/limits").await;
    let keys: Vec<_> =
        list["limits"].as_array().expect("limits").iter().map(|l| &l["definition"]["key"]).collect();
    assert_eq!(keys, [&json!("rpm"), &json!("slots"), &json!(key)]);
    let (status, history) = service.get(&format!("{path}/history")).await;
    assert_eq!(
        (status, history["versions"].as_array().map(Vec::len)),
        (StatusCode::OK, Some(1)),
        "{history}"
    );

    assert_eq!(
        service.call(Method::DELETE, &path, Body::empty()).await,
        (StatusCode::OK, json!({ "ok": true }))
    );
    for method in [Method::DELETE, Method::GET] {
        let (status, answer) = service.call(method, &path, Body::empty()).await;
        assert_eq!((status, &answer["error"]), (StatusCode::NOT_FOUND, &json!("unknown_limit_key")));
    }
    let changed = json!({ "key": "rpm", "kind": "concurrency", "capacity": 5, "timeout_seconds": 60 });
    let (status, answer) = service.put(&changed).await;
    assert_eq!((status, &answer["error"]), (StatusCode::CONFLICT, &json!("kind_change")));
}

#[tokio::test]
async fn bad_definitions_name_the_field() {
    let service = Service::new().await;
    let good = json!({ "key": "x", "kind": "rolling", "capacity": 5, "window_seconds": 60 });
    for (field, value, message) in [
        ("capacity", json!(0), "capacity must be at least 1"),
        ("capacity", json!(1_u64 << 63), "capacity must be at most"),
        ("window_seconds", json!(0), "window_seconds must be between 1 and 31622400"),
        ("window_seconds", json!(31_622_401), "window_seconds must be between 1 and 31622400"),
        ("timeout_seconds", json!(1), "timeout_seconds must be 0 for kind rolling"),
        ("kind", json!("leaky"), "kind: unknown variant"),
        ("overage", json!("forgive"), "overage: unknown variant"),
        ("unit", json!("u".repeat(65)), "unit must be at most 64 bytes"),
        ("description", json!("d".repeat(1_025)), "description must be at most 1024 bytes"),
        ("key", json!("a b"), "key must not hold ' '"),
        ("status", json!("active"), "status: unknown field"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let (status, answer) = service.put(&body).await;
        assert_eq!(
            (status, &answer["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_request")),
            "{body}"
        );
        assert!(
            answer["message"].as_str().is_some_and(|told| told.starts_with(message)),
            "{field}: {answer}"
        );
    }
    assert_eq!(service.get("/v1/admin/limits/x").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_not_served_is_answered_in_json_too() {
    let service = Service::new().await;
    assert_eq!(service.get("/nothing").await.0, StatusCode::NOT_FOUND);
    assert_eq!(service.get("/v1/reserve").await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(service.get("/healthz").await.0, StatusCode::OK);
    assert_eq!(service.get("/readyz").await.0, StatusCode::OK);
    let large = " ".repeat(BODY_BYTES_MAX + 1);
    let (status, answer) = service.call(Method::POST, "/v1/reserve", large).await;
    assert_eq!((status, &answer["error"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("body_too_large")));
    let (status, answer) = service.get("/v1/admin/limits/%20").await;
    assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")));
}

#[tokio::test]
async fn the_memory_ledger_forgets_what_is_over() {
    let service = Service::new().await;
    let id = lease().to_string();
    service.post("/v1/reserve", &wants(&id, "slots", 1)).await;
    service.post("/v1/complete", &json!({ "lease_id": id })).await;
    for _ in 0..10 {
        service.post("/v1/reserve", &fresh("rpm", 2)).await;
    }
    assert_eq!(service.backend.ledger.leases(), 11);
    service.backend.pass(Duration::from_secs(60)).await;
    assert_eq!(service.post("/v1/reserve", &wants(&id, "slots", 1)).await.0, StatusCode::CONFLICT);
    service.backend.pass(crate::memory::RETENTION).await;
    assert_eq!(service.backend.ledger.leases(), 0, "its size follows the live load");
}

#[tokio::test]
async fn the_metrics_count_what_came_of_each_item() {
    let service = Service::new().await;
    let id = lease().to_string();
    service.post("/v1/reserve", &wants(&id, "rpm", 2)).await;
    service.post("/v1/reserve", &wants(&id, "rpm", 1)).await;
    service.post("/v1/reserve", &fresh("rpm", 0)).await;
    let items = json!({ "requests": [fresh("rpm", 1), fresh("rpm", 1), fresh("rpm", 4), fresh("nope", 1)] });
    service.post("/v1/reserve/batch", &items).await;
    service.post("/v1/complete", &json!({ "lease_id": id })).await;
    service.post("/v1/reserve", &wants(&id, "rpm", 2)).await;
    let completes = json!({ "requests": [{ "lease_id": id }, { "lease_id": "x" }] });
    service.post("/v1/complete/batch", &completes).await;
    service.get("/v1/admin/limits").await;

    let response = service.send(Method::GET, "/metrics", Body::empty()).await;
    let form = response.headers()["content-type"].to_str().expect("text").to_owned();
    assert!(form.starts_with("application/openmetrics-text; version=1.0.0"), "{form}");
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    let text = String::from_utf8(bytes.into()).expect("text");
    for line in [
        "ratelimiterd_reserves_total{outcome=\"granted\"} 2",
        "ratelimiterd_reserves_total{outcome=\"no_room\"} 1",
        "ratelimiterd_reserves_total{outcome=\"decreasing\"} 0",
        "ratelimiterd_reserves_total{outcome=\"exceeds_capacity\"} 1",
        "ratelimiterd_reserves_total{outcome=\"unknown_key\"} 1",
        "ratelimiterd_reserves_total{outcome=\"conflict\"} 1",
        "ratelimiterd_reserves_total{outcome=\"settled\"} 1",
        "ratelimiterd_reserves_total{outcome=\"unknown\"} 0",
        "ratelimiterd_completes_total{outcome=\"settled\"} 1",
        "ratelimiterd_completes_total{outcome=\"nothing_to_do\"} 1",
        "ratelimiterd_completes_total{outcome=\"not_in_lease\"} 0",
        "ratelimiterd_request_seconds_count{route=\"/v1/reserve\"} 4",
        "ratelimiterd_request_seconds_count{route=\"/v1/reserve/batch\"} 1",
        "ratelimiterd_request_seconds_count{route=\"/v1/extend\"} 0",
        "ratelimiterd_request_seconds_count{route=\"/v1/complete\"} 1",
        "ratelimiterd_request_seconds_count{route=\"/v1/complete/batch\"} 1",
        "ratelimiterd_request_seconds_count{route=\"/v1/admin/limits\"} 1",
        "ratelimiterd_requests_in_flight 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|told| told == line), "{line}:\n{text}");
    }
}

#[tokio::test]
async fn an_extend_is_answered_as_a_reserve_is() {
    let service = Service::new().await;
    let (id, extension) = (lease().to_string(), lease().to_string());
    service.post("/v1/reserve", &wants(&id, "rpm", 1)).await;
    let more = |key: &str, amount: u64| json!({ "lease_id": id, "extend_id": extension, "key": key, "amount": amount });
    let (status, granted) = service.post("/v1/extend", &more("rpm", 2)).await;
    assert_eq!((status, &granted["allowed"], &granted["error"]), (StatusCode::OK, &json!(true), &json!("")));
    assert_eq!(service.post("/v1/extend", &more("rpm", 2)).await, (status, granted));
    let (status, conflict) = service.post("/v1/extend", &more("rpm", 1)).await;
    assert_eq!((status, &conflict["error"]), (StatusCode::CONFLICT, &json!("lease_conflict")));
    let full = json!({ "lease_id": id, "extend_id": lease().to_string(), "key": "rpm", "amount": 1 });
    let (status, denied) = service.post("/v1/extend", &full).await;
    assert_eq!((status, &denied["limiting_key"]), (StatusCode::OK, &json!("rpm")));
    let unknown =
        json!({ "lease_id": lease().to_string(), "extend_id": extension, "key": "rpm", "amount": 1 });
    let (status, settled) = service.post("/v1/extend", &unknown).await;
    assert_eq!((status, &settled["error"]), (StatusCode::CONFLICT, &json!("lease_settled")));
    let bad = [
        (
            json!({ "lease_id": id, "extend_id": lease().to_string(), "key": "slots", "amount": 1 }),
            "key is not in the lease",
        ),
        (more("rpm", 0), "amount must be at least 1"),
        (more(":", 1), "key must begin"),
        (json!({ "lease_id": id, "extend_id": "x", "key": "rpm", "amount": 1 }), "extend_id must be a ULID"),
        (json!({ "lease_id": id, "key": "rpm", "amount": 1 }), "missing field `extend_id`"),
    ];
    for (body, message) in bad {
        let (status, answer) = service.post("/v1/extend", &body).await;
        assert_eq!(
            (status, &answer["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_request")),
            "{body}"
        );
        let told = answer["message"].as_str().expect("a message");
        assert!(told.starts_with(message), "{told}");
    }
}
