//! `POST /v1/renew`.

use super::*;

fn renew_body(lease: &str, renew: &str) -> Value {
    json!({ "lease_id": lease, "renew_id": renew })
}

#[tokio::test]
async fn a_renewal_is_answered_like_a_reserve() {
    let service = Service::new().await;
    let (id, renew) = (lease().to_string(), lease().to_string());
    service.post("/v1/reserve", &reserve_body(&id, "slots", 1)).await.assert_granted();
    service.backend.pass(Duration::from_secs(50)).await;
    let renewed = service.post("/v1/renew", &renew_body(&id, &renew)).await;
    // A pass of time ends a millisecond later.
    let at_ms = START_MS + 50_001;
    let expected = json!({ "allowed": true, "retry_after_ms": 0, "reserved_at_unix_ms": at_ms, "error": "" });
    assert_eq!(renewed, Answer::ok(expected));
    service.backend.pass(Duration::from_secs(50)).await;
    let repeated = service.post("/v1/renew", &renew_body(&id, &renew)).await;
    assert_eq!(repeated, renewed, "a repetition has the same answer");
    service.backend.pass(Duration::from_secs(10)).await;
    // The lease, and the error.
    for (lease_id, error) in [(id, "lease_expired"), (lease().to_string(), "lease_settled")] {
        let refused = service.post("/v1/renew", &renew_body(&lease_id, &lease().to_string())).await;
        assert_eq!(refused, Answer { status: StatusCode::CONFLICT, body: failed_reserve(error) });
    }
}

#[tokio::test]
async fn a_malformed_renewal_is_refused_with_the_field() {
    let service = Service::new().await;
    let id = lease().to_string();
    service.post("/v1/reserve", &reserve_body(&id, "rpm", 1)).await.assert_granted();
    for (body, message) in [
        (renew_body(&id, &id), "lease_id names a lease that holds no slot"),
        (renew_body("x", &id), "lease_id must be a ULID"),
        (renew_body(&id, "x"), "renew_id must be a ULID"),
        (json!({ "lease_id": id }), "missing field `renew_id`"),
        (json!({ "lease_id": id, "renew_id": id, "key": "rpm" }), "unknown field `key`"),
    ] {
        service.post("/v1/renew", &body).await.assert_invalid(message);
    }
}
