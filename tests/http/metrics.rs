//! `GET /metrics`.

use ledger_limiter::limit::LimitKey;
use ledger_limiter::server::auth::Scope;

use super::tokens::TokenFile;
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

impl Service {
    /// The same limits, in a service behind `gate` whose metrics show `limits`.
    fn showing(&self, gate: Gate, limits: &[&str], is_ready: bool) -> Self {
        let api = Api {
            shown_limits: limits.iter().map(|text| LimitKey::parse_name(text).expect("a key")).collect(),
            ..Api::new(Arc::clone(&self.api.engine), gate, Metrics::new(MetricsRegistry::default()))
        };
        if is_ready {
            api.readiness.set_bootstrapped();
        }
        let api = Arc::new(api);
        let router = api::router(Arc::clone(&api), Audience::Everybody);
        Self { router, api, backend: self.backend.clone(), token: None }
    }

    /// The lines of single limits, sorted.
    async fn limit_lines(&self) -> Vec<String> {
        let answer = self.send(Method::GET, "/metrics", Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.body.contains("ratelimiterd_requests_in_flight 0"), "{}", answer.body);
        let is_of_limit = |line: &&str| line.starts_with("ratelimiterd_limit_");
        let mut lines: Vec<String> = answer.body.lines().filter(is_of_limit).map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    }
}

#[tokio::test]
async fn the_metrics_show_the_usage_of_the_limits_that_are_set_and_of_no_other() {
    let service = Service::new().await;
    let template = json!({
        "key": "tenant:{tenant}", "kind": "rolling", "capacity": 5, "window_seconds": 60, "overage": "debt",
        "max_instances": 4,
    });
    assert_eq!(service.put(&template).await.status, StatusCode::OK);
    service.reserve("rpm", 2).await.assert_granted();
    let id = lease().to_string();
    service.post("/v1/reserve", &reserve_body(&id, "tenant:a", 1)).await.assert_granted();
    let used = json!({ "lease_id": id, "actuals": [{ "key": "tenant:a", "actual_amount": 7 }] });
    assert_eq!(service.post("/v1/complete", &used).await.status, StatusCode::OK);

    let shown = ["tenant:{tenant}", "rpm", "unknown", "tenant:a"];
    let lines = service.showing(Gate::open(), &shown, true).limit_lines().await;

    let expected = [
        "ratelimiterd_limit_available{key=\"rpm\"} 1.0",
        "ratelimiterd_limit_available{key=\"tenant:a\"} 0.0",
        "ratelimiterd_limit_available{key=\"tenant:{tenant}\"} 3.0",
        "ratelimiterd_limit_capacity{key=\"rpm\"} 3.0",
        "ratelimiterd_limit_capacity{key=\"tenant:a\"} 5.0",
        "ratelimiterd_limit_capacity{key=\"tenant:{tenant}\"} 4.0",
        "ratelimiterd_limit_debt{key=\"rpm\"} 0.0",
        "ratelimiterd_limit_debt{key=\"tenant:a\"} 2.0",
        "ratelimiterd_limit_debt{key=\"tenant:{tenant}\"} 0.0",
        "ratelimiterd_limit_reserved{key=\"rpm\"} 2.0",
        "ratelimiterd_limit_reserved{key=\"tenant:a\"} 5.0",
        "ratelimiterd_limit_reserved{key=\"tenant:{tenant}\"} 1.0",
        "ratelimiterd_limit_waiting{key=\"rpm\"} 0.0",
        "ratelimiterd_limit_waiting{key=\"tenant:a\"} 0.0",
        "ratelimiterd_limit_waiting{key=\"tenant:{tenant}\"} 0.0",
    ];
    assert_eq!(lines, expected);
    let nothing = Vec::<String>::new();
    assert_eq!(service.limit_lines().await, nothing, "none is set");
}

#[tokio::test]
async fn a_token_with_patterns_sees_the_usage_of_its_limits_alone() {
    let service = Service::new().await;
    let file = TokenFile::new();
    let (all, own) =
        (file.add("all", &[Scope::Metrics], &[]), file.add("own", &[Scope::Metrics], &["slots"]));
    let gate = Gate { authenticator: file.authenticator(), ..Gate::open() };
    let service = service.showing(gate, &["rpm", "slots"], true);

    assert_eq!(service.called_with(all).limit_lines().await.len(), 10);
    let lines = service.called_with(own).limit_lines().await;
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("{key=\"slots\"}")), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn while_the_ledger_does_not_answer_the_metrics_lack_the_usage_of_limits() {
    let service = Service::new().await.showing(Gate::open(), &["rpm"], false);
    assert_eq!(service.limit_lines().await, Vec::<String>::new());
    service.api.readiness.set_bootstrapped();
    assert_eq!(service.limit_lines().await.len(), 5);
}
