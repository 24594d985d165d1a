//! `PUT /v1/objects/{key}/rate`: sets the refill rate and the capacity of a bucket, and creates it if it is missing.

use axum::http::StatusCode;
use axum::response::Response;

use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::limit::json::StatusJson;
use crate::protocol::{ChangeAnswer, ObjectRateBody};
use crate::server::api::answer::answer;
use crate::server::api::guard::{Authorized, ToAdminister};
use crate::server::api::json::{Body, parse};
use crate::server::api::reject::Reject;

pub(super) async fn rate<L: Ledger>(
    authorized: &Authorized<L, ToAdminister>,
    key: &LimitKey,
    body: Body,
) -> Result<Response, Reject> {
    let body: ObjectRateBody = parse(body)?;
    let change = body.into_change().map_err(Reject::Invalid)?;
    let change = authorized.api().engine.admin().set_rate(key, change);
    let (status, _) = StatusJson::of(authorized.change("set_rate", key, change).await?);
    Ok(answer(StatusCode::OK, ChangeAnswer { ok: true, status }))
}
