//! The router of all services.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

use super::counts::Counts;
use super::envoy::Envoy;
use super::followed_rules::{FollowedRules, RulesError};
use super::guard;
use super::health::Health;
use super::kuadrant::Kuadrant;
use super::proto;
use super::proto::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitServiceServer;
use super::proto::kuadrant::service::ratelimit::v1::rate_limit_service_server::RateLimitServiceServer as KuadrantServer;
use super::shared::Shared;
use crate::ledger::Ledger;
use crate::server::api::{Api, BODY_BYTES_MAX, log_requests};
use crate::telemetry::MetricsRegistry;

/// The services before their API is there.
pub struct Gateway {
    rules: Arc<FollowedRules>,
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
