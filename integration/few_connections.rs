//! A replica of TigerBeetle takes few connections, and does not answer on others.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

use crate::fixtures::lease;
use crate::support::server::Process;
use crate::support::service::Service;

/// Each asks for two sessions for transfers and one for look-ups, which is twelve. Two for each suffice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_services_that_start_together_share_eight_connections() {
    let mut server = Process::format_with_8_connections().await;
    server.run().await;
    let address = server.address();
    let services = join_all((0..4).map(|_| Service::start(&address))).await;
    for service in &services {
        service.ready().await;
    }
    let limit = json!({ "key": "slots", "kind": "concurrency", "capacity": 4, "timeout_seconds": 60 });
    assert_eq!(services[0].put("/v1/admin/limits", &limit).await.0, StatusCode::OK);
    // By now each has tried to connect its second session.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for service in &services {
        let requirements = json!([{ "key": "slots", "amount": 1 }]);
        let body = json!({ "lease_id": lease().to_string(), "requirements": requirements });
        assert_eq!(service.post("/v1/reserve", &body).await.1["allowed"], json!(true));
    }
}
