//! `POST /v1/objects/{key}/reserve`: takes tokens now or ahead of time, and tells when the caller may act.

use axum::http::StatusCode;
use axum::response::Response;

use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::protocol::{ObjectReserveAnswer, ObjectReserveBody};
use crate::server::api::Api;
use crate::server::api::json::{Body, answer, parse};
use crate::server::api::reject::Reject;
use crate::server::api::request_log::record;

pub(super) async fn reserve<L: Ledger>(api: &Api<L>, key: &LimitKey, body: Body) -> Result<Response, Reject> {
    let body: ObjectReserveBody = parse(body)?;
    let (tokens, lease) = body.into_parts().map_err(Reject::Invalid)?;
    let reservation = api.in_time(api.engine.limiter().object(key).reserve(tokens, lease)).await?;
    record(lease, "", std::iter::once(key), &reservation);
    Ok(answer(StatusCode::OK, ObjectReserveAnswer::new(reservation, lease)))
}
