//! `/v1/objects` and the refill by hand over HTTP, over the memory ledger.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::fixtures::*;
use crate::http::Service;

/// When the clock of the tests begins, in milliseconds since the Unix epoch.
const START_MS: u64 = 1_767_225_600_000;

impl Service {
    /// With a bucket `tpm` of 5, refilled with 2 a second.
    async fn with_bucket() -> Self {
        let service = Self::new().await;
        let rate = service.rate("tpm", &json!({ "limit": 2.0, "burst": 5 })).await;
        assert_eq!(rate, (StatusCode::OK, json!({ "ok": true, "status": "active" })));
        service
    }

    async fn rate(&self, key: &str, body: &Value) -> (StatusCode, Value) {
        self.call(Method::PUT, &format!("/v1/objects/{key}/rate"), body.to_string()).await
    }

    async fn object(&self, action: &str, body: &Value) -> (StatusCode, Value) {
        self.post(&format!("/v1/objects/tpm/{action}"), body).await
    }

    async fn permits(&self) -> u64 {
        let (status, answer) = self.get("/v1/objects/tpm/available_permits").await;
        assert_eq!(status, StatusCode::OK);
        answer["available_permits"].as_u64().expect("a number")
    }
}

#[tokio::test]
async fn tokens_are_taken_and_released() {
    let service = Service::with_bucket().await;
    let id = lease().to_string();
    let wants = json!({ "tokens": 4, "lease_id": id });
    for _ in 0..2 {
        let taken = service.object("try_reserve", &wants).await;
        assert_eq!(taken, (StatusCode::OK, json!({ "ok": true, "lease_id": id })));
    }
    let (status, denied) = service.object("try_reserve", &json!({ "tokens": 2 })).await;
    assert_eq!((status, &denied["ok"]), (StatusCode::OK, &json!(false)));
    assert_eq!(denied["lease_id"].as_str().map(str::len), Some(26), "one was made: {denied}");
    assert_eq!(service.permits().await, 1);
    let release = json!({ "tokens": 2, "release_id": lease().to_string() });
    for _ in 0..2 {
        let released = service.object("release", &release).await;
        assert_eq!(released, (StatusCode::OK, json!({ "ok": true, "available_permits": 3 })));
    }
    let (_, full) = service.object("release", &json!({ "tokens": 9 })).await;
    assert_eq!(full["available_permits"], json!(5));
}

#[tokio::test]
async fn a_reservation_tells_its_dates_and_is_cancelled() {
    let service = Service::with_bucket().await;
    let id = lease().to_string();
    let (status, at_once) = service.object("reserve", &json!({ "tokens": 5, "lease_id": id })).await;
    let expected = json!({
        "ok": true, "tokens": 5, "creation_date": START_MS, "date_to_act": START_MS, "limit": 2.0, "lease_id": id,
    });
    assert_eq!((status, at_once), (StatusCode::OK, expected));
    service.backend.clock.advance(Duration::from_millis(100));
    let (_, ahead) = service.object("reserve", &json!({ "tokens": 3 })).await;
    assert_eq!(ahead["creation_date"], json!(START_MS + 100));
    assert_eq!(ahead["date_to_act"], json!(START_MS + 1_500), "the third refill from the beginning");
    let (status, state) = service.get("/v1/objects/tpm/state").await;
    let expected = json!({
        "limit": 2.0, "burst": 5, "tokens": -3, "last": START_MS, "last_event": START_MS + 1_500,
    });
    assert_eq!((status, state), (StatusCode::OK, expected));
    let cancel = json!({ "lease_id": ahead["lease_id"] });
    for _ in 0..2 {
        assert_eq!(service.object("cancel", &cancel).await, (StatusCode::OK, json!({ "ok": true })));
    }
    let (_, late) = service.object("cancel", &json!({ "lease_id": id })).await;
    assert_eq!(late, json!({ "ok": false }), "it may act already");
    let (_, unknown) = service.object("cancel", &json!({ "lease_id": lease().to_string() })).await;
    assert_eq!(unknown, json!({ "ok": false }));
    let (_, over) = service.object("reserve", &json!({ "tokens": 6, "lease_id": id_of(7) })).await;
    let expected = json!({
        "ok": false, "tokens": 0, "creation_date": START_MS + 100, "date_to_act": 0, "limit": 2.0,
        "lease_id": id_of(7),
    });
    assert_eq!(over, expected);
    let (status, settled) =
        service.object("reserve", &json!({ "tokens": 3, "lease_id": ahead["lease_id"] })).await;
    assert_eq!((status, &settled["error"]), (StatusCode::CONFLICT, &json!("lease_settled")));
    for action in ["reserve", "try_reserve"] {
        let (status, conflict) = service.object(action, &json!({ "tokens": 4, "lease_id": id })).await;
        assert_eq!(
            (status, &conflict["error"]),
            (StatusCode::CONFLICT, &json!("lease_conflict")),
            "{action}"
        );
    }
}

fn id_of(number: u128) -> String {
    ulid::Ulid(number).to_string()
}

#[tokio::test]
async fn keys_hold_what_keys_may_hold() {
    let service = Service::new().await;
    for key in ["tenant:a/b:llm+x@1=2", "a/reserve", "state/state"] {
        let (status, _) = service.rate(key, &json!({ "limit": 1, "burst": 2 })).await;
        assert_eq!(status, StatusCode::OK, "{key}");
        let encoded = key.replace('/', "%2F").replace(':', "%3A");
        for path in [key, &encoded] {
            let (_, taken) =
                service.post(&format!("/v1/objects/{path}/try_reserve"), &json!({ "tokens": 1 })).await;
            assert_eq!(taken["ok"], json!(true), "{path}");
        }
        let (_, state) = service.get(&format!("/v1/objects/{key}/state")).await;
        assert_eq!(state["tokens"], json!(0), "{key}");
    }
}

#[tokio::test]
async fn a_rate_may_lower_what_it_holds_and_keeps_the_rest() {
    let service = Service::new().await;
    let limit = json!({
        "key": "tpm", "kind": "token_bucket", "capacity": 5, "refill_amount": 1, "refill_interval_ms": 1,
        "unit": "tokens", "description": "what a model reads", "overage": "deny",
    });
    service.put(&limit).await;
    let (_, lower) = service.rate("tpm", &json!({ "limit": 2500, "burst": 4 })).await;
    assert_eq!(lower, json!({ "ok": true, "status": "decreasing" }));
    let (_, info) = service.get("/v1/admin/limits/tpm").await;
    let definition = &info["limit"]["definition"];
    assert_eq!((&definition["unit"], &definition["overage"]), (&json!("tokens"), &json!("deny")));
    assert_eq!(definition["description"], json!("what a model reads"));
    assert_eq!((&definition["refill_amount"], &definition["refill_interval_ms"]), (&json!(5), &json!(2)));
    let (_, closed) = service.object("reserve", &json!({ "tokens": 1 })).await;
    assert_eq!(closed["ok"], json!(false));
}

#[tokio::test]
async fn bad_input_to_an_object_names_the_field() {
    let service = Service::with_bucket().await;
    let id = lease().to_string();
    let rows = [
        ("try_reserve", json!({ "tokens": 0 }), "tokens must be at least 1"),
        ("reserve", json!({ "tokens": 1_u64 << 63 }), "tokens must be at most 9223372036854775807"),
        ("reserve", json!({ "tokens": -1 }), "tokens: "),
        ("reserve", json!({ "tokens": 1, "lease_id": "x" }), "lease_id must be a ULID"),
        ("reserve", json!({ "tokens": 1, "n": 1 }), "n: unknown field"),
        ("reserve", json!({}), "missing field `tokens`"),
        ("cancel", json!({}), "missing field `lease_id`"),
        ("cancel", json!({ "lease_id": "0".repeat(26) }), "lease_id must not be zero"),
        ("release", json!({ "tokens": 0 }), "tokens must be at least 1"),
        ("release", json!({ "tokens": 1, "release_id": "" }), "release_id must be a ULID"),
    ];
    for (action, body, message) in rows {
        is_invalid(service.object(action, &body).await, message);
    }
    let rates = [
        (json!({ "limit": 0, "burst": 1 }), "limit must be a number above 0"),
        (json!({ "limit": -1.5, "burst": 1 }), "limit must be a number above 0"),
        (json!({ "limit": 1e-12, "burst": 1 }), "limit must be at least 1 in 366 days"),
        (json!({ "limit": 1e30, "burst": 1 }), "limit must be at most"),
        (json!({ "limit": 1, "burst": 0 }), "burst must be at least 1"),
        (json!({ "limit": "1", "burst": 1 }), "limit: "),
        (json!({ "burst": 1 }), "missing field `limit`"),
    ];
    for (body, message) in rates {
        is_invalid(service.rate("tpm", &body).await, message);
    }
    is_invalid(service.post("/v1/objects/_x/reserve", &json!({ "tokens": 1 })).await, "key must begin");
    is_invalid(service.rate("a{b}", &json!({ "limit": 1, "burst": 1 })).await, "key must not hold");
    assert_eq!(service.permits().await, 5, "nothing of it left a trace");
    let (_, cancelled) = service.object("cancel", &json!({ "lease_id": id })).await;
    assert_eq!(cancelled, json!({ "ok": false }));
}

fn is_invalid((status, answer): (StatusCode, Value), message: &str) {
    assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")), "{message}");
    let told = answer["message"].as_str().expect("a message");
    assert!(told.starts_with(message), "{message}: {told}");
}

#[tokio::test]
async fn what_is_no_object_says_so() {
    let service = Service::with_bucket().await;
    let id = lease().to_string();
    let actions = [
        (Method::POST, "try_reserve", json!({ "tokens": 1 })),
        (Method::POST, "reserve", json!({ "tokens": 1 })),
        (Method::POST, "cancel", json!({ "lease_id": id })),
        (Method::POST, "release", json!({ "tokens": 1 })),
        (Method::GET, "available_permits", Value::Null),
        (Method::GET, "state", Value::Null),
    ];
    for (method, action, body) in actions {
        let path = |key| format!("/v1/objects/{key}/{action}");
        let (status, answer) = service.call(method.clone(), &path("rpm"), body.to_string()).await;
        assert_eq!((status, &answer["error"]), (StatusCode::CONFLICT, &json!("not_a_bucket")), "{action}");
        assert_eq!(
            answer["message"],
            json!("limit rpm is of kind rolling; objects are of kind token_bucket")
        );
        let (status, answer) = service.call(method.clone(), &path("nowhere"), body.to_string()).await;
        let unknown = (StatusCode::NOT_FOUND, &json!("unknown_limit_key"));
        assert_eq!((status, &answer["error"]), unknown, "{action}");
        let other = if method == Method::GET { Method::POST } else { Method::GET };
        for wrong in [other, Method::PUT] {
            let (status, _) = service.call(wrong, &path("tpm"), "{}").await;
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{action}");
        }
    }
    let (status, answer) = service.rate("rpm", &json!({ "limit": 1, "burst": 1 })).await;
    assert_eq!((status, &answer["error"]), (StatusCode::CONFLICT, &json!("kind_change")));
    let (status, _) = service.call(Method::DELETE, "/v1/objects/tpm/state", Body::empty()).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    for path in ["/v1/objects/tpm", "/v1/objects/tpm/", "/v1/objects/tpm/nothing"] {
        let (status, answer) = service.get(path).await;
        assert_eq!((status, &answer["error"]), (StatusCode::NOT_FOUND, &json!("not_found")), "{path}");
    }
}

#[tokio::test]
async fn a_bucket_is_refilled_by_hand() {
    let service = Service::with_bucket().await;
    let manual = json!({
        "key": "a/b", "kind": "token_bucket", "capacity": 5, "refill_amount": 2, "refill_interval_ms": 1,
        "auto_replenish": false,
    });
    service.put(&manual).await;
    service.post("/v1/objects/a/b/try_reserve", &json!({ "tokens": 5 })).await;
    let path = "/v1/admin/limits/a/b/replenish";
    let replenished = |replenished| (StatusCode::OK, json!({ "ok": true, "replenished": replenished }));
    assert_eq!(service.call(Method::POST, path, Body::empty()).await, replenished(true));
    let named = json!({ "replenish_id": lease().to_string() });
    for _ in 0..2 {
        assert_eq!(service.post(path, &named).await, replenished(true));
    }
    let (_, info) = service.get("/v1/admin/limits/a/b").await;
    assert_eq!(info["limit"]["usage"], json!({ "available": 4, "reserved": 1, "debt": 0 }));
    for by_itself in ["tpm", "rpm"] {
        let path = format!("/v1/admin/limits/{by_itself}/replenish");
        assert_eq!(service.post(&path, &json!({})).await, replenished(false), "{by_itself}");
    }
    let (status, answer) = service.post("/v1/admin/limits/nowhere/replenish", &json!({})).await;
    assert_eq!((status, &answer["error"]), (StatusCode::NOT_FOUND, &json!("unknown_limit_key")));
    is_invalid(service.post(path, &json!({ "replenish_id": "x" })).await, "replenish_id must be a ULID");
    is_invalid(service.post(path, &json!({ "id": 1 })).await, "id: unknown field");
    let (status, _) = service.call(Method::POST, "/v1/admin/limits/a/b", "{}").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}
