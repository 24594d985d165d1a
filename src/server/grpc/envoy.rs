//! `envoy.service.ratelimit.v3.RateLimitService`: what Envoy's rate limit filter calls.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::charge::Mode;
use super::proto::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitService;
use super::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use super::shared::Shared;
use crate::ledger::Ledger;
use crate::server::metrics::Route;

/// The service.
pub(super) struct Envoy<L>(pub(super) Arc<Shared<L>>);

#[tonic::async_trait]
impl<L: Ledger> RateLimitService for Envoy<L> {
    /// Charges every descriptor in one reserve, or none.
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        self.0.rate_limit(request, Route::ShouldRateLimit, Mode::Take).await
    }
}
