//! `kuadrant.service.ratelimit.v1.RateLimitService`: what Kuadrant's gateways call. A reservation is a lease, and its id is
//! the lease id; a Commit is the complete of the lease.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::charge::{self, Mode};
use super::guard::authorized;
use super::plan::{Charge, Item, Plan};
use super::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use super::proto::kuadrant::service::ratelimit::v1::rate_limit_service_server::RateLimitService;
use super::proto::kuadrant::service::ratelimit::v1::{
    CommitRequest, CommitResponse, ReserveRequest, ReserveResponse,
};
use super::refuse::{forbidden, refusal};
use super::shared::Shared;
use super::status;
use crate::ledger::Ledger;
use crate::limit::{Amount, LeaseId};
use crate::protocol::{Actual, Complete, CompleteOutcome};
use crate::server::api::{Authorized, Forbidden, Reject, ToReserve, settle};
use crate::server::metrics::Route;

/// The service.
pub(super) struct Kuadrant<L>(pub(super) Arc<Shared<L>>);

#[tonic::async_trait]
impl<L: Ledger> RateLimitService for Kuadrant<L> {
    /// Whether every descriptor would be charged. Nothing is.
    async fn check_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        self.0.rate_limit(request, Route::KuadrantCheck, Mode::Look).await
    }

    /// Charges every descriptor, whatever is free. The excess is debt.
    async fn report(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        self.0.rate_limit(request, Route::KuadrantReport, Mode::Force).await
    }

    /// Reserves the amount for every descriptor, or for none.
    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveResponse>, Status> {
        let shared = &*self.0;
        let _in_flight = shared.api.metrics.request(Route::KuadrantReserve);
        let authorized = authorized(&shared.api, &request)?;
        // The definition of each limit says how long a reservation lasts. `ttl` changes nothing.
        let ReserveRequest { domain, descriptors, amount, ttl: _ } = request.into_inner();
        if amount == 0 {
            return Err(Status::invalid_argument("amount must be at least 1"));
        }
        let plan = shared.plan(&shared.rules.load(), &authorized, &domain, &descriptors, amount)?;
        refuse_negative(&plan)?;
        let charged =
            charge::charge(&shared.api, &plan, Mode::Reserve).await.map_err(|reject| refusal(&reject))?;
        shared.count(&plan, &charged);
        let is_denied = plan.is_denied() || charged.denial.is_some();
        let mut answer =
            ReserveResponse { code: status::code(is_denied).into(), reservation_id: String::new() };
        if !is_denied {
            // Without a limit nothing is reserved, and a Commit of this lease settles nothing.
            answer.reservation_id = charged.lease.unwrap_or_else(LeaseId::generate).to_string();
        }
        Ok(Response::new(answer))
    }

    /// Settles a reservation. Repeated, it changes nothing.
    async fn commit(&self, request: Request<CommitRequest>) -> Result<Response<CommitResponse>, Status> {
        let shared = &*self.0;
        let _in_flight = shared.api.metrics.request(Route::KuadrantCommit);
        let authorized = authorized(&shared.api, &request)?;
        let CommitRequest { domain, descriptors, reservation_id, actual_amount } = request.into_inner();
        let lease = LeaseId::parse(&reservation_id)
            .map_err(|error| Status::invalid_argument(format!("reservation_id {error}")))?;
        // Which limits it is comes from the rules; how much of them, from the actual amount.
        let plan = shared.plan(&shared.rules.load(), &authorized, &domain, &descriptors, 1)?;
        refuse_negative(&plan)?;
        let settled = complete(&authorized, lease, actuals(&plan, actual_amount)).await;
        let outcome =
            settled.map_err(|reject| refusal(&reject))?.ok_or_else(|| forbidden(Forbidden::Lease))?;
        let reservation_released = matches!(outcome, CompleteOutcome::Settled { .. });
        Ok(Response::new(CommitResponse { reservation_released }))
    }
}

/// A reservation takes, and a Commit says how much was used.
fn refuse_negative(plan: &Plan) -> Result<(), Status> {
    match plan.gives_back() {
        true => Err(Status::invalid_argument("is_negative_hits has no meaning for Reserve and Commit")),
        false => Ok(()),
    }
}

/// Completes a lease. A limit that the lease does not hold would have denied it, and does not enforce.
async fn complete<L: Ledger>(
    authorized: &Authorized<L, ToReserve>,
    lease: LeaseId,
    mut actuals: Vec<Actual>,
) -> Result<Option<CompleteOutcome>, Reject> {
    loop {
        let command = Complete::new(lease, String::new(), actuals.clone())
            .map_err(|error| Reject::Invalid(error.to_string()))?;
        match settle(authorized, &command).await? {
            Some(CompleteOutcome::NotInLease { index }) if index < actuals.len() => {
                actuals.remove(index);
            }
            outcome => return Ok(outcome),
        }
    }
}

/// What was used of the limits of a plan, if every descriptor used so many hits.
fn actuals(plan: &Plan, hits: u64) -> Vec<Actual> {
    let of_key = |charge: &Charge| {
        let key = &charge.requirement.key;
        let units = plan.items.iter().fold(0_u64, |sum, item| match item {
            Item::Limit { key: of_item, factor } if of_item == key => {
                sum.saturating_add(hits.saturating_mul(*factor))
            }
            Item::Limit { .. } | Item::NoRule | Item::NoKey { .. } => sum,
        });
        Actual { key: key.clone(), amount: units.min(Amount::MAX.get()) }
    };
    plan.charges.iter().map(of_key).collect()
}
