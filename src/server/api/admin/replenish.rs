//! `POST /v1/admin/limits/{key}/replenish`: refills a bucket by hand. The body may be empty.

use axum::http::StatusCode;
use axum::response::Response;

use crate::ledger::Ledger;
use crate::protocol::{ReplenishAnswer, ReplenishBody};
use crate::server::api::answer::answer;
use crate::server::api::guard::{Authorized, ToAdminister};
use crate::server::api::json::{Body, parse_or_default};
use crate::server::api::path::{KeyPath, parse_name};
use crate::server::api::reject::Reject;
use crate::server::metrics::Route;

/// The suffix of the path after the key. No other path below a key takes a POST.
const REPLENISH: &str = "/replenish";

pub(crate) async fn replenish<L: Ledger>(
    authorized: Authorized<L, ToAdminister>,
    path: KeyPath,
    body: Body,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Admin);
    let path = path?.0;
    let key = parse_name(path.strip_suffix(REPLENISH).ok_or(Reject::WrongMethod)?)?;
    let body: ReplenishBody = parse_or_default(body)?;
    let id = body.into_id().map_err(Reject::Invalid)?;
    let replenish = api.engine.admin().replenish(&key, id);
    let replenished = authorized.change("replenish", &key, replenish).await?;
    Ok(answer(StatusCode::OK, ReplenishAnswer { ok: true, replenished }))
}
