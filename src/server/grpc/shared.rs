//! What the rate limit services share.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::charge::{self, Charged, Mode};
use super::counts::Counts;
use super::followed_rules::FollowedRules;
use super::give_back::give_back;
use super::guard::authorized;
use super::plan::Plan;
use super::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use super::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use super::refuse::{forbidden, refusal, unplannable};
use super::rules::Rules;
use super::status;
use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::server::api::{Api, Authorized, ToReserve};
use crate::server::metrics::Route;

/// What the services share.
pub(super) struct Shared<L> {
    pub(super) api: Arc<Api<L>>,
    pub(super) rules: Arc<FollowedRules>,
    pub(super) counts: Counts,
}

impl<L: Ledger> Shared<L> {
    /// Plans the charges of a request, and checks that its caller may use the limits.
    pub(super) fn plan(
        &self,
        rules: &Rules,
        authorized: &Authorized<L, ToReserve>,
        domain: &str,
        descriptors: &[RateLimitDescriptor],
        hits: u64,
    ) -> Result<Plan, Status> {
        let plan = Plan::new(rules, domain, descriptors, hits).map_err(|error| unplannable(&error))?;
        authorized.check_keys(plan.keys()).map_err(forbidden)?;
        Ok(plan)
    }

    /// Answers a request of Envoy's form.
    pub(super) async fn rate_limit(
        &self,
        request: Request<RateLimitRequest>,
        route: Route,
        mode: Mode,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let _in_flight = self.api.metrics.request(route);
        let authorized = authorized(&self.api, &request)?;
        let RateLimitRequest { domain, descriptors, hits_addend } = request.into_inner();
        let rules = self.rules.load();
        let plan = self.plan(&rules, &authorized, &domain, &descriptors, hits_addend.max(1).into())?;
        let charged = match (plan.gives_back(), mode) {
            (true, Mode::Look) => Charged::default(),
            (true, Mode::Take | Mode::Reserve | Mode::Force) => give_back(&self.api, &plan).await?,
            (false, _) => charge::charge(&self.api, &plan, mode).await.map_err(|reject| refusal(&reject))?,
        };
        self.count(&plan, &charged);
        let keys: Vec<&LimitKey> = if rules.report { plan.keys().collect() } else { Vec::new() };
        let left = self.api.left(&keys).await;
        Ok(Response::new(status::answer(&plan, &charged, &left, rules.retry_after_header)))
    }

    /// Counts the descriptors of a plan.
    pub(super) fn count(&self, plan: &Plan, charged: &Charged) {
        plan.items.iter().for_each(|item| self.counts.count(charged.outcome(item)));
    }
}
