//! `envoy.service.ratelimit.v3.RateLimitService`: what Envoy's rate limit filter calls.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::charge::Charged;
use super::guard::authorized;
use super::proto::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitService;
use super::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use super::refuse::refusal;
use super::shared::Shared;
use super::{charge, status};
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
        let shared = &*self.0;
        let _in_flight = shared.api.metrics.request(Route::ShouldRateLimit);
        let authorized = authorized(&shared.api, &request)?;
        let RateLimitRequest { domain, descriptors, hits_addend } = request.into_inner();
        let rules = shared.rules.load();
        let plan = shared.plan(&rules, &authorized, &domain, &descriptors, hits_addend.max(1).into())?;
        let charged = if plan.is_denied() {
            Charged::default()
        } else {
            charge::charge(&shared.api, &plan).await.map_err(|reject| refusal(&reject))?
        };
        shared.count(&plan, &charged);
        let left = if rules.report { shared.left(&plan).await } else { Vec::new() };
        Ok(Response::new(status::answer(&plan, &charged, &left, rules.retry_after_header)))
    }
}
