//! `grpc.health.v1.Health`: serving while `GET /readyz` answers 200.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

use super::envoy::Envoy;
use super::kuadrant::Kuadrant;
use super::proto::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitServiceServer;
use super::proto::kuadrant::service::ratelimit::v1::rate_limit_service_server::RateLimitServiceServer as KuadrantServer;
use crate::ledger::Ledger;
use crate::server::api::Api;

/// How often a watched health is read again.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The service.
pub(super) struct Health<L>(pub(super) Arc<Api<L>>);

impl<L: Ledger> Health<L> {
    /// Whether the service of a request is one of these; the empty name stands for all.
    fn check_name(request: &Request<HealthCheckRequest>) -> Result<(), Status> {
        let name = &request.get_ref().service;
        let known = [
            "",
            <RateLimitServiceServer<Envoy<L>> as NamedService>::NAME,
            <KuadrantServer<Kuadrant<L>> as NamedService>::NAME,
        ];
        if known.contains(&name.as_str()) {
            return Ok(());
        }
        Err(Status::not_found(format!("there is no service {name:?}")))
    }
}

async fn status<L: Ledger>(api: &Api<L>) -> ServingStatus {
    match api.readiness.reason_not_ready().await {
        None => ServingStatus::Serving,
        Some(_) => ServingStatus::NotServing,
    }
}

#[tonic::async_trait]
impl<L: Ledger> health_server::Health for Health<L> {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Self::check_name(&request)?;
        Ok(Response::new(HealthCheckResponse { status: status(&self.0).await.into() }))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Self::check_name(&request)?;
        let readings = stream::unfold((Arc::clone(&self.0), None), async |(api, last)| {
            loop {
                let now = status(&api).await;
                if last != Some(now) {
                    return Some((Ok(HealthCheckResponse { status: now.into() }), (api, Some(now))));
                }
                tokio::time::sleep(WATCH_INTERVAL).await;
            }
        });
        Ok(Response::new(readings.boxed()))
    }
}
