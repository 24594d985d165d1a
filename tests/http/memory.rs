//! The retention of leases in the memory ledger.

use super::*;

#[tokio::test]
async fn the_memory_ledger_forgets_a_lease_after_its_retention() {
    let service = Service::new().await;
    let id = lease().to_string();
    service.post("/v1/reserve", &reserve_body(&id, "slots", 1)).await.assert_granted();
    let completed = service.post("/v1/complete", &json!({ "lease_id": id })).await;
    assert_eq!(completed, Answer::ok(json!({ "ok": true, "error": "" })));
    service.reserve("rpm", 2).await.assert_granted();
    for _ in 1..10 {
        service.reserve("rpm", 2).await.denied_ms("rpm");
    }
    assert_eq!(service.backend.ledger.leases(), 11, "the ledger remembers a denied lease too");

    service.backend.pass(Duration::from_secs(60)).await;
    let settled = service.post("/v1/reserve", &reserve_body(&id, "slots", 1)).await;
    settled.assert_error(StatusCode::CONFLICT, "lease_settled");

    service.backend.pass(crate::memory::RETENTION).await;
    assert_eq!(service.backend.ledger.leases(), 0, "memory holds only recent leases");
}
