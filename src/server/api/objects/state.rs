//! `GET /v1/objects/{key}/state`: the rate, the tokens and the dates of a bucket.

use axum::http::StatusCode;
use axum::response::Response;

use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::protocol::ObjectStateAnswer;
use crate::server::api::Api;
use crate::server::api::answer::answer;
use crate::server::api::reject::Reject;

pub(super) async fn state<L: Ledger>(api: &Api<L>, key: &LimitKey) -> Result<Response, Reject> {
    let state = api.in_time(api.engine.limiter().object(key).state()).await?;
    Ok(answer(StatusCode::OK, ObjectStateAnswer::from(state)))
}
