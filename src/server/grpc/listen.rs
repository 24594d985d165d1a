//! The router of all services, and what they share.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tonic::Status;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

use super::charge::Charged;
use super::counts::{self, Counts};
use super::envoy::Envoy;
use super::followed_rules::{FollowedRules, RulesError};
use super::guard;
use super::health::Health;
use super::kuadrant::Kuadrant;
use super::plan::Plan;
use super::proto;
use super::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use super::proto::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitServiceServer;
use super::proto::kuadrant::service::ratelimit::v1::rate_limit_service_server::RateLimitServiceServer as KuadrantServer;
use super::refuse::{forbidden, unplannable};
use super::rules::Rules;
use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::limiter::Left;
use crate::server::api::{Api, Authorized, BODY_BYTES_MAX, ToReserve, log_requests};
use crate::telemetry::MetricsRegistry;

/// The services before their API is there.
pub struct Gateway {
    rules: Arc<FollowedRules>,
    counts: Counts,
}

/// What the services share.
pub(super) struct Shared<L> {
    pub(super) api: Arc<Api<L>>,
    pub(super) rules: Arc<FollowedRules>,
    counts: Counts,
}

impl Gateway {
    /// Reads the file of rules, and adds the metrics of the services to `registry`.
    ///
    /// # Errors
    ///
    /// The file cannot be read or used.
    pub fn read(rules: &Path, registry: &mut MetricsRegistry) -> Result<Self, RulesError> {
        Ok(Self { rules: Arc::new(FollowedRules::read(rules)?), counts: Counts::register(registry) })
    }

    /// The rules in force, to be followed.
    pub fn rules(&self) -> Arc<FollowedRules> {
        Arc::clone(&self.rules)
    }

    /// The router of the services over `api`.
    ///
    /// # Errors
    ///
    /// Reflection cannot read the files that the services were made from.
    pub fn router<L: Ledger>(self, api: &Arc<Api<L>>) -> Result<Router, tonic_reflection::server::Error> {
        let authenticator = Arc::clone(&api.gate.authenticator);
        let shared = Arc::new(Shared { api: Arc::clone(api), rules: self.rules, counts: self.counts });
        let envoy = RateLimitServiceServer::new(Envoy(Arc::clone(&shared)));
        let kuadrant = KuadrantServer::new(Kuadrant(Arc::clone(&shared)));
        let limiting = Routes::new(envoy.max_decoding_message_size(BODY_BYTES_MAX))
            .add_service(kuadrant.max_decoding_message_size(BODY_BYTES_MAX))
            .into_axum_router()
            .reset_fallback()
            .layer(from_fn_with_state(authenticator, guard::let_in));
        // Health and the interface hold nothing to protect.
        let open = Routes::new(HealthServer::new(Health(Arc::clone(api))))
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .into_axum_router();
        Ok(log_requests(open.merge(limiting)).layer(from_fn(guard::http2_only)))
    }
}

/// Shows the interface to clients such as grpcurl.
fn reflection<'b>() -> tonic_reflection::server::Builder<'b> {
    let files = [proto::FILES, tonic_health::pb::FILE_DESCRIPTOR_SET];
    files.into_iter().fold(
        tonic_reflection::server::Builder::configure(),
        tonic_reflection::server::Builder::register_encoded_file_descriptor_set,
    )
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

    /// Counts the descriptors of a plan.
    pub(super) fn count(&self, plan: &Plan, charged: &Charged) {
        plan.items.iter().for_each(|item| self.counts.count(counts::outcome(item, charged)));
    }

    /// What is left of the limits of a plan, in the order of its charges. Empty if the ledger does not tell: the answer
    /// does not depend on it.
    pub(super) async fn left(&self, plan: &Plan) -> Vec<Option<Left>> {
        let keys: Vec<&LimitKey> = plan.keys().collect();
        if keys.is_empty() {
            return Vec::new();
        }
        self.api.in_time(self.api.engine.limiter().left(&keys)).await.unwrap_or_default()
    }
}
