//! `GET /v1/objects/{key}/available_permits`: the tokens that are available now.

use axum::http::StatusCode;
use axum::response::Response;

use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::protocol::ObjectPermitsAnswer;
use crate::server::api::Api;
use crate::server::api::answer::answer;
use crate::server::api::reject::Reject;

pub(super) async fn available_permits<L: Ledger>(api: &Api<L>, key: &LimitKey) -> Result<Response, Reject> {
    let available_permits = api.in_time(api.engine.limiter().object(key).available_permits()).await?;
    Ok(answer(StatusCode::OK, ObjectPermitsAnswer { available_permits }))
}
