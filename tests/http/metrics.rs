//! `GET /metrics`.

use super::*;

#[tokio::test]
async fn the_metrics_count_each_item_by_its_outcome() {
    let service = Service::new().await;
    let id = lease().to_string();
    service.post("/v1/reserve", &reserve_body(&id, "rpm", 2)).await;
    service.post("/v1/reserve", &reserve_body(&id, "rpm", 1)).await;
    service.reserve("rpm", 0).await;
    let items = json!([
        fresh_reserve("rpm", 1),
        fresh_reserve("rpm", 1),
        fresh_reserve("rpm", 4),
        fresh_reserve("nope", 1),
    ]);
    service.post("/v1/reserve/batch", &json!({ "requests": items })).await;
    service.post("/v1/complete", &json!({ "lease_id": id })).await;
    service.post("/v1/reserve", &reserve_body(&id, "rpm", 2)).await;
    let completes = json!({ "requests": [{ "lease_id": id }, { "lease_id": "x" }] });
    service.post("/v1/complete/batch", &completes).await;
    service.get("/v1/admin/limits").await;

    let answer = service.send(Method::GET, "/metrics", Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.headers["content-type"], format);
    for line in [
        "ratelimiterd_reserves_total{outcome=\"granted\"} 2",
        "ratelimiterd_reserves_total{outcome=\"no_room\"} 1",
        "ratelimiterd_reserves_total{outcome=\"decreasing\"} 0",
        "ratelimiterd_reserves_total{outcome=\"exceeds_capacity\"} 1",
        "ratelimiterd_reserves_total{outcome=\"unknown_key\"} 1",
        "ratelimiterd_reserves_total{outcome=\"too_many_instances\"} 0",
        "ratelimiterd_reserves_total{outcome=\"conflict\"} 1",
        "ratelimiterd_reserves_total{outcome=\"settled\"} 1",
        "ratelimiterd_reserves_total{outcome=\"unknown\"} 0",
        "ratelimiterd_completes_total{outcome=\"settled\"} 1",
        "ratelimiterd_completes_total{outcome=\"nothing_to_do\"} 1",
        "ratelimiterd_completes_total{outcome=\"not_in_lease\"} 0",
        "ratelimiterd_completes_total{outcome=\"unknown\"} 0",
        "ratelimiterd_request_seconds_count{route=\"/v1/reserve\"} 4",
        "ratelimiterd_request_seconds_count{route=\"/v1/reserve/batch\"} 1",
        "ratelimiterd_request_seconds_count{route=\"/v1/extend\"} 0",
        "ratelimiterd_request_seconds_count{route=\"/v1/renew\"} 0",
        "ratelimiterd_request_seconds_count{route=\"/v1/complete\"} 1",
        "ratelimiterd_request_seconds_count{route=\"/v1/complete/batch\"} 1",
        "ratelimiterd_request_seconds_count{route=\"/v1/objects\"} 0",
        // Two limits of the service were put.
        "ratelimiterd_request_seconds_count{route=\"/v1/admin/limits\"} 3",
        "ratelimiterd_requests_in_flight 0",
        concat!("ratelimiterd_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        // The service has no registry file.
        "ratelimiterd_registry_writes_total{outcome=\"written\"} 0",
        "ratelimiterd_registry_writes_total{outcome=\"failed\"} 0",
        "# EOF",
    ] {
        assert!(answer.body.lines().any(|actual| actual == line), "{line}:\n{}", answer.body);
    }
}
