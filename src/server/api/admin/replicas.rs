//! `GET /v1/admin/replicas`: the replicas that announce themselves in the ledger.

use axum::http::StatusCode;
use axum::response::Response;

use crate::ledger::Ledger;
use crate::limiter::LimiterError;
use crate::protocol::{ReplicaBody, ReplicasAnswer};
use crate::registry::ReplicaInfo;
use crate::server::api::answer::answer;
use crate::server::api::guard::{Authorized, ToAdminister};
use crate::server::api::reject::Reject;
use crate::server::metrics::Route;
use crate::time::unix_ms;

pub(crate) async fn replicas<L: Ledger>(authorized: Authorized<L, ToAdminister>) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Admin);
    let replicas = api.engine.replicas();
    api.in_time(async { replicas.refresh().await.map_err(LimiterError::from) }).await?;
    let replicas = replicas.living().into_iter().map(ReplicaBody::from).collect();
    Ok(answer(StatusCode::OK, ReplicasAnswer { replicas }))
}

impl From<ReplicaInfo> for ReplicaBody {
    fn from(replica: ReplicaInfo) -> Self {
        Self {
            url: replica.url.to_string(),
            since_unix_ms: unix_ms(replica.since_ns),
            renewed_unix_ms: unix_ms(replica.renewed_ns),
            version: replica.version,
        }
    }
}
