//! `POST /v1/admin/limits/{key}/...`: what an operator does with a limit beside defining it. The last segment names it, because
//! a key may hold slashes.

use axum::response::Response;

use super::{replenish, reset};
use crate::ledger::Ledger;
use crate::server::api::guard::{Authorized, ToAdminister};
use crate::server::api::json::Body;
use crate::server::api::path::{KeyPath, parse_name};
use crate::server::api::reject::Reject;
use crate::server::metrics::Route;

pub(crate) async fn post<L: Ledger>(
    authorized: Authorized<L, ToAdminister>,
    path: KeyPath,
    body: Body,
) -> Result<Response, Reject> {
    let _in_flight = authorized.api().metrics.request(Route::Admin);
    let path = path?.0;
    let Some((key, action)) = path.rsplit_once('/') else { return Err(Reject::WrongMethod) };
    match action {
        "replenish" => replenish::replenish(&authorized, &parse_name(key)?, body).await,
        "reset" => reset::reset(&authorized, &parse_name(key)?, body).await,
        _ => Err(Reject::WrongMethod),
    }
}
