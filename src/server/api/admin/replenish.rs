//! `POST /v1/admin/limits/{key}/replenish`: refills a bucket by hand. The body may be empty.

use axum::http::StatusCode;
use axum::response::Response;

use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::protocol::{ReplenishAnswer, ReplenishBody};
use crate::server::api::answer::answer;
use crate::server::api::guard::{Authorized, ToAdminister};
use crate::server::api::json::{Body, parse_or_default};
use crate::server::api::reject::Reject;

pub(super) async fn replenish<L: Ledger>(
    authorized: &Authorized<L, ToAdminister>,
    key: &LimitKey,
    body: Body,
) -> Result<Response, Reject> {
    let body: ReplenishBody = parse_or_default(body)?;
    let id = body.into_id().map_err(Reject::Invalid)?;
    let replenish = authorized.api().engine.admin().replenish(key, id);
    let replenished = authorized.change("replenish", key, replenish).await?;
    Ok(answer(StatusCode::OK, ReplenishAnswer { ok: true, replenished }))
}
