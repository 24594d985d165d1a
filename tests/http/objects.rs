//! `/v1/objects`, and the manual refill of a bucket.

use super::*;

impl Service {
    /// A service with a bucket `tpm` of 5, refilled with 2 per second.
    async fn with_bucket() -> Self {
        let service = Self::new().await;
        let answer = service.set_rate("tpm", &json!({ "limit": 2.0, "burst": 5 })).await;
        assert_eq!(answer, Answer::ok(json!({ "ok": true, "status": "active" })));
        service
    }

    async fn set_rate(&self, key: &str, body: &Value) -> Answer {
        self.call(Method::PUT, &format!("/v1/objects/{key}/rate"), body.to_string()).await
    }

    /// Calls an action of the bucket `tpm`.
    async fn object(&self, action: &str, body: &Value) -> Answer {
        self.post(&format!("/v1/objects/tpm/{action}"), body).await
    }

    async fn available_permits(&self) -> u64 {
        let answer = self.get("/v1/objects/tpm/available_permits").await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.body["available_permits"].as_u64().expect("a number")
    }
}

#[tokio::test]
async fn a_repeated_reserve_or_release_takes_effect_once() {
    let service = Service::with_bucket().await;
    let id = lease().to_string();
    for _ in 0..2 {
        let taken = service.object("try_reserve", &json!({ "tokens": 4, "lease_id": id })).await;
        assert_eq!(taken, Answer::ok(json!({ "ok": true, "lease_id": id })));
    }
    let denied = service.object("try_reserve", &json!({ "tokens": 2 })).await;
    let made_id = denied.body["lease_id"].as_str().expect("a lease id").to_owned();
    assert_eq!(denied, Answer::ok(json!({ "ok": false, "lease_id": made_id })));
    assert_eq!(made_id.len(), 26, "the service makes a ULID if the request has none");
    assert_eq!(service.available_permits().await, 1);

    let release = json!({ "tokens": 2, "release_id": lease().to_string() });
    for _ in 0..2 {
        let released = service.object("release", &release).await;
        assert_eq!(released, Answer::ok(json!({ "ok": true, "available_permits": 3 })));
    }
    let full = service.object("release", &json!({ "tokens": 9 })).await;
    assert_eq!(full, Answer::ok(json!({ "ok": true, "available_permits": 5 })));
}

#[tokio::test]
async fn a_reservation_ahead_has_a_date_to_act() {
    let service = Service::with_bucket().await;
    let id = lease().to_string();
    let immediate = service.object("reserve", &json!({ "tokens": 5, "lease_id": id })).await;
    let expected = json!({
        "ok": true, "tokens": 5, "creation_date": START_MS, "date_to_act": START_MS, "limit": 2.0, "lease_id": id,
    });
    assert_eq!(immediate, Answer::ok(expected));

    service.backend.clock.advance(Duration::from_millis(100));
    let ahead = service.object("reserve", &json!({ "tokens": 3, "lease_id": LEASE })).await;
    // The third refill, at 1,500 ms, brings the last of the three tokens.
    let expected = json!({
        "ok": true, "tokens": 3, "creation_date": START_MS + 100, "date_to_act": START_MS + 1_500, "limit": 2.0,
        "lease_id": LEASE,
    });
    assert_eq!(ahead, Answer::ok(expected));
    let expected =
        json!({ "limit": 2.0, "burst": 5, "tokens": -3, "last": START_MS, "last_event": START_MS + 1_500 });
    assert_eq!(service.get("/v1/objects/tpm/state").await, Answer::ok(expected));

    let too_many = service.object("reserve", &json!({ "tokens": 6, "lease_id": id_of(7) })).await;
    let expected = json!({
        "ok": false, "tokens": 0, "creation_date": START_MS + 100, "date_to_act": 0, "limit": 2.0,
        "lease_id": id_of(7),
    });
    assert_eq!(too_many, Answer::ok(expected));
}

#[tokio::test]
async fn a_reservation_that_would_wait_too_long_tells_the_wait() {
    let service = Service::with_bucket().await;
    service.object("reserve", &json!({ "tokens": 5, "max_wait_ms": 0 })).await;
    let too_long = json!({ "tokens": 4, "lease_id": LEASE, "max_wait_ms": 1_999 });
    let expected = json!({
        "ok": false, "tokens": 0, "creation_date": START_MS, "date_to_act": 0, "limit": 2.0,
        "lease_id": LEASE, "wait_ms": 2_000,
    });
    for _ in 0..2 {
        assert_eq!(service.object("reserve", &too_long).await, Answer::ok(expected.clone()));
    }
    let long_enough = json!({ "tokens": 4, "lease_id": id_of(7), "max_wait_ms": 2_000 });
    let granted = service.object("reserve", &long_enough).await;
    assert_eq!(granted.body["date_to_act"], json!(START_MS + 2_000), "{granted:?}");
}

#[tokio::test]
async fn a_bucket_may_bound_the_wait_of_every_reservation() {
    let service = Service::new().await;
    let limit = json!({
        "key": "tpm", "kind": "token_bucket", "capacity": 5, "refill_amount": 1, "refill_interval_ms": 500,
        "max_wait_ms": 1_000,
    });
    assert_eq!(service.put(&limit).await.status, StatusCode::OK);
    assert_eq!(service.limit("tpm").await["definition"]["max_wait_ms"], json!(1_000));
    let at_once = service.object("reserve", &json!({ "tokens": 5 })).await;
    assert_eq!(at_once.body["ok"], json!(true), "{at_once:?}");
    let too_long = service.object("reserve", &json!({ "tokens": 3 })).await;
    assert_eq!((&too_long.body["ok"], &too_long.body["wait_ms"]), (&json!(false), &json!(1_500)));
    service.set_rate("tpm", &json!({ "limit": 4, "burst": 5 })).await;
    assert_eq!(service.limit("tpm").await["definition"]["max_wait_ms"], json!(1_000), "a new rate keeps it");
    for (field, message) in [
        (json!(31_622_400_001_u64), "max_wait_ms must be between 1 and 31622400000, not 31622400001"),
        (json!(0), "max_wait_ms must be between 1 and 31622400000, not 0"),
        (json!(-1), "max_wait_ms must not be negative"),
    ] {
        let mut bad = limit.clone();
        bad["max_wait_ms"] = field;
        service.put(&bad).await.assert_invalid(message);
    }
    let rolling = json!({
        "key": "rpm", "kind": "rolling", "capacity": 5, "window_seconds": 60, "max_wait_ms": 1_000,
    });
    service.put(&rolling).await.assert_invalid("max_wait_ms must be left out for kind rolling");
}

#[tokio::test]
async fn a_reservation_can_be_cancelled_until_its_date_to_act() {
    let service = Service::with_bucket().await;
    let (past, ahead) = (lease().to_string(), lease().to_string());
    service.object("reserve", &json!({ "tokens": 5, "lease_id": past })).await;
    service.backend.clock.advance(Duration::from_millis(100));
    let reserved = service.object("reserve", &json!({ "tokens": 3, "lease_id": ahead })).await;
    assert_eq!(reserved.body["ok"], json!(true), "{reserved:?}");
    let cancelled = |ok: bool| Answer::ok(json!({ "ok": ok }));
    for _ in 0..2 {
        assert_eq!(service.object("cancel", &json!({ "lease_id": ahead })).await, cancelled(true));
    }
    let late = service.object("cancel", &json!({ "lease_id": past })).await;
    assert_eq!(late, cancelled(false), "its date to act has passed");
    let unknown = service.object("cancel", &json!({ "lease_id": lease().to_string() })).await;
    assert_eq!(unknown, cancelled(false));
    let settled = service.object("reserve", &json!({ "tokens": 3, "lease_id": ahead })).await;
    settled.assert_error(StatusCode::CONFLICT, "lease_settled");
}

#[tokio::test]
async fn a_lease_with_other_tokens_is_a_conflict() {
    let service = Service::with_bucket().await;
    let id = lease().to_string();
    service.object("reserve", &json!({ "tokens": 5, "lease_id": id })).await;
    service.backend.clock.advance(Duration::from_millis(100));
    for action in ["reserve", "try_reserve"] {
        let conflict = service.object(action, &json!({ "tokens": 4, "lease_id": id })).await;
        conflict.assert_error(StatusCode::CONFLICT, "lease_conflict");
    }
}

fn id_of(number: u128) -> String {
    ulid::Ulid(number).to_string()
}

#[tokio::test]
async fn a_key_may_hold_slashes_and_the_names_of_actions() {
    let service = Service::new().await;
    for key in ["tenant:a/b:llm+x@1=2", "a/reserve", "state/state"] {
        let made = service.set_rate(key, &json!({ "limit": 1, "burst": 2 })).await;
        assert_eq!(made.status, StatusCode::OK, "{key}: {made:?}");
        let encoded = key.replace('/', "%2F").replace(':', "%3A");
        for path in [key, &encoded] {
            let path = format!("/v1/objects/{path}/try_reserve");
            let taken = service.post(&path, &json!({ "tokens": 1 })).await;
            assert_eq!(taken.body["ok"], json!(true), "{path}: {taken:?}");
        }
        let state = service.get(&format!("/v1/objects/{key}/state")).await;
        assert_eq!(state.body["tokens"], json!(0), "{key}: {state:?}");
    }
}

#[tokio::test]
async fn a_new_rate_keeps_the_rest_of_the_definition_and_may_lower_the_capacity() {
    let service = Service::new().await;
    let limit = json!({
        "key": "tpm", "kind": "token_bucket", "capacity": 5, "refill_amount": 1, "refill_interval_ms": 1,
        "unit": "tokens", "description": "what a model reads", "overage": "deny",
    });
    assert_eq!(service.put(&limit).await.status, StatusCode::OK);
    let lower = service.set_rate("tpm", &json!({ "limit": 2500, "burst": 4 })).await;
    assert_eq!(lower, Answer::ok(json!({ "ok": true, "status": "active" })));
    let limit = service.limit("tpm").await;
    let expected = json!({
        "key": "tpm", "kind": "token_bucket", "capacity": 4, "window_seconds": 0, "timeout_seconds": 0,
        "refill_amount": 1, "refill_interval_ms": 2, "refills_per_interval": 5, "auto_replenish": true,
        "unit": "tokens", "description": "what a model reads", "overage": "deny",
    });
    assert_eq!(limit["definition"], expected);
    assert_eq!(limit["usage"], json!({ "available": 4, "reserved": 0, "debt": 0 }));
    let open = service.object("reserve", &json!({ "tokens": 4 })).await;
    assert_eq!(open.body["ok"], json!(true), "{open:?}");
}

#[tokio::test]
async fn a_malformed_request_to_an_object_is_refused_with_the_field() {
    let service = Service::with_bucket().await;
    for (action, body, message) in [
        ("try_reserve", json!({ "tokens": 0 }), "tokens must be at least 1"),
        ("reserve", json!({ "tokens": 1_u64 << 63 }), "tokens must be at most 9223372036854775807"),
        ("reserve", json!({ "tokens": -1 }), "tokens must not be negative"),
        ("reserve", json!({ "tokens": 1, "lease_id": "x" }), "lease_id must be a ULID"),
        ("reserve", json!({ "tokens": 1, "n": 1 }), "unknown field `n`; the fields are `tokens`, `lease_id`"),
        ("cancel", json!({}), "missing field `lease_id`"),
        ("cancel", json!({ "lease_id": "0".repeat(26) }), "lease_id must not be zero"),
        ("release", json!({ "tokens": 0 }), "tokens must be at least 1"),
        ("release", json!({ "tokens": 1, "release_id": "" }), "release_id must be a ULID"),
    ] {
        service.object(action, &body).await.assert_invalid(message);
    }
    for (body, message) in [
        (json!({ "limit": -1.5, "burst": 1 }), "limit must be a number above 0"),
        (json!({ "limit": 1e-12, "burst": 1 }), "limit must be at least 1 in 366 days"),
        (json!({ "limit": 1e30, "burst": 1 }), "limit must be at most 9223372036854775807"),
        (json!({ "limit": 1, "burst": 1_u64 << 63 }), "burst must be at most 9223372036854775807"),
        (json!({ "limit": "1", "burst": 1 }), "limit must be a number, not a string"),
        (json!({}), "limit or burst is required"),
    ] {
        service.set_rate("tpm", &body).await.assert_invalid(message);
    }
    let bad_key = service.post("/v1/objects/_x/reserve", &json!({ "tokens": 1 })).await;
    bad_key.assert_invalid("key must begin with a letter or a digit");
    let template = service.set_rate("a{b}", &json!({ "limit": 1, "burst": 1 })).await;
    template.assert_invalid("key must not hold '{'");
    assert_eq!(service.available_permits().await, 5, "a refusal takes nothing");
}

#[tokio::test]
async fn only_a_bucket_is_an_object() {
    let service = Service::with_bucket().await;
    let id = lease().to_string();
    for (method, action, body) in [
        (Method::POST, "try_reserve", json!({ "tokens": 1 })),
        (Method::POST, "reserve", json!({ "tokens": 1 })),
        (Method::POST, "cancel", json!({ "lease_id": id })),
        (Method::POST, "release", json!({ "tokens": 1 })),
        (Method::GET, "available_permits", Value::Null),
        (Method::GET, "state", Value::Null),
    ] {
        let path = |key| format!("/v1/objects/{key}/{action}");
        let not_a_bucket = service.call(method.clone(), &path("rpm"), body.to_string()).await;
        not_a_bucket.assert_error(StatusCode::CONFLICT, "not_a_bucket");
        let message = json!("limit rpm is of kind rolling; objects are of kind token_bucket");
        assert_eq!(not_a_bucket.body["message"], message, "{action}");
        let unknown = service.call(method.clone(), &path("nowhere"), body.to_string()).await;
        if method == Method::POST {
            unknown.assert_error(StatusCode::NOT_FOUND, "unknown_limit_key");
        }
        let other_method = if method == Method::GET { Method::POST } else { Method::GET };
        for wrong_method in [other_method, Method::PUT] {
            let refused = service.call(wrong_method, &path("tpm"), "{}").await;
            refused.assert_error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
        }
    }
    let changed = service.set_rate("rpm", &json!({ "limit": 1, "burst": 1 })).await;
    changed.assert_error(StatusCode::CONFLICT, "kind_change");
    let deleted = service.delete("/v1/objects/tpm/state").await;
    deleted.assert_error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
    for path in ["/v1/objects/tpm", "/v1/objects/tpm/", "/v1/objects/tpm/nothing"] {
        service.get(path).await.assert_error(StatusCode::NOT_FOUND, "not_found");
    }
}

#[tokio::test]
async fn an_object_over_the_maximum_of_its_template_is_a_conflict() {
    let service = Service::new().await;
    let template = json!({
        "key": "tenant:{tenant}", "kind": "token_bucket", "capacity": 5, "refill_amount": 1,
        "refill_interval_ms": 1_000, "max_instances": 1,
    });
    assert_eq!(service.put(&template).await, Answer::ok(json!({ "ok": true, "status": "active" })));
    let tokens = json!({ "tokens": 1 });
    let first = service.post("/v1/objects/tenant:acme/try_reserve", &tokens).await;
    assert_eq!(first.body["ok"], json!(true), "{first:?}");
    for action in ["try_reserve", "reserve"] {
        let denied = service.post(&format!("/v1/objects/tenant:other/{action}"), &tokens).await;
        denied.assert_error(StatusCode::CONFLICT, "too_many_instances");
    }
    assert_eq!(service.limit("tenant:acme").await["usage"]["available"], json!(4));
}

#[tokio::test]
async fn only_a_manual_bucket_is_replenished() {
    let service = Service::with_bucket().await;
    let manual = json!({
        "key": "a/b", "kind": "token_bucket", "capacity": 5, "refill_amount": 2, "refill_interval_ms": 1,
        "auto_replenish": false,
    });
    assert_eq!(service.put(&manual).await.status, StatusCode::OK);
    let taken = service.post("/v1/objects/a/b/try_reserve", &json!({ "tokens": 5 })).await;
    assert_eq!(taken.body["ok"], json!(true), "{taken:?}");
    let path = "/v1/admin/limits/a/b/replenish";
    let replenished = |replenished: bool| Answer::ok(json!({ "ok": true, "replenished": replenished }));
    assert_eq!(service.call(Method::POST, path, Body::empty()).await, replenished(true));
    let named = json!({ "replenish_id": lease().to_string() });
    for _ in 0..2 {
        assert_eq!(service.post(path, &named).await, replenished(true));
    }
    let usage = service.limit("a/b").await["usage"].clone();
    let expected = json!({ "available": 4, "reserved": 1, "debt": 0 });
    assert_eq!(usage, expected, "two refills of 2: the repeated one counts once");
    for not_manual in ["tpm", "rpm"] {
        let path = format!("/v1/admin/limits/{not_manual}/replenish");
        assert_eq!(service.post(&path, &json!({})).await, replenished(false), "{not_manual}");
    }
    let unknown = service.post("/v1/admin/limits/nowhere/replenish", &json!({})).await;
    unknown.assert_error(StatusCode::NOT_FOUND, "unknown_limit_key");
    service.post(path, &json!({ "replenish_id": "x" })).await.assert_invalid("replenish_id must be a ULID");
    service
        .post(path, &json!({ "id": 1 }))
        .await
        .assert_invalid("unknown field `id`; the fields are `replenish_id`");
}

#[tokio::test]
async fn tokens_are_one_unless_said() {
    let service = Service::new().await;
    service.set_rate("tpm", &json!({ "limit": 1, "burst": 2 })).await;
    for (action, available) in [("try_reserve", 1), ("reserve", 0), ("release", 1)] {
        assert_eq!(service.object(action, &json!({})).await.status, StatusCode::OK, "{action}");
        let answer = service.get("/v1/objects/tpm/available_permits").await;
        assert_eq!(answer, Answer::ok(json!({ "available_permits": available })), "{action}");
    }
}

/// Go's `rate.Inf`: more tokens each millisecond than all callers can name.
#[tokio::test]
async fn the_largest_rate_lets_everything_pass() {
    let service = Service::new().await;
    let largest = json!({ "limit": 9.2e21, "burst": 9_223_372_036_854_775_807_u64 });
    let answer = service.set_rate("tpm", &largest).await;
    assert_eq!(answer, Answer::ok(json!({ "ok": true, "status": "active" })));
    for _ in 0..3 {
        let taken = service.object("try_reserve", &json!({ "tokens": 3_000_000_000_000_000_000_u64 })).await;
        assert_eq!(taken.body["ok"], json!(true), "{taken:?}");
    }
}

#[tokio::test]
async fn rate_and_burst_are_set_one_by_one() {
    let service = Service::new().await;
    let missing = service.set_rate("tpm", &json!({ "limit": 3 })).await;
    missing.assert_error(StatusCode::NOT_FOUND, "unknown_limit_key");
    service.set_rate("tpm", &json!({ "limit": 2.5, "burst": 4 })).await;
    for (change, limit, burst) in
        [(json!({ "limit": 1 }), 1.0, 4), (json!({ "burst": 9 }), 1.0, 9), (json!({ "limit": 0 }), 0.0, 9)]
    {
        assert_eq!(service.set_rate("tpm", &change).await.status, StatusCode::OK, "{change}");
        let state = service.get("/v1/objects/tpm/state").await.body;
        assert_eq!((&state["limit"], &state["burst"]), (&json!(limit), &json!(burst)), "{change}");
    }
    let of_another_kind = service.set_rate("rpm", &json!({ "burst": 1 })).await;
    of_another_kind.assert_error(StatusCode::CONFLICT, "kind_change");
}

#[tokio::test]
async fn an_object_that_nobody_set_has_a_state() {
    let service = Service::new().await;
    let state = service.get("/v1/objects/nothing/state").await;
    assert_eq!(
        state,
        Answer::ok(json!({ "limit": 0.0, "burst": 0, "tokens": 0, "last": 0, "last_event": 0 }))
    );
    let permits = service.get("/v1/objects/nothing/available_permits").await;
    assert_eq!(permits, Answer::ok(json!({ "available_permits": 0 })));
    let template = json!({
        "key": "user:{user}", "kind": "token_bucket", "capacity": 5, "refill_amount": 1, "refill_interval_ms": 500,
    });
    assert_eq!(service.put(&template).await.status, StatusCode::OK);
    let of_template = service.get("/v1/objects/user:ann/state").await;
    let expected = json!({ "limit": 2.0, "burst": 5, "tokens": 5, "last": START_MS, "last_event": 0 });
    assert_eq!(of_template, Answer::ok(expected));
    assert_eq!(service.limit("user:{user}").await["usage"]["reserved"], json!(0), "no instance is made");
    service.delete("/v1/admin/limits/rpm").await;
    let deleted = service.get("/v1/objects/rpm/state").await;
    deleted.assert_error(StatusCode::NOT_FOUND, "unknown_limit_key");
}
