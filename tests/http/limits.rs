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
        "usage": { "available": 5, "reserved": 0, "debt": 0 }, "version": 1,
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
async fn a_change_is_made_only_over_the_version_that_it_expects() {
    let service = Service::new().await;
    let limit = |key: &str, capacity: u64| json!({ "key": key, "kind": "rolling", "capacity": capacity, "window_seconds": 60 });
    let put = async |limit: &Value, expected: &str| {
        let path = format!("/v1/admin/limits?if_version={expected}");
        service.call(Method::PUT, &path, limit.to_string()).await
    };
    let is_conflict = |answer: &Answer| answer.assert_error(StatusCode::CONFLICT, "version_conflict");

    // `rpm` has version 1, and there is no `new`.
    is_conflict(&put(&limit("rpm", 7), "2").await);
    is_conflict(&put(&limit("rpm", 7), "0").await);
    is_conflict(&put(&limit("new", 7), "1").await);
    assert_eq!(service.limit("rpm").await["version"], json!(1));
    assert_eq!(put(&limit("rpm", 7), "1").await.status, StatusCode::OK);
    assert_eq!(put(&limit("new", 7), "0").await.status, StatusCode::OK);
    assert_eq!(service.limit("rpm").await["version"], json!(2));

    // A repetition has nothing to change, so it succeeds.
    assert_eq!(put(&limit("rpm", 7), "1").await.status, StatusCode::OK);
    assert_eq!(put(&limit("new", 7), "0").await.status, StatusCode::OK);

    is_conflict(&service.delete("/v1/admin/limits/rpm?if_version=1").await);
    assert_eq!(service.delete("/v1/admin/limits/rpm?if_version=2").await, Answer::ok(json!({ "ok": true })));
    // A deleted limit is made again as if it had never been there.
    is_conflict(&put(&limit("rpm", 7), "3").await);
    assert_eq!(put(&limit("rpm", 7), "0").await.status, StatusCode::OK);
    assert_eq!(service.limit("rpm").await["version"], json!(4));

    put(&limit("rpm", 8), "x").await.assert_invalid("query: ");
    service.delete("/v1/admin/limits/rpm?version=4").await.assert_invalid("query: ");
}

#[tokio::test]
async fn a_window_has_seconds_or_milliseconds() {
    let service = Service::new().await;
    let window = |kind: &str, field: &str, length: u64| {
        let mut window = json!({ "key": "frames", "kind": kind, "capacity": 2 });
        window[field] = json!(length);
        window
    };
    let stored = [("window_ms", 250, json!(0), json!(250)), ("window_ms", 3_000, json!(3), Value::Null)];
    for (field, length, seconds, ms) in stored {
        assert_eq!(service.put(&window("fixed_window", field, length)).await.status, StatusCode::OK);
        let shown = service.limit("frames").await["definition"].clone();
        assert_eq!((&shown["window_seconds"], &shown["window_ms"]), (&seconds, &ms), "{shown}");
    }
    for (wrong, message) in [
        (window("rolling", "window_ms", 250), "window_ms must be left out for kind rolling"),
        (window("fixed_window", "capacity", 1), "window_seconds must be between 1 and 31622400, not 0"),
    ] {
        service.put(&wrong).await.assert_invalid(message);
    }
    let mut both = window("fixed_window", "window_ms", 250);
    both["window_seconds"] = json!(1);
    service.put(&both).await.assert_invalid("window_ms must be left out if window_seconds is given");
}

#[tokio::test]
async fn a_window_is_refilled_by_hand() {
    let service = Service::new().await;
    let window = json!({ "key": "frames", "kind": "fixed_window", "capacity": 2, "window_ms": 250,
        "auto_replenish": false });
    assert_eq!(service.put(&window).await.status, StatusCode::OK);
    assert_eq!(service.limit("frames").await["definition"]["auto_replenish"], json!(false));
    assert_eq!(service.reserve("frames", 2).await.body["allowed"], json!(true));
    // The time that passes before a request, and what is available after it.
    for (passes_ms, available) in [(249, 0), (1, 2)] {
        service.backend.clock.advance(Duration::from_millis(passes_ms));
        let answer = service.post("/v1/admin/limits/frames/replenish", &json!({})).await;
        assert_eq!(answer, Answer::ok(json!({ "ok": true, "replenished": true })));
        let usage = service.limit("frames").await["usage"].clone();
        assert_eq!(usage, json!({ "available": available, "reserved": 2 - available, "debt": 0 }));
    }
}

#[tokio::test]
async fn an_instance_that_no_operator_has_changed_counts_as_undefined() {
    let service = Service::new().await;
    let template =
        json!({ "key": "tenant:{tenant}", "kind": "rolling", "capacity": 5, "window_seconds": 60 });
    assert_eq!(service.put(&template).await.status, StatusCode::OK);
    assert_eq!(service.reserve("tenant:acme", 1).await.status, StatusCode::OK);
    let own = json!({ "key": "tenant:acme", "kind": "rolling", "capacity": 9, "window_seconds": 60 });
    for status in [StatusCode::OK, StatusCode::CONFLICT] {
        let path = "/v1/admin/limits?if_version=0";
        let mut own = own.clone();
        own["capacity"] = if status == StatusCode::OK { json!(9) } else { json!(10) };
        assert_eq!(service.call(Method::PUT, path, own.to_string()).await.status, status);
    }
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
        ("capacity", json!(1_u64 << 63), "capacity must be at most 9223372036854775807"),
        ("capacity", json!(1_u64 << 63), "capacity must be at most 9223372036854775807"),
        ("window_seconds", json!(0), "window_seconds must be between 1 and 31622400"),
        ("window_seconds", json!(31_622_401), "window_seconds must be between 1 and 31622400"),
        ("timeout_seconds", json!(1), "timeout_seconds must be left out for kind rolling"),
        (
            "kind",
            json!("leaky"),
            "kind must be one of `rolling`, `concurrency`, `token_bucket`, `fixed_window`, `sliding_window`, `calendar`, not `leaky`",
        ),
        ("overage", json!("forgive"), "overage must be one of `debt`, `deny`, not `forgive`"),
        ("unit", json!("u".repeat(65)), "unit must be at most 64 bytes"),
        ("description", json!("d".repeat(1_025)), "description must be at most 1024 bytes"),
        ("unit_micros", json!(1), "unit_micros needs a unit, such as \"USD\""),
        ("unit_micros", json!(0), "unit_micros must be between 1 and 1000000000000, not 0"),
        ("key", json!("a b"), "key must not hold ' '"),
        ("on_unavailable", json!("maybe"), "on_unavailable must be one of `deny`, `allow`, not `maybe`"),
        ("on_unavailable", json!("allow"), "emergency is required with on_unavailable \"allow\""),
        (
            "emergency",
            json!({ "capacity_share": 0.5, "seconds": 60 }),
            "emergency must be left out unless on_unavailable is \"allow\"",
        ),
        ("status", json!("active"), "unknown field `status`; the fields are `key`"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        service.put(&body).await.assert_invalid(message);
    }
    service.get("/v1/admin/limits/x").await.assert_error(StatusCode::NOT_FOUND, "unknown_limit_key");
}

#[tokio::test]
async fn what_a_unit_is_worth_is_shown_changed_and_handed_on_to_instances() {
    let service = Service::new().await;
    let limit = json!({ "key": "cost:{tenant}", "kind": "rolling", "capacity": 5, "window_seconds": 60, "unit": "USD" });
    for micros in [json!(1), json!(10_000), Value::Null] {
        let mut body = limit.clone();
        body["unit_micros"] = micros.clone();
        assert_eq!(service.put(&body).await.status, StatusCode::OK);
        service.reserve("cost:acme", 1).await.assert_granted();
        for key in ["cost:%7Btenant%7D", "cost:acme"] {
            let shown = service.get(&format!("/v1/admin/limits/{key}")).await;
            assert_eq!(shown.body["limit"]["definition"]["unit_micros"], micros, "{key}");
        }
    }
    assert_eq!(service.limit("cost:acme").await["usage"]["reserved"], json!(3), "the service counts units");
}

#[tokio::test]
async fn what_happens_without_the_ledger_is_shown_and_changed() {
    let service = Service::new().await;
    let of = |emergency: Value| {
        json!({
            "key": "rpm", "kind": "rolling", "capacity": 3, "window_seconds": 60, "on_unavailable": "allow",
            "emergency": emergency,
        })
    };
    for (emergency, message) in [
        (json!({ "seconds": 60 }), "emergency: missing field `capacity_share`"),
        (
            json!({ "capacity_share": 0, "seconds": 60 }),
            "emergency.capacity_share must be above 0 and at most 1",
        ),
        (json!({ "capacity_share": 1.5, "seconds": 60 }), "emergency.capacity_share must be above 0"),
        (json!({ "capacity_share": "all", "seconds": 60 }), "emergency.capacity_share"),
        (json!({ "capacity_share": 1, "seconds": 0 }), "emergency.seconds must be between 1 and 3600, not 0"),
        (json!({ "capacity_share": 1, "seconds": 3_601 }), "emergency.seconds must be between 1 and 3600"),
        (json!({ "capacity_share": 1, "seconds": 60, "x": 1 }), "emergency: unknown field `x`"),
    ] {
        service.put(&of(emergency)).await.assert_invalid(message);
    }
    for emergency in
        [json!({ "capacity_share": 0.05, "seconds": 60 }), json!({ "capacity_share": 1.0, "seconds": 3_600 })]
    {
        assert_eq!(service.put(&of(emergency.clone())).await.status, StatusCode::OK);
        let definition = service.limit("rpm").await["definition"].clone();
        assert_eq!((&definition["on_unavailable"], &definition["emergency"]), (&json!("allow"), &emergency));
    }
    let without = json!({ "key": "rpm", "kind": "rolling", "capacity": 3, "window_seconds": 60 });
    assert_eq!(service.put(&without).await.status, StatusCode::OK);
    let definition = service.limit("rpm").await["definition"].clone();
    assert_eq!((definition.get("on_unavailable"), definition.get("emergency")), (None, None));
}

/// The keys on the page that a query asks for, and the `after` of the next page.
async fn page(service: &Service, query: &str) -> (Vec<String>, String) {
    let answer = service.get(&format!("/v1/admin/limits?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let limits = answer.body["limits"].as_array().expect("limits");
    let keys = limits.iter().map(|limit| text(&limit["definition"]["key"])).collect();
    (keys, text(&answer.body["next_after"]))
}

#[tokio::test]
async fn the_list_is_filtered_and_paged() {
    let service = Service::new().await;
    for key in ["a:1", "a:2", "a:3", "a+b", "b:1"] {
        let limit = json!({ "key": key, "kind": "rolling", "capacity": 5, "window_seconds": 60 });
        assert_eq!(service.put(&limit).await.status, StatusCode::OK);
    }
    for (query, keys, next_after) in [
        ("", &["a+b", "a:1", "a:2", "a:3", "b:1", "rpm", "slots"][..], ""),
        ("count=7", &["a+b", "a:1", "a:2", "a:3", "b:1", "rpm", "slots"], ""),
        ("count=2", &["a+b", "a:1"], "a:1"),
        ("count=2&after=a:1", &["a:2", "a:3"], "a:3"),
        ("count=2&after=a:3", &["b:1", "rpm"], "rpm"),
        ("count=2&after=rpm", &["slots"], ""),
        ("prefix=a:", &["a:1", "a:2", "a:3"], ""),
        ("prefix=a%3A&count=2", &["a:1", "a:2"], "a:2"),
        ("prefix=a:&after=a:2&count=2", &["a:3"], ""),
        ("prefix=a:&after=b", &[], ""),
        ("prefix=a+", &["a+b"], ""),
        ("prefix=a%2B", &["a+b"], ""),
        ("prefix=b&after=a:1", &["b:1"], ""),
        ("prefix=c", &[], ""),
        ("after=zzz", &[], ""),
    ] {
        let expected: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        assert_eq!(page(&service, query).await, (expected, next_after.to_owned()), "{query}");
    }
}

#[tokio::test]
async fn a_malformed_query_is_refused_with_its_field() {
    let service = Service::new().await;
    for (query, message) in [
        ("count=0", "count must be between 1 and 5000, not 0"),
        ("count=5001", "count must be between 1 and 5000, not 5001"),
        ("count=ten", "query: count: invalid digit"),
        ("offset=1", "query: offset: unknown field `offset`"),
        ("template=a:{b", "template must not hold"),
    ] {
        service.get(&format!("/v1/admin/limits?{query}")).await.assert_invalid(message);
    }
}
