//! `/v1/admin/limits`.

use super::*;

#[tokio::test]
async fn a_limit_is_created_shown_listed_and_deleted() {
    let service = Service::new().await;
    let key = "tenant:a/b:llm+x@1=2";
    let limit =
        json!({ "key": key, "kind": "rolling", "capacity": 5, "window_seconds": 60, "unit": "tokens" });
    assert_eq!(service.put(&limit).await, Answer::ok(json!({ "ok": true, "status": "active" })));

    let path = format!("/v1/admin/limits/{key}");
    let expected = json!({
        "definition": {
            "key": key, "kind": "rolling", "capacity": 5, "window_seconds": 60, "timeout_seconds": 0,
            "unit": "tokens", "description": "", "overage": "debt",
        },
        "status": "active", "pending_decrease_to": 0,
        "usage": { "available": 5, "reserved": 0, "debt": 0 },
    });
    let shown = service.get(&path).await;
    assert_eq!(shown, Answer::ok(json!({ "limit": expected })));
    let encoded = format!("/v1/admin/limits/{}", key.replace('/', "%2F").replace(':', "%3A"));
    assert_eq!(service.get(&encoded).await, shown, "a key may be percent-encoded");
    assert_eq!(service.listed_keys().await, ["rpm", "slots", key]);

    assert_eq!(service.delete(&path).await, Answer::ok(json!({ "ok": true })));
    service.delete(&path).await.assert_error(StatusCode::NOT_FOUND, "unknown_limit_key");
    service.get(&path).await.assert_error(StatusCode::NOT_FOUND, "unknown_limit_key");
    assert_eq!(service.listed_keys().await, ["rpm", "slots"]);
}

#[tokio::test]
async fn the_history_holds_every_version_oldest_first() {
    let service = Service::new().await;
    let rpm = |capacity: u64| json!({ "key": "rpm", "kind": "rolling", "capacity": capacity, "window_seconds": 60 });
    assert_eq!(service.put(&rpm(7)).await.status, StatusCode::OK);
    assert_eq!(service.delete("/v1/admin/limits/rpm").await.status, StatusCode::OK);
    let history = service.get("/v1/admin/limits/rpm/history").await;
    assert_eq!(history.status, StatusCode::OK, "{history:?}");
    let versions = history.body["versions"].as_array().expect("versions");
    let shown: Vec<Value> = versions
        .iter()
        .map(|version| {
            let capacity = &version["definition"]["capacity"];
            json!({ "version": version["version"], "status": version["status"], "capacity": capacity })
        })
        .collect();
    let expected = [
        json!({ "version": 1, "status": "active", "capacity": 3 }),
        json!({ "version": 2, "status": "active", "capacity": 7 }),
        json!({ "version": 3, "status": "deleted", "capacity": 7 }),
    ];
    assert_eq!(shown, expected);
    let unknown = service.get("/v1/admin/limits/nowhere/history").await;
    unknown.assert_error(StatusCode::NOT_FOUND, "unknown_limit_key");
}

#[tokio::test]
async fn a_path_means_the_key_that_ends_in_history_before_the_history_of_a_key() {
    let service = Service::new().await;
    let limit = json!({ "key": "rpm/history", "kind": "rolling", "capacity": 5, "window_seconds": 60 });
    assert_eq!(service.put(&limit).await.status, StatusCode::OK);
    assert_eq!(service.limit("rpm/history").await["definition"]["key"], json!("rpm/history"));
    let history = service.get("/v1/admin/limits/rpm/history/history").await;
    assert_eq!(history.body["versions"][0]["definition"]["key"], json!("rpm/history"), "{history:?}");
}

#[tokio::test]
async fn a_change_of_the_kind_is_a_conflict() {
    let service = Service::new().await;
    let changed = json!({ "key": "rpm", "kind": "concurrency", "capacity": 5, "timeout_seconds": 60 });
    service.put(&changed).await.assert_error(StatusCode::CONFLICT, "kind_change");
}

#[tokio::test]
async fn a_malformed_definition_is_refused_with_the_field() {
    let service = Service::new().await;
    let good = json!({ "key": "x", "kind": "rolling", "capacity": 5, "window_seconds": 60 });
    for (field, value, message) in [
        ("capacity", json!(0), "capacity must be at least 1"),
        ("capacity", json!(1_u64 << 63), "capacity must be at most 9223372036854775807"),
        ("window_seconds", json!(0), "window_seconds must be between 1 and 31622400"),
        ("window_seconds", json!(31_622_401), "window_seconds must be between 1 and 31622400"),
        ("timeout_seconds", json!(1), "timeout_seconds must be 0 for kind rolling"),
        ("kind", json!("leaky"), "kind: unknown variant `leaky`"),
        ("overage", json!("forgive"), "overage: unknown variant `forgive`"),
        ("unit", json!("u".repeat(65)), "unit must be at most 64 bytes"),
        ("description", json!("d".repeat(1_025)), "description must be at most 1024 bytes"),
        ("key", json!("a b"), "key must not hold ' '"),
        ("status", json!("active"), "status: unknown field `status`"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        service.put(&body).await.assert_invalid(message);
    }
    service.get("/v1/admin/limits/x").await.assert_error(StatusCode::NOT_FOUND, "unknown_limit_key");
}
