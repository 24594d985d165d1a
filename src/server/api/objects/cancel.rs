//! `POST /v1/objects/{key}/cancel`: cancels a reservation that may not act yet.

use axum::http::StatusCode;
use axum::response::Response;

use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::protocol::{ObjectCancelAnswer, ObjectCancelBody};
use crate::server::api::Api;
use crate::server::api::answer::answer;
use crate::server::api::json::{Body, parse};
use crate::server::api::reject::Reject;
use crate::server::api::request_log::record;

pub(super) async fn cancel<L: Ledger>(api: &Api<L>, key: &LimitKey, body: Body) -> Result<Response, Reject> {
    let body: ObjectCancelBody = parse(body)?;
    let lease = body.into_lease().map_err(Reject::Invalid)?;
    let ok = api.in_time(api.engine.limiter().object(key).cancel(lease)).await?;
    record(lease, "", std::iter::once(key), &ok);
    Ok(answer(StatusCode::OK, ObjectCancelAnswer { ok }))
}
