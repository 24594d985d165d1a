//! `POST /v1/admin/limits/{key}/reset`: sets the usage and the debt of a limit to zero. The body may be empty.

use axum::http::StatusCode;
use axum::response::Response;

use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::limit::json::StatusJson;
use crate::protocol::{ChangeAnswer, ResetBody};
use crate::server::api::answer::answer;
use crate::server::api::guard::{Authorized, ToAdminister};
use crate::server::api::json::{Body, parse_or_default};
use crate::server::api::reject::Reject;

pub(super) async fn reset<L: Ledger>(
    authorized: &Authorized<L, ToAdminister>,
    key: &LimitKey,
    body: Body,
) -> Result<Response, Reject> {
    let ResetBody {} = parse_or_default(body)?;
    let reset = authorized.api().engine.admin().reset(key);
    let (status, _) = StatusJson::of(authorized.change("reset", key, reset).await?);
    Ok(answer(StatusCode::OK, ChangeAnswer { ok: true, status }))
}
