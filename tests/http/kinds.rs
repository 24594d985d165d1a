//! Buckets, windows and templates over HTTP.

use super::*;

#[tokio::test]
async fn every_kind_is_shown_as_it_was_put() {
    let service = Service::new().await;
    let kinds = [
        json!({ "kind": "token_bucket", "refill_amount": 5, "refill_interval_ms": 250 }),
        json!({ "kind": "token_bucket", "refill_amount": 5, "refill_interval_ms": 250, "auto_replenish": false }),
        json!({ "kind": "fixed_window", "window_seconds": 86_400, "align": 18_000 }),
        json!({ "kind": "sliding_window", "window_seconds": 60, "segments": 6 }),
    ];
    for (number, kind) in kinds.into_iter().enumerate() {
        let key = format!("limit:{number}");
        let mut body = json!({ "key": key, "capacity": 100 });
        let fields = kind.as_object().expect("fields").clone();
        body.as_object_mut().expect("an object").extend(fields.clone());
        assert_eq!(service.put(&body).await, (StatusCode::OK, json!({ "ok": true, "status": "active" })));
        let (status, answer) = service.get(&format!("/v1/admin/limits/{key}")).await;
        assert_eq!(status, StatusCode::OK);
        let definition = &answer["limit"]["definition"];
        for (field, value) in fields {
            assert_eq!(definition[&field], value, "{field} of {definition}");
        }
        assert_eq!(answer["limit"]["usage"], json!({ "available": 100, "reserved": 0, "debt": 0 }));
        let (_, granted) = service.post("/v1/reserve", &fresh(&key, 60)).await;
        assert_eq!(granted["allowed"], true);
        let (_, denied) = service.post("/v1/reserve", &fresh(&key, 60)).await;
        assert_eq!((&denied["allowed"], &denied["limiting_key"]), (&json!(false), &json!(key)));
        assert!(denied["retry_after_ms"].as_u64().is_some_and(|hint_ms| hint_ms > 0), "{denied}");
    }
}

#[tokio::test]
async fn a_window_is_told_to_the_boundary() {
    let service = Service::new().await;
    let hourly = json!({ "key": "hourly", "kind": "fixed_window", "capacity": 1, "window_seconds": 3_600 });
    service.put(&hourly).await;
    service.backend.pass(Duration::from_secs(600)).await;
    service.post("/v1/reserve", &fresh("hourly", 1)).await;
    let (_, denied) = service.post("/v1/reserve", &fresh("hourly", 1)).await;
    let hint_ms = denied["retry_after_ms"].as_u64().expect("a hint");
    // The tests' clock begins at a full hour, and a step of it is a millisecond longer than was asked for.
    assert!((2_999_000..=3_000_050).contains(&hint_ms), "until the hour is full: {hint_ms}");
    service.backend.clock.advance(Duration::from_millis(hint_ms));
    let (_, granted) = service.post("/v1/reserve", &fresh("hourly", 1)).await;
    assert_eq!(granted["allowed"], true);
}

#[tokio::test]
async fn definitions_of_other_kinds_name_the_field() {
    let service = Service::new().await;
    for (body, message) in [
        (
            json!({ "key": "k", "kind": "token_bucket", "capacity": 1, "refill_amount": 1 }),
            "refill_interval_ms must be between 1 and 31622400000, not 0",
        ),
        (
            json!({ "key": "k", "kind": "token_bucket", "capacity": 1, "refill_interval_ms": 1 }),
            "refill_amount must be at least 1",
        ),
        (
            json!({ "key": "k", "kind": "fixed_window", "capacity": 1, "window_seconds": 60, "align": 60 }),
            "align must be between 0 and 59, not 60",
        ),
        (
            json!({ "key": "k", "kind": "sliding_window", "capacity": 1, "window_seconds": 60, "segments": 61 }),
            "segments must be between 1 and 60, not 61",
        ),
        (
            json!({ "key": "k", "kind": "rolling", "capacity": 1, "window_seconds": 60, "segments": 2 }),
            "segments must be 0 for kind rolling",
        ),
        (
            json!({ "key": "k", "kind": "rolling", "capacity": 1, "window_seconds": 60, "auto_replenish": true }),
            "auto_replenish must be left out for kind rolling",
        ),
        (
            json!({ "key": "k", "kind": "rolling", "capacity": 1, "window_seconds": 60, "max_instances": 2 }),
            "max_instances must be 0 for a key without placeholders",
        ),
        (
            json!({ "key": "user-{id}", "kind": "rolling", "capacity": 1, "window_seconds": 60 }),
            "key must not hold \"user-{id}\"; a placeholder fills a whole segment",
        ),
    ] {
        let (status, answer) = service.put(&body).await;
        assert_eq!(
            (status, &answer["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_request")),
            "{body}"
        );
        let told = answer["message"].as_str().expect("a message");
        assert!(told.starts_with(message), "{told}");
    }
    let changed = json!({ "key": "rpm", "kind": "token_bucket", "capacity": 3, "refill_amount": 1, "refill_interval_ms": 1 });
    let (status, answer) = service.put(&changed).await;
    assert_eq!((status, &answer["error"]), (StatusCode::CONFLICT, &json!("kind_change")));
}

#[tokio::test]
async fn templates_make_limits() {
    let service = Service::new().await;
    let template = |max_instances: u64, capacity: u64| {
        json!({
            "key": "tenant:{tenant}:daily", "kind": "fixed_window", "capacity": capacity,
            "window_seconds": 86_400, "max_instances": max_instances,
        })
    };
    assert_eq!(service.put(&template(1, 10)).await.0, StatusCode::OK);
    let (_, granted) = service.post("/v1/reserve", &fresh("tenant:acme:daily", 4)).await;
    assert_eq!(granted["allowed"], true);
    let (status, denied) = service.post("/v1/reserve", &fresh("tenant:other:daily", 1)).await;
    let expected = json!({
        "allowed": false, "retry_after_ms": 0, "reserved_at_unix_ms": 0,
        "error": "too_many_instances:tenant:other:daily", "limiting_key": "tenant:other:daily",
    });
    assert_eq!((status, denied), (StatusCode::OK, expected));
    let (status, answer) = service.get("/v1/admin/limits/tenant:acme:daily").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["limit"]["usage"], json!({ "available": 6, "reserved": 4, "debt": 0 }));
    let (_, listed) = service.get("/v1/admin/limits").await;
    let keys: Vec<_> =
        listed["limits"].as_array().expect("limits").iter().map(|it| &it["definition"]["key"]).collect();
    assert_eq!(keys, ["rpm", "slots", "tenant:{tenant}:daily"]);
    let path = "/v1/admin/limits/tenant:%7Btenant%7D:daily";
    let (_, answer) = service.get(path).await;
    assert_eq!(answer["limit"]["definition"]["max_instances"], 1);
    assert_eq!(answer["limit"]["usage"], json!({ "available": 0, "reserved": 1, "debt": 0 }));

    service.put(&template(5, 20)).await;
    let (_, answer) = service.get("/v1/admin/limits/tenant:acme:daily").await;
    assert_eq!(answer["limit"]["usage"], json!({ "available": 16, "reserved": 4, "debt": 0 }));
    let (status, answer) = service.put(&template(0, 20)).await;
    assert_eq!((status, &answer["ok"]), (StatusCode::OK, &json!(true)), "0 is the default");
    let reserve = json!({ "lease_id": lease().to_string(), "requirements": [{ "key": "tenant:{tenant}:daily", "amount": 1 }] });
    let (status, answer) = service.post("/v1/reserve", &reserve).await;
    assert_eq!(
        (status, &answer["error"]),
        (StatusCode::BAD_REQUEST, &json!("invalid_request")),
        "it names no limit"
    );
    assert_eq!(service.call(Method::DELETE, path, Body::empty()).await.0, StatusCode::OK);
    let (_, denied) = service.post("/v1/reserve", &fresh("tenant:acme:daily", 1)).await;
    assert_eq!(denied["error"], "unknown_limit_key:tenant:acme:daily");
}
