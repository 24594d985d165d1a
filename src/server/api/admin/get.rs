//! `GET /v1/admin/limits/{key}`: one limit. A path that ends in `/history` may be a key, or ask for the history of one.

use axum::http::StatusCode;
use axum::response::Response;

use super::history::{HISTORY, history};
use super::info;
use crate::ledger::Ledger;
use crate::protocol::LimitAnswer;
use crate::registry::AdminError;
use crate::server::api::answer::answer;
use crate::server::api::guard::{Authorized, ToRead};
use crate::server::api::path::{KeyPath, parse_name};
use crate::server::api::refusal::Refusal;
use crate::server::api::reject::Reject;
use crate::server::metrics::Route;

pub(crate) async fn get<L: Ledger>(
    authorized: Authorized<L, ToRead>,
    path: KeyPath,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Admin);
    let path = path?.0;
    let limit = match parse_name(&path) {
        Ok(key) => match authorized.check_keys([&key]) {
            Ok(()) => api.in_time(api.engine.admin().get(&key)).await,
            Err(forbidden) => Err(forbidden.into()),
        },
        Err(reject) => Err(reject),
    };
    match (limit, path.strip_suffix(HISTORY)) {
        (Ok(limit), _) => {
            let limit = info(api.engine.limiter(), &limit);
            Ok(answer(StatusCode::OK, LimitAnswer { limit }))
        }
        // No limit that the caller may use has the whole path as its key.
        (
            Err(
                Reject::Admin(AdminError::UnknownKey(_) | AdminError::Deleted(_))
                | Reject::Invalid(_)
                | Reject::Refused(Refusal::Forbidden(_)),
            ),
            Some(key),
        ) => {
            let key = parse_name(key)?;
            authorized.check_keys([&key])?;
            history(api, &key).await
        }
        (Err(reject), _) => Err(reject),
    }
}
