//! `GET /v1/admin/limits`: every limit and template, without the instances of templates.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::ledger::Ledger;
use crate::protocol::{LimitInfo, LimitsAnswer};
use crate::server::api::Api;
use crate::server::api::json::answer;
use crate::server::api::reject::Reject;
use crate::server::metrics::Route;

pub(crate) async fn list<L: Ledger>(State(api): State<Arc<Api<L>>>) -> Result<Response, Reject> {
    let _in_flight = api.metrics.request(Route::Admin);
    let limits = api.in_time(api.engine.admin().list()).await?.iter().map(LimitInfo::from).collect();
    Ok(answer(StatusCode::OK, LimitsAnswer { limits }))
}
