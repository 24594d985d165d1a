//! `POST /v1/objects/{key}/try_reserve`: takes tokens that are available now.

use axum::http::StatusCode;
use axum::response::Response;

use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::protocol::{ObjectReserveBody, ObjectTryAnswer};
use crate::server::api::Api;
use crate::server::api::answer::answer;
use crate::server::api::json::{Body, parse};
use crate::server::api::reject::Reject;
use crate::server::api::request_log::record;

pub(super) async fn try_reserve<L: Ledger>(
    api: &Api<L>,
    key: &LimitKey,
    body: Body,
) -> Result<Response, Reject> {
    let body: ObjectReserveBody = parse(body)?;
    let (tokens, lease) = body.into_parts().map_err(Reject::Invalid)?;
    let ok = api.in_time(api.engine.limiter().object(key).try_reserve(tokens, lease)).await?;
    record(lease, "", std::iter::once(key), &ok);
    Ok(answer(StatusCode::OK, ObjectTryAnswer { ok, lease_id: lease.to_string() }))
}
