//! `POST /v1/reserve`.

use super::*;

#[tokio::test]
async fn a_grant_has_four_fields() {
    let service = Service::new().await;
    let granted = service.reserve("rpm", 2).await;
    let expected =
        json!({ "allowed": true, "retry_after_ms": 0, "reserved_at_unix_ms": START_MS, "error": "" });
    assert_eq!(granted, Answer::ok(expected));
}

#[tokio::test]
async fn a_denial_names_the_limiting_key_and_a_hint() {
    let service = Service::new().await;
    service.reserve("rpm", 2).await.assert_granted();
    let hint_ms = service.reserve("rpm", 2).await.denied_ms("rpm");
    assert!((5_000..=5_050).contains(&hint_ms), "a tenth of the window, at most 5 s: {hint_ms}");
}

#[tokio::test]
async fn an_amount_over_the_capacity_and_an_unknown_key_have_no_hint() {
    let service = Service::new().await;
    assert_eq!(service.reserve("rpm", 4).await, denial("rpm", "exceeds_capacity:rpm"));
    assert_eq!(service.reserve("nope", 4).await, denial("nope", "unknown_limit_key:nope"));
}

#[tokio::test]
async fn a_reused_lease_is_a_conflict_or_settled() {
    let service = Service::new().await;
    let id = lease().to_string();
    service.post("/v1/reserve", &reserve_body(&id, "rpm", 2)).await.assert_granted();
    let conflict = service.post("/v1/reserve", &reserve_body(&id, "rpm", 1)).await;
    let expected = Answer { status: StatusCode::CONFLICT, body: failed_reserve("lease_conflict") };
    assert_eq!(conflict, expected);

    let completed = service.post("/v1/complete", &json!({ "lease_id": id, "actuals": [] })).await;
    assert_eq!(completed, Answer::ok(json!({ "ok": true, "error": "" })));
    let settled = service.post("/v1/reserve", &reserve_body(&id, "rpm", 2)).await;
    let expected = Answer { status: StatusCode::CONFLICT, body: failed_reserve("lease_settled") };
    assert_eq!(settled, expected);
}

#[tokio::test]
async fn a_decreasing_limit_denies_with_its_own_error_and_hint() {
    let service = Service::new().await;
    service.reserve("slots", 2).await.assert_granted();
    let lower = json!({ "key": "slots", "kind": "concurrency", "capacity": 1, "timeout_seconds": 60 });
    assert_eq!(service.put(&lower).await, Answer::ok(json!({ "ok": true, "status": "decreasing" })));
    assert_eq!(
        service.reserve("slots", 1).await,
        hinted_denial("slots", 10_000, "estimate", "limit_decreasing:slots")
    );
    let expected = json!({
        "definition": {
            "key": "slots", "kind": "concurrency", "capacity": 2, "window_seconds": 0, "timeout_seconds": 60,
            "unit": "", "description": "", "overage": "debt",
        },
        "status": "decreasing", "pending_decrease_to": 1,
        "usage": { "available": 0, "reserved": 2, "debt": 0 }, "version": 2,
    });
    assert_eq!(service.limit("slots").await, expected);
}

#[tokio::test]
async fn hints_grow_with_each_denial_until_a_grant() {
    let service = Service::new().await;
    let id = lease().to_string();
    service.post("/v1/reserve", &reserve_body(&id, "slots", 2)).await.assert_granted();
    for base_ms in [50, 100, 200] {
        let hint_ms = service.reserve("slots", 1).await.denied_ms("slots");
        assert!((base_ms..=base_ms + 25).contains(&hint_ms), "{base_ms}: {hint_ms}");
    }
    let completed = service.post("/v1/complete", &json!({ "lease_id": id })).await;
    assert_eq!(completed, Answer::ok(json!({ "ok": true, "error": "" })));
    service.reserve("slots", 2).await.assert_granted();
    let hint_ms = service.reserve("slots", 1).await.denied_ms("slots");
    assert!((50..=75).contains(&hint_ms), "{hint_ms}");
}

#[tokio::test]
async fn a_malformed_reserve_is_refused_with_the_field() {
    let service = Service::new().await;
    let requirements = |requirements: Value| json!({ "lease_id": LEASE, "requirements": requirements });
    let many: Vec<Value> = (0..33).map(|n| json!({ "key": format!("k{n}"), "amount": 1 })).collect();
    for (body, message) in [
        (requirements(json!([])), "requirements must be between 1 and 32 long, not 0"),
        (requirements(json!(many)), "requirements must be between 1 and 32 long, not 33"),
        (
            requirements(json!([
                { "key": "a", "amount": 1 }, { "key": "b", "amount": 1 }, { "key": "c", "amount": 1_u64 << 63 },
            ])),
            "requirements[2].amount must be at most 9223372036854775807",
        ),
        (reserve_body(LEASE, "rpm", 1 << 63), "requirements[0].amount must be at most 9223372036854775807"),
        (reserve_body(LEASE, "", 1), "requirements[0].key must not be empty"),
        (reserve_body(LEASE, "_x", 1), "requirements[0].key must begin with a letter or a digit, not '_'"),
        (reserve_body("short", "rpm", 1), "lease_id must be a ULID"),
        (reserve_body(&"0".repeat(26), "rpm", 1), "lease_id must not be zero"),
        (
            requirements(json!([{ "key": "a", "amount": 1 }, { "key": "a", "amount": 1 }])),
            "requirements[1].key repeats a",
        ),
        (requirements(json!([{ "key": "a", "amount": -1 }])), "requirements[0].amount must not be negative"),
        (
            requirements(json!([{ "key": "a", "amount": 1.5 }])),
            "requirements[0].amount must be a whole number, not 1.5",
        ),
        (
            requirements(json!([{ "key": "a", "amount": 1, "x": 1 }])),
            "requirements[0]: unknown field `x`; the fields are `key`, `amount`",
        ),
        (requirements(json!([{ "key": "a" }])), "requirements[0]: missing field `amount`"),
        (requirements(json!({})), "requirements must be an array, not an object"),
        (
            json!({ "lease_id": LEASE, "job_id": "j".repeat(129), "requirements": [{"key": "a", "amount": 1}] }),
            "job_id must be at most 128 bytes",
        ),
        (json!({ "requirements": [] }), "missing field `lease_id`"),
        (json!([]), "the JSON must be an object, not an array"),
        (json!("text"), "the JSON must be an object, not a string"),
    ] {
        service.post("/v1/reserve", &body).await.assert_invalid(message);
    }
    assert_eq!(service.limit("rpm").await["usage"]["reserved"], json!(0), "a refusal reserves nothing");
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_with_its_line_and_column() {
    let service = Service::new().await;
    for (body, message) in [
        (b"".as_slice(), "the JSON is not complete; it ends at line 1 column 0"),
        (b"{", "the JSON is not complete; it ends at line 1 column 1"),
        (b"{}x", "the JSON is malformed at line 1 column 3: trailing characters"),
        (b"\0", "the JSON is malformed at line 1 column 1: expected value"),
        (b"nul", "the JSON is not complete; it ends at line 1 column 3"),
        (b"nil", "the JSON is malformed at line 1 column 2: expected ident"),
        (b"\xff\xfe", "the JSON begins with a byte order mark"),
    ] {
        for path in ["/v1/reserve", "/v1/complete"] {
            service.call(Method::POST, path, body).await.assert_invalid(message);
        }
    }
    let trailing = format!("{} x", reserve_body(LEASE, "rpm", 1));
    let answer = service.call(Method::POST, "/v1/reserve", trailing).await;
    answer.assert_invalid("the JSON is malformed at line 1");
}
