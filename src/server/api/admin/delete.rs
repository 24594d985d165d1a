//! `DELETE /v1/admin/limits/{key}`: deletes a limit.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::ledger::Ledger;
use crate::protocol::DeleteAnswer;
use crate::server::api::Api;
use crate::server::api::answer::answer;
use crate::server::api::path::{KeyPath, parse_name};
use crate::server::api::reject::Reject;
use crate::server::metrics::Route;

pub(crate) async fn delete<L: Ledger>(
    State(api): State<Arc<Api<L>>>,
    path: KeyPath,
) -> Result<Response, Reject> {
    let _in_flight = api.metrics.request(Route::Admin);
    api.in_time(api.engine.admin().delete(&parse_name(&path?.0)?)).await?;
    Ok(answer(StatusCode::OK, DeleteAnswer { ok: true }))
}
