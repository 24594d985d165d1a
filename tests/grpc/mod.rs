//! The gRPC services of gateways over the memory ledger, called with the generated clients.

mod access;
mod charges;
mod envoy;
mod health;
mod kuadrant;
mod unavailable;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Uri;
use ledger_limiter::ledger::memory::{ManualClock, MemoryLedger};
use ledger_limiter::server::Metrics;
use ledger_limiter::server::api::{Api, Gate};
use ledger_limiter::server::grpc::Gateway;
use ledger_limiter::server::grpc::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use ledger_limiter::server::grpc::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use ledger_limiter::server::grpc::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use ledger_limiter::server::grpc::proto::envoy::service::ratelimit::v3::{
    RateLimitRequest, RateLimitResponse,
};
use ledger_limiter::telemetry::MetricsRegistry;
use tonic::Status;

use crate::fixtures::*;
use crate::memory::MemoryBackend;

const RULES: &str = r#"
retry_after_header = true

[[rule]]
domain = "edge"
entries = [{ key = "tenant" }]
limit = "tenant:{tenant}:rpm"

[[rule]]
domain = "edge"
entries = [{ key = "model" }]
limit = "model:{model}:tpm"
factor = 10

[[rule]]
domain = "edge"
entries = [{ key = "shadow" }]
limit = "shadow"
enforce = false

[[rule]]
domain = "edge"
entries = [{ key = "missing" }]
limit = "missing"
"#;

/// The services, over a template of 3 requests a minute for each tenant, one of 100 tokens an hour for each model, and a
/// limit of 1 that does not enforce.
struct Service {
    replica: Replica<MemoryLedger<Arc<ManualClock>>>,
    backend: MemoryBackend,
    api: Arc<Api<MemoryLedger<Arc<ManualClock>>>>,
    router: Router,
}

impl Service {
    async fn new() -> Self {
        Self::with_rules(RULES).await
    }

    async fn behind(gate: Gate) -> Self {
        let service = Self::not_ready(gate, RULES).await;
        service.api.readiness.set_bootstrapped();
        service
    }

    async fn with_rules(rules: &str) -> Self {
        let service = Self::not_ready(Gate::open(), rules).await;
        service.api.readiness.set_bootstrapped();
        service
    }

    /// A service whose definitions are not read yet.
    async fn not_ready(gate: Gate, rules: &str) -> Self {
        let backend = MemoryBackend::new();
        let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
        replica.put(rolling("tenant:{tenant}:rpm", 3, 60)).await;
        replica.put(fixed_window("model:{model}:tpm", 100, 3_600, 0)).await;
        replica.put(rolling("shadow", 1, 86_400)).await;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rules.toml");
        std::fs::write(&path, rules).expect("it is written");
        let mut registry = MetricsRegistry::default();
        let gateway = Gateway::read(&path, &mut registry).expect("valid rules");
        let api = Arc::new(Api::new(Arc::clone(&replica.engine), gate, Metrics::new(registry)));
        let router = gateway.router(&api).expect("a router");
        Self { replica, backend, api, router }
    }

    /// A client that speaks HTTP/2 with the services, without a connection.
    fn transport(&self) -> Transport {
        Transport(self.router.clone())
    }

    async fn ask(&self, descriptors: &[RateLimitDescriptor], hits: u32) -> Result<RateLimitResponse, Status> {
        let request = RateLimitRequest {
            domain: "edge".to_owned(),
            descriptors: descriptors.to_vec(),
            hits_addend: hits,
        };
        self.send(request).await
    }

    async fn send(&self, request: RateLimitRequest) -> Result<RateLimitResponse, Status> {
        let mut client = RateLimitServiceClient::with_origin(self.transport(), origin());
        client.should_rate_limit(request).await.map(tonic::Response::into_inner)
    }

    /// The lines of the metrics that begin so.
    fn metrics(&self, start: &str) -> Vec<String> {
        let text = self.api.metrics.text(&[]).expect("the metrics");
        text.lines().filter(|line| line.starts_with(start)).map(ToOwned::to_owned).collect()
    }
}

/// Calls the router with requests of HTTP/2.
#[derive(Clone)]
struct Transport(Router);

impl tower::Service<axum::http::Request<tonic::body::Body>> for Transport {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = <Router as tower::Service<axum::http::Request<tonic::body::Body>>>::Future;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        tower::Service::<axum::http::Request<tonic::body::Body>>::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, mut request: axum::http::Request<tonic::body::Body>) -> Self::Future {
        *request.version_mut() = axum::http::Version::HTTP_2;
        self.0.call(request)
    }
}

fn origin() -> Uri {
    Uri::from_static("http://ratelimit_cluster")
}

/// A descriptor of one entry.
fn descriptor(key: &str, value: &str) -> RateLimitDescriptor {
    let entry = Entry { key: key.to_owned(), value: value.to_owned() };
    RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() }
}
