//! `POST /v1/complete`.

use super::*;

#[tokio::test]
async fn a_malformed_complete_is_refused_with_the_field() {
    let service = Service::new().await;
    let id = lease().to_string();
    service.post("/v1/reserve", &reserve_body(&id, "rpm", 1)).await.assert_granted();
    for (actuals, message) in [
        (
            json!([{ "key": "rpm", "actual_amount": 1_u64 << 63 }]),
            "actuals[0].actual_amount must be at most 9223372036854775807",
        ),
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
        let body = json!({ "lease_id": id, "actuals": actuals });
        service.post("/v1/complete", &body).await.assert_invalid(message);
    }
    let body = json!({ "lease_id": id, "actuals": [], "served_by": "h".repeat(256) });
    service.post("/v1/complete", &body).await.assert_invalid("served_by must be at most 255 characters long");
    assert_eq!(service.limit("rpm").await["usage"]["reserved"], json!(1), "a refusal settles nothing");
}

#[tokio::test]
async fn a_complete_of_an_unknown_lease_is_ok() {
    let service = Service::new().await;
    let unknown = json!({ "lease_id": lease().to_string(), "actuals": [] });
    assert_eq!(service.post("/v1/complete", &unknown).await, Answer::ok(json!({ "ok": true, "error": "" })));
}
