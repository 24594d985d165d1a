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

const REPLENISH: &str = "replenish";
const RESET: &str = "reset";
/// The methods of the path of a limit.
const WITHOUT_ACTION: &str = "GET, HEAD, DELETE";
/// The methods of such a path that ends in an action.
const WITH_ACTION: &str = "GET, HEAD, DELETE, POST";

pub(crate) async fn post<L: Ledger>(
    authorized: Authorized<L, ToAdminister>,
    path: KeyPath,
    body: Body,
) -> Result<Response, Reject> {
    let _in_flight = authorized.api().metrics.request(Route::Admin);
    let path = path?.0;
    match path.rsplit_once('/') {
        Some((key, REPLENISH)) => replenish::replenish(&authorized, &parse_name(key)?, body).await,
        Some((key, RESET)) => reset::reset(&authorized, &parse_name(key)?, body).await,
        Some(_) | None => Err(Reject::WrongMethod { allow: Some(WITHOUT_ACTION) }),
    }
}

/// Another method than those of the limits' paths.
pub(crate) async fn wrong_method(path: KeyPath) -> Result<Response, Reject> {
    let path = path?.0;
    let has_action = matches!(path.rsplit_once('/'), Some((_, REPLENISH | RESET)));
    // Such a path is also that of a limit whose key ends so.
    Err(Reject::WrongMethod { allow: Some(if has_action { WITH_ACTION } else { WITHOUT_ACTION }) })
}
