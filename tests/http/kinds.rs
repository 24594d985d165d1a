//! Token buckets, fixed windows and sliding windows.

use super::*;

#[tokio::test]
async fn each_kind_shows_its_fields_and_denies_without_room() {
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
        assert_eq!(service.put(&body).await, Answer::ok(json!({ "ok": true, "status": "active" })));
        let limit = service.limit(&key).await;
        for (field, value) in fields {
            assert_eq!(limit["definition"][&field], value, "{field} of {limit}");
        }
        assert_eq!(limit["usage"], json!({ "available": 100, "reserved": 0, "debt": 0 }));
        service.reserve(&key, 60).await.assert_granted();
        service.reserve(&key, 60).await.denied_ms(&key);
    }
}

#[tokio::test]
async fn the_hint_of_a_fixed_window_is_the_time_to_its_end() {
    let service = Service::new().await;
    let hourly = json!({ "key": "hourly", "kind": "fixed_window", "capacity": 1, "window_seconds": 3_600 });
    assert_eq!(service.put(&hourly).await, Answer::ok(json!({ "ok": true, "status": "active" })));
    service.backend.pass(Duration::from_secs(600)).await;
    service.reserve("hourly", 1).await.assert_granted();
    let hint_ms = service.reserve("hourly", 1).await.denied_ms("hourly");
    // The tests' clock starts at a full hour, and `pass` adds a millisecond.
    assert!((2_999_000..=3_000_050).contains(&hint_ms), "50 minutes are left of the hour: {hint_ms}");
    service.backend.clock.advance(Duration::from_millis(hint_ms));
    service.reserve("hourly", 1).await.assert_granted();
}

#[tokio::test]
async fn a_field_that_does_not_fit_the_kind_is_refused() {
    let service = Service::new().await;
    let rolling = |field: &str, value: Value| {
        let mut body = json!({ "key": "k", "kind": "rolling", "capacity": 1, "window_seconds": 60 });
        body[field] = value;
        body
    };
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
        (rolling("segments", json!(2)), "segments must be left out for kind rolling"),
        (rolling("auto_replenish", json!(true)), "auto_replenish must be left out for kind rolling"),
        (rolling("max_instances", json!(2)), "max_instances must be 0 for a key without placeholders"),
        (
            json!({ "key": "user-{id}", "kind": "rolling", "capacity": 1, "window_seconds": 60 }),
            "key must not hold \"user-{id}\"; a placeholder fills a whole segment",
        ),
    ] {
        service.put(&body).await.assert_invalid(message);
    }
    assert_eq!(service.listed_keys().await, ["rpm", "slots"], "a refusal creates no limit");
}

#[tokio::test]
async fn a_change_to_a_bucket_is_a_conflict() {
    let service = Service::new().await;
    let changed = json!({
        "key": "rpm", "kind": "token_bucket", "capacity": 3, "refill_amount": 1, "refill_interval_ms": 1,
    });
    service.put(&changed).await.assert_error(StatusCode::CONFLICT, "kind_change");
}
