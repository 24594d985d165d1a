//! `POST /v1/objects/{key}/reserve`: takes tokens now or ahead of time, and tells when the caller may act.

use axum::http::StatusCode;
use axum::response::Response;

use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::protocol::{ObjectReserveAheadBody, ObjectReserveAnswer};
use crate::server::api::Api;
use crate::server::api::answer::answer;
use crate::server::api::json::{Body, parse};
use crate::server::api::reject::Reject;
use crate::server::api::request_log::record;

pub(super) async fn reserve<L: Ledger>(api: &Api<L>, key: &LimitKey, body: Body) -> Result<Response, Reject> {
    let body: ObjectReserveAheadBody = parse(body)?;
    let (tokens, lease, wait_max_ms) = body.into_parts().map_err(Reject::Invalid)?;
    let object = api.engine.limiter().object(key);
    let reservation = api.in_time(object.reserve_within(tokens, lease, wait_max_ms)).await?;
    record(lease, "", std::iter::once(key), &reservation);
    Ok(answer(StatusCode::OK, ObjectReserveAnswer::new(reservation, lease)))
}
