//! `POST /v1/objects/{key}/release`: releases tokens, up to the capacity of the bucket.

use axum::http::StatusCode;
use axum::response::Response;

use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::protocol::{ObjectReleaseAnswer, ObjectReleaseBody};
use crate::server::api::Api;
use crate::server::api::answer::answer;
use crate::server::api::json::{Body, parse};
use crate::server::api::reject::Reject;

pub(super) async fn release<L: Ledger>(api: &Api<L>, key: &LimitKey, body: Body) -> Result<Response, Reject> {
    let body: ObjectReleaseBody = parse(body)?;
    let (tokens, release) = body.into_parts().map_err(Reject::Invalid)?;
    let available_permits = api.in_time(api.engine.limiter().object(key).release(tokens, release)).await?;
    Ok(answer(StatusCode::OK, ObjectReleaseAnswer { ok: true, available_permits }))
}
