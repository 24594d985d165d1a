//! The list of limits with their usage, over TigerBeetle.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::fixtures::{eventually, lease};
use crate::support::server::Server;
use crate::support::service::Service;

const BUCKETS: usize = 2_000;

/// Every bucket owes refills when the list is read for the first time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_buckets_are_listed_in_time() {
    let server = Server::start().await;
    let buckets: Vec<Value> = (0..BUCKETS).map(bucket).collect();
    let service = Service::start_seeded(&server.address(), &json!(buckets)).await;
    let ready = || async { service.get("/readyz").await.0 == StatusCode::OK };
    eventually("the service becomes ready", Duration::from_secs(60), ready).await;
    let wanted = json!([{ "key": "bucket:0000", "amount": 7 }]);
    let reserve = json!({ "lease_id": lease().to_string(), "requirements": wanted });
    assert_eq!(service.post("/v1/reserve", &reserve).await.1["allowed"], json!(true));

    let (status, body) = service.get("/v1/admin/limits").await;
    assert_eq!(status, StatusCode::OK, "{}", body["message"]);
    assert_eq!(body["limits"].as_array().map(Vec::len), Some(BUCKETS));
    assert_eq!(body["limits"][0]["usage"], json!({ "available": 993, "reserved": 7, "debt": 0 }));

    let (_, body) = service.get("/v1/admin/limits?prefix=bucket:00&count=60&after=bucket:0049").await;
    assert_eq!(body["limits"].as_array().map(Vec::len), Some(50));
    assert_eq!(body["limits"][0]["definition"]["key"], json!("bucket:0050"));
}

fn bucket(index: usize) -> Value {
    // One that is refilled after this test, and others that are refilled all the time.
    let refill_interval_ms = if index == 0 { 86_400_000 } else { 1 };
    let definition = json!({
        "key": format!("bucket:{index:04}"), "kind": "token_bucket", "capacity": 1_000,
        "refill_amount": 1, "refill_interval_ms": refill_interval_ms,
    });
    json!({ "definition": definition, "status": "active", "pending_decrease_to": 0 })
}
