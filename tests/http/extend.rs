//! `POST /v1/extend`.

use super::*;

fn extend_body(lease: &str, extend: &str, key: &str, amount: u64) -> Value {
    json!({ "lease_id": lease, "extend_id": extend, "key": key, "amount": amount })
}

#[tokio::test]
async fn an_extend_is_answered_like_a_reserve() {
    let service = Service::new().await;
    let (id, extend) = (lease().to_string(), lease().to_string());
    service.post("/v1/reserve", &reserve_body(&id, "rpm", 1)).await.assert_granted();

    let granted = service.post("/v1/extend", &extend_body(&id, &extend, "rpm", 2)).await;
    let expected =
        json!({ "allowed": true, "retry_after_ms": 0, "reserved_at_unix_ms": START_MS, "error": "" });
    assert_eq!(granted, Answer::ok(expected));
    let repeated = service.post("/v1/extend", &extend_body(&id, &extend, "rpm", 2)).await;
    assert_eq!(repeated, granted, "a repetition has the same answer");

    let conflict = service.post("/v1/extend", &extend_body(&id, &extend, "rpm", 1)).await;
    let expected = Answer { status: StatusCode::CONFLICT, body: failed_reserve("lease_conflict") };
    assert_eq!(conflict, expected);

    let full = extend_body(&id, &lease().to_string(), "rpm", 1);
    service.post("/v1/extend", &full).await.denied_ms("rpm");

    let unknown = extend_body(&lease().to_string(), &extend, "rpm", 1);
    let settled = service.post("/v1/extend", &unknown).await;
    let expected = Answer { status: StatusCode::CONFLICT, body: failed_reserve("lease_settled") };
    assert_eq!(settled, expected);
}

#[tokio::test]
async fn a_malformed_extend_is_refused_with_the_field() {
    let service = Service::new().await;
    let (id, extend) = (lease().to_string(), lease().to_string());
    service.post("/v1/reserve", &reserve_body(&id, "rpm", 1)).await.assert_granted();
    for (body, message) in [
        (extend_body(&id, &extend, "slots", 1), "key is not in the lease"),
        (extend_body(&id, &extend, "rpm", 0), "amount must be at least 1"),
        (extend_body(&id, &extend, ":", 1), "key must begin"),
        (extend_body(&id, "x", "rpm", 1), "extend_id must be a ULID"),
        (json!({ "lease_id": id, "key": "rpm", "amount": 1 }), "missing field `extend_id`"),
    ] {
        service.post("/v1/extend", &body).await.assert_invalid(message);
    }
    assert_eq!(service.limit("rpm").await["usage"]["reserved"], json!(1), "a refusal reserves nothing");
}
