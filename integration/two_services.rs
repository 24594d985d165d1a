//! Two service processes in front of one ledger behave as one.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::fixtures::{eventually, lease};
use crate::support::server::Server;
use crate::support::service::Service;

/// The longest time until a change at one service takes effect at the other.
const FOLLOW_MAX: Duration = Duration::from_secs(1);

fn rolling(key: &str, capacity: u64, window_seconds: u64) -> Value {
    json!({ "key": key, "kind": "rolling", "capacity": capacity, "window_seconds": window_seconds })
}

async fn reserve(service: &Service, lease_id: &str, key: &str, amount: u64) -> Value {
    let body = json!({ "lease_id": lease_id, "requirements": [{ "key": key, "amount": amount }] });
    service.post("/v1/reserve", &body).await.1
}

async fn usage(service: &Service, key: &str) -> Value {
    service.get(&format!("/v1/admin/limits/{key}")).await.1["limit"]["usage"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_behave_as_one() {
    let server = Server::start().await;
    let seed = json!([
        { "definition": rolling("seeded", 10, 60), "status": "active", "pending_decrease_to": 0 },
        { "definition": rolling("lower", 10, 60), "status": "decreasing", "pending_decrease_to": 4 },
    ]);
    let first = Service::start_seeded(&server.address(), &seed).await;
    let mut second = Service::start(&server.address()).await;
    for service in [&first, &second] {
        service.ready().await;
    }

    // The first service's file seeded the ledger. The second service, with an empty disk, reads it from there.
    let granted = reserve(&second, &lease().to_string(), "seeded", 3).await;
    assert_eq!(granted["allowed"], json!(true), "{granted}");
    let lowered = || async { usage(&second, "lower").await["available"] == json!(4) };
    eventually("the seeded decrease is applied", Duration::from_secs(5), lowered).await;

    // A limit created at one service is usable at the other at once.
    assert_eq!(first.put("/v1/admin/limits", &rolling("rpm", 10, 60)).await.0, StatusCode::OK);
    let id = lease().to_string();
    let granted = reserve(&second, &id, "rpm", 4).await;
    assert_eq!(granted["allowed"], json!(true), "{granted}");

    // Every service knows a lease, also after the service that granted it was killed.
    assert_eq!(reserve(&first, &id, "rpm", 4).await, granted);
    second.kill().await;
    let complete = json!({ "lease_id": id, "actuals": [{ "key": "rpm", "actual_amount": 1 }] });
    assert_eq!(first.post("/v1/complete", &complete).await.0, StatusCode::OK);
    second.run_until_ready().await;
    assert_eq!(reserve(&second, &id, "rpm", 4).await["error"], json!("lease_settled"));
    assert_eq!(second.post("/v1/complete", &complete).await.1, json!({ "ok": true, "error": "" }));
    assert_eq!(usage(&second, "rpm").await, json!({ "available": 9, "reserved": 1, "debt": 0 }));

    // A change of the window causes no refusal that would make a service read it at once. The other service applies
    // it when it follows the log.
    assert_eq!(first.put("/v1/admin/limits", &rolling("rpm", 10, 1)).await.0, StatusCode::OK);
    tokio::time::sleep(FOLLOW_MAX).await;
    assert_eq!(reserve(&second, &lease().to_string(), "rpm", 9).await["allowed"], json!(true));
    let reserved = Instant::now();
    let expired = || async { usage(&second, "rpm").await["available"] == json!(9) };
    eventually("the reservation expires", Duration::from_secs(3), expired).await;
    assert!(reserved.elapsed() < Duration::from_secs(3), "the reservation has the new window");

    let (status, history) = second.get("/v1/admin/limits/rpm/history").await;
    assert_eq!(
        (status, history["versions"].as_array().map(Vec::len)),
        (StatusCode::OK, Some(2)),
        "{history}"
    );
}
